#include "controllers/resource_claim_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Pod;
using kube::resource::ResourceClaim;

std::shared_ptr<Pod> pod(const std::string& phase) {
  auto p = std::make_shared<Pod>();
  p->metadata.name = "train";
  p->metadata.uid = "p1";
  p->spec.node_name = "n";
  p->status.phase = phase;
  return p;
}
ResourceClaim allocated(bool made_for_pod) {
  ResourceClaim c;
  c.metadata.finalizers = {"other", kClaimFinalizer};
  if (made_for_pod) c.metadata.owner_references.push_back(owner_reference(*pod("Running")));
  c.status.allocation.emplace();
  c.status.reserved_for.emplace_back();
  c.status.reserved_for[0].resource = "pods";
  c.status.reserved_for[0].name = "train";
  c.status.reserved_for[0].uid = "p1";
  return c;
}
auto always(bool b) {
  return [b](const kube::resource::ResourceClaimConsumerReference&) { return b; };
}

TEST(ResourceClaims, ATemplateMakesAClaimThatBelongsToThePod) {
  kube::resource::ResourceClaimTemplate t;
  t.spec.metadata.labels["a"] = "b";
  t.spec.spec.devices.requests.emplace_back();
  ResourceClaim c = claim_from_template(t, *pod("Pending"), "gpu");
  EXPECT_EQ(c.metadata.generate_name, "train-gpu-");
  EXPECT_EQ(c.metadata.annotations[kPodClaimName], "gpu");
  EXPECT_EQ(c.metadata.labels["a"], "b");
  EXPECT_EQ(controller_of(c.metadata)->uid, "p1");
  EXPECT_EQ(c.spec.devices.requests.size(), 1u);
}

TEST(ResourceClaims, AClaimInUseIsLeftAlone) {
  ClaimPlan p = plan_claim(allocated(true), always(true), pod("Running"));
  EXPECT_FALSE(p.write_status || p.write_finalizers || p.remove);
}

TEST(ResourceClaims, TheLastUserGivesTheDevicesBack) {
  ClaimPlan p = plan_claim(allocated(false), always(false), nullptr);
  EXPECT_TRUE(p.write_status && p.write_finalizers);
  EXPECT_FALSE(p.next.status.allocation);
  EXPECT_EQ(p.next.metadata.finalizers, std::vector<std::string>{"other"});
  EXPECT_FALSE(p.remove) << "somebody made it; it can be used again";
}

TEST(ResourceClaims, AnAllocationWithoutUsersStaysUntilTheClaimIsDeleted) {
  ResourceClaim c = allocated(false);
  c.status.reserved_for.clear();
  EXPECT_FALSE(plan_claim(c, always(true), nullptr).write_status);
  c.metadata.deletion_timestamp = Time::from_seconds(1);
  ClaimPlan p = plan_claim(c, always(true), nullptr);
  EXPECT_TRUE(p.write_status && p.write_finalizers);
}

TEST(ResourceClaims, WhatWasMadeForAPodGoesWhenThePodIsDone) {
  EXPECT_TRUE(plan_claim(allocated(true), always(false), pod("Succeeded")).remove);
  auto never_bound = pod("Pending");
  never_bound->metadata.deletion_timestamp = Time::from_seconds(1);
  EXPECT_FALSE(is_pod_done(*never_bound)) << "its node agent still has to end it";
  never_bound->spec.node_name.clear();
  EXPECT_TRUE(is_pod_done(*never_bound));
}

}  // namespace
}  // namespace caravel::controllers
