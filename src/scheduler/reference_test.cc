// The core must find the same nodes feasible, for the same reasons, and choose one of the best-scored ones.
#include <gtest/gtest.h>

#include "scheduler/random_cluster.h"
#include "scheduler/reference.h"

namespace caravel::scheduler {
namespace {

void compare(uint64_t seed) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Generator g(seed);
  Reference ref;
  const std::vector<Profile> profiles{Profile(), g.profile(), g.profile()};
  Cluster core(seed, profiles);
  ref.namespaces["n1"] = {{"team", "red"}};
  core.set_namespace("n1", {{"team", "red"}});
  int next_node = 0, placed = 0;
  std::vector<PodId> ids;
  for (int i = 0, n = 3 + g.below(12); i < n; ++i) {
    ref.nodes.push_back(g.node(next_node++));
    core.set_node(ref.nodes.back());
  }
  std::vector<PodSpec> kinds;
  for (int i = 0; i < 12; ++i) kinds.push_back(g.pod());
  for (int step = 0; step < 90; ++step) {
    int what = g.below(100);
    if (what < 6) {  // a node comes or changes
      if (g.chance(50) || ref.nodes.empty()) {
        ref.nodes.push_back(g.node(next_node++));
        core.set_node(ref.nodes.back());
      } else {
        size_t i = static_cast<size_t>(g.below(static_cast<int>(ref.nodes.size())));
        std::string name = ref.nodes[i].name;
        ref.nodes[i] = g.node(0);
        ref.nodes[i].name = name;
        core.set_node(ref.nodes[i]);
      }
    } else if (what < 9 && ref.nodes.size() > 1) {  // a node goes; its pods stay for a while
      size_t i = static_cast<size_t>(g.below(static_cast<int>(ref.nodes.size())));
      core.remove_node(ref.nodes[i].name);
      ref.nodes.erase(ref.nodes.begin() + static_cast<long>(i));
    } else if (what < 20 && !ref.pods.empty()) {  // a pod goes
      size_t i = static_cast<size_t>(g.below(static_cast<int>(ref.pods.size())));
      core.remove_pod(ids[i]);
      ref.pods.erase(ref.pods.begin() + static_cast<long>(i));
      ids.erase(ids.begin() + static_cast<long>(i));
    } else if (what < 24 && !ref.pods.empty()) {  // a pod is being deleted
      size_t i = static_cast<size_t>(g.below(static_cast<int>(ref.pods.size())));
      core.set_terminating(ids[i]);
      ref.pods[i].terminating = true;
    } else if (what < 25) {  // a driver says how much the node can attach, maybe before the node is there
      std::string name = "node-" + std::to_string(g.below(next_node + 1));
      AttachLimits limits = g.attach_limits();
      ref.attach_limits[name] = limits;
      core.set_attach_limits(name, limits);
    } else if (what < 27) {
      Labels l{{"team", g.one_of<std::string>({"red", "blue"})}};
      ref.namespaces["n2"] = l;
      core.set_namespace("n2", l);
    } else {
      PodSpec spec = g.chance(80) ? kinds[static_cast<size_t>(g.below(12))] : g.pod();
      const size_t profile = static_cast<size_t>(g.below(3));
      ref.profile = profiles[profile];
      ClassId c = core.intern(spec, profile);
      std::vector<const NodeSpec*> feasible;
      for (auto& n : ref.nodes) {
        auto want = ref.reasons(spec, n);
        auto got = core.check(c, core.nodes().find(n.name));
        std::vector<std::string> reasons = got ? got->reasons : std::vector<std::string>{};
        ASSERT_EQ(reasons, want) << "step " << step << " " << n.name;
        if (want.empty()) feasible.push_back(&n);
      }
      Failure why = core.explain(c);
      std::map<std::string, int> histogram;
      for (auto& n : ref.nodes)
        for (auto& reason : ref.reasons(spec, n)) ++histogram[reason];
      ASSERT_EQ(why.reasons, histogram) << "step " << step;
      Decision d = core.schedule(c);
      if (feasible.empty()) {
        ASSERT_EQ(d.node, -1) << "step " << step;
      } else {
        ASSERT_GE(d.node, 0) << "step " << step;
        auto scores = ref.scores(spec, feasible);
        int64_t best = INT64_MIN;
        for (auto& [n, s] : scores) best = std::max(best, s);
        ASSERT_TRUE(scores.count(core.node_name(d.node))) << "step " << step;
        if (feasible.size() > 1) {
          ASSERT_EQ(scores[core.node_name(d.node)], best) << "step " << step << " chose " << core.node_name(d.node);
        }
        ref.pods.push_back({spec, core.node_name(d.node), false});
        ids.push_back(core.add_pod(c, d.node));
        ++placed;
      }
      core.release(c);
    }
  }
  ASSERT_GT(placed, 0);
}

TEST(SchedulerReference, TheCoreDecidesAsThePlainRulesOnRandomClusters) {
  uint64_t base = 1;
  if (const char* s = std::getenv("CARAVEL_SEED")) base = std::strtoull(s, nullptr, 10);
  for (uint64_t seed = base; seed < base + 120 && !testing::Test::HasFatalFailure(); ++seed) compare(seed);
}

}  // namespace
}  // namespace caravel::scheduler
