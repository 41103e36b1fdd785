#include "controllers/disruption_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Pod;

const Time kNow = Time::from_seconds(1'700'000'000);

Pod marked(const std::string& reason, Duration ago) {
  Pod p;
  p.status.phase = "Running";
  kube::core::PodCondition c;
  c.type = "DisruptionTarget";
  c.status = "True";
  c.reason = reason;
  c.last_transition_time = kNow - ago;
  p.status.conditions.push_back(c);
  return p;
}

TEST(Disruption, ThePodThatStaysIsNoTargetAfterTwoMinutes) {
  EXPECT_EQ(until_stale_disruption(marked("EvictionByEvictionAPI", 30s), kNow), Duration(90s));
  EXPECT_EQ(until_stale_disruption(marked("EvictionByEvictionAPI", 5min), kNow), Duration(0));
  EXPECT_FALSE(until_stale_disruption(Pod(), kNow));
}

TEST(Disruption, WhatTheKubeletSaysAndWhatIsSaidOfGoingPodsStays) {
  EXPECT_FALSE(until_stale_disruption(marked("TerminationByKubelet", 5min), kNow));
  Pod ended = marked("EvictionByEvictionAPI", 5min), going = ended;
  ended.status.phase = "Failed";
  going.metadata.deletion_timestamp = kNow;
  EXPECT_FALSE(until_stale_disruption(ended, kNow));
  EXPECT_FALSE(until_stale_disruption(going, kNow));
}

using kube::policy::PodDisruptionBudget;

std::shared_ptr<Pod> member(const std::string& name, bool ready, const char* phase = "Running") {
  auto p = std::make_shared<Pod>();
  p->metadata.name = name;
  p->metadata.namespace_ = "shop";
  p->status.phase = phase;
  kube::core::PodCondition c;
  c.type = "Ready";
  c.status = ready ? "True" : "False";
  p->status.conditions.push_back(c);
  return p;
}
PodDisruptionBudget budget() {
  PodDisruptionBudget b;
  b.metadata.name = "web";
  b.metadata.namespace_ = "shop";
  b.metadata.generation = 3;
  b.spec.selector.emplace();
  b.spec.selector->match_labels["app"] = "web";
  return b;
}

// Ended pods are counted as pods that there are, as upstream.
TEST(Disruption, ANumberThatMustBeAvailableCountsThePodsThatThereAre) {
  PodDisruptionBudget b = budget();
  b.spec.min_available = kube::IntOrString(1);
  BudgetPlan plan = plan_budget(b, {member("a", true), member("b", true), member("c", false, "Succeeded")}, 0, kNow);
  EXPECT_EQ(plan.status.expected_pods, 3);
  EXPECT_EQ(plan.status.current_healthy, 2);
  EXPECT_EQ(plan.status.desired_healthy, 1);
  EXPECT_EQ(plan.status.disruptions_allowed, 1);
  EXPECT_EQ(plan.status.observed_generation, 3);
  ASSERT_EQ(plan.status.conditions.size(), 1u);
  EXPECT_EQ(plan.status.conditions[0].status, "True");
  EXPECT_EQ(plan.status.conditions[0].reason, "SufficientPods");
}

TEST(Disruption, WhatMayBeUnavailableCountsAgainstTheScale) {
  PodDisruptionBudget b = budget();
  b.spec.max_unavailable = kube::IntOrString(1);
  ASSERT_TRUE(counts_by_scale(b));
  BudgetPlan plan = plan_budget(b, {member("a", true), member("b", true)}, 3, kNow);
  EXPECT_EQ(plan.status.expected_pods, 3);
  EXPECT_EQ(plan.status.desired_healthy, 2);
  EXPECT_EQ(plan.status.disruptions_allowed, 0);
  EXPECT_EQ(plan.status.conditions[0].reason, "InsufficientPods");
}

TEST(Disruption, ABudgetThatAsksForNothingAllowsNothing) {
  BudgetPlan plan = plan_budget(budget(), {member("a", true)}, 0, kNow);
  EXPECT_EQ(plan.status.expected_pods, 0);
  EXPECT_EQ(plan.status.disruptions_allowed, 0);
}

TEST(Disruption, AnEvictedPodCountsAsGoneForTwoMinutesAndIsThenSaidToBeThere) {
  PodDisruptionBudget b = budget();
  b.spec.min_available = kube::IntOrString(0);
  b.status.disrupted_pods = {{"a", kNow - 30s}, {"b", kNow - 121s}, {"of another label", kNow}};
  BudgetPlan plan = plan_budget(b, {member("a", true), member("b", true)}, 0, kNow);
  EXPECT_EQ(plan.status.current_healthy, 1);
  EXPECT_EQ(plan.status.disrupted_pods, (std::map<std::string, Time>{{"a", kNow - 30s}}));
  ASSERT_EQ(plan.not_deleted.size(), 1u);
  EXPECT_EQ(plan.not_deleted[0]->metadata.name, "b");
  EXPECT_EQ(plan.again, Duration(90s));
  EXPECT_EQ(not_deleted_text(b), "Pod was expected by PDB shop/shop to be deleted but it wasn't");
}

TEST(Disruption, WhereTheScaleIsUnknownNothingMayGo) {
  PodDisruptionBudget b = budget();
  b.status.disruptions_allowed = 2;
  b.status.observed_generation = 2;
  auto s = failed_budget(b, "found no controllers for pod \"a\"", kNow);
  EXPECT_EQ(s.disruptions_allowed, 0);
  EXPECT_EQ(s.conditions[0].reason, "SyncFailed");
  EXPECT_EQ(s.conditions[0].message, "found no controllers for pod \"a\"");
  EXPECT_EQ(s.conditions[0].observed_generation, 2);
}

TEST(Disruption, SentencesShowSelectorsAsUpstreamPrintsThem) {
  PodDisruptionBudget b = budget();
  kube::meta::LabelSelectorRequirement r;
  r.key = "tier";
  r.operator_ = "In";
  r.values = {"a", "b"};
  b.spec.selector->match_expressions.push_back(r);
  EXPECT_NE(unmanaged_text(b).find("(selector: &LabelSelector{MatchLabels:map[string]string{app: web,},MatchExpressions:[]LabelSelectorRequirement{LabelSelectorRequirement{"
                                   "Key:tier,Operator:In,Values:[a b],},},}) were found to be unmanaged. "),
            std::string::npos);
  EXPECT_EQ(many_budgets_text(*member("a", true), "web"), "Pod \"shop\"/\"a\" matches multiple PodDisruptionBudgets.  Chose \"web\" arbitrarily.");
}

}  // namespace
}  // namespace caravel::controllers
