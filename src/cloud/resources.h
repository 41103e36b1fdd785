// Makers of the network's records: used by the actions and by the first start's VPC.
#pragma once

#include <string>
#include <vector>

#include "cloud/context.h"

namespace caravel::cloud {

using json::Array;

std::vector<std::string> zone_names(const CloudOptions& o);  // "us-east-1a" …
bool is_zone(const CloudOptions& o, std::string_view zone);
std::string zone_id(const CloudOptions& o, std::string_view zone);  // "use1-az1"

// With a main route table, a default security group and a default network ACL.
std::string make_vpc(Context& c, std::string id, std::string cidr, Value tags);
std::string make_subnet(Context& c, std::string id, std::string vpc, std::string cidr, std::string zone, Value tags);
std::string make_route_table(Context& c, std::string id, std::string vpc, Value tags, bool main = false);
std::string associate_subnet(Context& c, const std::string& table, const std::string& subnet);
std::string make_security_group(Context& c, std::string id, std::string vpc, std::string name, std::string description, Value tags);
// One rule; peer is a CIDR or a security group's id. Returns its id.
std::string make_rule(Context& c, const std::string& group, bool egress, const std::string& protocol, int from, int to, const std::string& peer, const std::string& description, Value tags);
std::string make_internet_gateway(Context& c, std::string id, std::string vpc, Value tags);
Result<std::string> make_address(Context& c, std::string id, Value tags);
Result<std::string> make_nat_gateway(Context& c, std::string id, const std::string& subnet, const std::string& allocation, Value tags, const std::string& private_ip = "");

// The VPC of the first start: docs/architecture.md.
Status seed(Context& c);

}  // namespace caravel::cloud
