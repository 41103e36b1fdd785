// Which devices a node has for a pod's ResourceClaims: upstream's structured allocation (plugin DynamicResources).
//
// Requests ask for a count of devices or for all (allocationMode), chosen by CEL expressions of the class and the request;
// firstAvailable names alternatives by preference; matchAttribute and distinctAttribute tie requests together. The search goes
// depth first in the order of claims, requests and slices and takes the first solution; it gives up after kStepsMax steps.
// Only pools that are complete and of the newest generation are looked at. Not known: partitionable devices (counters),
// devices for several claims at once (consumable capacity) and binding conditions; such devices are not given out.
// Pure. Threading: one thread.
#pragma once

#include <compare>
#include <map>
#include <memory>
#include <set>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "kube/cel/program.h"
#include "kube/types/resource.h"

namespace caravel::scheduler {

struct DeviceId {
  std::string driver, pool, device;
  auto operator<=>(const DeviceId&) const = default;
};

class Devices {
 public:
  using ClaimPtr = std::shared_ptr<const kube::resource::ResourceClaim>;
  using Allocations = std::vector<kube::resource::AllocationResult>;  // parallel to the claims

  void set_slices(std::vector<std::shared_ptr<const kube::resource::ResourceSlice>> slices);
  void set_classes(std::vector<std::shared_ptr<const kube::resource::DeviceClass>> classes);

  // Why the claim cannot be had on any node; "": perhaps it can.
  std::string objection(const kube::resource::ResourceClaim& claim);
  // The error is the reason that the node is turned down for.
  Result<Allocations> allocate(const std::vector<ClaimPtr>& claims, const std::set<DeviceId>& taken, const std::string& node, const std::map<std::string, std::string>& labels);

 private:
  friend class Search;
  struct Known {
    DeviceId id;
    const kube::resource::ResourceSlice* slice = nullptr;
    const kube::resource::Device* device = nullptr;
    kube::cel::Value value;  // as expressions see it
  };
  bool is_on(const Known& d, const std::string& node, const std::map<std::string, std::string>& labels) const;
  Result<bool> selects(const std::vector<kube::resource::DeviceSelector>& selectors, const Known& d);
  Result<const kube::cel::Program*> program(const std::string& expression);
  const kube::resource::DeviceClass* class_of(const std::string& name) const;

  std::vector<std::shared_ptr<const kube::resource::ResourceSlice>> slices_;
  std::map<std::string, std::shared_ptr<const kube::resource::DeviceClass>> classes_;
  std::vector<Known> known_;
  std::unordered_map<std::string, Result<kube::cel::Program>> programs_;  // by expression
};

// Whether nodes with this selector include the node; none: all do.
bool node_selected(const std::optional<kube::core::NodeSelector>& s, const std::string& node, const std::map<std::string, std::string>& labels);

}  // namespace caravel::scheduler
