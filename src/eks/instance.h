// What an EC2 instance is as a node: its identity and size, and what EKS reserves of it. Parsing and
// arithmetic only.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/types/core.h"

namespace caravel::eks {

namespace core = kube::core;

// spec of a NodeConfig (node.eks.aws/v1alpha1) as far as the node agent reads it.
struct NodeConfig {
  std::string cluster_name, api_server_endpoint, certificate_authority;  // PEM
  std::string service_cidr;
  int max_pods = 0;  // 0: by the ENI formula
  std::vector<std::string> cluster_dns;
  std::vector<core::Taint> taints;  // registerWithTaints and --register-with-taints
  std::map<std::string, std::string> labels;
  std::map<std::string, std::string> kube_reserved, system_reserved, eviction_hard;
  std::string bootstrap_token;
};
// YAML text, possibly several documents or a MIME multipart message as EC2 user data has it.
Result<NodeConfig> parse_node_config(const std::string& text);
// Flags in the kubelet's form: --node-labels=a=b,c=d, --register-with-taints=k=v:NoSchedule, --max-pods=…,
// --bootstrap-token=…; others are ignored.
Status apply_kubelet_flag(NodeConfig& config, const std::string& flag);
Result<core::Taint> parse_taint(const std::string& text);  // "key=value:Effect" or "key:Effect"

struct InstanceFacts {
  std::string id, type, zone, region, private_ip, private_dns_name;
  int cpus = 0;
  int64_t memory_mib = 0;
  int enis = 0, addresses_per_eni = 0;  // of the instance type; 0: unknown
  int64_t storage_bytes = 20ll << 30;
  std::string architecture = "amd64";
};

int eni_max_pods(int enis, int addresses_per_eni);

struct NodeResources {
  std::map<std::string, kube::Quantity> capacity, allocatable;
};
// EKS's reservations: cpu 6 % / 1 % / 0.5 % / 0.25 % by core, memory 255 Mi + 11 Mi per pod of the ENI
// formula, eviction 100 Mi.
NodeResources node_resources(const InstanceFacts& facts, const NodeConfig& config);

std::map<std::string, std::string> node_labels(const InstanceFacts& facts, const std::string& node_name, const NodeConfig& config);

}  // namespace caravel::eks
