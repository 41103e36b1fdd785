// ELBv2: target groups and their targets.
#include <algorithm>

#include "base/strings.h"
#include "cloud/elb.h"
#include "cloud/network.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

bool is_http(const std::string& p) { return p == "HTTP" || p == "HTTPS"; }

Error no_such_group(const std::string& arn) { return fail("TargetGroupNotFound", "One or more target groups not found: '" + arn + "'"); }

Value render_group(Context& c, const Value& g) {
  Value v = g;
  v["LoadBalancerArns"] = string_list(users_of_target_group(c.r, g["TargetGroupArn"].as_string()));
  return v;
}

Output create_target_group(Context& c, const Value& in) {
  const std::string& name = in["Name"].as_string();
  bool good = !name.empty() && name.size() <= 32 && name[0] != '-' && name.back() != '-';
  for (char ch : name) good &= std::isalnum(static_cast<unsigned char>(ch)) || ch == '-';
  if (!good) return fail("ValidationError", "Target group name '" + name + "' is not valid: up to 32 letters, digits and hyphens that do not begin or end it");
  std::string type = in["TargetType"].as_string().empty() ? "instance" : in["TargetType"].as_string();
  if (type != "instance" && type != "ip" && type != "alb") return fail("ValidationError", "Target type '" + type + "' is not offered");
  const std::string& protocol = in["Protocol"].as_string();
  if (protocol.empty() || in["Port"].as_int() < 1 || in["Port"].as_int() > 65535) return fail("ValidationError", "A protocol and a port between 1 and 65535 must be specified");
  if (!c.r.find("vpcs", in["VpcId"].as_string())) return fail("ValidationError", "The VPC ID '" + in["VpcId"].as_string() + "' is not found");
  for (auto& [arn, g] : c.r.table("target-groups")) {
    if (g["TargetGroupName"].as_string() != name) continue;
    if (g["Protocol"].as_string() != protocol || g["Port"] != in["Port"] || g["TargetType"].as_string() != type) return fail("DuplicateTargetGroupName", "A target group with the same name '" + name + "' exists, but with different settings");
    Value out = Value::object();
    out["TargetGroups"] = Value::array({render_group(c, g)});
    return out;
  }
  std::string arn = c.arn("elasticloadbalancing", "targetgroup/" + name + "/" + c.new_id("", 16));
  bool http = is_http(protocol);
  std::string check = in["HealthCheckProtocol"].as_string().empty() ? (http ? protocol : "TCP") : in["HealthCheckProtocol"].as_string();
  Value& g = c.r.edit("target-groups", arn);
  g["TargetGroupArn"] = arn;
  g["TargetGroupName"] = name;
  g["Protocol"] = protocol;
  g["Port"] = in["Port"];
  g["VpcId"] = in["VpcId"];
  g["HealthCheckProtocol"] = check;
  g["HealthCheckPort"] = in["HealthCheckPort"].as_string().empty() ? "traffic-port" : in["HealthCheckPort"].as_string();
  g["HealthCheckEnabled"] = in["HealthCheckEnabled"].as_bool(true);
  g["HealthCheckIntervalSeconds"] = in["HealthCheckIntervalSeconds"].as_int(30);
  g["HealthCheckTimeoutSeconds"] = in["HealthCheckTimeoutSeconds"].as_int(http ? 5 : is_http(check) ? 6
                                                                                                    : 10);
  g["HealthyThresholdCount"] = in["HealthyThresholdCount"].as_int(5);
  g["UnhealthyThresholdCount"] = in["UnhealthyThresholdCount"].as_int(2);
  if (is_http(check)) {
    g["HealthCheckPath"] = in["HealthCheckPath"].as_string().empty() ? "/" : in["HealthCheckPath"].as_string();
    g["Matcher"] = in["Matcher"].is_object() ? in["Matcher"] : Value::object();
    if (g["Matcher"].size() == 0) g["Matcher"]["HttpCode"] = http ? "200" : "200-399";
  }
  if (http) g["ProtocolVersion"] = in["ProtocolVersion"].as_string().empty() ? "HTTP1" : in["ProtocolVersion"].as_string();
  g["TargetType"] = type;
  g["IpAddressType"] = "ipv4";
  g["_tags"] = elb_tags(in);
  Value a = Value::array();
  set_tag(a, "deregistration_delay.timeout_seconds", "300");
  set_tag(a, "stickiness.enabled", "false");
  set_tag(a, "stickiness.type", http ? "lb_cookie" : "source_ip");
  set_tag(a, "load_balancing.cross_zone.enabled", "use_load_balancer_configuration");
  if (http) {
    set_tag(a, "load_balancing.algorithm.type", "round_robin");
    set_tag(a, "slow_start.duration_seconds", "0");
    set_tag(a, "stickiness.lb_cookie.duration_seconds", "86400");
    set_tag(a, "stickiness.app_cookie.cookie_name", "");
    set_tag(a, "stickiness.app_cookie.duration_seconds", "86400");
  } else {
    set_tag(a, "proxy_protocol_v2.enabled", "false");
    set_tag(a, "preserve_client_ip.enabled", type == "instance" ? "true" : "false");
    set_tag(a, "deregistration_delay.connection_termination.enabled", "false");
  }
  g["_attributes"] = std::move(a);
  Value out = Value::object();
  out["TargetGroups"] = Value::array({render_group(c, *c.r.find("target-groups", arn))});
  return out;
}

