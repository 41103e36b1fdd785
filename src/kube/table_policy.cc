// Cells of budgets, quotas, RBAC, admission, priorities, flow control, device claims.
#include <algorithm>

#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

std::string amount(const json::Value& v) { return v.is_string() ? v.as_string() : v.is_null() ? "0"
                                                                                              : json::dump(v); }

// "cpu: 1/2, pods: 3/10" of a quota, for requests or for limits.
std::string quota(const json::Value& o, bool limits) {
  std::vector<std::string> parts;
  std::vector<std::string> names;
  for (auto& m : o["status"]["hard"].as_object()) names.push_back(m.key);
  std::sort(names.begin(), names.end());
  for (auto& n : names)
    if (n.starts_with("limits.") == limits) parts.push_back(n + ": " + amount(o["status"]["used"][n]) + "/" + amount(o["status"]["hard"][n]));
  return join(parts, ", ");
}

std::string subjects(const json::Value& o, std::string_view kind) {
  std::vector<std::string> parts;
  for (auto& s : o["subjects"].as_array()) {
    if (s["kind"].as_string() != kind) continue;
    parts.push_back(kind == "ServiceAccount" ? s["namespace"].as_string() + "/" + s["name"].as_string() : s["name"].as_string());
  }
  return join(parts, ", ");
}

std::string kind_ref(const json::Value& p) { return p.is_object() ? p["apiVersion"].as_string() + "/" + p["kind"].as_string() : "<unset>"; }

std::string param_ref(const json::Value& p) {
  if (!p.is_object()) return "<unset>";
  if (p["selector"].is_object()) return selector_text(p["selector"]);
  return p["namespace"].as_string().empty() ? "*/" + p["name"].as_string() : p["namespace"].as_string() + "/" + p["name"].as_string();
}

std::string int_text(const json::Value& v) { return v.is_int() ? std::to_string(v.as_int()) : "<none>"; }

json::Value print_flow(std::string_view kind, std::string_view name, const json::Value& o) {
  const json::Value& spec = o["spec"];
  if (kind == "FlowSchema") {
    if (name == "prioritylevel") return or_none(spec["priorityLevelConfiguration"]["name"].as_string());
    if (name == "matchingprecedence") return spec["matchingPrecedence"].as_int();
    if (name == "distinguishermethod") return or_none(spec["distinguisherMethod"]["type"].as_string());
    if (name == "missingpl") {
      for (auto& c : o["status"]["conditions"].as_array())
        if (c["type"].as_string() == "Dangling") return c["status"].as_string();
      return "?";
    }
    return {};
  }
  if (name == "type") return spec["type"].as_string();
  const json::Value& limited = spec["limited"];
  if (name == "nominalconcurrencyshares") return int_text(limited["nominalConcurrencyShares"]);
  const json::Value& q = limited["limitResponse"]["queuing"];
  if (name == "queues") return int_text(q["queues"]);
  if (name == "handsize") return int_text(q["handSize"]);
  if (name == "queuelengthlimit") return int_text(q["queueLengthLimit"]);
  return {};
}

}  // namespace

json::Value print_policy(std::string_view kind, std::string_view name, const json::Value& o, Time) {
  const json::Value &spec = o["spec"], &status = o["status"];
  if (kind == "PodDisruptionBudget") {
    auto value = [](const json::Value& v) { return v.is_null() ? std::string("N/A") : v.is_string() ? v.as_string()
                                                                                                    : json::dump(v); };
    if (name == "min-available") return value(spec["minAvailable"]);
    if (name == "max-unavailable") return value(spec["maxUnavailable"]);
    if (name == "allowed-disruptions") return status["disruptionsAllowed"].as_int();
  }
  if (kind == "ResourceQuota") return quota(o, name == "limit");
  if (kind == "RoleBinding" || kind == "ClusterRoleBinding") {
    if (name == "role") return o["roleRef"]["kind"].as_string() + "/" + o["roleRef"]["name"].as_string();
    if (name == "users") return subjects(o, "User");
    if (name == "groups") return subjects(o, "Group");
    if (name == "serviceaccounts") return subjects(o, "ServiceAccount");
  }
  if (kind == "PriorityClass") {
    if (name == "value") return o["value"].as_int();
    if (name == "global-default") return o["globalDefault"].as_bool() ? "true" : "false";
    if (name == "preemptionpolicy") return o["preemptionPolicy"].as_string();
  }
  if (kind == "RuntimeClass" && name == "handler") return o["handler"].as_string();
  if (name == "webhooks") return static_cast<int64_t>(o["webhooks"].size());
  if (name == "validations") return static_cast<int64_t>(spec["validations"].size());
  if (name == "mutations") return static_cast<int64_t>(spec["mutations"].size());
  if (name == "paramkind") return kind_ref(spec["paramKind"]);
  if (name == "policyname") return spec["policyName"].as_string();
  if (name == "paramref") return param_ref(spec["paramRef"]);
  if (kind == "FlowSchema" || kind == "PriorityLevelConfiguration") return print_flow(kind, name, o);
  if (kind == "ResourceSlice") {
    if (name == "node") return or_none(spec["nodeName"].as_string());
    if (name == "driver") return spec["driver"].as_string();
    if (name == "pool") return spec["pool"]["name"].as_string();
  }
  if (kind == "ResourceClaim" && name == "state") {
    std::string s = status["allocation"].is_object() ? "allocated" : "pending";
    if (status["reservedFor"].size()) s += ",reserved";
    if (!o["metadata"]["deletionTimestamp"].is_null()) s = "deleted," + s;
    return s;
  }
  return {};
}

}  // namespace caravel::kube
