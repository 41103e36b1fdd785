#include <algorithm>

#include "apiserver/audit.h"
#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::apiserver {

namespace {

using json::Value;
using Names = std::vector<std::string>;

bool has(const Names& v, std::string_view s) { return std::find(v.begin(), v.end(), s) != v.end(); }
Names names(const Value& v) {
  Names out;
  for (auto& x : v.as_array()) out.push_back(x.as_string());
  return out;
}
bool ends_with(std::string_view s, std::string_view e) { return s.size() >= e.size() && s.substr(s.size() - e.size()) == e; }

bool path_matches(std::string_view path, std::string_view spec) {
  if (spec == "*" || spec == path) return true;
  if (!ends_with(spec, "*")) return false;
  spec.remove_suffix(1);
  return path.substr(0, spec.size()) == spec;
}

bool resource_matches(std::string_view pattern, const Request& r) {
  std::string whole = r.subresource.empty() ? r.plural : r.plural + "/" + r.subresource;
  if (pattern == "*" || pattern == whole) return true;
  if (!r.subresource.empty() && pattern.substr(0, 2) == "*/" && pattern.substr(2) == r.subresource) return true;
  return ends_with(pattern, "/*") && pattern.substr(0, pattern.size() - 2) == r.plural;
}

Status check_stages(const Names& stages, const std::string& at) {
  for (auto& s : stages)
    if (s != "RequestReceived" && s != "ResponseStarted" && s != "ResponseComplete" && s != "Panic")
      return invalid(at + ".omitStages: Unsupported value: " + json::quote(s) + ": supported values: RequestReceived, ResponseStarted, ResponseComplete, Panic");
  return ok();
}

}  // namespace

bool AuditDecision::omits(std::string_view stage) const { return has(omit_stages, stage); }

Result<AuditPolicy> AuditPolicy::parse(std::string_view text) {
  TRY(const Value v, yaml::parse_json_or_yaml(std::string(text)));
  if (v["kind"].as_string() != "Policy" || v["apiVersion"].as_string() != "audit.k8s.io/v1") return invalid("the file is not a Policy of audit.k8s.io/v1");
  if (v["rules"].size() == 0) return invalid("loaded illegal policy with 0 rules");
  AuditPolicy p;
  Names everywhere = names(v["omitStages"]);
  TRY_VOID(check_stages(everywhere, "policy"));
  for (size_t i = 0; i < v["rules"].size(); ++i) {
    const Value& r = v["rules"].at(i);
    std::string at = "rules[" + std::to_string(i) + "]";
    Rule rule;
    const std::string& level = r["level"].as_string();
    static constexpr std::string_view kLevels[] = {"None", "Metadata", "Request", "RequestResponse"};
    auto it = std::find(std::begin(kLevels), std::end(kLevels), level);
    if (it == std::end(kLevels)) return invalid(at + ".level: Unsupported value: " + json::quote(level) + ": supported values: None, Metadata, Request, RequestResponse");
    rule.decision.level = static_cast<AuditLevel>(it - std::begin(kLevels));
    rule.decision.omit_stages = names(r["omitStages"]);
    TRY_VOID(check_stages(rule.decision.omit_stages, at));
    for (auto& s : everywhere) rule.decision.omit_stages.push_back(s);
    rule.decision.omit_managed_fields = r["omitManagedFields"].is_bool() ? r["omitManagedFields"].as_bool() : v["omitManagedFields"].as_bool();
    rule.users = names(r["users"]);
    rule.groups = names(r["userGroups"]);
    rule.verbs = names(r["verbs"]);
    rule.namespaces = names(r["namespaces"]);
    rule.urls = names(r["nonResourceURLs"]);
    for (auto& g : r["resources"].as_array()) {
      if (g["group"].as_string().find('/') != std::string::npos) return invalid(at + ".resources: Invalid value: a group must not carry a version");
      rule.objects.push_back({g["group"].as_string(), names(g["resources"]), names(g["resourceNames"])});
    }
    if (!rule.urls.empty() && (!rule.objects.empty() || !rule.namespaces.empty()))
      return invalid(at + ".nonResourceURLs: Invalid value: rules cannot apply to both regular resources and non-resource URLs");
    p.rules_.push_back(std::move(rule));
  }
  return p;
}

bool AuditPolicy::matches(const Rule& rule, const Request& r) {
  if (!rule.users.empty() && !(r.user && has(rule.users, r.user->name))) return false;
  if (!rule.groups.empty() && !(r.user && std::any_of(r.user->groups.begin(), r.user->groups.end(), [&](const std::string& g) { return has(rule.groups, g); }))) return false;
  if (!rule.verbs.empty() && !has(rule.verbs, r.verb)) return false;
  if (!rule.namespaces.empty() || !rule.objects.empty()) {
    if (!r.is_resource) return false;
    if (!rule.namespaces.empty() && !has(rule.namespaces, r.ns)) return false;
    if (rule.objects.empty()) return true;
    for (auto& o : rule.objects) {
      if (o.group != r.group) continue;
      if (o.resources.empty()) return true;
      if (!o.names.empty() && !has(o.names, r.name)) continue;
      if (std::any_of(o.resources.begin(), o.resources.end(), [&](const std::string& p) { return resource_matches(p, r); })) return true;
    }
    return false;
  }
  if (rule.urls.empty()) return true;
  return !r.is_resource && std::any_of(rule.urls.begin(), rule.urls.end(), [&](const std::string& u) { return path_matches(r.path, u); });
}

AuditDecision AuditPolicy::decide(const Request& r) const {
  for (auto& rule : rules_)
    if (matches(rule, r)) return rule.decision;
  return {};
}

}  // namespace caravel::apiserver
