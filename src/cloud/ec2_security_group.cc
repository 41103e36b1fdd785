// Security groups and their rules. Rules are records of their own; IpPermissions are put together from them.
#include "base/strings.h"
#include "cloud/network.h"
#include "cloud/query.h"
#include "cloud/resources.h"

namespace caravel::cloud {

namespace {

void add_to_permissions(Value& list, const Value& rule, const CloudOptions& o) {
  Value* p = nullptr;
  for (Value& q : list.arr())
    if (std::as_const(q)["IpProtocol"] == rule["IpProtocol"] && (rule["IpProtocol"].as_string() == "-1" || (std::as_const(q)["FromPort"] == rule["FromPort"] && std::as_const(q)["ToPort"] == rule["ToPort"]))) p = &q;
  if (!p) {
    Value n = Value::object();
    n["IpProtocol"] = rule["IpProtocol"];
    if (rule["IpProtocol"].as_string() != "-1") {
      n["FromPort"] = rule["FromPort"];
      n["ToPort"] = rule["ToPort"];
    }
    for (const char* k : {"UserIdGroupPairs", "IpRanges", "Ipv6Ranges", "PrefixListIds"}) n[k] = Value::array();
    list.push_back(std::move(n));
    p = &list.arr().back();
  }
  Value item = Value::object();
  if (rule.find("Description")) item["Description"] = rule["Description"];
  if (rule.find("CidrIpv4")) {
    item["CidrIp"] = rule["CidrIpv4"];
    (*p)["IpRanges"].push_back(std::move(item));
  } else if (rule.find("CidrIpv6")) {
    item["CidrIpv6"] = rule["CidrIpv6"];
    (*p)["Ipv6Ranges"].push_back(std::move(item));
  } else if (rule.find("PrefixListId")) {
    item["PrefixListId"] = rule["PrefixListId"];
    (*p)["PrefixListIds"].push_back(std::move(item));
  } else {
    item["GroupId"] = rule["ReferencedGroupInfo"]["GroupId"];
    item["UserId"] = o.account;
    (*p)["UserIdGroupPairs"].push_back(std::move(item));
  }
}

Value render_group(Context& c, const Value& g) {
  Value v = g;
  v["IpPermissions"] = Value::array();
  v["IpPermissionsEgress"] = Value::array();
  for (auto& [id, rule] : c.r.table("security-group-rules"))
    if (rule["GroupId"] == g["GroupId"]) add_to_permissions(v[rule["IsEgress"].as_bool() ? "IpPermissionsEgress" : "IpPermissions"], rule, c.o);
  return v;
}

Output create_security_group(Context& c, const Value& in) {
  std::string vpc = in["VpcId"].as_string();
  if (vpc.empty()) return fail("VPCIdNotSpecified", "No default VPC for this user");
  TRY_VOID(need(c, "vpcs", vpc, "InvalidVpcID.NotFound", "vpc ID"));
  const std::string& name = in["GroupName"].as_string();
  if (name.empty() || name.compare(0, 3, "sg-") == 0) return fail("InvalidParameterValue", "invalid value for parameter groupName: " + name);
  for (auto& [id, g] : c.r.table("security-groups"))
    if (g["VpcId"].as_string() == vpc && g["GroupName"].as_string() == name) return fail("InvalidGroup.Duplicate", "The security group '" + name + "' already exists for VPC '" + vpc + "'");
  TRY(Value tags, tags_for(in, "security-group"));
  std::string id = make_security_group(c, c.new_id("sg-"), vpc, name, in["Description"].as_string(), tags);
  Value out = Value::object();
  out["GroupId"] = id;
  out["Tags"] = std::move(tags);
  out["SecurityGroupArn"] = c.arn("ec2", "security-group/" + id);
  return out;
}

Output delete_security_group(Context& c, const Value& in) {
  std::string id = in["GroupId"].as_string();
  if (id.empty())
    for (auto& [gid, g] : c.r.table("security-groups"))
      if (g["GroupName"] == in["GroupName"]) id = gid;
  TRY(const Value* g, need(c, "security-groups", id, "InvalidGroup.NotFound", "security group"));
  if ((*g)["GroupName"].as_string() == "default") return fail("CannotDelete", "the specified group: \"" + id + "\" name: \"default\" cannot be deleted by a user");
  for (auto& [eid, e] : c.r.table("network-interfaces"))
    for (const Value& v : e["Groups"].as_array())
      if (v["GroupId"].as_string() == id) return fail("DependencyViolation", "resource " + id + " has a dependent object");
  for (auto& [rid, rule] : c.r.table("security-group-rules"))
    if (rule["ReferencedGroupInfo"]["GroupId"].as_string() == id && rule["GroupId"].as_string() != id) return fail("DependencyViolation", "resource " + id + " has a dependent object");
  for (auto& [rid, rule] : Records::Table(c.r.table("security-group-rules")))
    if (rule["GroupId"].as_string() == id) c.r.erase("security-group-rules", rid);
  c.r.erase("security-groups", id);
  Value out = done();
  out["GroupId"] = id;
  return out;
}

Output describe_security_groups(Context& c, const Value& in) {
  static const FilterTable f{{"group-id", "GroupId"}, {"group-name", "GroupName"}, {"vpc-id", "VpcId"}, {"description", "Description"}, {"owner-id", "OwnerId"}, {"ip-permission.cidr", "IpPermissions.IpRanges.CidrIp"}, {"ip-permission.group-id", "IpPermissions.UserIdGroupPairs.GroupId"}, {"ip-permission.from-port", "IpPermissions.FromPort"}, {"ip-permission.to-port", "IpPermissions.ToPort"}, {"ip-permission.protocol", "IpPermissions.IpProtocol"}, {"egress.ip-permission.cidr", "IpPermissionsEgress.IpRanges.CidrIp"}};
  Value q = in;
  if (in["GroupNames"].size() > 0) {
    Value filter = Value::object();
    filter["Name"] = "group-name";
    filter["Values"] = in["GroupNames"];
    q["Filters"].push_back(std::move(filter));
  }
  return describe(c, q, {"security-groups", "SecurityGroups", "GroupIds", "InvalidGroup.NotFound", "security group", &f, render_group});
}

Output describe_rules(Context& c, const Value& in) {
  static const FilterTable f{{"group-id", "GroupId"}, {"security-group-rule-id", "SecurityGroupRuleId"}};
  return describe(c, in, {"security-group-rules", "SecurityGroupRules", "SecurityGroupRuleIds", "InvalidSecurityGroupRuleId.NotFound", "security group rule ID", &f});
}

Output for_vpc(Context& c, const Value& in) {
  static const FilterTable f{{"group-id", "GroupId"}, {"description", "Description"}, {"group-name", "GroupName"}, {"owner-id", "OwnerId"}, {"primary-vpc-id", "VpcId"}};
  Records::Table unused;
  std::vector<Value> found;
  for (auto& [id, g] : c.r.table("security-groups")) {
    if (g["VpcId"] != in["VpcId"]) continue;
    TRY(bool hit, matches(g, in["Filters"], f));
    if (!hit) continue;
    Value v = g;
    v["PrimaryVpcId"] = g["VpcId"];
    found.push_back(std::move(v));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out));
  out["SecurityGroupForVpcs"] = Value(std::move(items));
  return out;
}

struct Rule {
  std::string protocol;
  int from = -1, to = -1;
  std::string peer, description;
};

std::string protocol_name(const std::string& p) {
  std::string l = to_lower(p);
  return l == "6" ? "tcp" : l == "17" ? "udp"
                        : l == "1"    ? "icmp"
                        : l == "58"   ? "icmpv6"
                        : l == "all"  ? "-1"
                                      : l;
}

// The request's permissions as single rules: IpPermissions, or the older flat members.
Result<std::vector<Rule>> read_rules(Context& c, const Value& in) {
  std::vector<Rule> out;
  auto add = [&](const Value& p, const std::string& peer, const std::string& description) -> Status {
    Rule r;
    r.protocol = protocol_name(p["IpProtocol"].as_string());
    if (r.protocol.empty()) return fail("MissingParameter", "The request must contain the parameter ipProtocol");
    if (r.protocol != "-1") {
      r.from = static_cast<int>(p["FromPort"].as_int(-1));
      r.to = static_cast<int>(p["ToPort"].as_int(-1));
      if ((r.protocol == "tcp" || r.protocol == "udp") && (!p["FromPort"].is_int() || !p["ToPort"].is_int() || r.from < 0 || r.to > 65535 || r.from > r.to))
        return fail("InvalidParameterValue", "Invalid value for portRange. Must specify both from and to ports with TCP/UDP, from not above to.");
    }
    if (peer.compare(0, 3, "sg-") == 0) {
      TRY_VOID(need(c, "security-groups", peer, "InvalidGroup.NotFound", "security group"));
    } else if (peer.find(':') == peer.npos && peer.compare(0, 3, "pl-") != 0 && !parse_cidr(peer)) {
      return fail("InvalidParameterValue", "CIDR block " + peer + " is malformed");
    }
    r.peer = peer;
    r.description = description;
    out.push_back(std::move(r));
    return ok();
  };
  for (const Value& p : in["IpPermissions"].as_array()) {
    for (const Value& v : p["IpRanges"].as_array()) TRY_VOID(add(p, v["CidrIp"].as_string(), v["Description"].as_string()));
    for (const Value& v : p["Ipv6Ranges"].as_array()) TRY_VOID(add(p, v["CidrIpv6"].as_string(), v["Description"].as_string()));
    for (const Value& v : p["PrefixListIds"].as_array()) TRY_VOID(add(p, v["PrefixListId"].as_string(), v["Description"].as_string()));
    for (const Value& v : p["UserIdGroupPairs"].as_array()) TRY_VOID(add(p, v["GroupId"].as_string(), v["Description"].as_string()));
  }
  if (in.find("CidrIp")) TRY_VOID(add(in, in["CidrIp"].as_string(), ""));
  if (in.find("SourceSecurityGroupName"))
    for (auto& [id, g] : c.r.table("security-groups"))
      if (g["GroupName"] == in["SourceSecurityGroupName"]) TRY_VOID(add(in, id, ""));
  return out;
}

Result<std::string> target_group(Context& c, const Value& in) {
  std::string id = in["GroupId"].as_string();
  if (id.empty())
    for (auto& [gid, g] : c.r.table("security-groups"))
      if (g["GroupName"] == in["GroupName"] && !in["GroupName"].is_null()) id = gid;
  TRY_VOID(need(c, "security-groups", id, "InvalidGroup.NotFound", "security group"));
  return id;
}

std::string peer_of(const Value& rule) {
  for (const char* k : {"CidrIpv4", "CidrIpv6", "PrefixListId"})
    if (rule.find(k)) return rule[k].as_string();
  return rule["ReferencedGroupInfo"]["GroupId"].as_string();
}

std::string find_rule(Context& c, const std::string& group, bool egress, const Rule& r) {
  for (auto& [id, v] : c.r.table("security-group-rules"))
    if (v["GroupId"].as_string() == group && v["IsEgress"].as_bool() == egress && v["IpProtocol"].as_string() == r.protocol && v["FromPort"].as_int() == r.from && v["ToPort"].as_int() == r.to && peer_of(v) == r.peer) return id;
  return "";
}

Output authorize(Context& c, const Value& in, bool egress) {
  TRY(std::string group, target_group(c, in));
  TRY(std::vector<Rule> rules, read_rules(c, in));
  if (rules.empty()) return fail("MissingParameter", "The request must contain a rule: IpPermissions with a range or a group");
  TRY(Value tags, tags_for(in, "security-group-rule"));
  Value out = done();
  out["SecurityGroupRules"] = Value::array();
  for (const Rule& r : rules) {
    if (!find_rule(c, group, egress, r).empty())
      return fail("InvalidPermission.Duplicate", "the specified rule \"peer: " + r.peer + ", " + (r.protocol == "-1" ? "ALL" : to_upper(r.protocol)) + format(", from port: %d, to port: %d, ALLOW\" already exists", r.from, r.to));
    std::string id = make_rule(c, group, egress, r.protocol, r.from, r.to, r.peer, r.description, tags);
    out["SecurityGroupRules"].push_back(*c.r.find("security-group-rules", id));
  }
  return out;
}
Output authorize_ingress(Context& c, const Value& in) { return authorize(c, in, false); }
Output authorize_egress(Context& c, const Value& in) { return authorize(c, in, true); }

Output revoke(Context& c, const Value& in, bool egress) {
  TRY(std::string group, target_group(c, in));
  Value out = done();
  for (const Value& id : in["SecurityGroupRuleIds"].as_array()) {
    TRY(const Value* v, need(c, "security-group-rules", id.as_string(), "InvalidSecurityGroupRuleId.NotFound", "security group rule ID"));
    if ((*v)["GroupId"].as_string() != group) return fail("InvalidSecurityGroupRuleId.NotFound", "The security group rule ID '" + id.as_string() + "' does not exist");
    c.r.erase("security-group-rules", id.as_string());
  }
  TRY(std::vector<Rule> rules, read_rules(c, in));
  for (const Rule& r : rules) {
    std::string id = find_rule(c, group, egress, r);
    if (id.empty()) return fail("InvalidPermission.NotFound", "The specified rule does not exist in this security group.");
    c.r.erase("security-group-rules", id);
  }
  return out;
}
Output revoke_ingress(Context& c, const Value& in) { return revoke(c, in, false); }
Output revoke_egress(Context& c, const Value& in) { return revoke(c, in, true); }

}  // namespace

void add_security_group_actions(Handlers& h) {
  h["ec2:CreateSecurityGroup"] = create_security_group;
  h["ec2:DeleteSecurityGroup"] = delete_security_group;
  h["ec2:DescribeSecurityGroups"] = describe_security_groups;
  h["ec2:DescribeSecurityGroupRules"] = describe_rules;
  h["ec2:GetSecurityGroupsForVpc"] = for_vpc;
  h["ec2:AuthorizeSecurityGroupIngress"] = authorize_ingress;
  h["ec2:AuthorizeSecurityGroupEgress"] = authorize_egress;
  h["ec2:RevokeSecurityGroupIngress"] = revoke_ingress;
  h["ec2:RevokeSecurityGroupEgress"] = revoke_egress;
}

}  // namespace caravel::cloud
