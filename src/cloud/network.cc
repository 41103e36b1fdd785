#include "cloud/network.h"

#include <algorithm>
#include <map>

#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

constexpr uint32_t kFirstAssigned = 20;  // AWS keeps 0 to 3 and the last; the platform uses up to 19 by name
constexpr int kPrefixSize = 16;

// Everything taken in a subnet, prefixes spread out.
std::set<uint32_t> taken_addresses(const Records& r, std::string_view subnet_id) {
  std::set<uint32_t> out;
  for (auto& [id, eni] : r.table("network-interfaces")) {
    if (eni["SubnetId"].as_string() != subnet_id) continue;
    for (const Value& a : eni["PrivateIpAddresses"].as_array())
      if (auto ip = parse_ipv4(a["PrivateIpAddress"].as_string())) out.insert(*ip);
    for (const Value& p : eni["Ipv4Prefixes"].as_array())
      if (auto c = parse_cidr(p["Ipv4Prefix"].as_string()))
        for (int i = 0; i < kPrefixSize; ++i) out.insert(c->base + static_cast<uint32_t>(i));
  }
  return out;
}

bool reserved(const Cidr& c, uint32_t ip) { return ip - c.base < 4 || ip == c.base + c.size() - 1; }

Result<uint32_t> pick_address(Context& c, const std::string& subnet_id, const std::set<uint32_t>& taken) {
  const Value* subnet = c.r.find("subnets", subnet_id);
  auto cidr = parse_cidr((*subnet)["CidrBlock"].as_string());
  uint32_t size = static_cast<uint32_t>(cidr->size());
  // Round robin, so that an address rests before it is used again.
  uint32_t start = static_cast<uint32_t>((*subnet)["_next"].as_int(kFirstAssigned));
  uint32_t low = size > 64 ? kFirstAssigned : 4;
  for (uint32_t n = 0; n < size; ++n) {
    uint32_t offset = low + (start - low + n) % (size - low);
    uint32_t ip = cidr->base + offset;
    if (reserved(*cidr, ip) || taken.count(ip)) continue;
    c.r.edit("subnets", subnet_id)["_next"] = static_cast<int64_t>(offset + 1);
    return ip;
  }
  for (uint32_t offset = 4; offset < low; ++offset)
    if (!taken.count(cidr->base + offset)) return cidr->base + offset;
  return fail("InsufficientFreeAddressesInSubnet", "The specified subnet does not have enough free addresses to satisfy the request.");
}

Result<uint32_t> check_address(Context& c, const std::string& subnet_id, const std::string& text, const std::set<uint32_t>& taken) {
  auto cidr = parse_cidr((*c.r.find("subnets", subnet_id))["CidrBlock"].as_string());
  auto ip = parse_ipv4(text);
  if (!ip) return fail("InvalidParameterValue", "invalid value for parameter address: " + text);
  if (!cidr->contains(*ip) || reserved(*cidr, *ip)) return fail("InvalidParameterValue", "Address " + text + " does not fall within the subnet's address range");
  if (taken.count(*ip)) return fail("InvalidIPAddress.InUse", "Address " + text + " is in use.");
  return *ip;
}

Value address_entry(const CloudOptions& o, const std::string& ip, bool primary) {
  Value v = Value::object();
  v["Primary"] = primary;
  v["PrivateIpAddress"] = ip;
  v["PrivateDnsName"] = private_dns_name(o, ip);
  return v;
}

// Addresses and prefixes share the interface's slots.
Status check_slots(Context& c, const Value& eni, size_t more) {
  std::string instance = eni["Attachment"]["InstanceId"].as_string();
  const Value* i = instance.empty() ? nullptr : c.r.find("instances", instance);
  const InstanceType* type = i ? find_instance_type((*i)["InstanceType"].as_string()) : nullptr;
  if (!type) return ok();
  size_t used = eni["PrivateIpAddresses"].size() + eni["Ipv4Prefixes"].size();
  if (used + more > static_cast<size_t>(type->ipv4_per_eni))
    return fail("PrivateIpAddressLimitExceeded", format("Number of private addresses will exceed limit: %d for %s.", type->ipv4_per_eni, type->name.c_str()));
  return ok();
}

}  // namespace

