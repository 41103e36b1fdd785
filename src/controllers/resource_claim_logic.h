// What the resource claim controller decides without a cluster: the claims that pods' templates ask for, and what becomes of
// claims whose users are gone.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "controllers/common.h"
#include "kube/types/resource.h"

namespace caravel::controllers {

inline constexpr const char* kPodClaimName = "resource.kubernetes.io/pod-claim-name";  // annotation: spec.resourceClaims[].name
inline constexpr const char* kClaimFinalizer = "resource.kubernetes.io/delete-protection";

// None of its containers runs or ever will.
bool is_pod_done(const kube::core::Pod& p);
// The claim that a template makes for one entry of a pod's spec.resourceClaims.
kube::resource::ResourceClaim claim_from_template(const kube::resource::ResourceClaimTemplate& t, const kube::core::Pod& pod, const std::string& entry);

struct ClaimPlan {
  bool write_status = false, write_finalizers = false;  // `next` is to be written, status first
  bool remove = false;                                  // it was made for a pod that does not need it any more
  kube::resource::ResourceClaim next;
};
// `uses`: whether a consumer still needs the claim. `owner`: the pod that it was made for, as far as it is known.
ClaimPlan plan_claim(const kube::resource::ResourceClaim& claim, const std::function<bool(const kube::resource::ResourceClaimConsumerReference&)>& uses, const PodPtr& owner);

}  // namespace caravel::controllers
