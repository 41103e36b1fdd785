// ELBv2: load balancers, their attributes, tags.
#include <set>

#include "base/strings.h"
#include "cloud/elb.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Error no_such_lb(const std::string& arn) { return fail("LoadBalancerNotFound", "One or more load balancers not found: '" + arn + "'"); }

Status check_name(const std::string& name) {
  bool good = !name.empty() && name.size() <= 32 && name[0] != '-' && name.back() != '-' && name.compare(0, 9, "internal-") != 0;
  for (char ch : name) good &= std::isalnum(static_cast<unsigned char>(ch)) || ch == '-';
  if (!good) return fail("ValidationError", "The load balancer name '" + name + "' is not valid: up to 32 letters, digits and hyphens that do not begin or end it");
  return ok();
}

struct Place {
  std::string subnet, allocation, private_ip;
};

Result<std::vector<Place>> places_of(Context& c, const Value& in) {
  std::vector<Place> out;
  for (const std::string& s : strings(in["Subnets"])) out.push_back({s, "", ""});
  for (const Value& m : in["SubnetMappings"].as_array()) out.push_back({m["SubnetId"].as_string(), m["AllocationId"].as_string(), m["PrivateIPv4Address"].as_string()});
  std::set<std::string> zones;
  std::string vpc;
  for (const Place& p : out) {
    const Value* s = c.r.find("subnets", p.subnet);
    if (!s) return fail("SubnetNotFound", "The subnet ID '" + p.subnet + "' does not exist");
    if (!vpc.empty() && (*s)["VpcId"].as_string() != vpc) return fail("InvalidConfigurationRequest", "All subnets must belong to the same VPC: '" + vpc + "'");
    vpc = (*s)["VpcId"].as_string();
    if (!zones.insert((*s)["AvailabilityZone"].as_string()).second) return fail("InvalidConfigurationRequest", "A load balancer cannot be attached to multiple subnets in the same Availability Zone");
    if (!p.allocation.empty() && !c.r.find("addresses", p.allocation)) return fail("AllocationIdNotFound", "The allocation ID '" + p.allocation + "' does not exist");
  }
  return out;
}

// Makes the interfaces of a load balancer be in these places, no more.
Status set_places(Context& c, const std::string& arn, const std::vector<Place>& places, const std::vector<std::string>& groups) {
  const Value lb = *c.r.find("load-balancers", arn);
  bool facing = lb["Scheme"].as_string() == "internet-facing", network = lb["Type"].as_string() == "network";
  std::set<std::string> have;
  for (auto& [id, e] : Records::Table(c.r.table("network-interfaces"))) {
    if (e["_owner_id"].as_string() != arn) continue;
    bool wanted = false;
    for (const Place& p : places) wanted |= p.subnet == e["SubnetId"].as_string();
    if (!wanted) delete_interface(c, id);
    else have.insert(e["SubnetId"].as_string());
  }
  for (const Place& p : places) {
    if (have.count(p.subnet)) continue;
    InterfaceRequest q;
    q.subnet_id = p.subnet;
    q.ip = p.private_ip;
    q.groups = groups;
    q.description = "ELB " + arn.substr(arn.find(":loadbalancer/") + 14);
    q.owner = "load-balancer";
    q.owner_id = arn;
    q.requester_managed = true;
    q.type = network ? "network_load_balancer" : "interface";
    auto eni = create_interface(c, q, Value::array());
    if (!eni.ok()) return eni.error().details == "InvalidGroup.NotFound" ? fail("InvalidSecurityGroup", eni.error().message) : std::move(eni).error();
    if (facing) {
      std::string ip;
      if (!p.allocation.empty()) {
        ip = (*c.r.find("addresses", p.allocation))["PublicIp"].as_string();
        c.r.edit("addresses", p.allocation)["AssociationId"] = c.new_id("eipassoc-");
        c.r.edit("addresses", p.allocation)["NetworkInterfaceId"] = *eni;
      } else {
        TRY(ip, allocate_public_ip(c));
      }
      set_public_ip(c, *eni, (*c.r.find("network-interfaces", *eni))["PrivateIpAddress"].as_string(), ip, p.allocation, "");
    }
  }
  Value zones = Value::array();
  for (const Place& p : places) {
    Value z = Value::object();
    z["ZoneName"] = (*c.r.find("subnets", p.subnet))["AvailabilityZone"];
    z["SubnetId"] = p.subnet;
    z["LoadBalancerAddresses"] = Value::array();
    if (!p.allocation.empty()) {
      Value a = Value::object();
      a["AllocationId"] = p.allocation;
      a["IpAddress"] = (*c.r.find("addresses", p.allocation))["PublicIp"];
      z["LoadBalancerAddresses"].push_back(std::move(a));
    }
    zones.push_back(std::move(z));
  }
  c.r.edit("load-balancers", arn)["AvailabilityZones"] = std::move(zones);
  return ok();
}

