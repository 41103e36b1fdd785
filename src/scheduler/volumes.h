// What a pod's volumes ask of the node, and what has to be done about them before the pod is bound: upstream's
// VolumeBinding, VolumeZone and VolumeRestrictions (ReadWriteOncePod), and the volumes that NodeVolumeLimits counts.
//
// A claim that is bound ties the pod to the nodes of its volume. A claim of a class that waits for the first
// consumer takes the smallest volume that is there and fits the node, else it is provisioned for the node:
// the scheduler writes the annotation volume.kubernetes.io/selected-node and waits until the claim is bound.
// Threading: one executor.
#pragma once

#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "base/scope.h"
#include "kube/informer.h"
#include "kube/scheduling_spec.h"
#include "kube/types/core.h"
#include "kube/types/storage.h"

namespace caravel::scheduler {

class Volumes {
 public:
  Volumes(Executor& ex, kube::Client client);
  void start(TaskScope& scope);
  Task<void> wait_synced();
  // Called when a claim (else null), volume or class has changed.
  void on_change(std::function<void(const kube::core::PersistentVolumeClaim*)> f);
  // Whether a volume of the pod names the claim.
  static bool names(const kube::core::Pod& pod, const kube::core::PersistentVolumeClaim& claim);

  struct Needs {
    std::string problem;  // the pod cannot be scheduled as it is: why
    std::vector<kube::scheduling::VolumeNodes> nodes;
    bool delayed = false;                                    // there are claims to bind once the node is known
    std::vector<std::string> exclusive;                      // claims (namespace/name) that only one pod may use
    std::vector<kube::scheduling::AttachedVolume> attached;  // of CSI drivers
  };
  Needs needs(const kube::core::Pod& pod) const;

  // Binds the pod's delayed claims for the node and waits for it, no longer than `timeout`.
  Task<Status> bind(std::shared_ptr<const kube::core::Pod> pod, std::string node, kube::scheduling::Labels node_labels, Duration timeout);

 private:
  using Claim = kube::core::PersistentVolumeClaim;
  using Volume = kube::core::PersistentVolume;
  using ClaimPtr = kube::Informer<Claim>::Ptr;
  using VolumePtr = kube::Informer<Volume>::Ptr;

  std::vector<VolumePtr> candidates(const Claim& claim) const;
  void add_attached(const Claim& claim, Needs& out) const;
  bool waits_for_consumer(const Claim& claim) const;
  // The nodes on which the class's driver has room for the claim; nothing: it does not say (CSIDriver.spec.storageCapacity).
  std::optional<std::vector<kube::scheduling::NodeTerm>> nodes_with_room(const kube::storage::StorageClass& type, const Claim& claim) const;

  Executor* ex_;
  kube::Client client_;
  kube::Informer<Claim> claims_;
  kube::Informer<Volume> volumes_;
  kube::Informer<kube::storage::StorageClass> classes_;
  kube::Informer<kube::storage::CSIDriver> drivers_;
  kube::Informer<kube::storage::CSIStorageCapacity> capacities_;
};

}  // namespace caravel::scheduler
