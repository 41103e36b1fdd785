#include "controllers/pod_eviction_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Node;
using kube::core::Pod;
using kube::core::Taint;
using kube::core::Toleration;

const Time kNow = Time::from_seconds(1'700'000'000);

Taint taint(const std::string& key, Duration ago, const char* effect = "NoExecute") {
  Taint t;
  t.key = key;
  t.effect = effect;
  t.time_added = kNow - ago;
  return t;
}
Toleration toleration(const std::string& key, std::optional<int64_t> seconds = std::nullopt) {
  Toleration t;
  t.key = key;
  t.operator_ = "Exists";
  t.toleration_seconds = seconds;
  return t;
}
Pod pod(std::vector<Toleration> tolerations, Duration bound_ago = 1h) {
  Pod p;
  p.metadata.name = "web";
  p.metadata.uid = "u";
  p.metadata.generation = 2;
  p.spec.tolerations = std::move(tolerations);
  p.status.phase = "Running";
  kube::core::PodCondition c;
  c.type = "PodScheduled";
  c.status = "True";
  c.last_transition_time = kNow - bound_ago;
  p.status.conditions.push_back(c);
  return p;
}

TEST(TaintEviction, APodThatDoesNotTolerateEveryTaintGoesAtOnce) {
  EXPECT_TRUE(plan_eviction(pod({}), {taint("a", 0s)}, std::nullopt, kNow).evict);
  EXPECT_TRUE(plan_eviction(pod({toleration("a")}), {taint("a", 0s), taint("b", 0s)}, std::nullopt, kNow).evict);
  EXPECT_FALSE(plan_eviction(pod({}), {taint("a", 0s, "NoSchedule")}, std::nullopt, kNow).evict);
}

TEST(TaintEviction, TheTimeBeginsWhenPodAndTaintHaveMet) {
  const PendingEviction by_taint{kNow - 10s, kNow + 50s}, by_pod{kNow - 5s, kNow + 55s};
  EXPECT_EQ(plan_eviction(pod({toleration("a", 60)}), {taint("a", 10s)}, std::nullopt, kNow).pending, by_taint);
  EXPECT_EQ(plan_eviction(pod({toleration("a", 60)}, 5s), {taint("a", 1h)}, std::nullopt, kNow).pending, by_pod) << "an old taint does not drive a new pod away";
  EXPECT_TRUE(plan_eviction(pod({toleration("a", 60)}), {taint("a", 60s)}, std::nullopt, kNow).evict) << "also when the controller was away";
}

TEST(TaintEviction, TheFirstTolerationOfATaintCountsAndTheShortestOfAllTaints) {
  EXPECT_FALSE(plan_eviction(pod({toleration("a"), toleration("a", 60)}), {taint("a", 0s)}, std::nullopt, kNow).pending) << "for ever";
  EXPECT_EQ(plan_eviction(pod({toleration("a", 60), toleration("b", 30)}), {taint("a", 0s), taint("b", 0s)}, std::nullopt, kNow).pending->due, kNow + 30s);
  EXPECT_EQ(plan_eviction(pod({toleration("a", 60), toleration("b")}), {taint("a", 0s), taint("b", 0s)}, std::nullopt, kNow).pending->due, kNow + 60s);
}

TEST(TaintEviction, WhatIsPendingKeepsItsTimeUntilItIsCancelled) {
  const PendingEviction pending{kNow - 100s, kNow + 200s};
  EvictionPlan longer = plan_eviction(pod({toleration("a", 3600)}), {taint("a", 100s)}, pending, kNow);
  EXPECT_EQ(longer.pending, pending);
  EXPECT_FALSE(longer.cancelled);
  EvictionPlan for_ever = plan_eviction(pod({toleration("a")}), {taint("a", 100s)}, pending, kNow);
  EXPECT_TRUE(for_ever.cancelled);
  EXPECT_FALSE(for_ever.pending || for_ever.evict);
  EvictionPlan healed = plan_eviction(pod({toleration("a", 300)}), {}, pending, kNow);
  EXPECT_TRUE(healed.cancelled);
  EvictionPlan another = plan_eviction(pod({toleration("a", 300)}), {taint("a", 100s), taint("b", 0s)}, pending, kNow);
  EXPECT_TRUE(another.cancelled && another.evict) << "the wait is over before its time: both is said";
  EXPECT_TRUE(plan_eviction(pod({toleration("a", 300)}), {taint("a", 300s)}, PendingEviction{kNow - 300s, kNow}, kNow).evict);
}

TEST(PodGc, AMarkedPodHasTheConditionAndFailsWhereItsKubeletIsGone) {
  Pod p = pod({});
  EXPECT_EQ(json::dump_sorted(disruption_patch(p, "DeletionByPodGC", "PodGC: node no longer exists", true, kNow)),
            R"({"metadata":{"uid":"u"},"status":{"conditions":[{"lastTransitionTime":"2023-11-14T22:13:20Z","message":"PodGC: node no longer exists","observedGeneration":2,)"
            R"("reason":"DeletionByPodGC","status":"True","type":"DisruptionTarget"}],"observedGeneration":2,"phase":"Failed"}})");
  EXPECT_EQ(json::dump_sorted(disruption_patch(p, "", "", true, kNow)), R"({"metadata":{"uid":"u"},"status":{"observedGeneration":2,"phase":"Failed"}})");
  p.status.phase = "Succeeded";
  EXPECT_TRUE(disruption_patch(p, "", "", true, kNow).is_null()) << "it has ended already";
  kube::core::PodCondition c;
  c.type = "DisruptionTarget";
  c.status = "True";
  c.reason = "DeletionByTaintManager";
  c.last_transition_time = kNow - 9s;
  p.status.conditions.push_back(c);
  EXPECT_TRUE(disruption_patch(p, "DeletionByTaintManager", "", false, kNow).is_null());
  EXPECT_NE(json::dump(disruption_patch(p, "Another", "", false, kNow)).find("22:13:11Z"), std::string::npos) << "True since then";
}

TEST(PodGc, OfTheEndedPodsTheEvictedGoFirstThenTheOldest) {
  std::vector<PodPtr> pods;
  auto add = [&](const char* name, const char* phase, int64_t made, const char* reason = "") {
    auto p = std::make_shared<Pod>();
    p->metadata.name = name;
    p->metadata.creation_timestamp = Time::from_seconds(made);
    p->status.phase = phase;
    p->status.reason = reason;
    pods.push_back(p);
  };
  add("young", "Succeeded", 30);
  add("old", "Failed", 10);
  add("evicted", "Failed", 40, "Evicted");
  add("b", "Succeeded", 20);
  add("a", "Succeeded", 20);
  add("running", "Running", 1);
  std::string order;
  for (auto& p : surplus_of_ended(pods, 1)) order += p->metadata.name + " ";
  EXPECT_EQ(order, "evicted old a b ");
  EXPECT_TRUE(surplus_of_ended(pods, 5).empty());
}

TEST(PodGc, APodThatEndsOnANodeOutOfServiceIsStranded) {
  Node n;
  n.spec.taints.push_back(taint("node.kubernetes.io/out-of-service", 0s, "NoSchedule"));
  Pod p = pod({});
  EXPECT_FALSE(is_stranded(p, n));
  p.metadata.deletion_timestamp = kNow;
  EXPECT_TRUE(is_stranded(p, n));
  kube::core::NodeCondition c;
  c.type = "Ready";
  c.status = "True";
  n.status.conditions.push_back(c);
  EXPECT_FALSE(is_stranded(p, n));
}

}  // namespace
}  // namespace caravel::controllers