void set_default(Value& attributes, std::string_view key, std::string_view value) { set_tag(attributes, key, value); }

Output create_load_balancer(Context& c, const Value& in) {
  const std::string& name = in["Name"].as_string();
  TRY_VOID(check_name(name));
  std::string type = in["Type"].as_string().empty() ? "application" : in["Type"].as_string();
  if (type != "application" && type != "network") return fail("ValidationError", "Load balancers of type '" + type + "' are not offered; application and network are.");
  std::string scheme = in["Scheme"].as_string().empty() ? "internet-facing" : in["Scheme"].as_string();
  TRY(std::vector<Place> places, places_of(c, in));
  if (places.empty()) return fail("ValidationError", "At least one subnet must be specified");
  if (type == "application" && places.size() < 2) return fail("ValidationError", "At least two subnets in two different Availability Zones must be specified");
  std::string vpc = (*c.r.find("subnets", places[0].subnet))["VpcId"].as_string();
  for (auto& [arn, lb] : c.r.table("load-balancers")) {
    if (lb["LoadBalancerName"].as_string() != name) continue;
    // The same request again answers the same load balancer.
    if (lb["Type"].as_string() != type || lb["Scheme"].as_string() != scheme || !same_request(lb["_tags"], elb_tags(in))) return fail("DuplicateLoadBalancerName", "A load balancer with the same name '" + name + "' exists, but with different settings");
    Value out = Value::object();
    out["LoadBalancers"] = Value::array({lb});
    return out;
  }
  std::vector<std::string> groups = strings(in["SecurityGroups"]);
  if (groups.empty() && type == "application") {
    TRY(std::string g, default_group(c, vpc));
    groups.push_back(g);
  }
  std::string id = c.new_id("", 16);
  std::string kind = type == "network" ? "net" : "app";
  std::string arn = c.arn("elasticloadbalancing", "loadbalancer/" + kind + "/" + name + "/" + id);
  Value& lb = c.r.edit("load-balancers", arn);
  lb["LoadBalancerArn"] = arn;
  std::string prefix = scheme == "internal" ? "internal-" : "";
  if (type == "network") lb["DNSName"] = name + "-" + id + ".elb." + c.o.region + ".amazonaws.com";
  else lb["DNSName"] = prefix + name + "-" + std::to_string(1000000000 + c.random() % 1000000000) + "." + c.o.region + ".elb.amazonaws.com";
  lb["CanonicalHostedZoneId"] = type == "network" ? "Z26RNL4JYFTOTI" : "Z35SXDOTRQ7X7K";
  lb["CreatedTime"] = c.timestamp();
  lb["LoadBalancerName"] = name;
  lb["Scheme"] = scheme;
  lb["VpcId"] = vpc;
  lb["State"]["Code"] = "provisioning";
  lb["Type"] = type;
  lb["SecurityGroups"] = string_list(groups);
  lb["IpAddressType"] = in["IpAddressType"].as_string().empty() ? "ipv4" : in["IpAddressType"].as_string();
  lb["_tags"] = elb_tags(in);
  Value a = Value::array();
  set_default(a, "deletion_protection.enabled", "false");
  set_default(a, "load_balancing.cross_zone.enabled", type == "application" ? "true" : "false");
  set_default(a, "access_logs.s3.enabled", "false");
  set_default(a, "access_logs.s3.bucket", "");
  set_default(a, "access_logs.s3.prefix", "");
  if (type == "application") {
    set_default(a, "idle_timeout.timeout_seconds", "60");
    set_default(a, "routing.http2.enabled", "true");
    set_default(a, "routing.http.drop_invalid_header_fields.enabled", "false");
    set_default(a, "routing.http.desync_mitigation_mode", "defensive");
    set_default(a, "routing.http.preserve_host_header.enabled", "false");
    set_default(a, "routing.http.x_amzn_tls_version_and_cipher_suite.enabled", "false");
    set_default(a, "routing.http.xff_client_port.enabled", "false");
    set_default(a, "routing.http.xff_header_processing.mode", "append");
    set_default(a, "client_keep_alive.seconds", "3600");
    set_default(a, "waf.fail_open.enabled", "false");
  } else {
    set_default(a, "dns_record.client_routing_policy", "any_availability_zone");
  }
  lb["_attributes"] = std::move(a);
  TRY_VOID(set_places(c, arn, places, groups));
  Value out = Value::object();
  out["LoadBalancers"] = Value::array({*c.r.find("load-balancers", arn)});
  return out;
}

