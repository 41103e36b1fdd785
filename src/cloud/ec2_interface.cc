// Network interfaces: create, attach, detach, addresses and prefixes.
#include "base/strings.h"
#include "cloud/instance_types.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Value render_interface(Context&, const Value& e) {
  Value v = e;
  v["TagSet"] = e["Tags"];
  return v;
}

Output create_network_interface(Context& c, const Value& in) {
  const std::string& token = in["ClientToken"].as_string();
  Value out = Value::object();
  if (!token.empty()) {
    out["ClientToken"] = token;
    for (auto& [id, e] : c.r.table("network-interfaces"))
      if (e["_token"].as_string() == token) {
        out["NetworkInterface"] = render_interface(c, e);
        return out;
      }
  }
  InterfaceRequest q;
  q.subnet_id = in["SubnetId"].as_string();
  q.ip = in["PrivateIpAddress"].as_string();
  q.groups = strings(in["Groups"]);
  q.description = in["Description"].as_string();
  q.secondary_count = static_cast<int>(in["SecondaryPrivateIpAddressCount"].as_int());
  q.prefix_count = static_cast<int>(in["Ipv4PrefixCount"].as_int());
  for (const Value& p : in["Ipv4Prefixes"].as_array()) q.prefixes.push_back(p["Ipv4Prefix"].as_string());
  for (const Value& a : in["PrivateIpAddresses"].as_array()) {
    if (a["Primary"].as_bool()) q.ip = a["PrivateIpAddress"].as_string();
    else q.secondary.push_back(a["PrivateIpAddress"].as_string());
  }
  TRY(Value tags, tags_for(in, "network-interface"));
  TRY(std::string id, create_interface(c, q, std::move(tags)));
  if (!token.empty()) c.r.edit("network-interfaces", id)["_token"] = token;
  out["NetworkInterface"] = render_interface(c, *c.r.find("network-interfaces", id));
  return out;
}

Output describe_network_interfaces(Context& c, const Value& in) {
  static const FilterTable f{{"network-interface-id", "NetworkInterfaceId"}, {"subnet-id", "SubnetId"}, {"vpc-id", "VpcId"}, {"availability-zone", "AvailabilityZone"}, {"description", "Description"}, {"group-id", "Groups.GroupId"}, {"group-name", "Groups.GroupName"}, {"mac-address", "MacAddress"}, {"owner-id", "OwnerId"}, {"private-ip-address", "PrivateIpAddress"}, {"private-dns-name", "PrivateDnsName"}, {"addresses.private-ip-address", "PrivateIpAddresses.PrivateIpAddress"}, {"addresses.primary", "PrivateIpAddresses.Primary"}, {"association.public-ip", "Association.PublicIp"}, {"attachment.instance-id", "Attachment.InstanceId"}, {"attachment.attachment-id", "Attachment.AttachmentId"}, {"attachment.device-index", "Attachment.DeviceIndex"}, {"attachment.status", "Attachment.Status"}, {"status", "Status"}, {"requester-managed", "RequesterManaged"}, {"requester-id", "RequesterId"}, {"interface-type", "InterfaceType"}, {"source-dest-check", "SourceDestCheck"}};
  return describe(c, in, {"network-interfaces", "NetworkInterfaces", "NetworkInterfaceIds", "InvalidNetworkInterfaceID.NotFound", "networkInterface ID", &f, render_interface});
}

