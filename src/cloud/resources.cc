#include "cloud/resources.h"

#include "base/hash.h"
#include "base/strings.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

std::vector<std::string> zone_names(const CloudOptions& o) {
  std::vector<std::string> out;
  for (const std::string& z : o.zones) out.push_back(o.region + z);
  return out;
}

bool is_zone(const CloudOptions& o, std::string_view zone) {
  for (const std::string& z : o.zones)
    if (o.region + z == zone) return true;
  return false;
}

std::string zone_id(const CloudOptions& o, std::string_view zone) {
  // "us-east-1" -> "use1"
  std::string short_name;
  for (const std::string& part : split(o.region, '-')) {
    if (part == "east" || part == "west" || part == "north" || part == "south" || part == "central") short_name += part[0];
    else if (part == "northeast") short_name += "ne";
    else if (part == "southeast") short_name += "se";
    else short_name += part;
  }
  return short_name + "-az" + std::to_string(zone.empty() ? 1 : zone.back() - 'a' + 1);
}

std::string make_vpc(Context& c, std::string id, std::string cidr, Value tags) {
  Value& v = c.r.edit("vpcs", id);
  v["VpcId"] = id;
  v["State"] = "available";
  v["CidrBlock"] = cidr;
  v["DhcpOptionsId"] = "dopt-" + id.substr(4);
  v["OwnerId"] = c.o.account;
  v["InstanceTenancy"] = "default";
  v["IsDefault"] = false;
  Value a = Value::object();
  a["AssociationId"] = "vpc-cidr-assoc-" + id.substr(4);
  a["CidrBlock"] = cidr;
  a["CidrBlockState"]["State"] = "associated";
  v["CidrBlockAssociationSet"] = Value::array({std::move(a)});
  v["Tags"] = std::move(tags);
  make_route_table(c, c.new_id("rtb-"), id, Value::array(), true);
  std::string group = make_security_group(c, c.new_id("sg-"), id, "default", "default VPC security group", Value::array());
  make_rule(c, group, false, "-1", -1, -1, group, "", Value::array());
  std::string acl = c.new_id("acl-");
  Value& n = c.r.edit("network-acls", acl);
  n["NetworkAclId"] = acl;
  n["VpcId"] = id;
  n["IsDefault"] = true;
  n["OwnerId"] = c.o.account;
  n["Tags"] = Value::array();
  n["Associations"] = Value::array();
  for (bool egress : {true, false})
    for (int number : {100, 32767}) {
      Value e = Value::object();
      e["CidrBlock"] = "0.0.0.0/0";
      e["Egress"] = egress;
      e["Protocol"] = "-1";
      e["RuleAction"] = number == 100 ? "allow" : "deny";
      e["RuleNumber"] = number;
      n["Entries"].push_back(std::move(e));
    }
  return id;
}

std::string make_subnet(Context& c, std::string id, std::string vpc, std::string cidr, std::string zone, Value tags) {
  Value& v = c.r.edit("subnets", id);
  v["SubnetId"] = id;
  v["SubnetArn"] = c.arn("ec2", "subnet/" + id);
  v["VpcId"] = vpc;
  v["CidrBlock"] = cidr;
  v["AvailabilityZone"] = zone;
  v["AvailabilityZoneId"] = zone_id(c.o, zone);
  v["State"] = "available";
  v["OwnerId"] = c.o.account;
  v["MapPublicIpOnLaunch"] = false;
  v["DefaultForAz"] = false;
  v["AssignIpv6AddressOnCreation"] = false;
  v["EnableDns64"] = false;
  v["Ipv6Native"] = false;
  v["MapCustomerOwnedIpOnLaunch"] = false;
  v["Ipv6CidrBlockAssociationSet"] = Value::array();
  v["PrivateDnsNameOptionsOnLaunch"]["HostnameType"] = "ip-name";
  v["PrivateDnsNameOptionsOnLaunch"]["EnableResourceNameDnsARecord"] = false;
  v["PrivateDnsNameOptionsOnLaunch"]["EnableResourceNameDnsAAAARecord"] = false;
  v["Tags"] = std::move(tags);
  return id;
}

