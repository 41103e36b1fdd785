// The ResourceClaims of pods: which are in the way of a decision, what has been promised to pods whose binding is under way,
// and the writes that allocate and reserve. What devices a node has is devices.h.
// Threading: one executor.
#pragma once

#include <functional>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/scope.h"
#include "kube/informer.h"
#include "kube/types/core.h"
#include "kube/types/resource.h"
#include "scheduler/devices.h"

namespace caravel::scheduler {

class Claims {
 public:
  using ClaimPtr = Devices::ClaimPtr;
  Claims(Executor& ex, kube::Client client);
  void start(TaskScope& scope);
  Task<void> wait_synced();
  // Called when a claim, slice or class has changed.
  void on_change(std::function<void()> f);

  struct Needs {
    bool unmade = false;              // a claim is not made yet from its template: there is nothing to tell
    std::string problem;              // the pod cannot be scheduled as it is: why
    std::vector<ClaimPtr> allocated;  // their devices decide where the pod can be
    std::vector<ClaimPtr> open;       // to be allocated
  };
  Needs needs(const kube::core::Pod& pod);
  // What the open claims get on this node; the error is the reason that it is turned down for.
  Result<Devices::Allocations> allocate(const Needs& needs, const std::string& node, const std::map<std::string, std::string>& labels);
  // From the decision until the claims say so themselves, or forget() is called.
  void promise(const Needs& needs, const Devices::Allocations& allocations);
  void forget(const kube::core::Pod& pod);
  // Writes allocations and reservations of the pod's claims.
  Task<Status> reserve(std::shared_ptr<const kube::core::Pod> pod);

 private:
  using Claim = kube::resource::ResourceClaim;
  // The claim that an entry of the pod's spec stands for; "": it is not made yet.
  static std::string name_of(const kube::core::Pod& pod, const kube::core::PodResourceClaim& entry);
  Task<Status> reserve_one(std::string ns, std::string name, std::string pod_name, std::string pod_uid);
  void refresh();

  Executor* ex_;
  kube::Client client_;
  kube::Informer<Claim> claims_;
  kube::Informer<kube::resource::ResourceSlice> slices_;
  kube::Informer<kube::resource::DeviceClass> classes_;
  Devices devices_;
  bool stale_ = true;                                                           // devices_ does not know the newest slices and classes
  std::unordered_map<std::string, kube::resource::AllocationResult> promised_;  // by uid of the claim
};

}  // namespace caravel::scheduler
