// Addresses and interfaces: shared by the EC2 and load balancer actions.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "cloud/context.h"
#include "cloud/ipv4.h"

namespace caravel::cloud {

// "ip-10-0-11-23.us-east-1.compute.internal" (us-east-1 names are "ip-….ec2.internal" on AWS; here the
// regional form is used everywhere, as docs/architecture.md says).
std::string private_dns_name(const CloudOptions& o, std::string_view ip);

struct InterfaceRequest {
  std::string subnet_id;
  std::string ip;                   // "" any
  std::vector<std::string> groups;  // empty: the VPC's default group
  std::string description;
  std::string owner = "none";  // none instance control-plane load-balancer nat-gateway
  std::string owner_id;
  int secondary_count = 0;
  std::vector<std::string> secondary;
  int prefix_count = 0;
  std::vector<std::string> prefixes;
  bool requester_managed = false;
  std::string type = "interface";
};
Result<std::string> create_interface(Context& c, const InterfaceRequest& request, Value tags);
void delete_interface(Context& c, const std::string& id);
// Adds addresses or prefixes to an interface; returns those added. Errors: InsufficientFreeAddressesInSubnet,
// PrivateIpAddressLimitExceeded, InvalidParameterValue.
Result<std::vector<std::string>> add_addresses(Context& c, const std::string& eni, int count, const std::vector<std::string>& wanted);
Result<std::vector<std::string>> add_prefixes(Context& c, const std::string& eni, int count, const std::vector<std::string>& wanted);
void attach_interface(Context& c, const std::string& eni, const std::string& instance, int index, bool delete_on_termination);
void detach_interface(Context& c, const std::string& eni);

std::vector<std::string> interfaces_of(const Records& r, std::string_view instance_id);  // by device index
int64_t free_addresses(const Records& r, const Value& subnet);
// A public address: 203.0.113.0/24 and 198.51.100.0/24 (documentation ranges), the lowest free.
Result<std::string> allocate_public_ip(Context& c);
void set_public_ip(Context& c, const std::string& eni, const std::string& private_ip, const std::string& public_ip, const std::string& allocation, const std::string& association);
Result<std::string> default_group(Context& c, std::string_view vpc_id);
// The route table that a subnet uses.
const Value* route_table_of(const Records& r, const Value& subnet);
bool is_public_subnet(const Records& r, const Value& subnet);
Result<const Value*> need(Context& c, std::string_view table, const std::string& id, const char* code, const char* noun);

}  // namespace caravel::cloud
