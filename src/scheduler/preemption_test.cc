// Preemption: the rules one by one, and the whole compared with a plain implementation on random clusters.
#include "scheduler/preemption.h"

#include <gtest/gtest.h>

#include "scheduler/nominations.h"
#include "scheduler/random_cluster.h"
#include "scheduler/reference.h"

namespace caravel::scheduler {
namespace {

struct World {
  Cluster core{1};
  std::map<PodId, PodFacts> known;
  FactsOf facts = [this](PodId id) -> const PodFacts* {
    auto it = known.find(id);
    return it == known.end() ? nullptr : &it->second;
  };

  PodSpec pod(int64_t cpu, const std::string& app = "x") const {
    PodSpec p;
    p.ns = "default";
    p.labels["app"] = app;
    p.request.cpu = p.nonzero_cpu = cpu;
    return p;
  }
  void node(const std::string& name, int64_t cpu) {
    NodeSpec n;
    n.name = name;
    n.allocatable.cpu = cpu;
    n.max_pods = 110;
    core.set_node(n);
  }
  PodId run(const std::string& name, const std::string& node, int64_t cpu, int32_t priority, int64_t start = 0, const std::string& app = "x") {
    ClassId c = core.intern(pod(cpu, app));
    PodId id = core.add_pod(c, node);
    core.release(c);
    known[id] = {"default/" + name, priority, Time::from_seconds(1000 + start), false};
    return id;
  }
  Preemption want(int64_t cpu, int32_t priority, const std::vector<Budget>& budgets = {}) {
    ClassId c = core.intern(pod(cpu));
    EXPECT_EQ(core.schedule(c).node, -1);
    Preemption p = preempt(core, c, priority, facts, budgets);
    EXPECT_EQ(core.schedule(c).node, -1) << "the cluster is as it was";
    core.release(c);
    return p;
  }
  std::string told(const Preemption& p) {
    if (!p.best) {
      std::string out;
      for (auto& [reason, n] : p.reasons) out += std::to_string(n) + " " + reason + ";";
      return out;
    }
    std::string out = core.node_name(p.best->node) + ":";
    for (PodId id : p.best->pods) out += " " + known[id].key.substr(8);
    return out;
  }
};

Budget budget(const std::string& app, int64_t allowed) { return {"default", Selector{false, {{"app", Op::kIn, {app}}}}, allowed, {}}; }

TEST(Preemption, AsFewPodsAsPossibleGoAndTheLeastImportantFirst) {
  World w;
  w.node("a", 4000);
  w.run("old", "a", 1000, 10, 0);
  w.run("young", "a", 1000, 10, 50);
  w.run("important", "a", 1000, 20);
  w.run("own", "a", 1000, 100);
  EXPECT_EQ(w.told(w.want(1000, 100)), "a: young");
  EXPECT_EQ(w.told(w.want(2000, 100)), "a: old young");
  EXPECT_EQ(w.told(w.want(3000, 100)), "a: important old young");
  EXPECT_EQ(w.told(w.want(3000, 15)), "1 Insufficient cpu;");
  EXPECT_EQ(w.told(w.want(1000, 10)), "1 No preemption victims found for incoming pod;");
  EXPECT_EQ(w.told(w.want(9000, 100)), "1 Preemption is not helpful for scheduling;");
}

TEST(Preemption, TheNodeIsChosenByUpstreamsCriteriaInOrder) {
  World w;
  w.node("a", 1000), w.node("b", 1000);
  w.run("guarded", "a", 1000, 1, 0, "guarded");
  w.run("free", "b", 1000, 50);
  EXPECT_EQ(w.told(w.want(1000, 100, {budget("guarded", 0)})), "b: free") << "fewest broken budgets";
  EXPECT_EQ(w.told(w.want(1000, 100, {budget("guarded", 1)})), "a: guarded") << "lowest top priority";
  World sums;
  sums.node("a", 1000), sums.node("b", 1000);
  sums.run("a1", "a", 500, 10), sums.run("a2", "a", 500, 9);
  sums.run("b1", "b", 500, 10), sums.run("b2", "b", 500, 5);
  EXPECT_EQ(sums.told(sums.want(1000, 100)), "b: b1 b2") << "smallest sum";
  World counts;
  counts.node("a", 1000), counts.node("b", 1000);
  counts.run("a1", "a", 500, 10), counts.run("a2", "a", 500, -2147483647);
  counts.run("b1", "b", 1000, 10);
  EXPECT_EQ(counts.told(counts.want(1000, 100)), "b: b1") << "one pod more never makes it cheaper";
  World starts;
  starts.node("a", 1000), starts.node("b", 1000);
  starts.run("a1", "a", 1000, 10, 10), starts.run("b1", "b", 1000, 10, 20);
  EXPECT_EQ(starts.told(starts.want(1000, 100)), "b: b1") << "the latest start";
}

TEST(Preemption, PodsUnderABudgetAreSparedBeforeOthers) {
  World w;
  w.node("a", 3000);
  w.run("guarded", "a", 1000, 1, 0, "guarded");
  w.run("other", "a", 1000, 20);
  w.run("more", "a", 1000, 30);
  EXPECT_EQ(w.told(w.want(2000, 100, {budget("guarded", 0)})), "a: more other");
  EXPECT_EQ(w.told(w.want(2000, 100)), "a: other guarded");
  Budget known = budget("guarded", 0);
  known.disrupted.insert("guarded");  // its eviction is under way and counted
  EXPECT_EQ(w.told(w.want(2000, 100, {known})), "a: other guarded");
}

// A ReadWriteOncePod claim: who has it goes in any case, wherever the pod is to run; others only where room is short.
TEST(Preemption, TheHolderOfAClaimForOnePodGoes) {
  World w;
  w.node("a", 1000);
  w.node("b", 1000);
  w.run("holder", "a", 100, 1);
  w.run("other", "a", 100, 1);
  w.run("elsewhere", "b", 100, 1);
  ClassId c = w.core.intern(w.pod(100));
  Preemption p = preempt(w.core, c, 10, w.facts, {}, 0, {"default/holder"});
  EXPECT_EQ(w.told(p), "a: holder");
  p = preempt(w.core, c, 1, w.facts, {}, 0, {"default/holder"});
  EXPECT_EQ(w.told(p), "2 No preemption victims found for incoming pod;") << "not from its equals";
  p = preempt(w.core, c, 10, w.facts, {}, 0, {"default/nobody-here"});
  EXPECT_EQ(w.told(p), std::string("2 ") + kClaimHeld + ";");
}

TEST(Preemption, NominatedPodsKeepTheirRoomFromTheirEqualsAndLessers) {
  World w;
  w.node("a", 2000);
  Nominations n(w.core);
  ClassId c = w.core.intern(w.pod(2000));
  n.set("default/vip", c, 100, "a");
  EXPECT_EQ(w.core.schedule(c).node, -1);
  n.hide("default/peer", 100);
  EXPECT_EQ(w.core.schedule(c).node, -1) << "the same priority";
  n.show();
  n.hide("default/king", 200);
  EXPECT_GE(w.core.schedule(c).node, 0) << "a higher one";
  n.show();
  n.hide("default/vip", 100);
  EXPECT_GE(w.core.schedule(c).node, 0) << "its own";
  n.show();
  EXPECT_EQ(n.below("a", 200), std::vector<std::string>{"default/vip"});
  n.clear("default/vip");
  EXPECT_GE(w.core.schedule(c).node, 0);
  w.core.release(c);
}

// --- compared with plain rules ----------------------------------------------------------------------

struct RefVictims {
  std::set<std::string> names;
  std::vector<int64_t> rank;
};

// What has to go from one node; nullopt: it is no candidate.
std::optional<RefVictims> plain_victims(Reference ref, std::vector<PodFacts> facts, const PodSpec& pod, int32_t priority, const NodeSpec& node,
                                        const std::vector<Budget>& budgets) {
  struct Lower {
    RefPod pod;
    PodFacts facts;
    bool breaks = false;
  };
  std::vector<Lower> lower;
  for (size_t i = ref.pods.size(); i-- > 0;) {
    if (ref.pods[i].node != node.name || facts[i].priority >= priority) continue;
    lower.push_back({ref.pods[i], facts[i]});
    ref.pods.erase(ref.pods.begin() + static_cast<long>(i));
  }
  if (lower.empty() || !ref.reasons(pod, node).empty()) return std::nullopt;
  std::sort(lower.begin(), lower.end(), [](auto& a, auto& b) {
    return std::tuple(-a.facts.priority, a.facts.start.ns, a.facts.key) < std::tuple(-b.facts.priority, b.facts.start.ns, b.facts.key);
  });
  std::map<size_t, int64_t> left;
  for (size_t b = 0; b < budgets.size(); ++b) left[b] = budgets[b].allowed;
  for (auto& l : lower)
    for (size_t b = 0; b < budgets.size(); ++b)
      if (l.pod.spec.ns == budgets[b].ns && !budgets[b].selector.all.empty() && matches(budgets[b].selector, l.pod.spec.labels) && --left[b] < 0) l.breaks = true;
  RefVictims out;
  int64_t violations = 0, top = INT64_MIN, sum = 0, earliest = INT64_MAX;
  for (bool breaking : {true, false})
    for (auto& l : lower) {
      if (l.breaks != breaking) continue;
      ref.pods.push_back(l.pod);
      if (ref.reasons(pod, node).empty()) continue;
      ref.pods.pop_back();
      out.names.insert(l.facts.key);
      violations += breaking;
      sum += int64_t{l.facts.priority} + INT32_MAX + 1;
      if (l.facts.priority > top) top = l.facts.priority, earliest = INT64_MAX;
      if (l.facts.priority == top) earliest = std::min(earliest, l.facts.start.ns);
    }
  if (out.names.empty()) return std::nullopt;
  out.rank = {violations, top, sum, static_cast<int64_t>(out.names.size()), -earliest};
  return out;
}

void compare(uint64_t seed, int& preempted) {
  SCOPED_TRACE("seed " + std::to_string(seed));
  Generator g(seed);
  Reference ref;
  Cluster core(seed);
  std::vector<PodFacts> facts;
  std::map<PodId, size_t> index;
  for (int i = 0, n = 2 + g.below(6); i < n; ++i) {
    ref.nodes.push_back(g.node(i));
    core.set_node(ref.nodes.back());
  }
  std::vector<Budget> budgets;
  for (int i = 0, n = g.below(4); i < n; ++i) budgets.push_back({g.one_of<std::string>({"n0", "n1"}), g.selector(), g.below(3), {}});
  for (auto& b : budgets) b.selector.nothing = false;
  FactsOf look = [&](PodId id) { return &facts[index.at(id)]; };
  for (int step = 0; step < 60; ++step) {
    PodSpec spec = g.pod();
    int32_t priority = g.below(4) * 10;
    ClassId c = core.intern(spec);
    Decision d = core.schedule(c);
    if (d.node >= 0) {
      index[core.add_pod(c, d.node)] = ref.pods.size();
      ref.pods.push_back({spec, core.node_name(d.node), false});
      facts.push_back({spec.ns + "/p" + std::to_string(step), priority, Time::from_seconds(1000 + g.below(20)), false});
    } else {
      priority = g.below(5) * 10;
      Preemption p = preempt(core, c, priority, look, budgets);
      std::optional<std::vector<int64_t>> best;
      std::map<std::string, RefVictims> by_node;
      for (auto& n : ref.nodes) {
        auto f = core.check(c, core.nodes().find(n.name));
        ASSERT_TRUE(f);
        if (!f->preemption_may_help) continue;
        auto v = plain_victims(ref, facts, spec, priority, n, budgets);
        if (!v) continue;
        if (!best || v->rank < *best) best = v->rank;
        by_node[n.name] = *v;
      }
      ASSERT_EQ(p.best.has_value(), best.has_value()) << "step " << step;
      if (best) {
        ++preempted;
        const RefVictims& v = by_node.at(core.node_name(p.best->node));
        ASSERT_EQ(v.rank, *best) << "step " << step;
        std::set<std::string> names;
        for (PodId id : p.best->pods) names.insert(facts[index.at(id)].key);
        ASSERT_EQ(names, v.names) << "step " << step;
      }
    }
    core.release(c);
  }
}

TEST(PreemptionReference, VictimsAreThoseOfThePlainRulesOnRandomClusters) {
  int preempted = 0;
  for (uint64_t seed = 1; seed <= 50 && !testing::Test::HasFatalFailure(); ++seed) compare(seed, preempted);
  EXPECT_GT(preempted, 100);
}

}  // namespace
}  // namespace caravel::scheduler
