// What a launched instance is told: EKS user data. AL2023 gets a MIME multi-part with a NodeConfig
// (node.eks.aws/v1alpha1), AL2 the bootstrap script, Bottlerocket TOML settings; the node class' own user
// data is kept in front. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "karpenter/model.h"

namespace caravel::karpenter {

struct ClusterInfo {
  std::string name, endpoint, ca_base64, service_cidr, dns_ip, version;
};

struct NodeSettings {
  std::string ami_family = "AL2023";
  json::Value kubelet;        // spec.kubelet of the node class
  int64_t max_pods = 0;       // 0: the node decides
  Labels labels;              // registered by the kubelet
  std::vector<Taint> taints;  // incl. startup taints and karpenter.sh/unregistered
  bool instance_store_raid0 = false;
  std::vector<std::string> kubelet_flags;  // further ones
};

// Raw text (launch templates carry it base64-encoded).
Result<std::string> make_user_data(const ClusterInfo& cluster, const NodeSettings& node, const std::string& custom);

}  // namespace caravel::karpenter
