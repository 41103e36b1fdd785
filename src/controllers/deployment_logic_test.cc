#include "controllers/deployment_logic.h"

#include <gtest/gtest.h>

#include <random>

#include "controllers/common.h"

namespace caravel::controllers {
namespace {

using kube::apps::Deployment;
using kube::apps::ReplicaSet;

const Time kNow = Time::from_seconds(1'700'000'000);

Deployment deployment(int replicas, kube::IntOrString surge, kube::IntOrString unavailable) {
  Deployment d;
  d.metadata.name = "web";
  d.metadata.namespace_ = "default";
  d.metadata.generation = 1;
  d.spec.replicas = replicas;
  d.spec.progress_deadline_seconds = 600;
  d.spec.strategy.type = "RollingUpdate";
  d.spec.strategy.rolling_update.emplace();
  d.spec.strategy.rolling_update->max_surge = surge;
  d.spec.strategy.rolling_update->max_unavailable = unavailable;
  return d;
}

std::shared_ptr<ReplicaSet> set(const std::string& name, int replicas, int available, int age = 0) {
  auto rs = std::make_shared<ReplicaSet>();
  rs->metadata.name = rs->metadata.uid = name;
  rs->metadata.creation_timestamp = kNow - std::chrono::seconds(age);
  rs->spec.replicas = replicas;
  rs->status.replicas = replicas;
  rs->status.ready_replicas = rs->status.available_replicas = available;
  return rs;
}

TEST(DeploymentLogic, PercentagesRoundSurgeUpAndUnavailableDown) {
  Bounds b = bounds_of(deployment(10, "25%", "25%"));
  EXPECT_EQ(b.surge, 3);
  EXPECT_EQ(b.unavailable, 2);
  b = bounds_of(deployment(1, "0%", "25%"));  // both would be zero: nothing could move
  EXPECT_EQ(b.surge, 0);
  EXPECT_EQ(b.unavailable, 1);
}

TEST(DeploymentLogic, UnhealthyOldPodsGoFirst) {
  Deployment d = deployment(10, 0, 2);
  auto old = set("old", 8, 5, 100), fresh = set("new", 2, 2);
  std::vector<Resize> r = shrink_old(d, {old, fresh}, {old}, *fresh);
  ASSERT_EQ(r.size(), 1u);
  EXPECT_EQ(r[0].replicas, 6);  // two of the three that do not serve; budget is 10 - 8
}

TEST(DeploymentLogic, AScaleIsSharedByTheSizesOfTheReplicaSets) {
  Deployment d = deployment(20, 0, 2);
  d.status.replicas = 10;
  auto old = set("old", 8, 8, 100), fresh = set("new", 2, 2);
  for (auto& s : {old, fresh}) {
    s->metadata.annotations[kDesiredReplicas] = "10";
    s->metadata.annotations[kMaxReplicas] = "10";
  }
  EXPECT_TRUE(is_scaling_event(d, {old, fresh}));
  std::vector<Resize> r = scale_proportionally(d, {old, fresh}, {old}, fresh);
  ASSERT_EQ(r.size(), 2u);
  int total = r[0].replicas + r[1].replicas;
  EXPECT_EQ(total, 20);
  EXPECT_EQ(r[0].set->metadata.name, "old");
  EXPECT_EQ(r[0].replicas, 16);
}

TEST(DeploymentLogic, ANewReplicaSetThatIsTooLargeShrinks) {
  Deployment d = deployment(1, 1, 0);
  EXPECT_EQ(new_set_size(d, {set("new", 2, 2)}, *set("new", 2, 2)), 1);
}

TEST(DeploymentLogic, AScaleThatChangesNoSizeIsNotedAllTheSame) {
  Deployment d = deployment(9, 3, 2);
  auto a = set("a", 7, 7, 100), b = set("b", 5, 5, 50);
  for (auto& s : {a, b}) s->metadata.annotations[kDesiredReplicas] = "10";
  ASSERT_TRUE(is_scaling_event(d, {a, b}));
  std::vector<Resize> r = scale_proportionally(d, {a, b}, {a, b}, nullptr);
  ASSERT_EQ(r.size(), 2u);  // whoever carries them out writes the annotations
  EXPECT_EQ(r[0].replicas, r[0].set->spec.replicas);
  EXPECT_EQ(r[1].replicas, r[1].set->spec.replicas);
  // One ReplicaSet that has the size already.
  r = scale_proportionally(d, {set("a", 9, 9)}, {}, set("a", 9, 9));
  EXPECT_EQ(r.size(), 1u);
}

// A rollout step by step with pods that become available in any order: the bounds hold at every step and
// it ends. Random; the seed is printed on failure.
TEST(DeploymentLogic, ARolloutKeepsItsBoundsAndEnds) {
  for (uint64_t seed = 1; seed <= 300; ++seed) {
    SCOPED_TRACE("seed " + std::to_string(seed));
    std::mt19937_64 rng(seed);
    int replicas = 1 + rng() % 20;
    Deployment d = deployment(replicas, static_cast<int>(rng() % 5), static_cast<int>(rng() % 5));
    Bounds b = bounds_of(d);
    int least = replicas - max_unavailable(d), most = replicas + b.surge;
    auto old = set("old", replicas, replicas, 100), fresh = set("new", 0, 0);
    bool done = false;
    for (int step = 0; step < 500 && !done; ++step) {
      std::vector<SetPtr> all{old, fresh};
      int want = new_set_size(d, all, *fresh);
      if (want != *fresh->spec.replicas) {
        fresh->spec.replicas = fresh->status.replicas = want;
      } else {
        for (auto& r : shrink_old(d, all, {old}, *fresh)) {
          old->spec.replicas = old->status.replicas = r.replicas;
          old->status.available_replicas = old->status.ready_replicas = std::min(old->status.available_replicas, r.replicas);
        }
      }
      ASSERT_LE(*old->spec.replicas + *fresh->spec.replicas, most);
      ASSERT_GE(old->status.available_replicas + fresh->status.available_replicas, least);
      if (fresh->status.available_replicas < *fresh->spec.replicas && rng() % 2) {
        ++fresh->status.available_replicas;
        ++fresh->status.ready_replicas;
      }
      done = *old->spec.replicas == 0 && fresh->status.available_replicas == replicas;
    }
    EXPECT_TRUE(done);
  }
}

TEST(DeploymentLogic, ConditionsTellProgressCompletionAndTimeout) {
  Deployment d = deployment(2, 1, 0);
  auto fresh = set("web-abc", 2, 0);
  d.status = deployment_status(d, {fresh}, fresh, 0, kNow);
  set_condition(d.status, "Progressing", "True", "NewReplicaSetCreated", "x", kNow);
  EXPECT_EQ(find(d.status, "Available")->status, "False");
  EXPECT_EQ(find(d.status, "Available")->reason, "MinimumReplicasUnavailable");

  auto stuck = deployment_status(d, {fresh}, fresh, 0, kNow + 601s);
  EXPECT_EQ(find(stuck, "Progressing")->reason, "ProgressDeadlineExceeded");
  EXPECT_EQ(find(stuck, "Progressing")->status, "False");

  fresh->status.ready_replicas = fresh->status.available_replicas = 1;
  auto moving = deployment_status(d, {fresh}, fresh, 0, kNow + 500s);
  EXPECT_EQ(find(moving, "Progressing")->reason, "ReplicaSetUpdated");
  d.status = moving;
  fresh->status.ready_replicas = fresh->status.available_replicas = 2;
  auto complete = deployment_status(d, {fresh}, fresh, 0, kNow + 900s);
  EXPECT_EQ(find(complete, "Progressing")->reason, "NewReplicaSetAvailable");
  EXPECT_EQ(find(complete, "Available")->reason, "MinimumReplicasAvailable");
  EXPECT_EQ(complete.updated_replicas, 2);
}

TEST(DeploymentLogic, WhilePausedOnlyAvailabilityIsLookedAt) {
  Deployment d = deployment(2, 1, 0);
  d.spec.paused = true;
  set_condition(d.status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", kNow);
  auto fresh = set("web-abc", 2, 2);
  auto s = deployment_status(d, {fresh}, fresh, 0, kNow);
  EXPECT_EQ(find(s, "Available")->status, "True");
  EXPECT_EQ(find(s, "Progressing")->reason, "DeploymentPaused") << "or pausing and completion overwrite each other for ever";
}

TEST(Pods, TheLeastUsefulAreDeletedFirst) {
  auto pod = [](const char* uid, const char* node, const char* phase, bool ready) {
    kube::core::Pod p;
    p.metadata.uid = uid;
    p.spec.node_name = node;
    p.status.phase = phase;
    if (ready) {
      kube::core::PodCondition c;
      c.type = "Ready";
      c.status = "True";
      c.last_transition_time = kNow - 100s;
      p.status.conditions.push_back(c);
    }
    return p;
  };
  std::map<std::string, int> none;
  auto unbound = pod("z", "", "Pending", false), pending = pod("y", "n1", "Pending", false), running = pod("x", "n1", "Running", false),
       ready = pod("a", "n1", "Running", true);
  EXPECT_TRUE(delete_before(unbound, pending, none, kNow));
  EXPECT_TRUE(delete_before(pending, running, none, kNow));
  EXPECT_TRUE(delete_before(running, ready, none, kNow));
  auto costly = ready;
  costly.metadata.annotations["controller.kubernetes.io/pod-deletion-cost"] = "10";
  EXPECT_TRUE(delete_before(ready, costly, none, kNow));
  auto crowded = pod("b", "n2", "Running", true);
  EXPECT_TRUE(delete_before(crowded, ready, {{"n1", 1}, {"n2", 3}}, kNow));
}

TEST(Selectors, ExpressionsAndNull) {
  kube::meta::LabelSelector s;
  kube::meta::LabelSelectorRequirement r;
  r.key = "app";
  r.operator_ = "NotIn";
  r.values = {"db"};
  s.match_expressions.push_back(r);
  EXPECT_TRUE(matches(s, {}));
  EXPECT_TRUE(matches(s, {{"app", "web"}}));
  EXPECT_FALSE(matches(s, {{"app", "db"}}));
  EXPECT_FALSE(matches(std::optional<kube::meta::LabelSelector>(), {{"app", "web"}}));
}

std::vector<std::string> types(const kube::apps::DeploymentStatus& s) {
  std::vector<std::string> out;
  for (auto& c : s.conditions) out.push_back(c.type);
  return out;
}

TEST(DeploymentLogic, TheLatestNewsIsTheLastCondition) {
  kube::apps::DeploymentStatus s;
  set_condition(s, "Progressing", "True", "NewReplicaSetCreated", "", kNow);
  set_condition(s, "Available", "False", "MinimumReplicasUnavailable", "", kNow);
  set_condition(s, "Progressing", "True", "NewReplicaSetAvailable", "", kNow + 5s);
  EXPECT_EQ(types(s), (std::vector<std::string>{"Available", "Progressing"}));
  EXPECT_EQ(find(s, "Progressing")->last_transition_time, kNow);
  EXPECT_EQ(find(s, "Progressing")->last_update_time, kNow + 5s);
  set_condition(s, "Available", "False", "MinimumReplicasUnavailable", "", kNow + 9s);  // no news
  EXPECT_EQ(types(s), (std::vector<std::string>{"Available", "Progressing"}));
}

TEST(DeploymentLogic, WithoutADeadlineThereIsNoProgressCondition) {
  for (bool endless : {false, true}) {
    Deployment d = deployment(1, 1, 0);
    d.spec.progress_deadline_seconds = endless ? std::optional<int32_t>(0x7fffffff) : std::nullopt;
    set_condition(d.status, "Progressing", "True", "NewReplicaSetCreated", "", kNow);
    auto rs = set("web-1", 1, 0);
    EXPECT_EQ(find(deployment_status(d, {rs}, rs, 0, kNow), "Progressing"), nullptr);
  }
}

TEST(DeploymentLogic, AFailureIsTakenOverWithItsTime) {
  Deployment d = deployment(1, 1, 0);
  auto fail = [](const std::shared_ptr<ReplicaSet>& rs, const std::string& message) {
    rs->status.conditions.emplace_back();
    auto& c = rs->status.conditions.back();
    c.type = "ReplicaFailure";
    c.status = "True";
    c.reason = "FailedCreate";
    c.message = message;
    c.last_transition_time = kNow - 100s;
  };
  auto first = set("web-1", 1, 0), second = set("web-2", 1, 0), fresh = set("web-3", 1, 0);
  fail(first, "one");
  fail(second, "two");
  auto s = deployment_status(d, {first, second, fresh}, fresh, 0, kNow);
  ASSERT_NE(find(s, "ReplicaFailure"), nullptr);
  EXPECT_EQ(find(s, "ReplicaFailure")->message, "one");
  EXPECT_EQ(find(s, "ReplicaFailure")->last_transition_time, kNow - 100s);
  EXPECT_EQ(find(s, "ReplicaFailure")->last_update_time, kNow - 100s);
  fail(fresh, "three");
  EXPECT_EQ(find(deployment_status(d, {first, second, fresh}, fresh, 0, kNow), "ReplicaFailure")->message, "three");
}

TEST(DeploymentLogic, RevisionHistoryAndNamesHaveAnEnd) {
  EXPECT_EQ(longer_history("", "1"), "1");
  EXPECT_EQ(longer_history("1,2", "5"), "1,2,5");
  std::string h = "1";
  for (int i = 2; i < 1000; ++i) h = longer_history(h, std::to_string(i));
  EXPECT_LE(h.size(), 2000u);
  EXPECT_GT(h.size(), 1990u);
  EXPECT_EQ(h.substr(0, 4), "500,");
  EXPECT_EQ(h.substr(h.size() - 8), ",998,999");
  EXPECT_EQ(set_name("web", "abc"), "web-abc");
  EXPECT_EQ(set_name(std::string(253, 'w'), "abc"), std::string(249, 'w') + "-abc");
}

}  // namespace
}  // namespace caravel::controllers
