// ELBv2: listeners, rules, listener certificates, TLS policies.
#include <algorithm>

#include "base/strings.h"
#include "cloud/elb.h"
#include "cloud/query.h"

namespace caravel::cloud {

namespace {

Error no_such_listener(const std::string& arn) { return fail("ListenerNotFound", "One or more listeners not found: '" + arn + "'"); }
Error no_such_rule(const std::string& arn) { return fail("RuleNotFound", "One or more rules not found: '" + arn + "'"); }
constexpr const char* kDefaultPolicy = "ELBSecurityPolicy-2016-08";

// Both notations of forwarding, as AWS answers them: TargetGroupArn and ForwardConfig.
Result<Value> normal_actions(Context& c, const Value& actions) {
  Value out = Value::array();
  int order = 1;
  for (const Value& given : actions.as_array()) {
    Value a = given;
    const std::string& type = given["Type"].as_string();
    if (type == "forward") {
      for (const std::string& arn : target_groups_of_action(given))
        if (!c.r.find("target-groups", arn)) return fail("TargetGroupNotFound", "One or more target groups not found: '" + arn + "'");
      if (given["ForwardConfig"]["TargetGroups"].size() == 0) {
        if (given["TargetGroupArn"].as_string().empty()) return fail("ValidationError", "A forward action needs a target group");
        Value t = Value::object();
        t["TargetGroupArn"] = given["TargetGroupArn"];
        t["Weight"] = 1;
        a["ForwardConfig"]["TargetGroups"] = Value::array({std::move(t)});
      }
      if (!std::as_const(a)["ForwardConfig"].find("TargetGroupStickinessConfig")) a["ForwardConfig"]["TargetGroupStickinessConfig"]["Enabled"] = false;
      if (std::as_const(a)["ForwardConfig"]["TargetGroups"].size() == 1) a["TargetGroupArn"] = std::as_const(a)["ForwardConfig"]["TargetGroups"].at(0)["TargetGroupArn"];
    } else if (type == "redirect") {
      Value& r = a["RedirectConfig"];
      for (auto [k, v] : {std::pair("Protocol", "#{protocol}"), std::pair("Host", "#{host}"), std::pair("Port", "#{port}"), std::pair("Path", "/#{path}"), std::pair("Query", "#{query}")})
        if (!r.find(k)) r[k] = v;
    } else if (type != "fixed-response" && type != "authenticate-oidc" && type != "authenticate-cognito") {
      return fail("ValidationError", "The action type '" + type + "' is not valid");
    }
    if (actions.size() > 1 && !a.find("Order")) a["Order"] = order;
    ++order;
    out.push_back(std::move(a));
  }
  if (out.size() == 0) return fail("ValidationError", "At least one action is needed");
  return out;
}

Status check_certificates(Context& c, const Value& list) {
  for (const Value& x : list.as_array())
    if (!c.r.find("certificates", x["CertificateArn"].as_string())) return fail("CertificateNotFound", "Certificate '" + x["CertificateArn"].as_string() + "' not found");
  return ok();
}

Status check_listener(Context& c, const Value& lb, const std::string& protocol, int64_t port, const std::string& self) {
  bool app = lb["Type"].as_string() == "application";
  bool known = app ? protocol == "HTTP" || protocol == "HTTPS" : protocol == "TCP" || protocol == "TLS" || protocol == "UDP" || protocol == "TCP_UDP";
  if (!known) return fail("ValidationError", "Listener protocol '" + protocol + "' is not supported for " + lb["Type"].as_string() + " load balancers");
  if (port < 1 || port > 65535) return fail("ValidationError", "A port between 1 and 65535 must be specified");
  for (auto& [arn, l] : c.r.table("listeners"))
    if (arn != self && l["LoadBalancerArn"] == lb["LoadBalancerArn"] && l["Port"].as_int() == port) return fail("DuplicateListener", "A listener already exists on this port for this load balancer '" + lb["LoadBalancerArn"].as_string() + "'");
  return ok();
}

Value answer(const char* member, const Value& one) {
  Value out = Value::object();
  out[member] = Value::array({one});
  return out;
}

Value default_rule(const Value& l) {
  Value r = Value::object();
  r["RuleArn"] = replace_all(l["ListenerArn"].as_string(), ":listener/", ":listener-rule/") + "/default";
  r["Priority"] = "default";
  r["Conditions"] = Value::array();
  r["Actions"] = l["DefaultActions"];
  r["IsDefault"] = true;
  return r;
}

Output create_listener(Context& c, const Value& in) {
  const std::string& lb_arn = in["LoadBalancerArn"].as_string();
  const Value* lb = c.r.find("load-balancers", lb_arn);
  if (!lb) return fail("LoadBalancerNotFound", "One or more load balancers not found: '" + lb_arn + "'");
  const std::string& protocol = in["Protocol"].as_string();
  TRY_VOID(check_listener(c, *lb, protocol, in["Port"].as_int(), ""));
  bool tls = protocol == "HTTPS" || protocol == "TLS";
  if (tls && in["Certificates"].size() != 1) return fail("ValidationError", "A certificate must be specified for " + protocol + " listeners");
  TRY_VOID(check_certificates(c, in["Certificates"]));
  TRY(Value actions, normal_actions(c, in["DefaultActions"]));
  std::string arn = replace_all(lb_arn, ":loadbalancer/", ":listener/") + "/" + c.new_id("", 16);
  Value& l = c.r.edit("listeners", arn);
  l["ListenerArn"] = arn;
  l["LoadBalancerArn"] = lb_arn;
  l["Port"] = in["Port"];
  l["Protocol"] = protocol;
  if (tls) {
    l["Certificates"] = in["Certificates"];
    l["SslPolicy"] = in["SslPolicy"].as_string().empty() ? kDefaultPolicy : in["SslPolicy"].as_string();
    l["_more_certificates"] = Value::array();
    if (in["AlpnPolicy"].size() > 0) l["AlpnPolicy"] = in["AlpnPolicy"];
  }
  l["DefaultActions"] = std::move(actions);
  l["_tags"] = elb_tags(in);
  l["_attributes"] = Value::array();
  return answer("Listeners", l);
}

Output describe_listeners(Context& c, const Value& in) {
  std::vector<std::string> arns = strings(in["ListenerArns"]);
  const std::string& lb = in["LoadBalancerArn"].as_string();
  if (!lb.empty() && !c.r.find("load-balancers", lb)) return fail("LoadBalancerNotFound", "One or more load balancers not found: '" + lb + "'");
  if (lb.empty() && arns.empty()) return fail("ValidationError", "You must specify either listener ARNs or a load balancer ARN");
  for (const std::string& a : arns)
    if (!c.r.find("listeners", a)) return no_such_listener(a);
  std::vector<Value> found;
  for (auto& [arn, l] : c.r.table("listeners")) {
    if (!lb.empty() && l["LoadBalancerArn"].as_string() != lb) continue;
    if (!arns.empty() && std::find(arns.begin(), arns.end(), arn) == arns.end()) continue;
    found.push_back(l);
  }
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "Marker", "PageSize", "NextMarker", 400));
  out["Listeners"] = Value(std::move(items));
  return out;
}

