// The catalogue of instance types: sizes, networks, zones and prices.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace caravel::cloud {

struct InstanceType {
  std::string name;
  int vcpus = 0, cores = 0, threads_per_core = 1;
  int64_t memory_mib = 0;
  std::string arch, manufacturer;
  double ghz = 0;
  bool current_generation = true, bare_metal = false, burstable = false;
  std::string hypervisor;
  bool on_demand = false, spot = false;
  int enis = 0, cards = 1, default_card_enis = 0, ipv4_per_eni = 0, ipv6_per_eni = 0;
  bool ipv6 = false;
  double net_baseline_gbps = 0, net_peak_gbps = 0;
  std::string net_performance, ena;
  bool efa = false;
  int efa_max = 0;
  int64_t ebs_base_mbps = 0, ebs_max_mbps = 0, ebs_base_iops = 0, ebs_max_iops = 0;
  int ebs_attachments = 0;
  int64_t nvme_total_gb = 0;
  std::string nvme_disks, gpus, accelerators;
  std::vector<std::string> placement;
  bool nitro_enclaves = false, encryption_in_transit = false;
  std::string zones;  // letters
  double price = 0;   // USD per hour, on demand, Linux; 0 unknown
};

const std::map<std::string, InstanceType, std::less<>>& instance_types();
const InstanceType* find_instance_type(std::string_view name);
bool offered_in(const InstanceType& t, std::string_view zone);
// The spot price now: a share of the on-demand price that is fixed per type and zone (0.28 to 0.45).
double spot_price(const InstanceType& t, std::string_view zone);
// In DescribeInstanceTypes' shape.
json::Value describe_type(const InstanceType& t);

}  // namespace caravel::cloud
