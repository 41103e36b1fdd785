// A StatefulSet's persistentVolumeClaimRetentionPolicy, told by owners: a claim that belongs to the set goes
// with the set, a claim that belongs to its pod goes with the pod, a claim that belongs to neither stays.
//
//   whenScaled, whenDeleted   pod wanted   pod beyond the replicas
//   Retain, Retain            nobody       nobody
//   Retain, Delete            the set      the set
//   Delete, Retain            nobody       the pod
//   Delete, Delete            the set      the pod
//
// Pure. A claim that another controller owns is left alone.
#pragma once

#include <string>

#include "kube/types/apps.h"
#include "kube/types/core.h"

namespace caravel::controllers {

struct ClaimPod {
  std::string name, uid;   // uid "": it does not exist yet
  bool condemned = false;  // beyond the replicas
};

// Sets the claim's owners; true when they have changed.
bool set_claim_owners(const kube::apps::StatefulSet& set, const ClaimPod& pod, kube::core::PersistentVolumeClaim& claim);
// Somebody who is neither the set nor the pod controls the claim: the policy is ignored for it.
bool has_foreign_controller(const kube::apps::StatefulSet& set, const ClaimPod& pod, const kube::core::PersistentVolumeClaim& claim);
// The claim belongs to an earlier pod of the same name and is about to go with it: no pod may start on it.
bool is_stale_claim(const kube::apps::StatefulSet& set, const ClaimPod& pod, const kube::core::PersistentVolumeClaim& claim);

}  // namespace caravel::controllers