Output modify_listener(Context& c, const Value& in) {
  const std::string& arn = in["ListenerArn"].as_string();
  const Value* old = c.r.find("listeners", arn);
  if (!old) return no_such_listener(arn);
  std::string protocol = in.find("Protocol") ? in["Protocol"].as_string() : (*old)["Protocol"].as_string();
  int64_t port = in["Port"].as_int((*old)["Port"].as_int());
  TRY_VOID(check_listener(c, *c.r.find("load-balancers", (*old)["LoadBalancerArn"].as_string()), protocol, port, arn));
  TRY_VOID(check_certificates(c, in["Certificates"]));
  Value actions;
  if (in["DefaultActions"].size() > 0) {
    TRY(actions, normal_actions(c, in["DefaultActions"]));
  }
  Value& l = c.r.edit("listeners", arn);
  l["Protocol"] = protocol;
  l["Port"] = port;
  if (in["Certificates"].size() > 0) l["Certificates"] = in["Certificates"];
  if (in.find("SslPolicy")) l["SslPolicy"] = in["SslPolicy"];
  if (in.find("AlpnPolicy")) l["AlpnPolicy"] = in["AlpnPolicy"];
  bool tls = protocol == "HTTPS" || protocol == "TLS";
  if (tls && std::as_const(l)["Certificates"].size() == 0) return fail("ValidationError", "A certificate must be specified for " + protocol + " listeners");
  if (!tls)
    for (const char* k : {"Certificates", "SslPolicy", "AlpnPolicy"}) l.erase(k);
  if (!actions.is_null()) l["DefaultActions"] = std::move(actions);
  return answer("Listeners", l);
}

