// Internet gateways, NAT gateways, Elastic IP addresses, network ACLs (read only).
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

Output create_internet_gateway(Context& c, const Value& in) {
  TRY(Value tags, tags_for(in, "internet-gateway"));
  Value out = Value::object();
  out["InternetGateway"] = *c.r.find("internet-gateways", make_internet_gateway(c, c.new_id("igw-"), "", std::move(tags)));
  return out;
}

Output describe_internet_gateways(Context& c, const Value& in) {
  static const FilterTable f{{"internet-gateway-id", "InternetGatewayId"}, {"attachment.vpc-id", "Attachments.VpcId"}, {"attachment.state", "Attachments.State"}, {"owner-id", "OwnerId"}};
  return describe(c, in, {"internet-gateways", "InternetGateways", "InternetGatewayIds", "InvalidInternetGatewayID.NotFound", "internetGateway ID", &f});
}

Output attach_internet_gateway(Context& c, const Value& in) {
  const std::string &id = in["InternetGatewayId"].as_string(), &vpc = in["VpcId"].as_string();
  TRY(const Value* g, need(c, "internet-gateways", id, "InvalidInternetGatewayID.NotFound", "internetGateway ID"));
  TRY_VOID(need(c, "vpcs", vpc, "InvalidVpcID.NotFound", "vpc ID"));
  if ((*g)["Attachments"].size() > 0) return fail("Resource.AlreadyAssociated", "resource " + id + " is already attached to network " + (*g)["Attachments"].at(0)["VpcId"].as_string());
  Value a = Value::object();
  a["State"] = "available";
  a["VpcId"] = vpc;
  c.r.edit("internet-gateways", id)["Attachments"].push_back(std::move(a));
  return done();
}

Output detach_internet_gateway(Context& c, const Value& in) {
  const std::string& id = in["InternetGatewayId"].as_string();
  TRY(const Value* g, need(c, "internet-gateways", id, "InvalidInternetGatewayID.NotFound", "internetGateway ID"));
  if ((*g)["Attachments"].at(0)["VpcId"] != in["VpcId"]) return fail("Gateway.NotAttached", "resource " + id + " is not attached to network " + in["VpcId"].as_string());
  c.r.edit("internet-gateways", id)["Attachments"] = Value::array();
  return done();
}

Output delete_internet_gateway(Context& c, const Value& in) {
  const std::string& id = in["InternetGatewayId"].as_string();
  TRY(const Value* g, need(c, "internet-gateways", id, "InvalidInternetGatewayID.NotFound", "internetGateway ID"));
  if ((*g)["Attachments"].size() > 0) return fail("DependencyViolation", "The internetGateway '" + id + "' has dependencies and cannot be deleted.");
  c.r.erase("internet-gateways", id);
  return done();
}

Output create_nat_gateway(Context& c, const Value& in) {
  const std::string& token = in["ClientToken"].as_string();
  Value out = Value::object();
  if (!token.empty()) {
    out["ClientToken"] = token;
    for (auto& [id, n] : c.r.table("nat-gateways"))
      if (n["_token"].as_string() == token) {
        out["NatGateway"] = n;
        return out;
      }
  }
  TRY_VOID(need(c, "subnets", in["SubnetId"].as_string(), "InvalidSubnetID.NotFound", "subnet ID"));
  bool is_private = in["ConnectivityType"].as_string() == "private";
  const std::string& eip = in["AllocationId"].as_string();
  if (!is_private) {
    if (eip.empty()) return fail("MissingParameter", "The request must include the AllocationId parameter. Add the required parameter and retry the request.");
    TRY(const Value* a, need(c, "addresses", eip, "InvalidAllocationID.NotFound", "allocation ID"));
    if (a->find("AssociationId")) return fail("Resource.AlreadyAssociated", "Elastic IP address [" + eip + "] is already associated");
  }
  TRY(Value tags, tags_for(in, "natgateway"));
  TRY(std::string id, make_nat_gateway(c, c.new_id("nat-"), in["SubnetId"].as_string(), is_private ? "" : eip, std::move(tags)));
  if (!token.empty()) c.r.edit("nat-gateways", id)["_token"] = token;
  out["NatGateway"] = *c.r.find("nat-gateways", id);
  return out;
}

Output describe_nat_gateways(Context& c, const Value& in) {
  static const FilterTable f{{"nat-gateway-id", "NatGatewayId"}, {"vpc-id", "VpcId"}, {"subnet-id", "SubnetId"}, {"state", "State"}};
  return describe(c, in, {"nat-gateways", "NatGateways", "NatGatewayIds", "NatGatewayNotFound", "Nat Gateway", &f});
}

Output delete_nat_gateway(Context& c, const Value& in) {
  const std::string& id = in["NatGatewayId"].as_string();
  TRY(const Value* n, need(c, "nat-gateways", id, "NatGatewayNotFound", "Nat Gateway"));
  for (const Value& a : Value((*n)["NatGatewayAddresses"]).as_array()) delete_interface(c, a["NetworkInterfaceId"].as_string());
  c.r.erase("nat-gateways", id);
  Value out = Value::object();
  out["NatGatewayId"] = id;
  return out;
}

Output allocate_address(Context& c, const Value& in) {
  TRY(Value tags, tags_for(in, "elastic-ip"));
  TRY(std::string id, make_address(c, c.new_id("eipalloc-"), std::move(tags)));
  return *c.r.find("addresses", id);
}