std::string make_route_table(Context& c, std::string id, std::string vpc, Value tags, bool main) {
  Value& v = c.r.edit("route-tables", id);
  v["RouteTableId"] = id;
  v["VpcId"] = vpc;
  v["OwnerId"] = c.o.account;
  v["PropagatingVgws"] = Value::array();
  v["Associations"] = Value::array();
  v["Tags"] = std::move(tags);
  Value local = Value::object();
  local["DestinationCidrBlock"] = (*c.r.find("vpcs", vpc))["CidrBlock"];
  local["GatewayId"] = "local";
  local["Origin"] = "CreateRouteTable";
  local["State"] = "active";
  v["Routes"] = Value::array({std::move(local)});
  if (main) {
    Value a = Value::object();
    a["Main"] = true;
    a["RouteTableAssociationId"] = c.new_id("rtbassoc-");
    a["RouteTableId"] = id;
    a["AssociationState"]["State"] = "associated";
    v["Associations"].push_back(std::move(a));
  }
  return id;
}

std::string associate_subnet(Context& c, const std::string& table, const std::string& subnet) {
  std::string id = c.new_id("rtbassoc-");
  Value a = Value::object();
  a["Main"] = false;
  a["RouteTableAssociationId"] = id;
  a["RouteTableId"] = table;
  a["SubnetId"] = subnet;
  a["AssociationState"]["State"] = "associated";
  c.r.edit("route-tables", table)["Associations"].push_back(std::move(a));
  return id;
}

std::string make_security_group(Context& c, std::string id, std::string vpc, std::string name, std::string description, Value tags) {
  Value& v = c.r.edit("security-groups", id);
  v["GroupId"] = id;
  v["GroupName"] = name;
  v["Description"] = description;
  v["VpcId"] = vpc;
  v["OwnerId"] = c.o.account;
  v["SecurityGroupArn"] = c.arn("ec2", "security-group/" + id);
  v["Tags"] = std::move(tags);
  make_rule(c, id, true, "-1", -1, -1, "0.0.0.0/0", "", Value::array());
  return id;
}

std::string make_rule(Context& c, const std::string& group, bool egress, const std::string& protocol, int from, int to, const std::string& peer, const std::string& description, Value tags) {
  std::string id = c.new_id("sgr-");
  Value& v = c.r.edit("security-group-rules", id);
  v["SecurityGroupRuleId"] = id;
  v["GroupId"] = group;
  v["GroupOwnerId"] = c.o.account;
  v["IsEgress"] = egress;
  v["IpProtocol"] = protocol;
  v["FromPort"] = from;
  v["ToPort"] = to;
  if (peer.compare(0, 3, "sg-") == 0) {
    v["ReferencedGroupInfo"]["GroupId"] = peer;
    v["ReferencedGroupInfo"]["UserId"] = c.o.account;
    const Value* g = c.r.find("security-groups", peer);
    if (g) v["ReferencedGroupInfo"]["VpcId"] = (*g)["VpcId"];
  } else if (peer.compare(0, 3, "pl-") == 0) {
    v["PrefixListId"] = peer;
  } else if (peer.find(':') != peer.npos) {
    v["CidrIpv6"] = peer;
  } else {
    v["CidrIpv4"] = peer;
  }
  if (!description.empty()) v["Description"] = description;
  v["SecurityGroupRuleArn"] = c.arn("ec2", "security-group-rule/" + id);
  v["Tags"] = std::move(tags);
  return id;
}

std::string make_internet_gateway(Context& c, std::string id, std::string vpc, Value tags) {
  Value& v = c.r.edit("internet-gateways", id);
  v["InternetGatewayId"] = id;
  v["OwnerId"] = c.o.account;
  v["Attachments"] = Value::array();
  if (!vpc.empty()) {
    Value a = Value::object();
    a["State"] = "available";
    a["VpcId"] = vpc;
    v["Attachments"].push_back(std::move(a));
  }
  v["Tags"] = std::move(tags);
  return id;
}