Output delete_listener(Context& c, const Value& in) {
  const std::string& arn = in["ListenerArn"].as_string();
  if (!c.r.find("listeners", arn)) return no_such_listener(arn);
  remove_listener(c, arn);
  return Value::object();
}

Output create_rule(Context& c, const Value& in) {
  const std::string& listener = in["ListenerArn"].as_string();
  const Value* l = c.r.find("listeners", listener);
  if (!l) return no_such_listener(listener);
  int64_t priority = in["Priority"].as_int();
  if (priority < 1 || priority > 50000) return fail("ValidationError", "The rule priority must be between 1 and 50000");
  for (auto& [arn, r] : c.r.table("rules"))
    if (r["_listener"].as_string() == listener && r["Priority"].as_string() == std::to_string(priority)) return fail("PriorityInUse", "Priority '" + std::to_string(priority) + "' is currently in use");
  TRY(Value actions, normal_actions(c, in["Actions"]));
  std::string arn = replace_all(listener, ":listener/", ":listener-rule/") + "/" + c.new_id("", 16);
  Value& r = c.r.edit("rules", arn);
  r["RuleArn"] = arn;
  r["Priority"] = std::to_string(priority);
  r["Conditions"] = in["Conditions"];
  r["Actions"] = std::move(actions);
  r["IsDefault"] = false;
  r["_listener"] = listener;
  r["_load_balancer"] = (*l)["LoadBalancerArn"];
  r["_tags"] = elb_tags(in);
  return answer("Rules", r);
}

Output describe_rules(Context& c, const Value& in) {
  std::vector<std::string> arns = strings(in["RuleArns"]);
  const std::string& listener = in["ListenerArn"].as_string();
  if (!listener.empty() && !c.r.find("listeners", listener)) return no_such_listener(listener);
  std::vector<Value> found;
  for (auto& [arn, r] : c.r.table("rules")) {
    if (!listener.empty() && r["_listener"].as_string() != listener) continue;
    if (!arns.empty() && std::find(arns.begin(), arns.end(), arn) == arns.end()) continue;
    found.push_back(r);
  }
  for (const std::string& a : arns) {
    bool any = false;
    for (const Value& v : found) any |= v["RuleArn"].as_string() == a;
    if (!any) return no_such_rule(a);
  }
  std::sort(found.begin(), found.end(), [](const Value& a, const Value& b) { return parse_int(a["Priority"].as_string()).value_or(0) < parse_int(b["Priority"].as_string()).value_or(0); });
  if (!listener.empty()) found.push_back(default_rule(*c.r.find("listeners", listener)));
  Value out = Value::object();
  TRY(std::vector<Value> items, page(std::move(found), in, out, "Marker", "PageSize", "NextMarker", 400));
  out["Rules"] = Value(std::move(items));
  return out;
}

Output modify_rule(Context& c, const Value& in) {
  const std::string& arn = in["RuleArn"].as_string();
  if (!c.r.find("rules", arn)) return no_such_rule(arn);
  Value actions;
  if (in["Actions"].size() > 0) {
    TRY(actions, normal_actions(c, in["Actions"]));
  }
  Value& r = c.r.edit("rules", arn);
  if (in["Conditions"].size() > 0) r["Conditions"] = in["Conditions"];
  if (!actions.is_null()) r["Actions"] = std::move(actions);
  return answer("Rules", r);
}

Output delete_rule(Context& c, const Value& in) {
  const std::string& arn = in["RuleArn"].as_string();
  if (!c.r.find("rules", arn)) return no_such_rule(arn);
  c.r.erase("rules", arn);
  return Value::object();
}

Output set_priorities(Context& c, const Value& in) {
  Value out = Value::object();
  out["Rules"] = Value::array();
  for (const Value& p : in["RulePriorities"].as_array()) {
    const std::string& arn = p["RuleArn"].as_string();
    if (!c.r.find("rules", arn)) return no_such_rule(arn);
    c.r.edit("rules", arn)["Priority"] = std::to_string(p["Priority"].as_int());
    out["Rules"].push_back(*c.r.find("rules", arn));
  }
  return out;
}

