// hostPort: a port of the node that leads to a pod, as the portmap plug-in does it for the VPC CNI. One nftables table
// in the node's namespace holds all of them and is replaced as a whole.
#pragma once

#include <string>
#include <vector>

#include "node/pod_model.h"

namespace caravel::node {

struct HostPort {
  std::string host_ip;   // "": every address of the node
  std::string protocol;  // "tcp", "udp" or "sctp"
  int port = 0;
  std::string pod_ip;
  int pod_port = 0;
};

// Of a pod that has its address; none of those in the node's own network.
std::vector<HostPort> host_ports(const core::Pod& pod, const std::string& pod_ip);
// The commands that make the table hold exactly these. Pure.
std::string host_port_rules(std::vector<HostPort> ports);

}  // namespace caravel::node