Result<std::string> make_address(Context& c, std::string id, Value tags) {
  TRY(std::string ip, allocate_public_ip(c));
  Value& v = c.r.edit("addresses", id);
  v["AllocationId"] = id;
  v["PublicIp"] = ip;
  v["Domain"] = "vpc";
  v["NetworkBorderGroup"] = c.o.region;
  v["PublicIpv4Pool"] = "amazon";
  v["Tags"] = std::move(tags);
  return id;
}

Result<std::string> make_nat_gateway(Context& c, std::string id, const std::string& subnet, const std::string& allocation, Value tags, const std::string& private_ip) {
  InterfaceRequest q;
  q.subnet_id = subnet;
  q.ip = private_ip;
  q.description = "Interface for NAT Gateway " + id;
  q.owner = "nat-gateway";
  q.owner_id = id;
  q.requester_managed = true;
  q.type = "nat_gateway";
  TRY(std::string eni, create_interface(c, q, Value::array()));
  std::string ip = (*c.r.find("network-interfaces", eni))["PrivateIpAddress"].as_string();
  std::string public_ip;
  std::string association = c.new_id("eipassoc-");
  if (!allocation.empty()) {
    Value& a = c.r.edit("addresses", allocation);
    public_ip = std::as_const(a)["PublicIp"].as_string();
    a["AssociationId"] = association;
    a["NetworkInterfaceId"] = eni;
    a["NetworkInterfaceOwnerId"] = c.o.account;
    a["PrivateIpAddress"] = ip;
    set_public_ip(c, eni, ip, public_ip, allocation, association);
  }
  Value& v = c.r.edit("nat-gateways", id);
  v["NatGatewayId"] = id;
  v["SubnetId"] = subnet;
  v["VpcId"] = (*c.r.find("subnets", subnet))["VpcId"];
  v["State"] = "pending";
  v["CreateTime"] = c.timestamp();
  v["ConnectivityType"] = allocation.empty() ? "private" : "public";
  Value a = Value::object();
  if (!allocation.empty()) {
    a["AllocationId"] = allocation;
    a["PublicIp"] = public_ip;
    a["AssociationId"] = association;
  }
  a["NetworkInterfaceId"] = eni;
  a["PrivateIp"] = ip;
  a["IsPrimary"] = true;
  a["Status"] = "succeeded";
  v["NatGatewayAddresses"] = Value::array({std::move(a)});
  v["Tags"] = std::move(tags);
  return id;
}

namespace {

// Identifiers of the first start's network are fixed by their names, so that examples can quote them.
std::string fixed_id(const CloudOptions& o, std::string_view prefix, std::string_view name) { return std::string(prefix) + "0" + sha256_hex(o.cluster + "/" + o.region + "/" + std::string(prefix) + std::string(name)).substr(0, 16); }

Value named(std::string_view name, std::initializer_list<std::pair<std::string, std::string>> more = {}) {
  Value tags = Value::array();
  set_tag(tags, "Name", name);
  for (auto& [k, v] : more) set_tag(tags, k, v);
  return tags;
}

}  // namespace

