// What the persistent volume controller decides: which volume a claim gets, and what happens to a volume
// when its claim comes, goes or lies. Upstream's pv_controller, as functions of the objects.
//
// A binding is two pointers, volume.spec.claimRef (with the claim's uid) and claim.spec.volumeName. The
// volume's is written first and is what counts: two claims that want one volume meet in a conflict there.
// A claim is bound when it also carries pv.kubernetes.io/bind-completed; from then on it never gets another
// volume, it can only be Lost. pv.kubernetes.io/bound-by-controller marks pointers that a controller wrote,
// so that only those are taken back.
// Threading: plain functions.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <variant>
#include <vector>

#include "kube/types/core.h"
#include "kube/types/storage.h"

namespace caravel::controllers {

inline constexpr const char* kBindCompleted = "pv.kubernetes.io/bind-completed";
inline constexpr const char* kBoundByController = "pv.kubernetes.io/bound-by-controller";
inline constexpr const char* kProvisionedBy = "pv.kubernetes.io/provisioned-by";
inline constexpr const char* kStorageProvisioner = "volume.kubernetes.io/storage-provisioner";
inline constexpr const char* kBetaStorageProvisioner = "volume.beta.kubernetes.io/storage-provisioner";
inline constexpr const char* kSelectedNode = "volume.kubernetes.io/selected-node";
inline constexpr const char* kStorageClassAnnotation = "volume.beta.kubernetes.io/storage-class";
inline constexpr const char* kDefaultClass = "storageclass.kubernetes.io/is-default-class";
inline constexpr const char* kBetaDefaultClass = "storageclass.beta.kubernetes.io/is-default-class";

using VolumePtr = std::shared_ptr<const kube::core::PersistentVolume>;
using ClaimPtr = std::shared_ptr<const kube::core::PersistentVolumeClaim>;
using ClassPtr = std::shared_ptr<const kube::storage::StorageClass>;

// What a decision may look at.
struct VolumeWorld {
  std::vector<VolumePtr> volumes;
  std::vector<ClassPtr> classes;
  std::vector<std::string> waiting_pods;  // unscheduled pods that use the claim in question
};

// What is to be done, in this order; the first failure ends it. The objects are the wanted ones: whoever
// carries it out gives each write the resourceVersion that the step before returned.
struct VolumeStep {
  enum class What { kUpdate,
                    kStatus } what = What::kUpdate;
  std::variant<kube::core::PersistentVolume, kube::core::PersistentVolumeClaim> object;
};
struct VolumeEvent {
  bool on_claim = true;
  bool warning = false;
  std::string reason, message;
};
struct VolumePlan {
  std::vector<VolumeStep> steps;
  std::vector<VolumeEvent> events;  // told after the steps
  bool retry = false;               // look again after kVolumeResync, nothing may announce the change
  bool sync_claim = false;          // the claim that this volume names has to look
};

std::string class_of(const kube::core::PersistentVolumeClaim& c);
std::string class_of(const kube::core::PersistentVolume& v);
// The volume names this claim: by namespace and name, and by uid when it has one.
bool is_bound_to(const kube::core::PersistentVolume& v, const kube::core::PersistentVolumeClaim& c);
// Why a volume that the user asked for by name cannot serve the claim; "" when it can.
std::string why_not(const kube::core::PersistentVolume& v, const kube::core::PersistentVolumeClaim& c);
// The best volume: one that is bound to the claim already, else the smallest of those with the fewest
// access modes that do. With `delayed` only the former: the scheduler chooses.
VolumePtr best_match(const kube::core::PersistentVolumeClaim& c, const std::vector<VolumePtr>& volumes, bool delayed);
// The newest class that is marked as the default; null if none.
ClassPtr default_class(const std::vector<ClassPtr>& classes);

VolumePlan plan_claim(const ClaimPtr& claim, const VolumeWorld& world);
// `claim`: the object that the volume's claimRef names, if it exists (whatever its uid).
VolumePlan plan_volume(const VolumePtr& volume, const ClaimPtr& claim);

}  // namespace caravel::controllers
