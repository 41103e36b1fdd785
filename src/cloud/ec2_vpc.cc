// VPCs, subnets, route tables.
#include "base/strings.h"
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

Value associated(Value v) {
  Value s = Value::object();
  s["State"] = "associated";
  v = std::move(s);
  return v;
}

Value render_subnet(Context& c, const Value& s) {
  Value v = s;
  v["AvailableIpAddressCount"] = free_addresses(c.r, s);
  return v;
}

Output create_vpc(Context& c, const Value& in) {
  auto cidr = parse_cidr(in["CidrBlock"].as_string());
  if (!cidr || cidr->bits < 16 || cidr->bits > 28) return fail("InvalidVpc.Range", "The CIDR '" + in["CidrBlock"].as_string() + "' is invalid: a block between /16 and /28 is needed.");
  TRY(Value tags, tags_for(in, "vpc"));
  std::string id = make_vpc(c, c.new_id("vpc-"), cidr->text(), std::move(tags));
  Value out = Value::object();
  out["Vpc"] = *c.r.find("vpcs", id);
  return out;
}

Output describe_vpcs(Context& c, const Value& in) {
  static const FilterTable f{{"vpc-id", "VpcId"}, {"cidr", "CidrBlock"}, {"cidr-block-association.cidr-block", "CidrBlockAssociationSet.CidrBlock"}, {"state", "State"}, {"is-default", "IsDefault"}, {"isDefault", "IsDefault"}, {"owner-id", "OwnerId"}, {"dhcp-options-id", "DhcpOptionsId"}};
  return describe(c, in, {"vpcs", "Vpcs", "VpcIds", "InvalidVpcID.NotFound", "vpc ID", &f});
}

Output delete_vpc(Context& c, const Value& in) {
  const std::string& id = in["VpcId"].as_string();
  TRY_VOID(need(c, "vpcs", id, "InvalidVpcID.NotFound", "vpc ID"));
  for (auto& [sid, s] : c.r.table("subnets"))
    if (s["VpcId"].as_string() == id) return fail("DependencyViolation", "The vpc '" + id + "' has dependencies and cannot be deleted.");
  for (auto& [gid, g] : c.r.table("internet-gateways"))
    for (const Value& a : g["Attachments"].as_array())
      if (a["VpcId"].as_string() == id) return fail("DependencyViolation", "The vpc '" + id + "' has dependencies and cannot be deleted.");
  for (const char* table : {"security-groups", "route-tables", "network-acls"})
    for (auto& [rid, v] : Records::Table(c.r.table(table)))
      if (v["VpcId"].as_string() == id) c.r.erase(table, rid);
  c.r.erase("vpcs", id);
  return done();
}

Output modify_vpc_attribute(Context& c, const Value& in) {
  TRY_VOID(need(c, "vpcs", in["VpcId"].as_string(), "InvalidVpcID.NotFound", "vpc ID"));
  Value& v = c.r.edit("vpcs", in["VpcId"].as_string());
  for (const char* k : {"EnableDnsHostnames", "EnableDnsSupport"})
    if (in.find(k)) v[std::string("_") + k] = in[k]["Value"].as_bool();
  return done();
}

Output describe_vpc_attribute(Context& c, const Value& in) {
  TRY(const Value* v, need(c, "vpcs", in["VpcId"].as_string(), "InvalidVpcID.NotFound", "vpc ID"));
  Value out = Value::object();
  out["VpcId"] = in["VpcId"];
  const std::string& a = in["Attribute"].as_string();
  std::string member = a == "enableDnsHostnames" ? "EnableDnsHostnames" : a == "enableDnsSupport" ? "EnableDnsSupport"
                                                                                                  : "";
  if (member.empty()) return fail("InvalidParameterValue", "Value (" + a + ") for parameter attribute is invalid. Unknown attribute");
  out[member]["Value"] = (*v)["_" + member].as_bool(true);
  return out;
}

