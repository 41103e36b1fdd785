#include "loadbalancer/deployer.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"

namespace caravel::loadbalancer {
namespace {

json::Value tag(const std::string& key, const std::string& value) {
  json::Value t = json::Value::object();
  t["Key"] = key;
  t["Value"] = value;
  return t;
}

bool is_absent(const Error& e) { return e.code == Code::kNotFound || e.details.find("NotFound") != std::string::npos; }

json::Value only(json::Value v) {
  json::Value list = json::Value::array();
  list.push_back(std::move(v));
  return list;
}

json::Value fixed_answer(const char* code, const char* text) {
  json::Value action = json::Value::object();
  action["Type"] = "fixed-response";
  action["FixedResponseConfig"]["StatusCode"] = code;
  action["FixedResponseConfig"]["ContentType"] = "text/plain";
  if (*text) action["FixedResponseConfig"]["MessageBody"] = text;
  return only(std::move(action));
}

json::Value actions_to(int target_group, const std::vector<std::string>& groups) {
  if (target_group == kMissingBackendAnswer) return fixed_answer("503", "Backend service does not exist");
  if (target_group < 0) return fixed_answer("404", "");
  json::Value action = json::Value::object();
  action["Type"] = "forward";
  action["TargetGroupArn"] = groups[static_cast<size_t>(target_group)];
  return only(std::move(action));
}

json::Value default_actions(const WantedListener& l, const std::vector<std::string>& groups) {
  if (!l.redirect_to_https) return actions_to(l.default_target_group, groups);
  json::Value action = json::Value::object();
  action["Type"] = "redirect";
  action["RedirectConfig"]["Protocol"] = "HTTPS";
  action["RedirectConfig"]["Port"] = std::to_string(l.redirect_to_https);
  action["RedirectConfig"]["StatusCode"] = "HTTP_301";
  return only(std::move(action));
}

// The services' answers have more members than were asked for; those that were must agree.
bool agrees(const json::Value& have, const json::Value& want) {
  if (want.is_object()) {
    for (auto& m : want.as_object())
      if (!agrees(have[m.key], m.value)) return false;
    return true;
  }
  if (!want.is_array()) return have == want;
  bool same = have.size() == want.size();
  for (size_t i = 0; same && i < want.size(); ++i) same = agrees(have.at(i), want.at(i));
  return same;
}

json::Value health_check_of(const WantedTargetGroup& g) {
  json::Value h = json::Value::object();
  h["HealthCheckProtocol"] = g.health.protocol;
  h["HealthCheckPort"] = g.health.port;
  if (!g.health.path.empty() && g.health.protocol != "TCP") h["HealthCheckPath"] = g.health.path;
  h["HealthCheckIntervalSeconds"] = g.health.interval_s;
  h["HealthCheckTimeoutSeconds"] = g.health.timeout_s;
  h["HealthyThresholdCount"] = g.health.healthy;
  h["UnhealthyThresholdCount"] = g.health.unhealthy;
  if (!g.health.matcher.empty() && g.health.protocol != "TCP") h["Matcher"]["HttpCode"] = g.health.matcher;
  return h;
}

json::Value conditions_of(const WantedRule& r) {
  json::Value list = json::Value::array();
  if (!r.host.empty()) {
    json::Value c = json::Value::object();
    c["Field"] = "host-header";
    c["Values"].push_back(r.host);
    list.push_back(std::move(c));
  }
  if (r.paths.empty() && !r.host.empty()) return list;
  json::Value c = json::Value::object();
  c["Field"] = "path-pattern";
  for (auto& path : r.paths) c["Values"].push_back(path);
  if (r.paths.empty()) c["Values"].push_back("/*");
  list.push_back(std::move(c));
  return list;
}

json::Value certificates_of(const WantedListener& l) {
  json::Value c = json::Value::object();
  c["CertificateArn"] = l.certificate_arn;
  return only(std::move(c));
}

}  // namespace

json::Value Deployer::tags(const std::string& stack_tag, const std::string& stack) const {
  json::Value list = json::Value::array();
  list.push_back(tag("elbv2.k8s.aws/cluster", cluster_));
  list.push_back(tag(stack_tag, stack));
  return list;
}

// The first entry of that name, or null.
Task<Result<json::Value>> Deployer::find_by_name(const char* action, const char* list, std::string name) {
  json::Value input = json::Value::object();
  input["Names"].push_back(name);
  auto r = co_await call(action, std::move(input));
  if (!r.ok()) {
    if (is_absent(r.error())) co_return json::Value();
    co_return std::move(r).error();
  }
  co_return std::as_const(*r)[list].at(0);
}

Task<Result<std::vector<std::string>>> Deployer::subnets(bool internet_facing) {
  json::Value f = json::Value::object();
  f["Name"] = internet_facing ? "tag:kubernetes.io/role/elb" : "tag:kubernetes.io/role/internal-elb";
  f["Values"].push_back("1");
  json::Value input = json::Value::object();
  input["Filters"].push_back(std::move(f));
  auto r = co_await aws_.call("ec2", "DescribeSubnets", std::move(input));
  if (!r.ok()) co_return std::move(r).error();
  std::map<std::string, std::string> by_zone;
  for (const json::Value& s : std::as_const(*r)["Subnets"].as_array()) by_zone.emplace(s["AvailabilityZone"].as_string(), s["SubnetId"].as_string());
  std::vector<std::string> out;
  for (auto& [zone, id] : by_zone) out.push_back(id);
  if (out.empty()) co_return invalid("unable to resolve at least one subnet (0 match VPC and tags: [" + std::string(internet_facing ? "kubernetes.io/role/elb" : "kubernetes.io/role/internal-elb") + "])");
  co_return out;
}

Task<Status> Deployer::register_targets(std::string arn, std::vector<TargetAddress> wanted) {
  json::Value ask = json::Value::object();
  ask["TargetGroupArn"] = arn;
  auto health = co_await call("DescribeTargetHealth", std::move(ask));
  if (!health.ok()) co_return std::move(health).error();
  std::set<TargetAddress> have, want(wanted.begin(), wanted.end());
  for (const json::Value& d : std::as_const(*health)["TargetHealthDescriptions"].as_array())
    if (d["TargetHealth"]["State"].as_string() != "draining") have.insert({d["Target"]["Id"].as_string(), static_cast<int>(d["Target"]["Port"].as_int())});
  auto list = [&](const std::set<TargetAddress>& from, const std::set<TargetAddress>& without) {
    json::Value targets = json::Value::array();
    for (auto& t : from) {
      if (without.count(t)) continue;
      json::Value v = json::Value::object();
      v["Id"] = t.ip;
      v["Port"] = t.port;
      targets.push_back(std::move(v));
    }
    return targets;
  };
  json::Value fresh = list(want, have), gone = list(have, want);
  if (fresh.size()) {
    json::Value input = json::Value::object();
    input["TargetGroupArn"] = arn;
    input["Targets"] = std::move(fresh);
    auto r = co_await call("RegisterTargets", std::move(input));
    if (!r.ok()) co_return std::move(r).error();
  }
  if (gone.size()) {
    json::Value input = json::Value::object();
    input["TargetGroupArn"] = arn;
    input["Targets"] = std::move(gone);
    auto r = co_await call("DeregisterTargets", std::move(input));
    if (!r.ok()) co_return std::move(r).error();
  }
  co_return ok();
}

Task<Result<std::string>> Deployer::target_group(WantedTargetGroup g, std::string stack_tag, std::string stack) {
  CO_TRY(json::Value existing, co_await find_by_name("DescribeTargetGroups", "TargetGroups", g.name));
  std::string arn = existing["TargetGroupArn"].as_string();
  if (arn.empty()) {
    json::Value vpcs = json::Value::object();
    auto described = co_await aws_.call("ec2", "DescribeVpcs", std::move(vpcs));
    if (!described.ok()) co_return std::move(described).error();
    json::Value input = health_check_of(g);
    input["Name"] = g.name;
    input["Protocol"] = g.protocol;
    input["Port"] = g.port;
    input["VpcId"] = std::as_const(*described)["Vpcs"].at(0)["VpcId"];
    input["TargetType"] = "ip";
    input["Tags"] = tags(stack_tag, stack);
    auto made = co_await call("CreateTargetGroup", std::move(input));
    if (!made.ok()) co_return std::move(made).error();
    arn = std::as_const(*made)["TargetGroups"].at(0)["TargetGroupArn"].as_string();
  } else if (json::Value health = health_check_of(g); !agrees(existing, health)) {
    health["TargetGroupArn"] = arn;
    auto changed = co_await call("ModifyTargetGroup", std::move(health));
    if (!changed.ok()) co_return std::move(changed).error();
  }
  CO_TRY_VOID(co_await register_targets(arn, g.targets));
  co_return arn;
}

Task<Status> Deployer::rules(std::string listener_arn, WantedListener wanted, std::vector<std::string> groups) {
  json::Value ask = json::Value::object();
  ask["ListenerArn"] = listener_arn;
  auto described = co_await call("DescribeRules", std::move(ask));
  if (!described.ok()) co_return std::move(described).error();
  std::map<int, json::Value> have;
  for (const json::Value& r : std::as_const(*described)["Rules"].as_array())
    if (!r["IsDefault"].as_bool()) have[static_cast<int>(parse_int(r["Priority"].as_string()).value_or(0))] = r;
  for (auto& w : wanted.rules) {
    json::Value conditions = conditions_of(w), actions = actions_to(w.target_group, groups);
    auto it = have.find(w.priority);
    if (it != have.end()) {
      const json::Value& old = it->second;
      bool same = agrees(old["Actions"], actions) && agrees(old["Conditions"], conditions);
      std::string arn = old["RuleArn"].as_string();
      have.erase(it);
      if (same) continue;
      json::Value input = json::Value::object();
      input["RuleArn"] = arn;
      input["Conditions"] = std::move(conditions);
      input["Actions"] = std::move(actions);
      auto r = co_await call("ModifyRule", std::move(input));
      if (!r.ok()) co_return std::move(r).error();
      continue;
    }
    json::Value input = json::Value::object();
    input["ListenerArn"] = listener_arn;
    input["Priority"] = w.priority;
    input["Conditions"] = std::move(conditions);
    input["Actions"] = std::move(actions);
    auto r = co_await call("CreateRule", std::move(input));
    if (!r.ok()) co_return std::move(r).error();
  }
  for (auto& [priority, rule] : have) {
    json::Value input = json::Value::object();
    input["RuleArn"] = std::as_const(rule)["RuleArn"];
    auto r = co_await call("DeleteRule", std::move(input));
    if (!r.ok() && !is_absent(r.error())) co_return std::move(r).error();
  }
  co_return ok();
}

Task<Status> Deployer::listener(std::string balancer, json::Value existing, WantedListener wanted, std::vector<std::string> groups) {
  std::string arn = std::as_const(existing)["ListenerArn"].as_string();
  json::Value actions = default_actions(wanted, groups);
  if (arn.empty()) {
    json::Value input = json::Value::object();
    input["LoadBalancerArn"] = balancer;
    input["Port"] = wanted.port;
    input["Protocol"] = wanted.protocol;
    input["DefaultActions"] = std::move(actions);
    if (!wanted.certificate_arn.empty()) input["Certificates"] = certificates_of(wanted);
    auto made = co_await call("CreateListener", std::move(input));
    if (!made.ok()) co_return std::move(made).error();
    arn = std::as_const(*made)["Listeners"].at(0)["ListenerArn"].as_string();
  } else {
    const json::Value& old = std::as_const(existing);
    bool same = agrees(old["DefaultActions"], actions) && old["Protocol"].as_string() == wanted.protocol &&
                (wanted.certificate_arn.empty() || old["Certificates"].at(0)["CertificateArn"].as_string() == wanted.certificate_arn);
    if (!same) {
      json::Value input = json::Value::object();
      input["ListenerArn"] = arn;
      input["Protocol"] = wanted.protocol;
      input["DefaultActions"] = std::move(actions);
      if (!wanted.certificate_arn.empty()) input["Certificates"] = certificates_of(wanted);
      auto r = co_await call("ModifyListener", std::move(input));
      if (!r.ok()) co_return std::move(r).error();
    }
  }
  if (wanted.protocol == "HTTP" || wanted.protocol == "HTTPS") co_return co_await rules(arn, wanted, groups);
  co_return ok();
}

Task<Result<Deployed>> Deployer::deploy(WantedBalancer wanted, std::string stack_tag) {
  std::vector<std::string> groups;
  for (auto& g : wanted.target_groups) {
    CO_TRY(std::string arn, co_await target_group(g, stack_tag, wanted.stack));
    groups.push_back(arn);
  }
  CO_TRY(json::Value balancer, co_await find_by_name("DescribeLoadBalancers", "LoadBalancers", wanted.name));
  if (const json::Value& old = balancer; !old["LoadBalancerArn"].as_string().empty() &&
                                         (old["Type"].as_string() != wanted.type || (old["Scheme"].as_string() == "internet-facing") != wanted.internet_facing)) {
    json::Value input = json::Value::object();  // neither can be changed: it is replaced
    input["LoadBalancerArn"] = old["LoadBalancerArn"];
    auto removed = co_await call("DeleteLoadBalancer", std::move(input));
    if (!removed.ok() && !is_absent(removed.error())) co_return std::move(removed).error();
    balancer = json::Value();
  }
  if (std::as_const(balancer)["LoadBalancerArn"].as_string().empty()) {
    CO_TRY(auto ids, co_await subnets(wanted.internet_facing));
    json::Value input = json::Value::object();
    input["Name"] = wanted.name;
    input["Type"] = wanted.type;
    input["Scheme"] = wanted.internet_facing ? "internet-facing" : "internal";
    for (auto& id : ids) input["Subnets"].push_back(id);
    json::Value f = json::Value::object();
    f["Name"] = "group-name";  // the VPC's security group for load balancers
    f["Values"].push_back(cluster_ + "-load-balancer");
    json::Value find = json::Value::object();
    find["Filters"].push_back(std::move(f));
    auto sg = co_await aws_.call("ec2", "DescribeSecurityGroups", std::move(find));
    if (sg.ok())
      for (const json::Value& g : std::as_const(*sg)["SecurityGroups"].as_array()) input["SecurityGroups"].push_back(g["GroupId"]);
    input["Tags"] = tags(stack_tag, wanted.stack);
    auto made = co_await call("CreateLoadBalancer", std::move(input));
    if (!made.ok()) co_return std::move(made).error();
    balancer = std::as_const(*made)["LoadBalancers"].at(0);
  }
  Deployed out{std::as_const(balancer)["LoadBalancerArn"].as_string(), std::as_const(balancer)["DNSName"].as_string()};
  json::Value ask = json::Value::object();
  ask["LoadBalancerArn"] = out.arn;
  auto listeners = co_await call("DescribeListeners", std::move(ask));
  if (!listeners.ok()) co_return std::move(listeners).error();
  std::map<int64_t, json::Value> by_port;
  for (const json::Value& l : std::as_const(*listeners)["Listeners"].as_array()) by_port[l["Port"].as_int()] = l;
  for (auto& l : wanted.listeners) {
    json::Value existing;
    if (auto it = by_port.find(l.port); it != by_port.end()) {
      existing = std::move(it->second);
      by_port.erase(it);
    }
    CO_TRY_VOID(co_await listener(out.arn, std::move(existing), l, groups));
  }
  for (auto& [port, old] : by_port) {
    json::Value input = json::Value::object();
    input["ListenerArn"] = std::as_const(old)["ListenerArn"];
    auto r = co_await call("DeleteListener", std::move(input));
    if (!r.ok() && !is_absent(r.error())) co_return std::move(r).error();
  }
  CO_TRY_VOID(co_await remove_target_groups(stack_tag, wanted.stack, groups));
  co_return out;
}

// The ARNs of the kind's resources that carry the tags of the stack.
Task<Result<std::vector<std::string>>> Deployer::arns_of(std::string describe, std::string list, std::string arn_member, std::string stack_tag, std::string stack) {
  auto has_tags = [&](const json::Value& description) {
    bool cluster = false, mine = false;
    for (const json::Value& t : description["Tags"].as_array()) {
      cluster |= t["Key"].as_string() == "elbv2.k8s.aws/cluster" && t["Value"].as_string() == cluster_;
      mine |= t["Key"].as_string() == stack_tag && t["Value"].as_string() == stack;
    }
    return cluster && mine;
  };
  auto described = co_await call(describe, json::Value::object());
  if (!described.ok()) co_return std::move(described).error();
  std::vector<std::string> out;
  for (const json::Value& o : std::as_const(*described)[list].as_array()) {
    json::Value ask = json::Value::object();
    ask["ResourceArns"].push_back(o[arn_member]);
    auto tagged = co_await call("DescribeTags", std::move(ask));
    if (tagged.ok() && has_tags(std::as_const(*tagged)["TagDescriptions"].at(0))) out.push_back(o[arn_member].as_string());
  }
  co_return out;
}

Task<Status> Deployer::remove_target_groups(std::string stack_tag, std::string stack, std::vector<std::string> except) {
  CO_TRY(auto arns, co_await arns_of("DescribeTargetGroups", "TargetGroups", "TargetGroupArn", stack_tag, stack));
  for (auto& arn : arns) {
    if (std::find(except.begin(), except.end(), arn) != except.end()) continue;
    json::Value input = json::Value::object();
    input["TargetGroupArn"] = arn;
    auto r = co_await call("DeleteTargetGroup", std::move(input));
    if (!r.ok() && !is_absent(r.error())) co_return std::move(r).error();
  }
  co_return ok();
}

Task<Status> Deployer::remove(std::string stack_tag, std::string stack) {
  CO_TRY(auto balancers, co_await arns_of("DescribeLoadBalancers", "LoadBalancers", "LoadBalancerArn", stack_tag, stack));
  for (auto& arn : balancers) {
    json::Value input = json::Value::object();
    input["LoadBalancerArn"] = arn;
    auto r = co_await call("DeleteLoadBalancer", std::move(input));
    if (!r.ok() && !is_absent(r.error())) co_return std::move(r).error();
  }
  co_return co_await remove_target_groups(stack_tag, stack, {});
}

}  // namespace caravel::loadbalancer
