// The model of what EC2 offers, from DescribeInstanceTypes, DescribeInstanceTypeOfferings and prices, with
// Karpenter's formulas for what of a machine pods can use. Pure.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "base/json.h"
#include "karpenter/model.h"

namespace caravel::karpenter {

// What the node class says that changes capacity and overhead.
struct KubeletSettings {
  std::optional<int64_t> max_pods, pods_per_core;
  std::map<std::string, std::string> kube_reserved, system_reserved, eviction_hard;  // quantities as written
  static KubeletSettings from(const json::Value& kubelet);                           // spec.kubelet
};

struct NodeClassCapacity {
  KubeletSettings kubelet;
  std::string ami_family = "AL2023";
  int64_t root_volume_bytes = int64_t{20} << 30;
  bool instance_store_raid0 = false;
  std::map<std::string, std::string> zones;  // zone -> zone id, of the node class' subnets
};

// What EC2 told us, by instance type.
struct Catalog {
  std::map<std::string, json::Value> types;                    // InstanceTypeInfo
  std::map<std::string, std::set<std::string>> offered;        // zones
  std::map<std::string, double> on_demand;                     // USD per hour
  std::map<std::pair<std::string, std::string>, double> spot;  // (type, zone)
  std::string region;
};

struct CatalogOptions {
  double vm_memory_overhead = 0.075;  // VM_MEMORY_OVERHEAD_PERCENT
  int reserved_enis = 0;              // RESERVED_ENIS
};

// (type, zone, capacity type): whether a launch failed there lately.
using Unavailable = std::function<bool(const std::string& type, const std::string& zone, const std::string& capacity_type)>;

InstanceTypes make_instance_types(const Catalog& catalog, const NodeClassCapacity& node_class, const CatalogOptions& options, const Unavailable& unavailable);

// The parts, for tests. Pods that the interfaces' addresses allow, or 110 where EC2 does not say.
int64_t eni_pods(const json::Value& type, int reserved_enis);
int64_t kube_reserved_cpu(int64_t vcpus);  // millicores

}  // namespace caravel::karpenter