Status seed(Context& c) {
  const CloudOptions& o = c.o;
  std::string cluster_tag = "kubernetes.io/cluster/" + o.cluster;
  auto id = [&](std::string_view prefix, std::string_view name) { return fixed_id(o, prefix, name); };
  std::string vpc = make_vpc(c, id("vpc-", "main"), "10.0.0.0/16", named(o.cluster, {{cluster_tag, "shared"}}));
  c.r.edit("vpcs", vpc)["_EnableDnsHostnames"] = true;
  std::string igw = make_internet_gateway(c, id("igw-", "main"), vpc, named(o.cluster));
  std::string public_table = make_route_table(c, id("rtb-", "public"), vpc, named(o.cluster + "-public"));
  auto route = [&](const std::string& table, const char* member, const std::string& target) {
    Value r = Value::object();
    r["DestinationCidrBlock"] = "0.0.0.0/0";
    r[member] = target;
    r["Origin"] = "CreateRoute";
    r["State"] = "active";
    c.r.edit("route-tables", table)["Routes"].push_back(std::move(r));
  };
  route(public_table, "GatewayId", igw);
  std::string database_table = make_route_table(c, id("rtb-", "database"), vpc, named(o.cluster + "-database"));

  std::string control = make_security_group(c, id("sg-", "control-plane"), vpc, o.cluster + "-control-plane", "EKS control plane of " + o.cluster, named(o.cluster + "-control-plane"));
  std::string node = make_security_group(c, id("sg-", "node"), vpc, o.cluster + "-node", "EKS worker nodes of " + o.cluster, named(o.cluster + "-node", {{cluster_tag, "owned"}, {"karpenter.sh/discovery", o.cluster}}));
  std::string lb = make_security_group(c, id("sg-", "load-balancer"), vpc, o.cluster + "-load-balancer", "Load balancers of " + o.cluster, named(o.cluster + "-load-balancer"));
  auto rule = [&](const std::string& group, const char* protocol, int from, int to, const std::string& peer, const char* why) { make_rule(c, group, false, protocol, from, to, peer, why, Value::array()); };
  rule(control, "tcp", 443, 443, "10.0.0.0/16", "Kubernetes API from the VPC");
  rule(control, "tcp", 6443, 6443, "10.0.0.0/16", "Kubernetes API from the VPC");
  rule(control, "tcp", 22, 22, "10.0.0.0/16", "SSH from the VPC");
  rule(node, "-1", -1, -1, node, "nodes and pods among themselves");
  rule(node, "-1", -1, -1, control, "control plane to nodes and pods");
  rule(node, "tcp", 0, 65535, lb, "load balancers to pods");
  rule(lb, "tcp", 80, 80, "0.0.0.0/0", "HTTP");
  rule(lb, "tcp", 443, 443, "0.0.0.0/0", "HTTPS");

  int n = 1;
  for (const std::string& letter : o.zones) {
    std::string zone = o.region + letter;
    auto cidr = [&](int base) { return "10.0." + std::to_string(base + n) + ".0/24"; };
    std::string pub = make_subnet(c, id("subnet-", "public-" + letter), vpc, cidr(0), zone, named(o.cluster + "-public-" + zone, {{"kubernetes.io/role/elb", "1"}, {cluster_tag, "shared"}}));
    c.r.edit("subnets", pub)["MapPublicIpOnLaunch"] = true;
    associate_subnet(c, public_table, pub);
    std::string priv = make_subnet(c, id("subnet-", "private-" + letter), vpc, cidr(10), zone, named(o.cluster + "-private-" + zone, {{"kubernetes.io/role/internal-elb", "1"}, {cluster_tag, "shared"}, {"karpenter.sh/discovery", o.cluster}}));
    std::string db = make_subnet(c, id("subnet-", "database-" + letter), vpc, cidr(20), zone, named(o.cluster + "-database-" + zone));
    associate_subnet(c, database_table, db);
    TRY(std::string eip, make_address(c, id("eipalloc-", "nat-" + letter), named(o.cluster + "-nat-" + zone)));
    TRY(std::string nat, make_nat_gateway(c, id("nat-", letter), pub, eip, named(o.cluster + "-" + zone), "10.0." + std::to_string(n) + ".10"));
    std::string table = make_route_table(c, id("rtb-", "private-" + letter), vpc, named(o.cluster + "-private-" + zone));
    route(table, "NatGatewayId", nat);
    associate_subnet(c, table, priv);
    // The control plane has an interface in every zone; the API answers at the first.
    InterfaceRequest q;
    q.subnet_id = priv;
    q.ip = "10.0." + std::to_string(10 + n) + ".10";
    q.groups = {control};
    q.description = "Amazon EKS " + o.cluster;
    q.owner = "control-plane";
    q.owner_id = o.cluster;
    q.requester_managed = true;
    TRY_VOID(create_interface(c, q, named("", {{"cluster.k8s.amazonaws.com/name", o.cluster}})));
    ++n;
  }
  return ok();
}

}  // namespace caravel::cloud