Output describe_load_balancers(Context& c, const Value& in) {
  std::vector<Value> found;
  std::vector<std::string> arns = strings(in["LoadBalancerArns"]), names = strings(in["Names"]);
  for (const std::string& arn : arns)
    if (!c.r.find("load-balancers", arn)) return no_such_lb(arn);
  for (const std::string& name : names) {
    bool any = false;
    for (auto& [arn, lb] : c.r.table("load-balancers")) any |= lb["LoadBalancerName"].as_string() == name;
    if (!any) return fail("LoadBalancerNotFound", "Load balancers '[" + name + "]' not found");
  }
  for (auto& [arn, lb] : c.r.table("load-balancers")) {
    if (!arns.empty() && std::find(arns.begin(), arns.end(), arn) == arns.end()) continue;
    if (!names.empty() && std::find(names.begin(), names.end(), lb["LoadBalancerName"].as_string()) == names.end()) continue;
    found.push_back(lb);
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "Marker", "PageSize", "NextMarker", 400));
  out["LoadBalancers"] = Value(std::move(items));
  return out;
}

Output delete_load_balancer(Context& c, const Value& in) {
  const std::string& arn = in["LoadBalancerArn"].as_string();
  const Value* lb = c.r.find("load-balancers", arn);
  if (!lb) return Value::object();  // deleting what is gone succeeds
  if (attribute(*lb, "deletion_protection.enabled") == "true") return fail("OperationNotPermitted", "Load balancer '" + arn + "' cannot be deleted because deletion protection is enabled");
  for (auto& [larn, l] : Records::Table(c.r.table("listeners")))
    if (l["LoadBalancerArn"].as_string() == arn) remove_listener(c, larn);
  for (auto& [id, e] : Records::Table(c.r.table("network-interfaces")))
    if (e["_owner_id"].as_string() == arn) delete_interface(c, id);
  c.r.erase("load-balancers", arn);
  return Value::object();
}

Output describe_attributes(Context& c, const Value& in) {
  const Value* lb = c.r.find("load-balancers", in["LoadBalancerArn"].as_string());
  if (!lb) return no_such_lb(in["LoadBalancerArn"].as_string());
  Value out = Value::object();
  out["Attributes"] = (*lb)["_attributes"];
  return out;
}

Output modify_attributes(Context& c, const Value& in) {
  const std::string& arn = in["LoadBalancerArn"].as_string();
  if (!c.r.find("load-balancers", arn)) return no_such_lb(arn);
  Value& a = c.r.edit("load-balancers", arn)["_attributes"];
  for (const Value& x : in["Attributes"].as_array()) {
    bool known = false;
    for (const Value& have : std::as_const(a).as_array()) known |= have["Key"] == x["Key"];
    const std::string& key = x["Key"].as_string();
    if (!known && key.find('.') == key.npos) return fail("ValidationError", "Load balancer attribute key '" + key + "' is not recognized");
    set_tag(a, key, x["Value"].as_string());
  }
  Value out = Value::object();
  out["Attributes"] = a;
  return out;
}

Output set_subnets(Context& c, const Value& in) {
  const std::string& arn = in["LoadBalancerArn"].as_string();
  const Value* lb = c.r.find("load-balancers", arn);
  if (!lb) return no_such_lb(arn);
  TRY(std::vector<Place> places, places_of(c, in));
  if (places.empty()) return fail("ValidationError", "At least one subnet must be specified");
  TRY_VOID(set_places(c, arn, places, strings((*lb)["SecurityGroups"])));
  Value out = Value::object();
  out["AvailabilityZones"] = (*c.r.find("load-balancers", arn))["AvailabilityZones"];
  out["IpAddressType"] = (*c.r.find("load-balancers", arn))["IpAddressType"];
  return out;
}

Output set_security_groups(Context& c, const Value& in) {
  const std::string& arn = in["LoadBalancerArn"].as_string();
  if (!c.r.find("load-balancers", arn)) return no_such_lb(arn);
  Value list = Value::array();
  for (const std::string& g : strings(in["SecurityGroups"])) {
    const Value* group = c.r.find("security-groups", g);
    if (!group) return fail("InvalidSecurityGroup", "The security group '" + g + "' does not exist");
    Value v = Value::object();
    v["GroupId"] = g;
    v["GroupName"] = (*group)["GroupName"];
    list.push_back(std::move(v));
  }
  c.r.edit("load-balancers", arn)["SecurityGroups"] = in["SecurityGroups"];
  for (auto& [id, e] : Records::Table(c.r.table("network-interfaces")))
    if (e["_owner_id"].as_string() == arn) c.r.edit("network-interfaces", id)["Groups"] = list;
  Value out = Value::object();
  out["SecurityGroupIds"] = in["SecurityGroups"];
  return out;
}

