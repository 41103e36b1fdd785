// What decide_spread.cc chooses without looking at each node is one of the best by the scores that decide() gives each node.
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "scheduler/random_cluster.h"

namespace caravel::scheduler {
namespace {

struct Spreader {
  Generator g;
  Cluster core;
  std::vector<PodId> pods;
  std::vector<NodeSpec> nodes;

  explicit Spreader(uint64_t seed) : g(seed), core(seed) {
    for (int i = 0; i < 90; ++i) {
      nodes.push_back(node(i));
      core.set_node(nodes.back());
    }
  }
  NodeSpec node(int i) {
    NodeSpec n;
    n.name = "n" + std::to_string(i);
    n.allocatable.cpu = 4000 + 1000 * g.below(3);
    n.allocatable.memory = 1 << 30;
    n.max_pods = 6 + g.below(5);
    n.labels["kubernetes.io/hostname"] = n.name;
    if (!g.chance(10)) n.labels["topology.kubernetes.io/zone"] = "z" + std::to_string(g.below(4));
    return n;
  }
  PodSpec pod(int app, bool defaulted, bool by_zone, bool by_host) {
    PodSpec p;
    p.ns = "default";
    p.labels["app"] = "a" + std::to_string(app);
    p.request.cpu = p.nonzero_cpu = 100 + 100 * (app % 2);
    p.nonzero_memory = 1 << 20;
    p.soft_spread_defaulted = defaulted;
    SpreadConstraint c;
    c.selector.all.push_back({"app", Op::kIn, {p.labels["app"]}});
    c.max_skew = 3;
    c.topology_key = "kubernetes.io/hostname";
    if (by_host) p.soft_spread.push_back(c);
    c.max_skew = 5;
    c.topology_key = "topology.kubernetes.io/zone";
    if (by_zone) p.soft_spread.push_back(c);
    return p;
  }
  void disturb() {
    const size_t i = static_cast<size_t>(g.below(90));
    switch (g.below(6)) {
      case 0: nodes[i] = node(static_cast<int>(i)); break;  // other zone, other size
      case 1: nodes[i].unschedulable = !nodes[i].unschedulable; break;
      case 2: nodes[i].labels.erase("topology.kubernetes.io/zone"); break;
      case 3: core.remove_node(nodes[i].name); return;
      default:
        for (int n = 0; n < 3 && !pods.empty(); ++n) {
          size_t p = static_cast<size_t>(g.below(static_cast<int>(pods.size())));
          if (g.chance(30)) {
            core.set_terminating(pods[p]);
            continue;
          }
          core.remove_pod(pods[p]);
          pods[p] = pods.back();
          pods.pop_back();
        }
        return;
    }
    core.set_node(nodes[i]);
  }
};

TEST(SchedulerSpread, TheNodeIsOneOfTheBestByTheScoresOfEachNode) {
  for (uint64_t seed = 1; seed <= 12; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    Spreader s(seed);
    for (int step = 0; step < 500; ++step) {
      if (s.g.chance(25)) s.disturb();
      const int what = s.g.below(8);
      ClassId c = s.core.intern(s.pod(s.g.below(6), what != 0, what != 1, what != 2));
      std::vector<NodeId> feasible = s.core.feasible(c);
      std::vector<int64_t> scores = s.core.scores(c, feasible);
      Decision d = s.core.schedule(c);
      if (feasible.empty()) {
        ASSERT_EQ(d.node, -1) << "step " << step;
      } else {
        auto at = std::find(feasible.begin(), feasible.end(), d.node);
        ASSERT_NE(at, feasible.end()) << "step " << step;
        ASSERT_EQ(scores[static_cast<size_t>(at - feasible.begin())], *std::max_element(scores.begin(), scores.end())) << "step " << step;
        ASSERT_EQ(d.feasible, static_cast<int32_t>(feasible.size())) << "step " << step;
        s.pods.push_back(s.core.add_pod(c, d.node));
      }
      s.core.release(c);
    }
    EXPECT_GT(s.pods.size(), 100u);
  }
}

// Equal nodes are all taken at times, those with pods of the workload too.
TEST(SchedulerSpread, AnyOfEqualNodesIsTaken) {
  Spreader s(1);
  Cluster core(7);
  for (int i = 0; i < 200; ++i) {
    NodeSpec n = s.node(i);
    n.allocatable.cpu = 4000;
    n.max_pods = 110;
    n.labels["topology.kubernetes.io/zone"] = "z" + std::to_string(i % 2);
    core.set_node(n);
  }
  std::set<NodeId> taken;
  ClassId c = core.intern(s.pod(1, true, true, true));
  for (int i = 0; i < 4000; ++i) taken.insert(core.schedule(c).node);
  EXPECT_GT(taken.size(), 190u);
  for (int i = 0; i < 200; ++i) core.add_pod(c, core.schedule(c).node);
  for (const auto& n : core.nodes().nodes) EXPECT_EQ(n.pods.size(), 1u) << n.spec.name;
}

}  // namespace
}  // namespace caravel::scheduler
