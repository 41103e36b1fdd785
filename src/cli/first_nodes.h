// The managed node group of the platform: N instances spread over the private subnets, launched through
// the ordinary EC2 API with NodeConfig user data.
#pragma once

#include <string>

#include "aws/client.h"
#include "base/task.h"

namespace caravel::cli {

struct NodeGroup {
  int size = 3;
  std::string instance_type = "t3.medium";
  std::string cluster_name = "caravel", cluster_endpoint, cluster_ca;  // CA in PEM
  std::string bootstrap_token;
};

// Launches what is missing; returns how many instances were launched.
Task<Result<int>> ensure_nodes(aws::Client& aws, NodeGroup group);
// The instances' user data. Pure.
std::string node_user_data(const NodeGroup& group);

}  // namespace caravel::cli
