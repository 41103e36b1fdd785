#include "controllers/daemonset_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

const Time kNow = Time::from_seconds(1'700'000'000);

PodPtr daemon(const std::string& name, const std::string& hash, bool ready, const std::string& phase = "Running") {
  auto p = std::make_shared<kube::core::Pod>();
  p->metadata.name = p->metadata.uid = name;
  p->metadata.namespace_ = "kube-system";
  p->metadata.labels["controller-revision-hash"] = hash;
  p->metadata.creation_timestamp = kNow - 60s;
  p->spec.node_name = "a";
  p->status.phase = phase;
  p->status.conditions.emplace_back();
  p->status.conditions[0].type = "Ready";
  p->status.conditions[0].status = ready ? "True" : "False";
  p->status.conditions[0].last_transition_time = kNow - 30s;
  return p;
}
PodPtr leaving(const PodPtr& p) {
  auto out = std::make_shared<kube::core::Pod>(*p);
  out->metadata.deletion_timestamp = kNow;
  return out;
}
DaemonNode node(std::vector<PodPtr> pods, bool run = true, const std::string& name = "a") {
  DaemonNode n;
  n.name = name;
  n.run = run;
  n.stay = true;
  n.pods = std::move(pods);
  return n;
}
DaemonRules rules(int surge, int unavailable) {
  DaemonRules r;
  r.hash = "new";
  r.max_surge = surge;
  r.max_unavailable = unavailable;
  return r;
}
std::vector<std::string> removed(const DaemonPlan& p) {
  std::vector<std::string> out;
  for (auto& x : p.remove) out.push_back(x->metadata.name);
  return out;
}
using Names = std::vector<std::string>;

TEST(DaemonSetLogic, FailedPodsAreKilledLessAndLessOften) {
  FailedPodBackoff backoff;
  auto look = [&](Duration later) { return plan_daemons({node({daemon("p", "new", false, "Failed")})}, rules(0, 1), "uid/1/", backoff, kNow + later); };
  DaemonPlan p = look(0s);
  EXPECT_EQ(removed(p), Names{"p"});
  ASSERT_EQ(p.events.size(), 1u);
  EXPECT_TRUE(p.events[0].warning);
  EXPECT_EQ(p.events[0].reason, "FailedDaemonPod");
  EXPECT_EQ(p.events[0].message, "Found failed daemon pod kube-system/p on node a, will try to kill it");
  p = look(200ms);
  EXPECT_TRUE(p.remove.empty());
  EXPECT_TRUE(p.events.empty());
  EXPECT_EQ(p.again, std::optional<Duration>(800ms));
  EXPECT_EQ(removed(look(1s)), Names{"p"});
  EXPECT_TRUE(look(2s).remove.empty());  // two seconds now
  EXPECT_EQ(removed(look(3s)), Names{"p"});
}

TEST(DaemonSetLogic, ASucceededPodIsNoWarning) {
  FailedPodBackoff backoff;
  DaemonPlan p = plan_daemons({node({daemon("p", "new", false, "Succeeded")})}, rules(0, 1), "", backoff, kNow);
  EXPECT_EQ(removed(p), Names{"p"});
  ASSERT_EQ(p.events.size(), 1u);
  EXPECT_FALSE(p.events[0].warning);
  EXPECT_EQ(p.events[0].reason, "SucceededDaemonPod");
  EXPECT_EQ(p.events[0].message, "Found succeeded daemon pod kube-system/p on node a, will try to delete it");
}

TEST(DaemonSetLogic, OnlyWithASurgeAPodStartsBesideOneThatGoes) {
  FailedPodBackoff backoff;
  const std::vector<DaemonNode> nodes{node({leaving(daemon("p", "new", true))})};
  EXPECT_TRUE(plan_daemons(nodes, rules(0, 1), "", backoff, kNow).create_on.empty());
  EXPECT_EQ(plan_daemons(nodes, rules(1, 0), "", backoff, kNow).create_on, Names{"a"});
}

TEST(DaemonSetLogic, TheOldPodStaysUntilItsSuccessorServes) {
  FailedPodBackoff backoff;
  auto look = [&](bool old_ready, bool new_ready) {
    return removed(plan_daemons({node({daemon("old", "old", old_ready), daemon("fresh", "new", new_ready)})}, rules(1, 0), "", backoff, kNow));
  };
  EXPECT_EQ(look(true, false), Names{});
  EXPECT_EQ(look(true, true), Names{"old"});
  EXPECT_EQ(look(false, false), Names{"old"});  // it serves nobody
}

TEST(DaemonSetLogic, AnOldPodThatDoesNotServeGetsItsSuccessorBeyondTheSurge) {
  std::vector<DaemonNode> nodes{node({daemon("x", "old", false)}, true, "a"), node({daemon("y", "old", true)}, true, "b"), node({daemon("z", "old", true)}, true, "c")};
  DaemonPlan p = roll_daemons(nodes, rules(1, 0), kNow);
  EXPECT_EQ(p.create_on, (Names{"a", "b"}));
  EXPECT_TRUE(p.remove.empty());
}

TEST(DaemonSetLogic, WithASurgeAMisplacedPodGoesWhenEnoughServeElsewhere) {
  std::vector<DaemonNode> nodes{node({daemon("x", "old", true)}, false, "a"), node({daemon("y", "new", false)}, true, "b")};
  EXPECT_EQ(removed(roll_daemons(nodes, rules(1, 0), kNow)), Names{});
  nodes[1].pods = {daemon("y", "new", true)};
  EXPECT_EQ(removed(roll_daemons(nodes, rules(1, 0), kNow)), Names{"x"});
}

TEST(DaemonSetLogic, MaxUnavailableCountsNodesWithoutAServingPod) {
  std::vector<DaemonNode> nodes{node({daemon("x", "old", true)}, true, "a"), node({daemon("y", "old", false)}, true, "b"), node({daemon("z", "new", true)}, true, "c")};
  EXPECT_EQ(removed(roll_daemons(nodes, rules(0, 1), kNow)), Names{"y"});  // it costs nothing, but it is the one
  EXPECT_EQ(removed(roll_daemons(nodes, rules(0, 2), kNow)), (Names{"y", "x"}));
  // A pod that may stay where none belongs is updated too, as upstream.
  EXPECT_EQ(removed(roll_daemons({node({daemon("x", "old", true)}, false)}, rules(0, 1), kNow)), Names{"x"});
}

}  // namespace
}  // namespace caravel::controllers
