#include "controllers/volume_binding.h"

#include <gtest/gtest.h>

#include "controllers/attachments.h"
#include "controllers/common.h"
#include "controllers/volume_expansion.h"
#include "controllers/volume_protection.h"

namespace caravel::controllers {
namespace {

using kube::Quantity;
using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::storage::StorageClass;

std::shared_ptr<PersistentVolume> volume(const std::string& name, const char* size, const std::string& cls = "") {
  auto v = std::make_shared<PersistentVolume>();
  v->metadata.name = name;
  v->metadata.uid = "uid-" + name;
  v->spec.capacity["storage"] = Quantity::of(size);
  v->spec.access_modes = {"ReadWriteOnce"};
  v->spec.storage_class_name = cls;
  v->spec.persistent_volume_reclaim_policy = "Retain";
  v->status.phase = "Available";
  return v;
}
std::shared_ptr<PersistentVolumeClaim> claim(const std::string& name, const char* size, const std::string& cls = "") {
  auto c = std::make_shared<PersistentVolumeClaim>();
  c->metadata.name = name;
  c->metadata.namespace_ = "default";
  c->metadata.uid = "uid-" + name;
  c->spec.resources.requests["storage"] = Quantity::of(size);
  c->spec.access_modes = {"ReadWriteOnce"};
  c->spec.storage_class_name = cls;
  c->status.phase = "Pending";
  return c;
}
std::shared_ptr<StorageClass> storage_class(const std::string& name, const char* mode, const char* provisioner = "ebs.csi.aws.com") {
  auto s = std::make_shared<StorageClass>();
  s->metadata.name = name;
  s->provisioner = provisioner;
  s->volume_binding_mode = mode;
  return s;
}
void refer(PersistentVolume& v, const PersistentVolumeClaim& c, bool with_uid = true) {
  v.spec.claim_ref.emplace();
  v.spec.claim_ref->namespace_ = c.metadata.namespace_;
  v.spec.claim_ref->name = c.metadata.name;
  if (with_uid) v.spec.claim_ref->uid = c.metadata.uid;
}
// Plays the steps, as the API server would; the objects afterwards.
struct Played {
  std::shared_ptr<PersistentVolume> v;
  std::shared_ptr<PersistentVolumeClaim> c;
};
Played play(const VolumePlan& plan) {
  Played p;
  for (auto& s : plan.steps) {
    if (auto* v = std::get_if<PersistentVolume>(&s.object)) p.v = std::make_shared<PersistentVolume>(*v);
    else p.c = std::make_shared<PersistentVolumeClaim>(std::get<PersistentVolumeClaim>(s.object));
  }
  return p;
}

TEST(VolumeBinding, TheSmallestVolumeThatServesIsBoundVolumeFirst) {
  VolumeWorld w;
  w.volumes = {volume("big", "10Gi"), volume("small", "1Gi"), volume("fits", "5Gi"), volume("other", "5Gi", "fast")};
  auto c = claim("data", "3Gi");
  VolumePlan plan = plan_claim(c, w);
  ASSERT_EQ(plan.steps.size(), 4u);  // volume, its status, claim, its status
  EXPECT_TRUE(std::holds_alternative<PersistentVolume>(plan.steps[0].object));
  Played p = play(plan);
  EXPECT_EQ(p.v->metadata.name, "fits");
  EXPECT_EQ(p.v->spec.claim_ref->uid, "uid-data");
  EXPECT_EQ(p.v->status.phase, "Bound");
  EXPECT_EQ(p.v->metadata.annotations[kBoundByController], "yes");
  EXPECT_EQ(p.c->spec.volume_name, "fits");
  EXPECT_EQ(p.c->metadata.annotations[kBindCompleted], "yes");
  EXPECT_EQ(p.c->status.phase, "Bound");
  EXPECT_EQ(p.c->status.capacity.at("storage"), Quantity::of("5Gi"));
  // Nothing is left to do.
  w.volumes = {p.v};
  EXPECT_TRUE(plan_claim(p.c, w).steps.empty());
  EXPECT_TRUE(plan_volume(p.v, p.c).steps.empty());
}

TEST(VolumeBinding, EveryPrefixOfABindingIsFinishedLater) {
  VolumeWorld w;
  w.volumes = {volume("v", "5Gi")};
  VolumePlan plan = plan_claim(claim("data", "3Gi"), w);
  for (size_t done = 0; done <= plan.steps.size(); ++done) {
    SCOPED_TRACE(done);
    VolumePlan part;
    part.steps.assign(plan.steps.begin(), plan.steps.begin() + done);
    Played p = play(part);
    VolumeWorld later;
    later.volumes = {p.v ? VolumePtr(p.v) : w.volumes[0]};
    std::shared_ptr<PersistentVolumeClaim> c = p.c ? p.c : claim("data", "3Gi");
    Played end = play(plan_claim(c, later));
    EXPECT_EQ((end.c ? end.c : p.c)->status.phase, "Bound");
  }
}

TEST(VolumeBinding, SelectorModeAndAccessModesFilter) {
  auto c = claim("data", "1Gi");
  c->spec.selector.emplace();
  c->spec.selector->match_labels["tier"] = "gold";
  auto v = volume("v", "1Gi");
  EXPECT_EQ(best_match(*c, {v}, false), nullptr);
  v->metadata.labels["tier"] = "gold";
  EXPECT_EQ(best_match(*c, {v}, false), v);
  v->spec.volume_mode = "Block";
  EXPECT_EQ(best_match(*c, {v}, false), nullptr);
  v->spec.volume_mode = "Filesystem";
  c->spec.access_modes = {"ReadWriteMany"};
  EXPECT_EQ(best_match(*c, {v}, false), nullptr);
  v->spec.access_modes = {"ReadWriteOnce", "ReadWriteMany"};
  EXPECT_EQ(best_match(*c, {v}, false), v);
  v->status.phase = "Released";
  EXPECT_EQ(best_match(*c, {v}, false), nullptr);
}

TEST(VolumeBinding, AVolumeThatTheUserReservedIsTakenAndKeepsItsPointer) {
  auto v = volume("mine", "100Gi");
  auto c = claim("data", "1Gi");
  refer(*v, *c, false);
  VolumeWorld w;
  w.volumes = {volume("tiny", "1Gi"), v};
  Played p = play(plan_claim(c, w));
  EXPECT_EQ(p.v->metadata.name, "mine");
  EXPECT_EQ(p.v->spec.claim_ref->uid, "uid-data");
  EXPECT_EQ(p.v->metadata.annotations.count(kBoundByController), 0u);
}

TEST(VolumeBinding, ANamedVolumeThatDoesNotSuitIsToldNotBound) {
  auto c = claim("data", "3Gi");
  c->spec.volume_name = "v";
  VolumeWorld w;
  w.volumes = {volume("v", "1Gi")};
  VolumePlan plan = plan_claim(c, w);
  EXPECT_TRUE(plan.steps.empty());
  EXPECT_TRUE(plan.retry);
  ASSERT_EQ(plan.events.size(), 1u);
  EXPECT_EQ(plan.events[0].reason, "VolumeMismatch");
  EXPECT_EQ(plan.events[0].message, "Cannot bind to requested volume \"v\": requested PV is too small");
  auto taken = volume("v", "5Gi");
  refer(*taken, *claim("other", "1Gi"));
  w.volumes = {taken};
  plan = plan_claim(c, w);
  EXPECT_EQ(plan.events[0].message, "volume \"v\" already bound to a different claim.");
}

TEST(VolumeBinding, WaitForFirstConsumerWaitsForThePodThenForTheProvisioner) {
  VolumeWorld w;
  w.classes = {storage_class("gp3", "WaitForFirstConsumer")};
  w.volumes = {volume("free", "10Gi", "gp3")};  // the scheduler's to choose, not ours
  auto c = claim("data", "1Gi", "gp3");
  VolumePlan plan = plan_claim(c, w);
  ASSERT_EQ(plan.events.size(), 1u);
  EXPECT_EQ(plan.events[0].reason, "WaitForFirstConsumer");
  EXPECT_EQ(plan.events[0].message, "waiting for first consumer to be created before binding");
  w.waiting_pods = {"web-0"};
  plan = plan_claim(c, w);
  EXPECT_EQ(plan.events[0].reason, "WaitForPodScheduled");
  EXPECT_EQ(plan.events[0].message, "waiting for pod web-0 to be scheduled");
  c->metadata.annotations[kSelectedNode] = "n1";
  plan = plan_claim(c, w);
  EXPECT_EQ(plan.events[0].reason, "ExternalProvisioning");
  Played p = play(plan);
  EXPECT_EQ(p.c->metadata.annotations[kStorageProvisioner], "ebs.csi.aws.com");
  EXPECT_EQ(p.c->metadata.annotations[kBetaStorageProvisioner], "ebs.csi.aws.com");
}

TEST(VolumeBinding, WithoutAClassOrWithAMissingOneTheClaimSaysWhy) {
  VolumeWorld w;
  EXPECT_EQ(plan_claim(claim("data", "1Gi"), w).events[0].reason, "FailedBinding");
  VolumePlan plan = plan_claim(claim("data", "1Gi", "gone"), w);
  EXPECT_EQ(plan.events[0].reason, "ProvisioningFailed");
  EXPECT_EQ(plan.events[0].message, "storageclass.storage.k8s.io \"gone\" not found");
  w.classes = {storage_class("local", "Immediate", "kubernetes.io/no-provisioner")};
  EXPECT_EQ(plan_claim(claim("data", "1Gi", "local"), w).events[0].message, "no volume plugin matched name: kubernetes.io/no-provisioner");
}

TEST(VolumeBinding, AClaimFromBeforeTheDefaultClassGetsIt) {
  VolumeWorld w;
  auto s = storage_class("gp3", "Immediate");
  s->metadata.annotations[kDefaultClass] = "true";
  w.classes = {s};
  auto c = claim("data", "1Gi");
  c->spec.storage_class_name.reset();
  EXPECT_EQ(play(plan_claim(c, w)).c->spec.storage_class_name, "gp3");
  c->spec.storage_class_name = "";  // explicitly none
  EXPECT_EQ(play(plan_claim(c, w)).c, nullptr);
}

TEST(VolumeBinding, ABoundClaimWhoseVolumeIsGoneIsLostForEver) {
  auto c = claim("data", "1Gi");
  c->spec.volume_name = "v";
  c->status.phase = "Bound";
  c->status.capacity["storage"] = Quantity::of("1Gi");
  c->metadata.annotations[kBindCompleted] = "yes";
  VolumeWorld w;
  w.volumes = {volume("spare", "1Gi")};
  VolumePlan plan = plan_claim(c, w);
  Played p = play(plan);
  EXPECT_EQ(p.c->status.phase, "Lost");
  EXPECT_TRUE(p.c->status.capacity.empty());
  EXPECT_EQ(plan.events[0].reason, "ClaimLost");
  EXPECT_TRUE(plan_claim(p.c, w).events.empty());  // told once
}

TEST(VolumeBinding, AVolumeIsReleasedWhenItsClaimGoesEvenIfANamesakeComes) {
  auto c = claim("data", "1Gi");
  auto v = volume("v", "1Gi");
  refer(*v, *c);
  v->status.phase = "Bound";
  EXPECT_EQ(play(plan_volume(v, nullptr)).v->status.phase, "Released");
  auto namesake = claim("data", "1Gi");
  namesake->metadata.uid = "another";
  EXPECT_EQ(play(plan_volume(v, namesake)).v->status.phase, "Released");
  // Retain: the data stays, nobody gets it.
  v->status.phase = "Released";
  EXPECT_TRUE(plan_volume(v, nullptr).steps.empty());
  // Delete: the provisioner's work if it made it; else nobody can.
  v->spec.persistent_volume_reclaim_policy = "Delete";
  VolumePlan plan = plan_volume(v, nullptr);
  EXPECT_EQ(play(plan).v->status.phase, "Failed");
  EXPECT_EQ(plan.events[0].reason, "VolumeFailedDelete");
  v->metadata.annotations[kProvisionedBy] = "ebs.csi.aws.com";
  EXPECT_TRUE(plan_volume(v, nullptr).steps.empty());
}

TEST(VolumeBinding, AVolumeWhoseClaimBoundElsewhereIsFreedOnlyAsFarAsTheControllerBoundIt) {
  auto c = claim("data", "1Gi");
  c->spec.volume_name = "other";
  auto v = volume("v", "1Gi");
  refer(*v, *c);
  v->status.phase = "Bound";
  Played p = play(plan_volume(v, c));
  EXPECT_EQ(p.v->spec.claim_ref->name, "data");  // the user's reservation
  EXPECT_TRUE(p.v->spec.claim_ref->uid.empty());
  v->metadata.annotations[kBoundByController] = "yes";
  p = play(plan_volume(v, c));
  EXPECT_FALSE(p.v->spec.claim_ref);
  EXPECT_EQ(p.v->status.phase, "Available");
}

kube::core::Pod pod_with(const std::string& name, const std::string& node, const std::string& claim_name) {
  kube::core::Pod p;
  p.metadata.name = name;
  p.metadata.namespace_ = "default";
  p.spec.node_name = node;
  p.spec.volumes.emplace_back();
  p.spec.volumes[0].name = "data";
  p.spec.volumes[0].persistent_volume_claim.emplace();
  p.spec.volumes[0].persistent_volume_claim->claim_name = claim_name;
  return p;
}

TEST(VolumeProtection, FinalizersComeAtOnceAndGoWhenUnused) {
  kube::meta::ObjectMeta m;
  EXPECT_EQ(protect(m, kClaimProtection, true), std::vector<std::string>{kClaimProtection});
  m.finalizers = {"x", kClaimProtection};
  EXPECT_FALSE(protect(m, kClaimProtection, false));
  m.deletion_timestamp = Time::from_seconds(1);
  EXPECT_FALSE(protect(m, kClaimProtection, true));
  EXPECT_EQ(protect(m, kClaimProtection, false), std::vector<std::string>{"x"});
  auto c = claim("data", "1Gi");
  EXPECT_FALSE(uses_claim(pod_with("p", "", "data"), *c));  // not scheduled: no kubelet will start it now
  EXPECT_TRUE(uses_claim(pod_with("p", "n1", "data"), *c));
  EXPECT_FALSE(uses_claim(pod_with("p", "n1", "other"), *c));
}

TEST(VolumeProtection, AnEphemeralClaimIsHeldUntilTheKubeletHasLetGoOfThePod) {
  auto c = claim("p-data", "1Gi");
  kube::core::Pod p = pod_with("p", "n1", "unused");
  p.metadata.uid = "uid-p";
  p.spec.volumes[0].persistent_volume_claim.reset();
  p.spec.volumes[0].ephemeral.emplace();
  EXPECT_FALSE(uses_claim(p, *c)) << "somebody else's claim";
  c->metadata.owner_references.push_back(owner_reference(p));
  EXPECT_TRUE(uses_claim(p, *c));
  p.status.phase = "Succeeded";
  p.metadata.deletion_timestamp = Time::from_seconds(1);
  p.metadata.deletion_grace_period_seconds = 30;
  EXPECT_TRUE(uses_claim(p, *c));
  p.metadata.deletion_grace_period_seconds = 0;
  EXPECT_FALSE(uses_claim(p, *c));
}

TEST(VolumeExpansion, AClaimThatAsksForMoreIsHandedToTheResizer) {
  auto c = claim("data", "2Gi");
  auto v = volume("v", "1Gi");
  c->status.phase = "Bound";
  c->status.capacity["storage"] = Quantity::of("1Gi");
  EXPECT_EQ(plan_expansion(*c, *v).message, "") << "another's volume";
  refer(*v, *c);
  EXPECT_EQ(plan_expansion(*c, *v).message, "waiting for an external controller to expand this PVC");
  EXPECT_EQ(plan_expansion(*c, *v).resizer, "");
  v->spec.aws_elastic_block_store.emplace();
  EXPECT_EQ(plan_expansion(*c, *v).message, "CSI migration enabled for kubernetes.io/aws-ebs; waiting for external resizer to expand the pvc");
  EXPECT_EQ(plan_expansion(*c, *v).resizer, "ebs.csi.aws.com");
  c->metadata.annotations[kStorageResizer] = "ebs.csi.aws.com";
  EXPECT_EQ(plan_expansion(*c, *v).resizer, "");
  c->status.capacity["storage"] = Quantity::of("2Gi");
  EXPECT_EQ(plan_expansion(*c, *v).message, "");
  v->metadata.annotations["volume.alpha.kubernetes.io/pre-resize-capacity"] = "1Gi";
  EXPECT_NE(plan_expansion(*c, *v).message, "") << "an expansion that was cut off";
}

TEST(VolumeExpansion, OnlyGrowthOfBoundClaimsIsLookedAt) {
  auto small = claim("data", "1Gi"), large = claim("data", "2Gi");
  EXPECT_FALSE(may_have_grown(nullptr, *large)) << "not bound";
  small->status.phase = large->status.phase = "Bound";
  EXPECT_TRUE(may_have_grown(nullptr, *large));
  EXPECT_TRUE(may_have_grown(small.get(), *large));
  EXPECT_FALSE(may_have_grown(large.get(), *small));
  *small = *large;
  EXPECT_FALSE(may_have_grown(small.get(), *large));
  large->status.capacity["storage"] = Quantity::of("2Gi");
  EXPECT_TRUE(may_have_grown(small.get(), *large));
}

struct Attachments : testing::Test {
  AttachWorld w;
  std::shared_ptr<kube::core::Node> n1, n2;
  std::shared_ptr<PersistentVolume> v = volume("pv1", "1Gi");
  void SetUp() override {
    for (auto* n : {&n1, &n2}) {
      *n = std::make_shared<kube::core::Node>();
      (*n)->metadata.name = n == &n1 ? "n1" : "n2";
      (*n)->metadata.annotations["volumes.kubernetes.io/controller-managed-attach-detach"] = "true";
    }
    auto c = claim("data", "1Gi");
    c->status.phase = "Bound";
    c->spec.volume_name = "pv1";
    refer(*v, *c);
    v->spec.csi.emplace();
    v->spec.csi->driver = "ebs.csi.aws.com";
    v->spec.csi->volume_handle = "vol-1";
    w.nodes = {n1, n2};
    w.claims[{"default", "data"}] = c;
    w.volumes["pv1"] = v;
    w.pods = {std::make_shared<kube::core::Pod>(pod_with("a", "n1", "data"))};
  }
};

TEST_F(Attachments, OnePerVolumeAndNodeAndListedOnTheNodeWhenAttached) {
  w.pods.push_back(std::make_shared<kube::core::Pod>(pod_with("b", "n1", "data")));
  AttachPlan plan = plan_attachments(w);
  ASSERT_EQ(plan.create.size(), 1u);
  EXPECT_EQ(plan.create[0].spec.attacher, "ebs.csi.aws.com");
  EXPECT_EQ(plan.create[0].spec.node_name, "n1");
  EXPECT_EQ(plan.create[0].spec.source.persistent_volume_name, "pv1");
  EXPECT_TRUE(plan.attached.empty());
  auto a = std::make_shared<kube::storage::VolumeAttachment>(plan.create[0]);
  a->status.attached = true;
  w.attachments = {a};
  plan = plan_attachments(w);
  EXPECT_TRUE(plan.create.empty());
  ASSERT_EQ(plan.attached["n1"].size(), 1u);
  EXPECT_EQ(plan.attached["n1"][0].name, "kubernetes.io/csi/ebs.csi.aws.com^vol-1");
  w.not_attachable.insert("ebs.csi.aws.com");
  w.attachments.clear();
  EXPECT_TRUE(plan_attachments(w).create.empty());
}

TEST_F(Attachments, DetachWaitsForTheKubeletAndASecondNodeWaitsForTheDetach) {
  auto a = std::make_shared<kube::storage::VolumeAttachment>(plan_attachments(w).create.at(0));
  a->status.attached = true;
  w.attachments = {a};
  n1->status.volumes_in_use = {"kubernetes.io/csi/ebs.csi.aws.com^vol-1"};
  n1->status.volumes_attached.emplace_back();
  n1->status.volumes_attached[0].name = n1->status.volumes_in_use[0];
  w.pods = {std::make_shared<kube::core::Pod>(pod_with("b", "n2", "data"))};
  AttachPlan plan = plan_attachments(w);
  EXPECT_TRUE(plan.remove.empty());
  EXPECT_TRUE(plan.create.empty());
  ASSERT_EQ(plan.refused.size(), 1u);
  EXPECT_EQ(plan.refused[0].message, "Multi-Attach error for volume \"pv1\" Volume is already exclusively attached to one node and can't be attached to another");
  EXPECT_EQ(plan.refused[0].attachment, attachment_name("vol-1", "ebs.csi.aws.com", "n2"));
  n1->status.volumes_in_use.clear();
  plan = plan_attachments(w);
  EXPECT_EQ(plan.remove, std::vector<std::string>{a->metadata.name});
  EXPECT_TRUE(plan.attached.at("n1").empty());  // the kubelet may not count on it any longer
  w.attachments.clear();
  EXPECT_EQ(plan_attachments(w).create.at(0).spec.node_name, "n2");
}

// The names of pods in other namespaces are nobody's business.
TEST_F(Attachments, APodThatHasToWaitHearsWhoHasTheVolume) {
  auto a = std::make_shared<kube::storage::VolumeAttachment>(plan_attachments(w).create.at(0));
  a->status.attached = true;
  w.attachments = {a};
  w.pods.push_back(std::make_shared<kube::core::Pod>(pod_with("a2", "n1", "data")));
  w.pods.push_back(std::make_shared<kube::core::Pod>(pod_with("b", "n2", "data")));
  AttachPlan plan = plan_attachments(w);
  ASSERT_EQ(plan.refused.size(), 1u);
  EXPECT_EQ(plan.refused[0].pod->metadata.name, "b");
  EXPECT_EQ(plan.refused[0].message, "Multi-Attach error for volume \"pv1\" Volume is already used by pod(s) a, a2");
}

TEST_F(Attachments, APodThatGoesAndRunsNothingHasLetGoOfItsVolumes) {
  kube::core::Pod p = pod_with("a", "n1", "data");
  p.metadata.deletion_timestamp = Time::from_seconds(1);
  p.status.container_statuses.emplace_back();
  p.status.container_statuses[0].state.running.emplace();
  w.pods = {std::make_shared<kube::core::Pod>(p)};
  EXPECT_EQ(plan_attachments(w).create.size(), 1u);
  p.status.container_statuses[0].state.running.reset();
  p.status.container_statuses[0].state.terminated.emplace();
  w.pods = {std::make_shared<kube::core::Pod>(p)};
  EXPECT_TRUE(plan_attachments(w).create.empty());
}

struct Detachments : Attachments {
  std::shared_ptr<kube::storage::VolumeAttachment> a;
  void SetUp() override {
    Attachments::SetUp();
    a = std::make_shared<kube::storage::VolumeAttachment>(plan_attachments(w).create.at(0));
    a->status.attached = true;
    w.attachments = {a};
    w.pods.clear();
    w.now = Time::from_seconds(1000);
    n1->status.volumes_in_use = {"kubernetes.io/csi/ebs.csi.aws.com^vol-1"};
    ready("True");
  }
  void ready(const char* status) {
    n1->status.conditions.assign(1, {});
    n1->status.conditions[0].type = "Ready";
    n1->status.conditions[0].status = status;
  }
  AttachPlan later(Duration d) {
    AttachPlan plan = plan_attachments(w);
    w.unwanted = plan.unwanted;
    w.now = w.now + d;
    return plan_attachments(w);
  }
};

TEST_F(Detachments, ANodeThatDoesNotAnswerLosesItsVolumesAfterSixMinutes) {
  EXPECT_TRUE(later(1h).remove.empty()) << "it answers, and uses the volume";
  w.unwanted.clear();
  ready("Unknown");
  AttachPlan plan = later(5min);
  EXPECT_TRUE(plan.remove.empty());
  EXPECT_EQ(plan.again, Duration(1min));
  EXPECT_EQ(later(1min).remove.size(), 1u);
}

TEST_F(Detachments, SomebodyWhoWantsTheVolumeAgainEndsTheWait) {
  ready("Unknown");
  later(5min);
  w.pods = {std::make_shared<kube::core::Pod>(pod_with("a", "n1", "data"))};
  EXPECT_TRUE(later(0s).unwanted.empty());
  w.pods.clear();
  EXPECT_TRUE(later(5min).remove.empty());
}

TEST_F(Detachments, ANodeOutOfServiceLosesThemAtOnce) {
  n1->spec.taints.emplace_back();
  n1->spec.taints[0].key = "node.kubernetes.io/out-of-service";
  n1->spec.taints[0].effect = "NoSchedule";
  EXPECT_EQ(plan_attachments(w).remove.size(), 1u);
}

TEST_F(Detachments, OfANodeThatIsGoneWhatItLastUsedCounts) {
  w.nodes = {n2};
  EXPECT_TRUE(plan_attachments(w).remove.empty()) << "nobody knows";
  EXPECT_EQ(later(6min).remove.size(), 1u);
  w.unwanted.clear();
  w.last_use["n1"] = {};
  EXPECT_EQ(plan_attachments(w).remove.size(), 1u);
  w.last_use["n1"] = n1->status.volumes_in_use;
  EXPECT_TRUE(plan_attachments(w).remove.empty());
}

}  // namespace
}  // namespace caravel::controllers