Output describe_addresses(Context& c, const Value& in) {
  static const FilterTable f{{"allocation-id", "AllocationId"}, {"association-id", "AssociationId"}, {"public-ip", "PublicIp"}, {"private-ip-address", "PrivateIpAddress"}, {"network-interface-id", "NetworkInterfaceId"}, {"instance-id", "InstanceId"}, {"domain", "Domain"}};
  Value q = in;
  if (in["PublicIps"].size() > 0) {
    Value filter = Value::object();
    filter["Name"] = "public-ip";
    filter["Values"] = in["PublicIps"];
    q["Filters"].push_back(std::move(filter));
  }
  return describe(c, q, {"addresses", "Addresses", "AllocationIds", "InvalidAllocationID.NotFound", "allocation ID", &f});
}

Output associate_address(Context& c, const Value& in) {
  const std::string& id = in["AllocationId"].as_string();
  TRY(const Value* a, need(c, "addresses", id, "InvalidAllocationID.NotFound", "allocation ID"));
  if (a->find("AssociationId") && !in["AllowReassociation"].as_bool()) return fail("Resource.AlreadyAssociated", "resource " + id + " is already associated with associate-id " + (*a)["AssociationId"].as_string());
  std::string eni = in["NetworkInterfaceId"].as_string(), instance = in["InstanceId"].as_string();
  if (eni.empty()) {
    TRY_VOID(need(c, "instances", instance, "InvalidInstanceID.NotFound", "instance ID"));
    auto list = interfaces_of(c.r, instance);
    if (list.empty()) return fail("IncorrectInstanceState", "The instance '" + instance + "' has no network interface.");
    eni = list[0];
  }
  TRY(const Value* e, need(c, "network-interfaces", eni, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  std::string ip = in["PrivateIpAddress"].as_string().empty() ? (*e)["PrivateIpAddress"].as_string() : in["PrivateIpAddress"].as_string();
  std::string association = c.new_id("eipassoc-");
  if (a->find("NetworkInterfaceId")) set_public_ip(c, (*a)["NetworkInterfaceId"].as_string(), (*a)["PrivateIpAddress"].as_string(), "", "", "");
  Value& v = c.r.edit("addresses", id);
  v["AssociationId"] = association;
  v["NetworkInterfaceId"] = eni;
  v["NetworkInterfaceOwnerId"] = c.o.account;
  v["PrivateIpAddress"] = ip;
  if (!instance.empty()) v["InstanceId"] = instance;
  set_public_ip(c, eni, ip, std::as_const(v)["PublicIp"].as_string(), id, association);
  Value out = Value::object();
  out["AssociationId"] = association;
  return out;
}

Output disassociate_address(Context& c, const Value& in) {
  for (auto& [id, a] : Records::Table(c.r.table("addresses"))) {
    if (a["AssociationId"].is_null() || (a["AssociationId"] != in["AssociationId"] && a["PublicIp"] != in["PublicIp"])) continue;
    set_public_ip(c, a["NetworkInterfaceId"].as_string(), a["PrivateIpAddress"].as_string(), "", "", "");
    Value& v = c.r.edit("addresses", id);
    for (const char* k : {"AssociationId", "NetworkInterfaceId", "NetworkInterfaceOwnerId", "PrivateIpAddress", "InstanceId"}) v.erase(k);
    return done();
  }
  return fail("InvalidAssociationID.NotFound", "The association ID '" + in["AssociationId"].as_string() + "' does not exist");
}

Output release_address(Context& c, const Value& in) {
  const std::string& id = in["AllocationId"].as_string();
  TRY(const Value* a, need(c, "addresses", id, "InvalidAllocationID.NotFound", "allocation ID"));
  if (a->find("AssociationId")) return fail("InvalidIPAddress.InUse", "Address " + (*a)["PublicIp"].as_string() + " is in use.");
  c.r.erase("addresses", id);
  return done();
}

Output describe_network_acls(Context& c, const Value& in) {
  static const FilterTable f{{"network-acl-id", "NetworkAclId"}, {"vpc-id", "VpcId"}, {"default", "IsDefault"}, {"association.subnet-id", "Associations.SubnetId"}};
  auto render = [](Context& ctx, const Value& acl) {
    Value v = acl;
    v["Associations"] = Value::array();
    for (auto& [id, s] : ctx.r.table("subnets")) {
      if (s["VpcId"] != acl["VpcId"]) continue;
      Value a = Value::object();
      a["NetworkAclAssociationId"] = "aclassoc-" + id.substr(7);
      a["NetworkAclId"] = acl["NetworkAclId"];
      a["SubnetId"] = id;
      v["Associations"].push_back(std::move(a));
    }
    return v;
  };
  return describe(c, in, {"network-acls", "NetworkAcls", "NetworkAclIds", "InvalidNetworkAclID.NotFound", "networkAcl ID", &f, render});
}

}  // namespace

void add_gateway_actions(Handlers& h) {
  h["ec2:CreateInternetGateway"] = create_internet_gateway;
  h["ec2:DescribeInternetGateways"] = describe_internet_gateways;
  h["ec2:AttachInternetGateway"] = attach_internet_gateway;
  h["ec2:DetachInternetGateway"] = detach_internet_gateway;
  h["ec2:DeleteInternetGateway"] = delete_internet_gateway;
  h["ec2:CreateNatGateway"] = create_nat_gateway;
  h["ec2:DescribeNatGateways"] = describe_nat_gateways;
  h["ec2:DeleteNatGateway"] = delete_nat_gateway;
  h["ec2:AllocateAddress"] = allocate_address;
  h["ec2:DescribeAddresses"] = describe_addresses;
  h["ec2:AssociateAddress"] = associate_address;
  h["ec2:DisassociateAddress"] = disassociate_address;
  h["ec2:ReleaseAddress"] = release_address;
  h["ec2:DescribeNetworkAcls"] = describe_network_acls;
}

}  // namespace caravel::cloud