Output add_certificates(Context& c, const Value& in) {
  const std::string& arn = in["ListenerArn"].as_string();
  if (!c.r.find("listeners", arn)) return no_such_listener(arn);
  TRY_VOID(check_certificates(c, in["Certificates"]));
  Value& more = c.r.edit("listeners", arn)["_more_certificates"];
  for (const Value& x : in["Certificates"].as_array()) {
    bool have = false;
    for (const Value& m : std::as_const(more).as_array()) have |= m["CertificateArn"] == x["CertificateArn"];
    Value v = Value::object();
    v["CertificateArn"] = x["CertificateArn"];
    v["IsDefault"] = false;
    if (!have) more.push_back(std::move(v));
  }
  Value out = Value::object();
  out["Certificates"] = in["Certificates"];
  return out;
}

Output remove_certificates(Context& c, const Value& in) {
  const std::string& arn = in["ListenerArn"].as_string();
  if (!c.r.find("listeners", arn)) return no_such_listener(arn);
  auto& more = c.r.edit("listeners", arn)["_more_certificates"].arr();
  for (const Value& x : in["Certificates"].as_array()) std::erase_if(more, [&](const Value& m) { return m["CertificateArn"] == x["CertificateArn"]; });
  return Value::object();
}

Output describe_certificates(Context& c, const Value& in) {
  const Value* l = c.r.find("listeners", in["ListenerArn"].as_string());
  if (!l) return no_such_listener(in["ListenerArn"].as_string());
  Value out = Value::object();
  out["Certificates"] = Value::array();
  for (const Value& x : (*l)["Certificates"].as_array()) {
    Value v = x;
    v["IsDefault"] = true;
    out["Certificates"].push_back(std::move(v));
  }
  for (const Value& x : (*l)["_more_certificates"].as_array()) out["Certificates"].push_back(x);
  return out;
}

Output describe_attributes(Context& c, const Value& in) {
  const Value* l = c.r.find("listeners", in["ListenerArn"].as_string());
  if (!l) return no_such_listener(in["ListenerArn"].as_string());
  Value out = Value::object();
  out["Attributes"] = (*l)["_attributes"];
  return out;
}

Output modify_attributes(Context& c, const Value& in) {
  const std::string& arn = in["ListenerArn"].as_string();
  if (!c.r.find("listeners", arn)) return no_such_listener(arn);
  Value& a = c.r.edit("listeners", arn)["_attributes"];
  for (const Value& x : in["Attributes"].as_array()) set_tag(a, x["Key"].as_string(), x["Value"].as_string());
  Value out = Value::object();
  out["Attributes"] = a;
  return out;
}

Output describe_policies(Context&, const Value&) {
  Value out = Value::object();
  out["SslPolicies"] = Value::array();
  for (const char* name : {"ELBSecurityPolicy-2016-08", "ELBSecurityPolicy-TLS13-1-2-2021-06", "ELBSecurityPolicy-TLS13-1-3-2021-06"}) {
    Value v = Value::object();
    v["Name"] = name;
    v["SslProtocols"] = std::string_view(name).find("1-3-") != std::string_view::npos ? Value::array({"TLSv1.3"}) : Value::array({"TLSv1.2", "TLSv1.3"});
    v["Ciphers"] = Value::array();
    out["SslPolicies"].push_back(std::move(v));
  }
  return out;
}

Output none(Context&, const Value&) { return Value::object(); }

}  // namespace

void remove_listener(Context& c, const std::string& arn) {
  for (auto& [rarn, r] : Records::Table(c.r.table("rules")))
    if (r["_listener"].as_string() == arn) c.r.erase("rules", rarn);
  c.r.erase("listeners", arn);
}

void add_listener_actions(Handlers& h) {
  const std::string s = "elasticloadbalancing:";
  h[s + "CreateListener"] = create_listener;
  h[s + "DescribeListeners"] = describe_listeners;
  h[s + "ModifyListener"] = modify_listener;
  h[s + "DeleteListener"] = delete_listener;
  h[s + "CreateRule"] = create_rule;
  h[s + "DescribeRules"] = describe_rules;
  h[s + "ModifyRule"] = modify_rule;
  h[s + "DeleteRule"] = delete_rule;
  h[s + "SetRulePriorities"] = set_priorities;
  h[s + "AddListenerCertificates"] = add_certificates;
  h[s + "RemoveListenerCertificates"] = remove_certificates;
  h[s + "DescribeListenerCertificates"] = describe_certificates;
  h[s + "DescribeListenerAttributes"] = describe_attributes;
  h[s + "ModifyListenerAttributes"] = modify_attributes;
  h[s + "DescribeSSLPolicies"] = describe_policies;
  h[s + "DescribeTrustStores"] = none;
}

}  // namespace caravel::cloud
