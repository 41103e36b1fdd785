#include "controllers/resource_claim_logic.h"

namespace caravel::controllers {

using kube::core::Pod;
using kube::resource::ResourceClaim;

bool is_pod_done(const Pod& p) { return is_finished(p) || (is_terminating(p.metadata) && p.spec.node_name.empty()); }

ResourceClaim claim_from_template(const kube::resource::ResourceClaimTemplate& t, const Pod& pod, const std::string& entry) {
  ResourceClaim c;
  c.metadata.generate_name = pod.metadata.name + "-" + entry + "-";
  c.metadata.namespace_ = pod.metadata.namespace_;
  c.metadata.labels = t.spec.metadata.labels;
  c.metadata.annotations = t.spec.metadata.annotations;
  c.metadata.annotations[kPodClaimName] = entry;
  c.metadata.owner_references.push_back(owner_reference(pod));
  c.spec = t.spec.spec;
  return c;
}

ClaimPlan plan_claim(const ResourceClaim& claim, const std::function<bool(const kube::resource::ResourceClaimConsumerReference&)>& uses, const PodPtr& owner) {
  ClaimPlan out;
  out.next = claim;
  auto& users = out.next.status.reserved_for;
  const bool left = std::erase_if(users, [&](auto& u) { return !uses(u); }) > 0;
  auto& finalizers = out.next.metadata.finalizers;
  const bool ours = std::find(finalizers.begin(), finalizers.end(), kClaimFinalizer) != finalizers.end();
  out.write_status = left;
  // The last user gives the devices back. Without a user that leaves, an allocation stays: a driver may have made it.
  if (users.empty() && ours && (left || is_terminating(claim.metadata))) {
    out.write_status = left || claim.status.allocation.has_value();
    out.next.status.allocation.reset();
    std::erase(finalizers, kClaimFinalizer);
    out.write_finalizers = true;
  }
  const kube::meta::OwnerReference* o = controller_of(claim.metadata);
  if (users.empty() && o && o->kind == "Pod" && o->api_version == "v1" && owner && !is_terminating(claim.metadata))
    out.remove = owner->metadata.uid != o->uid || is_pod_done(*owner);
  return out;
}

}  // namespace caravel::controllers