std::string private_dns_name(const CloudOptions& o, std::string_view ip) { return "ip-" + replace_all(ip, ".", "-") + "." + o.region + ".compute.internal"; }

Result<const Value*> need(Context& c, std::string_view table, const std::string& id, const char* code, const char* noun) {
  const Value* v = c.r.find(table, id);
  if (!v) return fail(code, "The " + std::string(noun) + " '" + id + "' does not exist");
  return v;
}

Result<std::string> default_group(Context& c, std::string_view vpc_id) {
  for (auto& [id, g] : c.r.table("security-groups"))
    if (g["VpcId"].as_string() == vpc_id && g["GroupName"].as_string() == "default") return id;
  return fail("VPCIdNotSpecified", "The VPC " + std::string(vpc_id) + " has no default security group");
}

Result<std::vector<std::string>> add_addresses(Context& c, const std::string& id, int count, const std::vector<std::string>& wanted) {
  const Value& eni = *c.r.find("network-interfaces", id);
  TRY_VOID(check_slots(c, eni, static_cast<size_t>(count) + wanted.size()));
  std::string subnet = eni["SubnetId"].as_string();
  std::set<uint32_t> taken = taken_addresses(c.r, subnet);
  std::vector<std::string> out;
  for (const std::string& w : wanted) {
    TRY(uint32_t ip, check_address(c, subnet, w, taken));
    taken.insert(ip);
    out.push_back(w);
  }
  for (int i = 0; i < count; ++i) {
    TRY(uint32_t ip, pick_address(c, subnet, taken));
    taken.insert(ip);
    out.push_back(ipv4_text(ip));
  }
  Value& e = c.r.edit("network-interfaces", id);
  for (const std::string& ip : out) e["PrivateIpAddresses"].push_back(address_entry(c.o, ip, false));
  return out;
}

Result<std::vector<std::string>> add_prefixes(Context& c, const std::string& id, int count, const std::vector<std::string>& wanted) {
  const Value& eni = *c.r.find("network-interfaces", id);
  TRY_VOID(check_slots(c, eni, static_cast<size_t>(count) + wanted.size()));
  std::string subnet_id = eni["SubnetId"].as_string();
  auto cidr = parse_cidr((*c.r.find("subnets", subnet_id))["CidrBlock"].as_string());
  std::set<uint32_t> taken = taken_addresses(c.r, subnet_id);
  auto is_free = [&](uint32_t base) {
    for (uint32_t i = 0; i < kPrefixSize; ++i)
      if (reserved(*cidr, base + i) || taken.count(base + i)) return false;
    return true;
  };
  std::vector<std::string> out;
  for (const std::string& w : wanted) {
    auto p = parse_cidr(w);
    if (!p || p->bits != 28 || !cidr->contains(*p)) return fail("InvalidParameterValue", "The prefix " + w + " is not a /28 of the subnet");
    if (!is_free(p->base)) return fail("InvalidIPAddress.InUse", "The prefix " + w + " is in use.");
    out.push_back(w);
  }
  for (int n = 0; n < count; ++n) {
    bool found = false;
    // From the top: single addresses grow from the bottom.
    for (uint32_t base = cidr->base + static_cast<uint32_t>(cidr->size()) - kPrefixSize; base > cidr->base; base -= kPrefixSize) {
      if (!is_free(base)) continue;
      for (uint32_t i = 0; i < kPrefixSize; ++i) taken.insert(base + i);
      out.push_back(Cidr{base, 28}.text());
      found = true;
      break;
    }
    if (!found) return fail("InsufficientCidrBlocks", "There are not enough free cidr blocks in the specified subnet to satisfy the request.");
  }
  Value& e = c.r.edit("network-interfaces", id);
  for (const std::string& p : out) {
    Value v = Value::object();
    v["Ipv4Prefix"] = p;
    e["Ipv4Prefixes"].push_back(std::move(v));
  }
  return out;
}

