#include "controllers/claim_retention.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::PersistentVolumeClaim;

kube::apps::StatefulSet set_with(const std::string& scaled, const std::string& deleted) {
  kube::apps::StatefulSet s;
  s.metadata.name = "db", s.metadata.uid = "set-uid";
  s.spec.persistent_volume_claim_retention_policy.emplace();
  s.spec.persistent_volume_claim_retention_policy->when_scaled = scaled;
  s.spec.persistent_volume_claim_retention_policy->when_deleted = deleted;
  return s;
}
const ClaimPod kWanted{"db-0", "pod-uid", false}, kCondemned{"db-0", "pod-uid", true};

std::string owners(const PersistentVolumeClaim& c) {
  std::string out;
  for (const auto& o : c.metadata.owner_references) out += o.kind + " ";
  return out;
}
std::string owners_of(const std::string& scaled, const std::string& deleted, const ClaimPod& pod) {
  PersistentVolumeClaim c;
  set_claim_owners(set_with(scaled, deleted), pod, c);
  return owners(c);
}

TEST(ClaimRetention, TheFourPolicies) {
  EXPECT_EQ(owners_of("Retain", "Retain", kWanted), "");
  EXPECT_EQ(owners_of("Retain", "Retain", kCondemned), "");
  EXPECT_EQ(owners_of("Retain", "Delete", kWanted), "StatefulSet ");
  EXPECT_EQ(owners_of("Retain", "Delete", kCondemned), "StatefulSet ");
  EXPECT_EQ(owners_of("Delete", "Retain", kWanted), "");
  EXPECT_EQ(owners_of("Delete", "Retain", kCondemned), "Pod ");
  EXPECT_EQ(owners_of("Delete", "Delete", kWanted), "StatefulSet ");
  EXPECT_EQ(owners_of("Delete", "Delete", kCondemned), "Pod ");
}

TEST(ClaimRetention, OwnersAreControllersAndFollowThePolicy) {
  PersistentVolumeClaim c;
  EXPECT_TRUE(set_claim_owners(set_with("Delete", "Delete"), kWanted, c));
  const auto& o = c.metadata.owner_references.at(0);
  EXPECT_EQ(o.api_version + " " + o.name + " " + o.uid, "apps/v1 db set-uid");
  EXPECT_TRUE(o.controller.value_or(false) && o.block_owner_deletion.value_or(false));
  EXPECT_FALSE(set_claim_owners(set_with("Delete", "Delete"), kWanted, c)) << "nothing to write again";
  EXPECT_TRUE(set_claim_owners(set_with("Delete", "Delete"), kCondemned, c));
  EXPECT_EQ(owners(c), "Pod ");
  EXPECT_TRUE(set_claim_owners(set_with("Delete", "Delete"), kWanted, c)) << "scaled up again before the pod was gone";
  EXPECT_EQ(owners(c), "StatefulSet ");
  EXPECT_TRUE(set_claim_owners(set_with("Retain", "Retain"), kWanted, c));
  EXPECT_EQ(owners(c), "");
}

TEST(ClaimRetention, OthersKeepWhatTheyOwn) {
  PersistentVolumeClaim c;
  c.metadata.owner_references.emplace_back();
  c.metadata.owner_references[0].kind = "Backup", c.metadata.owner_references[0].uid = "x";
  EXPECT_TRUE(set_claim_owners(set_with("Retain", "Delete"), kWanted, c));
  EXPECT_EQ(owners(c), "Backup StatefulSet ");
  EXPECT_TRUE(set_claim_owners(set_with("Retain", "Retain"), kWanted, c));
  EXPECT_EQ(owners(c), "Backup ");
  c.metadata.owner_references[0].controller = true;
  EXPECT_TRUE(has_foreign_controller(set_with("Retain", "Delete"), kWanted, c));
  EXPECT_FALSE(set_claim_owners(set_with("Retain", "Delete"), kWanted, c)) << "the policy is ignored for it";
}

TEST(ClaimRetention, AClaimThatGoesWithAnEarlierPodIsNotUsedByTheNext) {
  PersistentVolumeClaim c;
  set_claim_owners(set_with("Delete", "Retain"), kCondemned, c);
  EXPECT_TRUE(is_stale_claim(set_with("Delete", "Retain"), {"db-0", "", false}, c));
  EXPECT_FALSE(is_stale_claim(set_with("Delete", "Retain"), kCondemned, c));
  EXPECT_FALSE(is_stale_claim(set_with("Retain", "Retain"), {"db-0", "", false}, c));
}

}  // namespace
}  // namespace caravel::controllers
