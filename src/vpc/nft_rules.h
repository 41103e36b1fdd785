// The VPC's packet rules as one nftables table. Pure: equal networks give equal tables.
//
//   anti_spoof   an interface sends only from its own addresses (source/dest check): the route back to the
//                source must lead to where the packet came from
//   routing      new connections that leave the VPC: the subnet's route table decides (longest prefix
//                first) and marks the connection with the gateway that carries it; no route, no packet
//   nat          public addresses <-> private ones (internet gateway), private ones -> the NAT gateway's
//   forward      egress groups of the sender, then ingress groups of the receiver; stateful
//   input        what the VPC itself offers (resolver, AWS endpoint) is open to every interface, the rest closed
//
// Interfaces with the same set of groups, and subnets with the same routes, share chains; an interface that
// comes or goes changes set elements only.
#pragma once

#include <string>
#include <vector>

#include "vpc/network.h"
#include "vpc/nft_table.h"

namespace caravel::vpc {

struct RouterAddresses {
  // Offered by the VPC's own namespace to everybody inside: resolver, AWS endpoint, git, ACME.
  std::vector<std::string> services = {"10.0.0.2", "10.0.0.4", "10.0.0.5", "10.0.0.6"};
  // "The internet": a network namespace that a link (igw0) leads to, its address there and ours.
  std::string internet_namespace = "internet";
  std::string internet = "198.51.100.10";
  std::string internet_gateway = "198.51.100.1";
};

// The router's side of an interface's veth: at most 15 characters, unique by the interface's id.
std::string link_name(const std::string& interface_id);
// Every address that lives behind the interface: "10.0.11.23", "10.0.11.64/28".
std::vector<std::string> addresses_of(const Interface& i);
// The link to the internet, in the VPC's namespace.
inline constexpr char kInternetLink[] = "igw0";

NftTable plan_rules(const NetworkState& network, const RouterAddresses& own);

}  // namespace caravel::vpc