Output create_subnet(Context& c, const Value& in) {
  const std::string& vpc_id = in["VpcId"].as_string();
  TRY(const Value* vpc, need(c, "vpcs", vpc_id, "InvalidVpcID.NotFound", "vpc ID"));
  auto cidr = parse_cidr(in["CidrBlock"].as_string());
  if (!cidr || cidr->bits > 28) return fail("InvalidSubnet.Range", "The CIDR '" + in["CidrBlock"].as_string() + "' is invalid.");
  auto outer = parse_cidr((*vpc)["CidrBlock"].as_string());
  if (!outer->contains(*cidr)) return fail("InvalidSubnet.Range", "The CIDR '" + cidr->text() + "' is invalid.");
  for (auto& [id, s] : c.r.table("subnets"))
    if (s["VpcId"].as_string() == vpc_id && parse_cidr(s["CidrBlock"].as_string())->overlaps(*cidr))
      return fail("InvalidSubnet.Conflict", "The CIDR '" + cidr->text() + "' conflicts with another subnet");
  std::string zone = in["AvailabilityZone"].as_string();
  if (zone.empty()) zone = c.o.region + c.o.zones[0];
  if (!is_zone(c.o, zone)) return fail("InvalidParameterValue", "Value (" + zone + ") for parameter availabilityZone is invalid. Subnets can currently only be created in the following availability zones: " + join(zone_names(c.o), ", ") + ".");
  TRY(Value tags, tags_for(in, "subnet"));
  std::string id = make_subnet(c, c.new_id("subnet-"), vpc_id, cidr->text(), zone, std::move(tags));
  Value out = Value::object();
  out["Subnet"] = render_subnet(c, *c.r.find("subnets", id));
  return out;
}

Output describe_subnets(Context& c, const Value& in) {
  static const FilterTable f{{"subnet-id", "SubnetId"}, {"vpc-id", "VpcId"}, {"availability-zone", "AvailabilityZone"}, {"availabilityZone", "AvailabilityZone"}, {"availability-zone-id", "AvailabilityZoneId"}, {"cidr-block", "CidrBlock"}, {"cidr", "CidrBlock"}, {"cidrBlock", "CidrBlock"}, {"state", "State"}, {"default-for-az", "DefaultForAz"}, {"defaultForAz", "DefaultForAz"}, {"owner-id", "OwnerId"}, {"map-public-ip-on-launch", "MapPublicIpOnLaunch"}, {"available-ip-address-count", "AvailableIpAddressCount"}, {"outpost-arn", "OutpostArn"}};
  return describe(c, in, {"subnets", "Subnets", "SubnetIds", "InvalidSubnetID.NotFound", "subnet ID", &f, render_subnet});
}

Output delete_subnet(Context& c, const Value& in) {
  const std::string& id = in["SubnetId"].as_string();
  TRY_VOID(need(c, "subnets", id, "InvalidSubnetID.NotFound", "subnet ID"));
  for (auto& [eid, e] : c.r.table("network-interfaces"))
    if (e["SubnetId"].as_string() == id) return fail("DependencyViolation", "The subnet '" + id + "' has dependencies and cannot be deleted.");
  c.r.erase("subnets", id);
  return done();
}

Output modify_subnet_attribute(Context& c, const Value& in) {
  TRY_VOID(need(c, "subnets", in["SubnetId"].as_string(), "InvalidSubnetID.NotFound", "subnet ID"));
  if (in.find("MapPublicIpOnLaunch")) c.r.edit("subnets", in["SubnetId"].as_string())["MapPublicIpOnLaunch"] = in["MapPublicIpOnLaunch"]["Value"].as_bool();
  return done();
}

Output create_route_table(Context& c, const Value& in) {
  TRY_VOID(need(c, "vpcs", in["VpcId"].as_string(), "InvalidVpcID.NotFound", "vpc ID"));
  TRY(Value tags, tags_for(in, "route-table"));
  std::string id = make_route_table(c, c.new_id("rtb-"), in["VpcId"].as_string(), std::move(tags));
  Value out = Value::object();
  out["RouteTable"] = *c.r.find("route-tables", id);
  return out;
}