Result<std::string> create_interface(Context& c, const InterfaceRequest& q, Value tags) {
  TRY(const Value* subnet, need(c, "subnets", q.subnet_id, "InvalidSubnetID.NotFound", "subnet ID"));
  std::string vpc = (*subnet)["VpcId"].as_string(), zone = (*subnet)["AvailabilityZone"].as_string(), zone_id = (*subnet)["AvailabilityZoneId"].as_string();
  std::vector<std::string> groups = q.groups;
  if (groups.empty()) {
    TRY(std::string g, default_group(c, vpc));
    groups.push_back(g);
  }
  Value group_list = Value::array();
  for (const std::string& g : groups) {
    TRY(const Value* group, need(c, "security-groups", g, "InvalidGroup.NotFound", "security group"));
    if ((*group)["VpcId"].as_string() != vpc) return fail("InvalidParameter", "Security group " + g + " and subnet " + q.subnet_id + " belong to different networks.");
    Value v = Value::object();
    v["GroupId"] = g;
    v["GroupName"] = (*group)["GroupName"].as_string();
    group_list.push_back(std::move(v));
  }
  std::set<uint32_t> taken = taken_addresses(c.r, q.subnet_id);
  uint32_t ip;
  if (q.ip.empty()) {
    TRY(ip, pick_address(c, q.subnet_id, taken));
  } else {
    TRY(ip, check_address(c, q.subnet_id, q.ip, taken));
  }
  std::string text = ipv4_text(ip);
  std::string id = c.new_id("eni-");
  Value& e = c.r.edit("network-interfaces", id);
  e["NetworkInterfaceId"] = id;
  e["SubnetId"] = q.subnet_id;
  e["VpcId"] = vpc;
  e["AvailabilityZone"] = zone;
  e["AvailabilityZoneId"] = zone_id;
  e["Description"] = q.description;
  e["OwnerId"] = c.o.account;
  e["RequesterManaged"] = q.requester_managed;
  if (q.requester_managed) e["RequesterId"] = "amazon-" + q.owner;
  e["Status"] = q.owner == "none" ? "available" : "in-use";
  e["InterfaceType"] = q.type;
  // Locally administered, and readable: 0a:58 and the address.
  e["MacAddress"] = format("0a:58:%02x:%02x:%02x:%02x", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255);
  e["PrivateIpAddress"] = text;
  e["PrivateDnsName"] = private_dns_name(c.o, text);
  e["SourceDestCheck"] = true;
  e["Groups"] = std::move(group_list);
  e["PrivateIpAddresses"] = Value::array({address_entry(c.o, text, true)});
  e["Ipv6Addresses"] = Value::array();
  e["Ipv4Prefixes"] = Value::array();
  e["Tags"] = std::move(tags);
  e["_owner"] = q.owner;
  e["_owner_id"] = q.owner_id;
  if (q.secondary_count > 0 || !q.secondary.empty()) {
    auto r = add_addresses(c, id, q.secondary_count, q.secondary);
    if (!r.ok()) return std::move(r).error();
  }
  if (q.prefix_count > 0 || !q.prefixes.empty()) {
    auto r = add_prefixes(c, id, q.prefix_count, q.prefixes);
    if (!r.ok()) return std::move(r).error();
  }
  return id;
}

void delete_interface(Context& c, const std::string& id) {
  for (auto& [aid, a] : Records::Table(c.r.table("addresses"))) {
    if (a["NetworkInterfaceId"].as_string() != id) continue;
    Value& v = c.r.edit("addresses", aid);
    for (const char* k : {"AssociationId", "NetworkInterfaceId", "PrivateIpAddress", "InstanceId", "NetworkInterfaceOwnerId"}) v.erase(k);
  }
  c.r.erase("network-interfaces", id);
}

void attach_interface(Context& c, const std::string& eni, const std::string& instance, int index, bool delete_on_termination) {
  Value& e = c.r.edit("network-interfaces", eni);
  Value a = Value::object();
  a["AttachmentId"] = c.new_id("eni-attach-");
  a["InstanceId"] = instance;
  a["InstanceOwnerId"] = c.o.account;
  a["DeviceIndex"] = index;
  a["NetworkCardIndex"] = 0;
  a["Status"] = "attached";
  a["AttachTime"] = c.timestamp();
  a["DeleteOnTermination"] = delete_on_termination;
  e["Attachment"] = std::move(a);
  e["Status"] = "in-use";
  e["_owner"] = "instance";
  e["_owner_id"] = instance;
}

