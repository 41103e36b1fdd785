// The VPC's packet rules as one nftables table. Pure: equal networks give equal texts.
//
//   prerouting  anti-spoofing: an interface sends only from its own addresses (source/dest check)
//   nat         public addresses <-> private ones (internet gateway)
//   forward     egress groups of the sender, then ingress groups of the receiver; stateful
//   input       what the VPC itself offers (resolver, AWS endpoint) is open to every interface; the
//               "internet" side only to subnets whose route table leads there
//   output      what comes from the "internet" side meets the receiver's ingress groups
//
// Interfaces with the same set of groups share chains, so thousands of interfaces stay cheap.
#pragma once

#include <string>
#include <vector>

#include "vpc/network.h"

namespace caravel::vpc {

struct RouterAddresses {
  // Offered by the VPC's own namespace to everybody inside: resolver, AWS endpoint, git, ACME.
  std::vector<std::string> services = {"10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"};
  // Where packets of "the internet" come from.
  std::string internet = "198.51.100.10";
};

// The router's side of an interface's veth: at most 15 characters, unique by the interface's id.
std::string link_name(const std::string& interface_id);
// Every address that lives behind the interface: "10.0.11.23", "10.0.11.64/28".
std::vector<std::string> addresses_of(const Interface& i);
// "local", "igw", "nat", "blackhole" or "": where the subnet's default route leads.
std::string default_route(const Subnet& s);

std::string render_rules(const NetworkState& network, const RouterAddresses& own);

}  // namespace caravel::vpc