Output set_ip_address_type(Context& c, const Value& in) {
  const std::string& arn = in["LoadBalancerArn"].as_string();
  if (!c.r.find("load-balancers", arn)) return no_such_lb(arn);
  if (in["IpAddressType"].as_string() != "ipv4") return fail("InvalidConfigurationRequest", "The VPC has no IPv6 range; only ipv4 is possible.");
  Value out = Value::object();
  out["IpAddressType"] = "ipv4";
  return out;
}

std::string_view elb_table(std::string_view arn) {
  if (arn.find(":loadbalancer/") != arn.npos) return "load-balancers";
  if (arn.find(":targetgroup/") != arn.npos) return "target-groups";
  if (arn.find(":listener-rule/") != arn.npos) return "rules";
  return "listeners";
}

Result<std::string> taggable(Context& c, const std::string& arn) {
  std::string table(elb_table(arn));
  if (c.r.find(table, arn)) return table;
  if (table == "load-balancers") return no_such_lb(arn);
  if (table == "target-groups") return fail("TargetGroupNotFound", "Target groups '" + arn + "' not found");
  if (table == "rules") return fail("RuleNotFound", "Rules '" + arn + "' not found");
  return fail("ListenerNotFound", "Listeners '" + arn + "' not found");
}

Output add_tags(Context& c, const Value& in) {
  for (const std::string& arn : strings(in["ResourceArns"])) {
    TRY(std::string table, taggable(c, arn));
    for (const Value& t : in["Tags"].as_array()) set_tag(c.r.edit(table, arn)["_tags"], t["Key"].as_string(), t["Value"].as_string());
  }
  return Value::object();
}

Output remove_tags(Context& c, const Value& in) {
  for (const std::string& arn : strings(in["ResourceArns"])) {
    TRY(std::string table, taggable(c, arn));
    for (const std::string& k : strings(in["TagKeys"])) remove_tag(c.r.edit(table, arn)["_tags"], k, nullptr);
  }
  return Value::object();
}

Output describe_tags(Context& c, const Value& in) {
  Value out = Value::object();
  out["TagDescriptions"] = Value::array();
  if (in["ResourceArns"].size() > 20) return fail("ValidationError", "At most 20 resources can be described at a time");
  for (const std::string& arn : strings(in["ResourceArns"])) {
    TRY(std::string table, taggable(c, arn));
    Value v = Value::object();
    v["ResourceArn"] = arn;
    v["Tags"] = (*c.r.find(table, arn))["_tags"].is_array() ? (*c.r.find(table, arn))["_tags"] : Value::array();
    out["TagDescriptions"].push_back(std::move(v));
  }
  return out;
}

Output describe_limits(Context&, const Value&) {
  Value out = Value::object();
  out["Limits"] = Value::array();
  for (auto [name, max] : {std::pair("application-load-balancers", "50"), std::pair("network-load-balancers", "50"), std::pair("target-groups", "3000"), std::pair("targets-per-application-load-balancer", "1000"), std::pair("listeners-per-application-load-balancer", "50"), std::pair("rules-per-application-load-balancer", "100")}) {
    Value v = Value::object();
    v["Name"] = name;
    v["Max"] = max;
    out["Limits"].push_back(std::move(v));
  }
  return out;
}

Output describe_capacity(Context& c, const Value& in) {
  if (!c.r.find("load-balancers", in["LoadBalancerArn"].as_string())) return no_such_lb(in["LoadBalancerArn"].as_string());
  return Value::object();
}

}  // namespace

std::string elb_name_of(std::string_view arn) {
  auto parts = split(arn, '/');
  return parts.size() >= 2 ? parts[parts.size() - 2] : "";
}

std::string attribute(const Value& record, std::string_view key) { return tag_value(record["_attributes"], key); }

Value elb_tags(const Value& in) {
  Value out = Value::array();
  for (const Value& t : in["Tags"].as_array()) set_tag(out, t["Key"].as_string(), t["Value"].as_string());
  return out;
}

void add_load_balancer_actions(Handlers& h) {
  const std::string s = "elasticloadbalancing:";
  h[s + "CreateLoadBalancer"] = create_load_balancer;
  h[s + "DescribeLoadBalancers"] = describe_load_balancers;
  h[s + "DeleteLoadBalancer"] = delete_load_balancer;
  h[s + "DescribeLoadBalancerAttributes"] = describe_attributes;
  h[s + "ModifyLoadBalancerAttributes"] = modify_attributes;
  h[s + "SetSubnets"] = set_subnets;
  h[s + "SetSecurityGroups"] = set_security_groups;
  h[s + "SetIpAddressType"] = set_ip_address_type;
  h[s + "AddTags"] = add_tags;
  h[s + "RemoveTags"] = remove_tags;
  h[s + "DescribeTags"] = describe_tags;
  h[s + "DescribeAccountLimits"] = describe_limits;
  h[s + "DescribeCapacityReservation"] = describe_capacity;
}

}  // namespace caravel::cloud