void detach_interface(Context& c, const std::string& eni) {
  Value& e = c.r.edit("network-interfaces", eni);
  e.erase("Attachment");
  e["Status"] = "available";
  e["_owner"] = "none";
  e["_owner_id"] = "";
}

std::vector<std::string> interfaces_of(const Records& r, std::string_view instance_id) {
  std::map<int64_t, std::string> by_index;
  for (auto& [id, e] : r.table("network-interfaces"))
    if (e["Attachment"]["InstanceId"].as_string() == instance_id) by_index[e["Attachment"]["DeviceIndex"].as_int()] = id;
  std::vector<std::string> out;
  for (auto& [n, id] : by_index) out.push_back(id);
  return out;
}

int64_t free_addresses(const Records& r, const Value& subnet) {
  auto cidr = parse_cidr(subnet["CidrBlock"].as_string());
  if (!cidr) return 0;
  return static_cast<int64_t>(cidr->size()) - 5 - static_cast<int64_t>(taken_addresses(r, subnet["SubnetId"].as_string()).size());
}

Result<std::string> allocate_public_ip(Context& c) {
  std::set<std::string> taken;
  for (auto& [id, a] : c.r.table("addresses")) taken.insert(a["PublicIp"].as_string());
  for (auto& [id, e] : c.r.table("network-interfaces"))
    for (const Value& a : e["PrivateIpAddresses"].as_array()) taken.insert(a["Association"]["PublicIp"].as_string());
  // 198.51.100.1 to .99 are the world's own: the internet's side of the edge.
  for (int n = 10; n < 255; ++n)
    if (std::string ip = "203.0.113." + std::to_string(n); !taken.count(ip)) return ip;
  for (int n = 100; n < 255; ++n)
    if (std::string ip = "198.51.100." + std::to_string(n); !taken.count(ip)) return ip;
  return fail("AddressLimitExceeded", "The maximum number of addresses has been reached.");
}

void set_public_ip(Context& c, const std::string& eni, const std::string& private_ip, const std::string& public_ip, const std::string& allocation, const std::string& association) {
  Value& e = c.r.edit("network-interfaces", eni);
  Value a;
  if (!public_ip.empty()) {
    a = Value::object();
    a["PublicIp"] = public_ip;
    a["PublicDnsName"] = "ec2-" + replace_all(public_ip, ".", "-") + ".compute-1.amazonaws.com";
    a["IpOwnerId"] = allocation.empty() ? "amazon" : c.o.account;
    if (!allocation.empty()) a["AllocationId"] = allocation;
    if (!association.empty()) a["AssociationId"] = association;
  }
  for (Value& p : e["PrivateIpAddresses"].arr()) {
    if (std::as_const(p)["PrivateIpAddress"].as_string() != private_ip) continue;
    if (a.is_null()) p.erase("Association");
    else p["Association"] = a;
  }
  if (std::as_const(e)["PrivateIpAddress"].as_string() == private_ip) {
    if (a.is_null()) e.erase("Association");
    else e["Association"] = a;
  }
}

const Value* route_table_of(const Records& r, const Value& subnet) {
  const Value* main = nullptr;
  for (auto& [id, t] : r.table("route-tables")) {
    if (t["VpcId"].as_string() != subnet["VpcId"].as_string()) continue;
    for (const Value& a : t["Associations"].as_array()) {
      if (a["SubnetId"].as_string() == subnet["SubnetId"].as_string()) return &t;
      if (a["Main"].as_bool()) main = &t;
    }
  }
  return main;
}

bool is_public_subnet(const Records& r, const Value& subnet) {
  const Value* t = route_table_of(r, subnet);
  if (!t) return false;
  for (const Value& route : (*t)["Routes"].as_array())
    if (route["GatewayId"].as_string().compare(0, 4, "igw-") == 0) return true;
  return false;
}

}  // namespace caravel::cloud
