#include "controllers/claim_retention.h"

#include <algorithm>

namespace caravel::controllers {

using kube::apps::StatefulSet;
using kube::core::PersistentVolumeClaim;
using kube::meta::OwnerReference;

namespace {

OwnerReference controller_ref(const char* version, const char* kind, const std::string& name, const std::string& uid) {
  OwnerReference o;
  o.api_version = version, o.kind = kind, o.name = name, o.uid = uid;
  o.controller = true, o.block_owner_deletion = true;
  return o;
}

bool scaled_delete(const StatefulSet& s) {
  const auto& p = s.spec.persistent_volume_claim_retention_policy;
  return p && p->when_scaled == "Delete";
}
bool deleted_delete(const StatefulSet& s) {
  const auto& p = s.spec.persistent_volume_claim_retention_policy;
  return p && p->when_deleted == "Delete";
}

void set_owner(std::vector<OwnerReference>& owners, const OwnerReference& want, bool wanted) {
  std::erase_if(owners, [&](const OwnerReference& o) { return o.uid == want.uid && !(wanted && o == want); });
  if (wanted && std::find(owners.begin(), owners.end(), want) == owners.end()) owners.push_back(want);
}

}  // namespace

bool has_foreign_controller(const StatefulSet& set, const ClaimPod& pod, const PersistentVolumeClaim& claim) {
  const auto& owners = claim.metadata.owner_references;
  return std::any_of(owners.begin(), owners.end(), [&](const OwnerReference& o) {
    const bool ours = o.uid == set.metadata.uid || (o.kind == "Pod" && o.name == pod.name);
    return o.controller.value_or(false) && !ours;
  });
}

bool set_claim_owners(const StatefulSet& set, const ClaimPod& pod, PersistentVolumeClaim& claim) {
  if (has_foreign_controller(set, pod, claim)) return false;
  const std::vector<OwnerReference> before = claim.metadata.owner_references;
  auto& owners = claim.metadata.owner_references;
  const bool by_pod = scaled_delete(set) && pod.condemned;
  const bool by_set = deleted_delete(set) && !by_pod;
  set_owner(owners, controller_ref("apps/v1", "StatefulSet", set.metadata.name, set.metadata.uid), by_set);
  if (!pod.uid.empty()) set_owner(owners, controller_ref("v1", "Pod", pod.name, pod.uid), by_pod);
  return owners != before;
}

bool is_stale_claim(const StatefulSet& set, const ClaimPod& pod, const PersistentVolumeClaim& claim) {
  if (!scaled_delete(set)) return false;
  const auto& owners = claim.metadata.owner_references;
  return std::any_of(owners.begin(), owners.end(), [&](const OwnerReference& o) { return o.kind == "Pod" && o.name == pod.name && o.uid != pod.uid; });
}

}  // namespace caravel::controllers