Output describe_target_groups(Context& c, const Value& in) {
  std::vector<Value> found;
  std::vector<std::string> arns = strings(in["TargetGroupArns"]), names = strings(in["Names"]);
  for (const std::string& arn : arns)
    if (!c.r.find("target-groups", arn)) return no_such_group(arn);
  for (const std::string& name : names) {
    bool any = false;
    for (auto& [arn, g] : c.r.table("target-groups")) any |= g["TargetGroupName"].as_string() == name;
    if (!any) return no_such_group(name);
  }
  for (auto& [arn, g] : c.r.table("target-groups")) {
    if (!arns.empty() && std::find(arns.begin(), arns.end(), arn) == arns.end()) continue;
    if (!names.empty() && std::find(names.begin(), names.end(), g["TargetGroupName"].as_string()) == names.end()) continue;
    Value v = render_group(c, g);
    if (in.find("LoadBalancerArn")) {
      auto users = strings(std::as_const(v)["LoadBalancerArns"]);
      if (std::find(users.begin(), users.end(), in["LoadBalancerArn"].as_string()) == users.end()) continue;
    }
    found.push_back(std::move(v));
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "Marker", "PageSize", "NextMarker", 400));
  out["TargetGroups"] = Value(std::move(items));
  return out;
}

Output modify_target_group(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  if (!c.r.find("target-groups", arn)) return no_such_group(arn);
  Value& g = c.r.edit("target-groups", arn);
  for (const char* k : {"HealthCheckProtocol", "HealthCheckPort", "HealthCheckPath", "HealthCheckEnabled", "HealthCheckIntervalSeconds", "HealthCheckTimeoutSeconds", "HealthyThresholdCount", "UnhealthyThresholdCount", "Matcher"})
    if (in.find(k)) g[k] = in[k];
  Value out = Value::object();
  out["TargetGroups"] = Value::array({render_group(c, *c.r.find("target-groups", arn))});
  return out;
}

Output delete_target_group(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  if (!c.r.find("target-groups", arn)) return Value::object();
  if (!users_of_target_group(c.r, arn).empty()) return fail("ResourceInUse", "Target group '" + arn + "' is currently in use by a listener or a rule");
  for (auto& [id, t] : Records::Table(c.r.table("targets")))
    if (t["TargetGroupArn"].as_string() == arn) c.r.erase("targets", id);
  c.r.erase("target-groups", arn);
  return Value::object();
}

Output describe_target_group_attributes(Context& c, const Value& in) {
  const Value* g = c.r.find("target-groups", in["TargetGroupArn"].as_string());
  if (!g) return no_such_group(in["TargetGroupArn"].as_string());
  Value out = Value::object();
  out["Attributes"] = (*g)["_attributes"];
  return out;
}