Output describe_route_tables(Context& c, const Value& in) {
  static const FilterTable f{{"route-table-id", "RouteTableId"}, {"vpc-id", "VpcId"}, {"association.subnet-id", "Associations.SubnetId"}, {"association.main", "Associations.Main"}, {"association.route-table-association-id", "Associations.RouteTableAssociationId"}, {"association.gateway-id", "Associations.GatewayId"}, {"route.gateway-id", "Routes.GatewayId"}, {"route.nat-gateway-id", "Routes.NatGatewayId"}, {"route.destination-cidr-block", "Routes.DestinationCidrBlock"}, {"route.state", "Routes.State"}, {"owner-id", "OwnerId"}, {"association.route-table-id", "RouteTableId"}};
  return describe(c, in, {"route-tables", "RouteTables", "RouteTableIds", "InvalidRouteTableID.NotFound", "routeTable ID", &f});
}

Output delete_route_table(Context& c, const Value& in) {
  const std::string& id = in["RouteTableId"].as_string();
  TRY(const Value* t, need(c, "route-tables", id, "InvalidRouteTableID.NotFound", "routeTable ID"));
  if ((*t)["Associations"].size() > 0) return fail("DependencyViolation", "The routeTable '" + id + "' has dependencies and cannot be deleted.");
  c.r.erase("route-tables", id);
  return done();
}

Output put_route(Context& c, const Value& in, bool replace) {
  const std::string& id = in["RouteTableId"].as_string();
  TRY_VOID(need(c, "route-tables", id, "InvalidRouteTableID.NotFound", "routeTable ID"));
  auto cidr = parse_cidr(in["DestinationCidrBlock"].as_string(), true);
  if (!cidr) return fail("InvalidParameterValue", "Value (" + in["DestinationCidrBlock"].as_string() + ") for parameter destinationCidrBlock is invalid. This is not a valid CIDR block.");
  Value route = Value::object();
  route["DestinationCidrBlock"] = cidr->text();
  route["Origin"] = "CreateRoute";
  route["State"] = "active";
  static const std::tuple<const char*, const char*, const char*, const char*> kTargets[] = {{"GatewayId", "internet-gateways", "InvalidInternetGatewayID.NotFound", "internetGateway ID"},
                                                                                            {"NatGatewayId", "nat-gateways", "NatGatewayNotFound", "natGateway ID"},
                                                                                            {"NetworkInterfaceId", "network-interfaces", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"},
                                                                                            {"InstanceId", "instances", "InvalidInstanceID.NotFound", "instance ID"}};
  int targets = 0;
  for (auto& [member, table, code, noun] : kTargets) {
    if (!in.find(member)) continue;
    TRY_VOID(need(c, table, in[member].as_string(), code, noun));
    route[member] = in[member];
    ++targets;
  }
  if (targets != 1) return fail("InvalidParameterCombination", "Exactly one target of the route must be given: GatewayId, NatGatewayId, NetworkInterfaceId or InstanceId.");
  Value& t = c.r.edit("route-tables", id);
  for (Value& r : t["Routes"].arr()) {
    if (std::as_const(r)["DestinationCidrBlock"].as_string() != cidr->text()) continue;
    if (!replace) return fail("RouteAlreadyExists", "The route identified by " + cidr->text() + " already exists.");
    r = std::move(route);
    return done();
  }
  if (replace) return fail("InvalidRoute.NotFound", "no route with destination-cidr-block " + cidr->text() + " in route table " + id);
  t["Routes"].push_back(std::move(route));
  return done();
}
Output create_route(Context& c, const Value& in) { return put_route(c, in, false); }
Output replace_route(Context& c, const Value& in) { return put_route(c, in, true); }

Output delete_route(Context& c, const Value& in) {
  const std::string& id = in["RouteTableId"].as_string();
  TRY_VOID(need(c, "route-tables", id, "InvalidRouteTableID.NotFound", "routeTable ID"));
  Array& routes = c.r.edit("route-tables", id)["Routes"].arr();
  for (size_t i = 0; i < routes.size(); ++i)
    if (std::as_const(routes[i])["DestinationCidrBlock"] == in["DestinationCidrBlock"]) {
      routes.erase(routes.begin() + static_cast<long>(i));
      return done();
    }
  return fail("InvalidRoute.NotFound", "no route with destination-cidr-block " + in["DestinationCidrBlock"].as_string() + " in route table " + id);
}

// The table that holds an association, and its place.
std::pair<std::string, size_t> find_association(Context& c, const std::string& id) {
  for (auto& [tid, t] : c.r.table("route-tables"))
    for (size_t i = 0; i < t["Associations"].size(); ++i)
      if (t["Associations"].at(i)["RouteTableAssociationId"].as_string() == id) return {tid, i};
  return {"", 0};
}

Output associate_route_table(Context& c, const Value& in) {
  const std::string &id = in["RouteTableId"].as_string(), &subnet = in["SubnetId"].as_string();
  TRY_VOID(need(c, "route-tables", id, "InvalidRouteTableID.NotFound", "routeTable ID"));
  TRY_VOID(need(c, "subnets", subnet, "InvalidSubnetID.NotFound", "subnet ID"));
  for (auto& [tid, t] : c.r.table("route-tables"))
    for (const Value& a : t["Associations"].as_array())
      if (a["SubnetId"].as_string() == subnet) return fail("Resource.AlreadyAssociated", "the specified association for route table " + id + " conflicts with an existing association");
  Value out = Value::object();
  out["AssociationId"] = associate_subnet(c, id, subnet);
  out["AssociationState"] = associated(Value());
  return out;
}

Output disassociate_route_table(Context& c, const Value& in) {
  auto [table, at] = find_association(c, in["AssociationId"].as_string());
  if (table.empty()) return fail("InvalidAssociationID.NotFound", "The association ID '" + in["AssociationId"].as_string() + "' does not exist");
  Array& list = c.r.edit("route-tables", table)["Associations"].arr();
  if (std::as_const(list[at])["Main"].as_bool()) return fail("InvalidParameterValue", "cannot disassociate the main route table association " + in["AssociationId"].as_string());
  list.erase(list.begin() + static_cast<long>(at));
  return done();
}

Output replace_association(Context& c, const Value& in) {
  TRY_VOID(need(c, "route-tables", in["RouteTableId"].as_string(), "InvalidRouteTableID.NotFound", "routeTable ID"));
  auto [table, at] = find_association(c, in["AssociationId"].as_string());
  if (table.empty()) return fail("InvalidAssociationID.NotFound", "The association ID '" + in["AssociationId"].as_string() + "' does not exist");
  Array& list = c.r.edit("route-tables", table)["Associations"].arr();
  Value moved = list[at];
  list.erase(list.begin() + static_cast<long>(at));
  std::string id = c.new_id("rtbassoc-");
  moved["RouteTableAssociationId"] = id;
  moved["RouteTableId"] = in["RouteTableId"];
  c.r.edit("route-tables", in["RouteTableId"].as_string())["Associations"].push_back(std::move(moved));
  Value out = Value::object();
  out["NewAssociationId"] = id;
  out["AssociationState"] = associated(Value());
  return out;
}

}  // namespace

