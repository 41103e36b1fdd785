// The plugins' rules in small, by the numbers that upstream's documentation gives.
#include <gtest/gtest.h>

#include "kube/types/core.h"
#include "scheduler/cluster.h"
#include "scheduler/pod_spec.h"

namespace caravel::scheduler {
namespace {

NodeSpec node(const std::string& name, int64_t cpu = 4000, int64_t memory = int64_t{16} << 30) {
  NodeSpec n;
  n.name = name;
  n.labels["kubernetes.io/hostname"] = name;
  n.allocatable.cpu = cpu;
  n.allocatable.memory = memory;
  n.max_pods = 110;
  return n;
}
PodSpec pod(int64_t cpu = 100, int64_t memory = int64_t{100} << 20) {
  PodSpec p;
  p.ns = "default";
  p.request.cpu = p.nonzero_cpu = cpu;
  p.request.memory = p.nonzero_memory = memory;
  return p;
}
constexpr int64_t kMb = 1 << 20;

TEST(ImageLocality, ScoresFromTwentyThreeMegabytesToOneThousandPerContainer) {
  EXPECT_EQ(image_score(22 * kMb, 1), 0);
  EXPECT_EQ(image_score(23 * kMb, 1), 0);
  EXPECT_EQ(image_score(1000 * kMb, 1), 100);
  EXPECT_EQ(image_score(5000 * kMb, 1), 100);
  EXPECT_EQ(image_score(1000 * kMb, 2), 100 * (1000 - 23) / (2000 - 23));
}

TEST(ImageLocality, PodsGoWhereTheirImageIsAndFollowItWhenItMoves) {
  Cluster c;
  NodeSpec with = node("with");
  with.images["web:1"] = 900 * kMb;
  c.set_node(with);
  c.set_node(node("without"));
  PodSpec p = pod();
  p.images = {"web:1"};
  ClassId k = c.intern(p);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(c.node_name(c.schedule(k).node), "with");
  with.images.clear();
  c.set_node(with);
  NodeSpec other = node("without");
  other.images["web:1"] = 900 * kMb;
  c.set_node(other);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(c.node_name(c.schedule(k).node), "without");
}

TEST(ImageLocality, AnImageWithoutATagMeansLatest) {
  EXPECT_EQ(normalized_image("nginx"), "nginx:latest");
  EXPECT_EQ(normalized_image("registry:5000/nginx"), "registry:5000/nginx:latest");
  EXPECT_EQ(normalized_image("registry:5000/nginx:1"), "registry:5000/nginx:1");
}

TEST(NodeVolumeLimits, CountsEachVolumeOnceAndPodsThatAreOnTheirWay) {
  Cluster c;
  c.set_attach_limits("n", {{"ebs", 2}});  // before the node is there
  NodeId n = c.set_node(node("n"));
  auto with = [&](std::vector<AttachedVolume> volumes) {
    PodSpec p = pod();
    p.attached = std::move(volumes);
    return c.intern(p);
  };
  PodId first = c.add_pod(with({{"ebs", "a"}}), n);
  EXPECT_TRUE(c.fits(with({{"ebs", "a"}, {"ebs", "b"}}), n));
  c.add_pod(with({{"ebs", "b"}}), n);
  EXPECT_TRUE(c.fits(with({{"ebs", "a"}}), n)) << "attached already";
  EXPECT_TRUE(c.fits(with({{"efs", "x"}}), n)) << "another driver without a limit";
  ClassId third = with({{"ebs", "c"}});
  EXPECT_EQ(c.schedule(third).node, -1);
  Failure why = c.explain(third);
  EXPECT_EQ(describe_failure(why),
            "0/1 nodes are available: 1 node(s) exceed max volume count. no new claims to deallocate, preemption: 0/1 nodes are "
            "available: 1 No preemption victims found for incoming pod.");
  EXPECT_EQ(why.plugins, uint32_t{kNodeVolumeLimits});
  c.remove_pod(first);
  EXPECT_EQ(c.schedule(third).node, n);
}

TEST(NodeResourcesFit, MostAllocatedPacksAndLeastAllocatedSpreads) {
  Profile pack, spread;
  pack.fit = FitStrategy::kMostAllocated;
  pack.weights.balanced = spread.weights.balanced = 0;
  Cluster c(1, {spread, pack});
  NodeId used = c.set_node(node("used")), empty = c.set_node(node("empty"));
  c.add_pod(c.intern(pod(2000, int64_t{8} << 30)), used);
  EXPECT_EQ(c.schedule(c.intern(pod(), 0)).node, empty);
  EXPECT_EQ(c.schedule(c.intern(pod(), 1)).node, used);
}

TEST(NodeResourcesFit, RequestedToCapacityRatioFollowsItsShapeForExtendedResources) {
  Profile bin;
  bin.fit = FitStrategy::kRequestedToCapacityRatio;
  bin.fit_resources = {{"example.com/gpu", 5}};
  bin.fit_shape = {{0, 0}, {100, 10}};
  bin.weights.balanced = 0;
  Cluster c(1, {bin});
  NodeSpec few = node("few"), many = node("many");
  few.allocatable.other["example.com/gpu"] = 2;
  many.allocatable.other["example.com/gpu"] = 8;
  NodeId small = c.set_node(few);
  c.set_node(many);
  PodSpec p = pod();
  p.request.other["example.com/gpu"] = 1;
  Decision d = c.schedule(c.intern(p));
  EXPECT_EQ(d.node, small);
  EXPECT_EQ(d.score, 50);
}

TEST(NodeAffinity, AddedAffinityTurnsNodesDownForAllPodsOfTheProfile) {
  Profile p;
  p.enforced_nodes = std::vector<NodeTerm>{NodeTerm{{{"pool", Op::kIn, {"gold"}}}, {}}};
  Cluster c(1, {Profile(), p});
  c.set_node(node("n"));
  EXPECT_GE(c.schedule(c.intern(pod(), 0)).node, 0);
  ClassId k = c.intern(pod(), 1);
  EXPECT_EQ(c.schedule(k).node, -1);
  EXPECT_EQ(c.explain(k).reasons, (std::map<std::string, int>{{"node(s) didn't match scheduler-enforced node affinity", 1}}));
}

TEST(Profiles, AFilterThatIsOffTurnsNobodyDown) {
  Profile lax;
  lax.filters &= ~static_cast<uint32_t>(kTaintToleration | kNodeResourcesFit);
  Cluster c(1, {Profile(), lax});
  NodeSpec n = node("n", 50);
  n.taints.push_back({"gpu", "", Effect::kNoSchedule});
  c.set_node(n);
  EXPECT_EQ(c.schedule(c.intern(pod(), 0)).node, -1);
  EXPECT_EQ(c.schedule(c.intern(pod(), 1)).node, 0);
}

TEST(DefaultConstraints, AListTakesTheSystemsPlace) {
  kube::core::Pod p;
  p.metadata.name = "a";
  p.spec.containers.emplace_back().image = "web";
  Profile profile;
  profile.default_spread = false;
  SpreadConstraint zone;
  zone.topology_key = "zone";
  profile.default_constraints = {{zone, true}};
  Selector siblings{false, {{"app", Op::kIn, {"x"}}}};
  PodSpec s = scheduling_spec_of(p, {}, siblings, profile);
  ASSERT_EQ(s.hard_spread.size(), 1u);
  EXPECT_EQ(s.hard_spread[0].selector.all.size(), 1u);
  EXPECT_TRUE(s.soft_spread.empty());
  EXPECT_TRUE(scheduling_spec_of(p, {}, std::nullopt, profile).hard_spread.empty());
  EXPECT_EQ(scheduling_spec_of(p, {}, siblings, Profile()).soft_spread.size(), 2u);
  EXPECT_EQ(s.images, std::vector<std::string>{"web:latest"});
}

TEST(VolumeRestrictions, AHeldClaimIsToldBeforeWhatComesAfterIt) {
  Cluster c;
  c.set_node(node("small", 50));
  c.set_node(node("large"));
  PodSpec p = pod();
  p.volume_nodes.push_back({{}, "node(s) didn't find available persistent volumes to bind", false});
  ClassId k = c.intern(p);
  Failure f = c.explain(k, true);
  EXPECT_EQ(f.reasons, (std::map<std::string, int>{{"Insufficient cpu", 1}, {kClaimHeld, 1}}));
  EXPECT_EQ(f.plugins, uint32_t{kNodeResourcesFit | kVolumeRestrictions});
  EXPECT_EQ(f.preemption_may_help, 1u);
}

TEST(NodeAffinity, NamesThatContradictEachOtherAreAConflict) {
  PodSpec p = pod();
  auto term = [](std::vector<std::vector<std::string>> names) {
    NodeTerm t;
    for (auto& n : names) t.fields.push_back({"metadata.name", Op::kIn, n});
    return t;
  };
  EXPECT_FALSE(names_conflict(p));
  p.required_nodes = {{term({{"a"}, {"b"}})}};
  EXPECT_TRUE(names_conflict(p));
  p.required_nodes->push_back(term({{"a"}, {"a", "b"}}));
  EXPECT_FALSE(names_conflict(p));
  p.required_nodes = {{term({{"a"}, {"b"}}), term({})}};
  EXPECT_FALSE(names_conflict(p)) << "the second term asks for no name";
}

// Upstream's sentences after a failure: those of DynamicResources and DefaultPreemption, where the profile has them.
TEST(Failures, WhatIsSaidAfterwardsDependsOnTheProfile) {
  Failure f;
  f.nodes = 2;
  f.reasons["Insufficient cpu"] = 2;
  f.preemption_may_help = 1;
  const std::string head = "0/2 nodes are available: 2 Insufficient cpu.";
  EXPECT_EQ(describe_failure(f), head +
                                     " no new claims to deallocate, preemption: 0/2 nodes are available: 1 No preemption victims found for incoming pod, 1 Preemption is not helpful for "
                                     "scheduling.");
  f.preemption_note = "not eligible due to preemptionPolicy=Never.";
  EXPECT_EQ(describe_failure(f), head + " no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.");
  f.deallocates = false;
  EXPECT_EQ(describe_failure(f), head + " preemption: not eligible due to preemptionPolicy=Never.");
  f.preempts = false;
  EXPECT_EQ(describe_failure(f), head);
  f.prefilter = "pod affinity terms conflict";
  EXPECT_EQ(describe_failure(f), "0/2 nodes are available: pod affinity terms conflict.");
  f.preempts = f.deallocates = true;
  EXPECT_EQ(describe_failure(f), "0/2 nodes are available: pod affinity terms conflict. no new claims to deallocate, preemption: not eligible due to preemptionPolicy=Never.");
}

TEST(Failures, TheNoteOfAnEventIsCutAtItsLimit) {
  EXPECT_EQ(event_note(std::string(1024, 'x')).size(), 1024u);
  const std::string cut = event_note(std::string(2000, 'x'));
  EXPECT_EQ(cut.size(), 1024u);
  EXPECT_TRUE(cut.ends_with("xxx ..."));
}

// Queueing hints of InterPodAffinity, PodTopologySpread and the volume plugins.
TEST(Hints, APodThatComesOrGoesHelpsOnlyThoseThatMindIt) {
  Cluster c;
  c.set_node(node("n"));
  auto with = [](const std::string& app, const std::string& ns = "default") {
    PodSpec p = pod();
    p.ns = ns;
    p.labels["app"] = app;
    return p;
  };
  const Selector web{false, {{"app", Op::kIn, {"web"}}}};
  PodSpec friendly = with("friend"), shy = with("shy"), spread = with("spread"), restricted = with("restricted");
  friendly.affinity.push_back({web, {"default"}, std::nullopt, "kubernetes.io/hostname"});
  shy.anti_affinity.push_back({web, {"default"}, std::nullopt, "kubernetes.io/hostname"});
  SpreadConstraint s;
  s.max_skew = 1;
  s.topology_key = "kubernetes.io/hostname";
  s.selector = web;
  spread.hard_spread.push_back(s);
  const ClassId f = c.intern(friendly), a = c.intern(shy), t = c.intern(spread), r = c.intern(restricted);
  constexpr bool kCame = true, kLeft = false;

  EXPECT_TRUE(c.may_gain(f, kInterPodAffinity, with("web"), kCame));
  EXPECT_FALSE(c.may_gain(f, kInterPodAffinity, with("web"), kLeft)) << "it would have helped";
  EXPECT_FALSE(c.may_gain(f, kInterPodAffinity, with("db"), kCame));
  EXPECT_FALSE(c.may_gain(f, kInterPodAffinity, with("web", "other"), kCame));

  EXPECT_TRUE(c.may_gain(a, kInterPodAffinity, with("web"), kLeft));
  EXPECT_FALSE(c.may_gain(a, kInterPodAffinity, with("web"), kCame));
  PodSpec hater = with("hater");
  hater.anti_affinity.push_back({Selector{false, {{"app", Op::kIn, {"shy"}}}}, {"default"}, std::nullopt, "kubernetes.io/hostname"});
  EXPECT_TRUE(c.may_gain(a, kInterPodAffinity, hater, kLeft)) << "or it minded this one";

  for (bool came : {kCame, kLeft}) EXPECT_TRUE(c.may_gain(t, kPodTopologySpread, with("web"), came));
  EXPECT_FALSE(c.may_gain(t, kPodTopologySpread, with("db"), kLeft));
  EXPECT_FALSE(c.may_gain(t, kPodTopologySpread, with("web", "other"), kLeft));

  EXPECT_TRUE(c.may_gain(r, kVolumeRestrictions, with("db"), kLeft));
  EXPECT_FALSE(c.may_gain(r, kVolumeRestrictions, with("db", "other"), kLeft));
  PodSpec mounted = with("db");
  mounted.attached.push_back({"ebs.csi.aws.com", "vol"});
  EXPECT_TRUE(c.may_gain(r, kNodeVolumeLimits, mounted, kLeft));
  EXPECT_FALSE(c.may_gain(r, kNodeVolumeLimits, with("db"), kLeft));
  EXPECT_TRUE(c.may_gain(r, kExtenders, with("db"), kCame)) << "extenders do not say what helps";
}

}  // namespace
}  // namespace caravel::scheduler
