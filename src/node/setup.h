// From flags, NodeConfig, instance metadata and EC2 to everything the node agent is made of.
#pragma once

#include <string>

#include "aws/client.h"
#include "base/flags.h"
#include "eks/instance.h"
#include "node/container_config.h"
#include "node/metadata.h"

namespace caravel::node {

using eks::NodeConfig;

struct Setup {
  NodeConfig config;
  InstanceFacts facts;
  NodeSettings settings;
  std::string provider_id;
  std::string kubeconfig;  // instead of bootstrapping
  std::string containerd, listen, pod_cidr;
  int mtu = 9001;
  int warm_addresses = 3;
};

std::vector<Flag> node_flags();
// Reads the sources in order of precedence: flags, NodeConfig (file or user data), metadata, this machine.
Task<Result<Setup>> read_setup(net::EventLoop& loop, const Flags& flags);
// Size and network limits of the instance type, from EC2; what flags gave stays.
Task<Status> complete_from_ec2(aws::Client& ec2, InstanceFacts& facts);
// The size of this machine, where nothing else has said one.
void complete_from_machine(InstanceFacts& facts);
// nameserver and search lines of a resolv.conf.
void parse_resolv_conf(const std::string& text, std::vector<std::string>& servers, std::vector<std::string>& searches);

}  // namespace caravel::node