void add_vpc_actions(Handlers& h) {
  h["ec2:CreateVpc"] = create_vpc;
  h["ec2:DescribeVpcs"] = describe_vpcs;
  h["ec2:DeleteVpc"] = delete_vpc;
  h["ec2:ModifyVpcAttribute"] = modify_vpc_attribute;
  h["ec2:DescribeVpcAttribute"] = describe_vpc_attribute;
  h["ec2:CreateSubnet"] = create_subnet;
  h["ec2:DescribeSubnets"] = describe_subnets;
  h["ec2:DeleteSubnet"] = delete_subnet;
  h["ec2:ModifySubnetAttribute"] = modify_subnet_attribute;
  h["ec2:CreateRouteTable"] = create_route_table;
  h["ec2:DescribeRouteTables"] = describe_route_tables;
  h["ec2:DeleteRouteTable"] = delete_route_table;
  h["ec2:CreateRoute"] = create_route;
  h["ec2:ReplaceRoute"] = replace_route;
  h["ec2:DeleteRoute"] = delete_route;
  h["ec2:AssociateRouteTable"] = associate_route_table;
  h["ec2:DisassociateRouteTable"] = disassociate_route_table;
  h["ec2:ReplaceRouteTableAssociation"] = replace_association;
}

}  // namespace caravel::cloud
