// The network of a VPC as plain data: what the embedded cloud wants and the router makes so.
#pragma once

#include <string>
#include <vector>

namespace caravel::vpc {

struct Route {
  std::string destination;  // CIDR: "0.0.0.0/0"
  // "local", "igw-…", "nat-…", "eni-…", "i-…". "blackhole" when the target is gone.
  std::string target;
  bool operator==(const Route&) const = default;
};

struct Subnet {
  std::string id;  // "subnet-…"
  std::string vpc_id;
  std::string cidr;           // "10.0.11.0/24"; the first address + 1 is the router
  std::string zone;           // "us-east-1a"
  std::string name;           // the Name tag, for people
  std::vector<Route> routes;  // of the associated route table, longest prefix wins
  bool operator==(const Subnet&) const = default;
};

struct Vpc {
  std::string id;
  std::vector<std::string> cidrs;
  bool operator==(const Vpc&) const = default;
};

// Public address <-> private address, one to one (Elastic and auto-assigned public addresses).
struct AddressMapping {
  std::string public_ip;
  std::string private_ip;
  bool operator==(const AddressMapping&) const = default;
};

struct InternetGateway {
  std::string id, vpc_id;
  std::vector<AddressMapping> mappings;
  bool operator==(const InternetGateway&) const = default;
};

// Traffic of subnets routed to it leaves with its public address, through its own subnet's routes.
struct NatGateway {
  std::string id, subnet_id;
  std::string private_ip, public_ip;
  bool operator==(const NatGateway&) const = default;
};

struct SecurityGroupRule {
  bool egress = false;
  std::string protocol = "-1";       // "tcp", "udp", "icmp", "icmpv6", a protocol number, or "-1" for all
  int from_port = -1, to_port = -1;  // icmp: type and code, -1 all
  // Exactly one of:
  std::string cidr;                      // IPv4 or IPv6
  std::string source_group;              // peer's security group id ("sg-…"); itself is allowed
  std::vector<std::string> prefix_list;  // CIDRs of a managed prefix list
  bool operator==(const SecurityGroupRule&) const = default;
};

struct SecurityGroup {
  std::string id, vpc_id, name;
  std::vector<SecurityGroupRule> rules;
  bool operator==(const SecurityGroup&) const = default;
};

enum class InterfaceOwner {
  kInstance,      // attached to an instance: lives in its namespace as eth<device_index>
  kControlPlane,  // the cluster's control plane (namespace cp)
  kLoadBalancer,  // one per load balancer and zone
  kNatGateway,
  kNone,  // exists, attached to nothing
};

struct Interface {
  std::string id;  // "eni-…"
  std::string subnet_id;
  std::string mac;
  std::string primary_ip;
  std::vector<std::string> secondary_ips;  // single addresses, all reachable through this interface
  std::vector<std::string> prefixes;       // delegated /28 prefixes, likewise
  std::vector<std::string> security_groups;
  bool source_dest_check = true;
  InterfaceOwner owner = InterfaceOwner::kNone;
  std::string owner_id;  // instance id, load balancer's namespace name, …
  int device_index = 0;
  std::string public_ip;  // "" if none (also in the internet gateway's mappings)
  bool operator==(const Interface&) const = default;
};

struct NetworkState {
  std::vector<Vpc> vpcs;
  std::vector<Subnet> subnets;
  std::vector<InternetGateway> internet_gateways;
  std::vector<NatGateway> nat_gateways;
  std::vector<SecurityGroup> security_groups;
  std::vector<Interface> interfaces;
  bool operator==(const NetworkState&) const = default;
};

}  // namespace caravel::vpc