Output modify_target_group_attributes(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  if (!c.r.find("target-groups", arn)) return no_such_group(arn);
  Value& a = c.r.edit("target-groups", arn)["_attributes"];
  for (const Value& x : in["Attributes"].as_array()) {
    if (x["Key"].as_string().find('.') == std::string::npos) return fail("ValidationError", "Target group attribute key '" + x["Key"].as_string() + "' is not recognized");
    set_tag(a, x["Key"].as_string(), x["Value"].as_string());
  }
  Value out = Value::object();
  out["Attributes"] = a;
  return out;
}

std::string target_key(const std::string& arn, const std::string& id, int64_t port) { return arn + "|" + id + "|" + std::to_string(port); }

Output register_targets(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  const Value* g = c.r.find("target-groups", arn);
  if (!g) return no_such_group(arn);
  std::string type = (*g)["TargetType"].as_string(), vpc = (*g)["VpcId"].as_string();
  int64_t group_port = (*g)["Port"].as_int();
  for (const Value& t : in["Targets"].as_array()) {
    const std::string& id = t["Id"].as_string();
    int64_t port = t["Port"].as_int(group_port);
    std::string zone = t["AvailabilityZone"].as_string();
    if (type == "ip") {
      auto ip = parse_ipv4(id);
      if (!ip) return fail("InvalidTarget", "The IP address '" + id + "' is not valid");
      bool inside = false;
      for (auto& [sid, s] : c.r.table("subnets"))
        if (s["VpcId"].as_string() == vpc && parse_cidr(s["CidrBlock"].as_string())->contains(*ip)) {
          inside = true;
          if (zone.empty()) zone = s["AvailabilityZone"].as_string();
        }
      if (!inside && zone.empty()) return fail("InvalidTarget", "The IP address '" + id + "' is not within the VPC; give AvailabilityZone 'all' for addresses outside of it");
    } else if (type == "instance") {
      const Value* i = c.r.find("instances", id);
      if (!i) return fail("InvalidTarget", "The following targets are not valid instances: '" + id + "'");
      if ((*i)["State"]["Code"].as_int() != 16) return fail("InvalidTarget", "The following targets are not in a running state and cannot be registered: '" + id + "'");
      zone = (*i)["Placement"]["AvailabilityZone"].as_string();
    }
    Value& v = c.r.edit("targets", target_key(arn, id, port));
    v["TargetGroupArn"] = arn;
    v["Id"] = id;
    v["Port"] = port;
    v["AvailabilityZone"] = zone;
    v["_explicit_zone"] = t.find("AvailabilityZone") != nullptr;
    v.erase("_draining_until");
  }
  return Value::object();
}

Output deregister_targets(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  const Value* g = c.r.find("target-groups", arn);
  if (!g) return no_such_group(arn);
  int64_t delay = parse_int(attribute(*g, "deregistration_delay.timeout_seconds")).value_or(300);
  bool used = !users_of_target_group(c.r, arn).empty();
  for (const Value& t : in["Targets"].as_array()) {
    const std::string& id = t["Id"].as_string();
    std::vector<std::string> keys;
    for (auto& [key, v] : c.r.table("targets"))
      if (v["TargetGroupArn"].as_string() == arn && v["Id"].as_string() == id && (!t.find("Port") || v["Port"] == t["Port"])) keys.push_back(key);
    for (const std::string& key : keys) {
      if (!used || delay == 0) c.r.erase("targets", key);
      else if (!c.r.find("targets", key)->find("_draining_until")) c.r.edit("targets", key)["_draining_until"] = c.now.seconds() + delay;
    }
  }
  return Value::object();
}