Output delete_network_interface(Context& c, const Value& in) {
  const std::string& id = in["NetworkInterfaceId"].as_string();
  TRY(const Value* e, need(c, "network-interfaces", id, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  if ((*e)["Status"].as_string() == "in-use") return fail("InvalidNetworkInterface.InUse", "Interface: [" + id + "] in use.");
  delete_interface(c, id);
  return done();
}

Output attach_network_interface(Context& c, const Value& in) {
  const std::string &id = in["NetworkInterfaceId"].as_string(), &instance = in["InstanceId"].as_string();
  TRY(const Value* e, need(c, "network-interfaces", id, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  TRY(const Value* i, need(c, "instances", instance, "InvalidInstanceID.NotFound", "instance ID"));
  if ((*e)["Status"].as_string() == "in-use") return fail("InvalidNetworkInterface.InUse", "Interface: [" + id + "] in use.");
  if ((*e)["AvailabilityZone"] != (*i)["Placement"]["AvailabilityZone"]) return fail("InvalidParameterCombination", "You may not attach a network interface to an instance if they are not in the same availability zone");
  const InstanceType* type = find_instance_type((*i)["InstanceType"].as_string());
  int index = static_cast<int>(in["DeviceIndex"].as_int());
  auto present = interfaces_of(c.r, instance);
  if (type && static_cast<int>(present.size()) >= type->enis) return fail("AttachmentLimitExceeded", format("Interface count %zu exceeds the limit for %s", present.size() + 1, type->name.c_str()));
  for (const std::string& other : present)
    if ((*c.r.find("network-interfaces", other))["Attachment"]["DeviceIndex"].as_int() == index) return fail("InvalidParameterValue", format("Instance '%s' already has an interface attached at device index '%d'.", instance.c_str(), index));
  attach_interface(c, id, instance, index, false);
  Value out = Value::object();
  out["AttachmentId"] = (*c.r.find("network-interfaces", id))["Attachment"]["AttachmentId"];
  out["NetworkCardIndex"] = 0;
  return out;
}

std::string by_attachment(Context& c, const std::string& attachment) {
  for (auto& [id, e] : c.r.table("network-interfaces"))
    if (e["Attachment"]["AttachmentId"].as_string() == attachment) return id;
  return "";
}

Output detach_network_interface(Context& c, const Value& in) {
  std::string id = by_attachment(c, in["AttachmentId"].as_string());
  if (id.empty()) return fail("InvalidAttachmentID.NotFound", "The attachment '" + in["AttachmentId"].as_string() + "' does not exist.");
  if ((*c.r.find("network-interfaces", id))["Attachment"]["DeviceIndex"].as_int() == 0) return fail("OperationNotPermitted", "The network interface at device index 0 cannot be detached.");
  detach_interface(c, id);
  return done();
}

Output modify_attribute(Context& c, const Value& in) {
  const std::string& id = in["NetworkInterfaceId"].as_string();
  TRY_VOID(need(c, "network-interfaces", id, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  if (in["Groups"].size() > 0) {
    Value list = Value::array();
    for (const std::string& g : strings(in["Groups"])) {
      TRY(const Value* group, need(c, "security-groups", g, "InvalidGroup.NotFound", "security group"));
      Value v = Value::object();
      v["GroupId"] = g;
      v["GroupName"] = (*group)["GroupName"];
      list.push_back(std::move(v));
    }
    c.r.edit("network-interfaces", id)["Groups"] = std::move(list);
  }
  Value& e = c.r.edit("network-interfaces", id);
  if (in.find("Description")) e["Description"] = in["Description"]["Value"].as_string();
  if (in.find("SourceDestCheck")) e["SourceDestCheck"] = in["SourceDestCheck"]["Value"].as_bool();
  if (in["Attachment"].find("DeleteOnTermination") && e.find("Attachment")) e["Attachment"]["DeleteOnTermination"] = in["Attachment"]["DeleteOnTermination"].as_bool();
  return done();
}

Output describe_attribute(Context& c, const Value& in) {
  TRY(const Value* e, need(c, "network-interfaces", in["NetworkInterfaceId"].as_string(), "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  Value out = Value::object();
  out["NetworkInterfaceId"] = in["NetworkInterfaceId"];
  const std::string& a = in["Attribute"].as_string();
  if (a == "description") out["Description"]["Value"] = (*e)["Description"];
  else if (a == "groupSet") out["Groups"] = (*e)["Groups"];
  else if (a == "sourceDestCheck") out["SourceDestCheck"]["Value"] = (*e)["SourceDestCheck"];
  else if (a == "attachment") out["Attachment"] = (*e)["Attachment"];
  return out;
}

Output assign_addresses(Context& c, const Value& in) {
  const std::string& id = in["NetworkInterfaceId"].as_string();
  TRY_VOID(need(c, "network-interfaces", id, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  int prefixes = static_cast<int>(in["Ipv4PrefixCount"].as_int()), count = static_cast<int>(in["SecondaryPrivateIpAddressCount"].as_int());
  std::vector<std::string> wanted = strings(in["PrivateIpAddresses"]), wanted_prefixes = strings(in["Ipv4Prefixes"]);
  if (prefixes + count + static_cast<int>(wanted.size() + wanted_prefixes.size()) == 0) return fail("MissingParameter", "Either SecondaryPrivateIpAddressCount, PrivateIpAddresses, Ipv4PrefixCount or Ipv4Prefixes must be given");
  Value out = Value::object();
  out["NetworkInterfaceId"] = id;
  out["AssignedPrivateIpAddresses"] = Value::array();
  out["AssignedIpv4Prefixes"] = Value::array();
  if (count > 0 || !wanted.empty()) {
    TRY(std::vector<std::string> got, add_addresses(c, id, count, wanted));
    for (const std::string& ip : got) {
      Value v = Value::object();
      v["PrivateIpAddress"] = ip;
      out["AssignedPrivateIpAddresses"].push_back(std::move(v));
    }
  }
  if (prefixes > 0 || !wanted_prefixes.empty()) {
    TRY(std::vector<std::string> got, add_prefixes(c, id, prefixes, wanted_prefixes));
    for (const std::string& p : got) {
      Value v = Value::object();
      v["Ipv4Prefix"] = p;
      out["AssignedIpv4Prefixes"].push_back(std::move(v));
    }
  }
  return out;
}

Output unassign_addresses(Context& c, const Value& in) {
  const std::string& id = in["NetworkInterfaceId"].as_string();
  TRY_VOID(need(c, "network-interfaces", id, "InvalidNetworkInterfaceID.NotFound", "networkInterface ID"));
  Value& e = c.r.edit("network-interfaces", id);
  auto remove = [&](const char* list, const char* member, const std::string& text) {
    auto& a = e[list].arr();
    for (size_t i = 0; i < a.size(); ++i) {
      const Value& v = a[i];
      if (v[member].as_string() != text || v["Primary"].as_bool()) continue;
      a.erase(a.begin() + static_cast<long>(i));
      return true;
    }
    return false;
  };
  for (const std::string& ip : strings(in["PrivateIpAddresses"]))
    if (!remove("PrivateIpAddresses", "PrivateIpAddress", ip)) return fail("InvalidParameterValue", "Some of the IP addresses provided are not assigned to the interface [" + id + "]: " + ip);
  for (const std::string& p : strings(in["Ipv4Prefixes"]))
    if (!remove("Ipv4Prefixes", "Ipv4Prefix", p)) return fail("InvalidParameterValue", "Some of the prefixes provided are not assigned to the interface [" + id + "]: " + p);
  return done();
}

}  // namespace

void add_interface_actions(Handlers& h) {
  h["ec2:CreateNetworkInterface"] = create_network_interface;
  h["ec2:DescribeNetworkInterfaces"] = describe_network_interfaces;
  h["ec2:DeleteNetworkInterface"] = delete_network_interface;
  h["ec2:AttachNetworkInterface"] = attach_network_interface;
  h["ec2:DetachNetworkInterface"] = detach_network_interface;
  h["ec2:ModifyNetworkInterfaceAttribute"] = modify_attribute;
  h["ec2:DescribeNetworkInterfaceAttribute"] = describe_attribute;
  h["ec2:AssignPrivateIpAddresses"] = assign_addresses;
  h["ec2:UnassignPrivateIpAddresses"] = unassign_addresses;
}

}  // namespace caravel::cloud