Output describe_target_health(Context& c, const Value& in) {
  const std::string& arn = in["TargetGroupArn"].as_string();
  const Value* g = c.r.find("target-groups", arn);
  if (!g) return no_such_group(arn);
  bool used = !users_of_target_group(c.r, arn).empty();
  Value out = Value::object();
  out["TargetHealthDescriptions"] = Value::array();
  auto add = [&](const Value& t, const Value* registered, const std::string& key) {
    Value d = Value::object();
    d["Target"]["Id"] = t["Id"];
    d["Target"]["Port"] = t["Port"].is_int() ? t["Port"] : (*g)["Port"];
    if (registered && !(*registered)["AvailabilityZone"].as_string().empty()) d["Target"]["AvailabilityZone"] = (*registered)["AvailabilityZone"];
    std::string port = (*g)["HealthCheckPort"].as_string();
    d["HealthCheckPort"] = port == "traffic-port" ? std::to_string(std::as_const(d)["Target"]["Port"].as_int()) : port;
    Value& h = d["TargetHealth"];
    const Value* seen = c.r.find("target-health", key);
    if (!registered) {
      h["State"] = "unused";
      h["Reason"] = "Target.NotRegistered";
      h["Description"] = "Target is not registered to the target group";
    } else if (registered->find("_draining_until")) {
      h["State"] = "draining";
      h["Reason"] = "Target.DeregistrationInProgress";
      h["Description"] = "Target deregistration is in progress";
    } else if (!used) {
      h["State"] = "unused";
      h["Reason"] = "Target.NotInUse";
      h["Description"] = "Target group is not configured to receive traffic from the load balancer";
    } else if (seen) {
      h["State"] = (*seen)["State"];
      if (!(*seen)["Reason"].as_string().empty()) h["Reason"] = (*seen)["Reason"];
      if (!(*seen)["Description"].as_string().empty()) h["Description"] = (*seen)["Description"];
    } else {
      h["State"] = "initial";
      h["Reason"] = "Elb.RegistrationInProgress";
      h["Description"] = "Target registration is in progress";
    }
    out["TargetHealthDescriptions"].push_back(std::move(d));
  };
  if (in["Targets"].size() > 0) {
    for (const Value& t : in["Targets"].as_array()) {
      std::string key = target_key(arn, t["Id"].as_string(), t["Port"].as_int((*g)["Port"].as_int()));
      add(t, c.r.find("targets", key), key);
    }
  } else {
    for (auto& [key, t] : c.r.table("targets"))
      if (t["TargetGroupArn"].as_string() == arn) add(t, &t, key);
  }
  return out;
}

}  // namespace

std::vector<std::string> target_groups_of_action(const Value& a) {
  std::vector<std::string> out;
  if (!a["TargetGroupArn"].as_string().empty()) out.push_back(a["TargetGroupArn"].as_string());
  for (const Value& t : a["ForwardConfig"]["TargetGroups"].as_array()) out.push_back(t["TargetGroupArn"].as_string());
  return out;
}

std::vector<std::string> users_of_target_group(const Records& r, std::string_view arn) {
  std::vector<std::string> out;
  auto look = [&](const Value& actions, const std::string& lb) {
    for (const Value& a : actions.as_array())
      for (const std::string& t : target_groups_of_action(a))
        if (t == arn && std::find(out.begin(), out.end(), lb) == out.end()) out.push_back(lb);
  };
  for (auto& [id, l] : r.table("listeners")) look(l["DefaultActions"], l["LoadBalancerArn"].as_string());
  for (auto& [id, rule] : r.table("rules")) look(rule["Actions"], rule["_load_balancer"].as_string());
  return out;
}

void add_target_group_actions(Handlers& h) {
  const std::string s = "elasticloadbalancing:";
  h[s + "CreateTargetGroup"] = create_target_group;
  h[s + "DescribeTargetGroups"] = describe_target_groups;
  h[s + "ModifyTargetGroup"] = modify_target_group;
  h[s + "DeleteTargetGroup"] = delete_target_group;
  h[s + "DescribeTargetGroupAttributes"] = describe_target_group_attributes;
  h[s + "ModifyTargetGroupAttributes"] = modify_target_group_attributes;
  h[s + "RegisterTargets"] = register_targets;
  h[s + "DeregisterTargets"] = deregister_targets;
  h[s + "DescribeTargetHealth"] = describe_target_health;
}

}  // namespace caravel::cloud
