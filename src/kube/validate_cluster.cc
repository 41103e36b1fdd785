// ConfigMaps, Secrets, nodes, RBAC, budgets, autoscalers, CRDs.
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

constexpr size_t kDataMax = 1024 * 1024;
const FieldPath kSpec("spec");

void data_keys(const json::Value& data, const FieldPath& p, FieldErrors& e, size_t& total) {
  for (auto& m : data.as_object()) {
    each_fault(check_config_map_key(m.key), m.key, p.key(m.key), e);
    total += m.value.as_string().size();
  }
}

void frozen(const json::Value& o, const json::Value* old, std::initializer_list<const char*> members, FieldErrors& e) {
  if (!old || !(*old)["immutable"].as_bool()) return;
  if (!o["immutable"].as_bool()) e.push_back(forbidden_error(FieldPath("immutable"), "field is immutable when `immutable` is set"));
  for (auto m : members)
    if (!same(o[m], (*old)[m])) e.push_back(forbidden_error(FieldPath(m), "field is immutable when `immutable` is set"));
}

void secret(const json::Value& o, const json::Value* old, FieldErrors& e) {
  size_t total = 0;
  const FieldPath data("data");
  data_keys(o["data"], data, e, total);
  if (total > kDataMax * 4 / 3 + 4) e.push_back(too_long(data, kDataMax));
  const std::string& type = o["type"].as_string();
  auto need = [&](std::initializer_list<const char*> keys) {
    for (auto k : keys)
      if (!o["data"].find(k)) e.push_back(required_error(data.key(k)));
  };
  auto document = [&](const char* key) {
    const json::Value* text = o["data"].find(key);
    if (!text) return e.push_back(required_error(data.key(key)));
    auto parsed = json::parse(base64_decode(text->as_string()).value_or(""));
    if (!parsed.ok()) e.push_back(invalid_error(data.key(key), "<secret contents redacted>", parsed.error().message));
  };
  if (type == "kubernetes.io/tls") need({"tls.crt", "tls.key"});
  else if (type == "kubernetes.io/dockerconfigjson") document(".dockerconfigjson");
  else if (type == "kubernetes.io/dockercfg") document(".dockercfg");
  else if (type == "kubernetes.io/ssh-auth") {
    if (o["data"]["ssh-privatekey"].as_string().empty()) e.push_back(required_error(data.key("ssh-privatekey")));
  } else if (type == "kubernetes.io/basic-auth") {
    if (!o["data"].find("username") && !o["data"].find("password")) need({"username", "password"});
  } else if (type == "kubernetes.io/service-account-token") {
    if (o["metadata"]["annotations"]["kubernetes.io/service-account.name"].as_string().empty())
      e.push_back(required_error(FieldPath("metadata").child("annotations").key("kubernetes.io/service-account.name")));
  }
  if (old) immutable(o["type"], (*old)["type"], FieldPath("type"), e);
  frozen(o, old, {"data"}, e);
}

void rules(const json::Value& list, bool namespaced, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& r = list.at(i);
    FieldPath p = FieldPath("rules").index(i);
    if (r["verbs"].size() == 0) e.push_back(required_error(p.child("verbs"), "verbs must contain at least one value"));
    if (r["nonResourceURLs"].size()) {
      if (namespaced) e.push_back(invalid_error(p.child("nonResourceURLs"), r["nonResourceURLs"], "namespaced rules cannot apply to non-resource URLs"));
      if (r["apiGroups"].size() || r["resources"].size() || r["resourceNames"].size())
        e.push_back(invalid_error(p.child("nonResourceURLs"), r["nonResourceURLs"], "rules cannot apply to both regular resources and non-resource URLs"));
      continue;
    }
    if (r["apiGroups"].size() == 0) e.push_back(required_error(p.child("apiGroups"), "resource rules must supply at least one api group"));
    if (r["resources"].size() == 0) e.push_back(required_error(p.child("resources"), "resource rules must supply at least one resource"));
  }
}

void aggregation(const json::Value& selectors, FieldErrors& e) {
  const FieldPath p = FieldPath("aggregationRule").child("clusterRoleSelectors");
  if (selectors.size() == 0) e.push_back(required_error(p, "at least one clusterRoleSelector required if aggregationRule is non-nil"));
  for (size_t i = 0; i < selectors.size(); ++i) {
    const size_t before = e.size();
    validate_label_selector(selectors.at(i), p.index(i), e);
    if (e.size() > before) e.push_back(invalid_error(p.index(i), selectors.at(i), "invalid label selector."));
  }
}

void role_binding(const json::Value& o, const json::Value* old, bool namespaced, FieldErrors& e) {
  const json::Value& ref = o["roleRef"];
  FieldPath p("roleRef");
  if (!ref["apiGroup"].as_string().empty() && ref["apiGroup"].as_string() != "rbac.authorization.k8s.io") e.push_back(not_supported(p.child("apiGroup"), ref["apiGroup"].as_string(), {"rbac.authorization.k8s.io"}));
  if (namespaced) supported(ref["kind"], {"Role", "ClusterRole"}, p.child("kind"), e);
  else supported(ref["kind"], {std::string_view("ClusterRole")}, p.child("kind"), e);
  if (ref["name"].as_string().empty()) e.push_back(required_error(p.child("name")));
  else text_must(check_path_segment_name, ref["name"], p.child("name"), e);
  for (size_t i = 0; i < o["subjects"].size(); ++i) {
    const json::Value& s = o["subjects"].at(i);
    FieldPath at = FieldPath("subjects").index(i);
    if (s["name"].as_string().empty()) e.push_back(required_error(at.child("name")));
    const std::string& kind = s["kind"].as_string();
    if (kind == "ServiceAccount") {
      if (!s["name"].as_string().empty()) text_must(check_dns1123_subdomain, s["name"], at.child("name"), e);
      if (!s["apiGroup"].as_string().empty()) e.push_back(not_supported(at.child("apiGroup"), s["apiGroup"], {std::string_view("")}));
      // In a namespace it is the binding's own when it is not said.
      if (!namespaced && s["namespace"].as_string().empty()) e.push_back(required_error(at.child("namespace")));
    } else if (kind == "User" || kind == "Group") {
      if (!s["apiGroup"].as_string().empty() && s["apiGroup"].as_string() != "rbac.authorization.k8s.io") e.push_back(not_supported(at.child("apiGroup"), s["apiGroup"].as_string(), {"rbac.authorization.k8s.io"}));
    } else {
      e.push_back(not_supported(at.child("kind"), kind, {std::string_view("ServiceAccount"), "User", "Group"}));
    }
  }
  if (old && !same((*old)["roleRef"], ref)) e.push_back(invalid_error(p, ref, "cannot change roleRef"));
}

// The highest values are the system's own classes'.
void priority_value(const json::Value& o, FieldErrors& e) {
  constexpr int64_t kHighest = 1'000'000'000, kCluster = 2'000'000'000, kNode = 2'000'001'000;
  const std::string& name = o["metadata"]["name"].as_string();
  const int64_t value = o["value"].as_int();
  if (!name.starts_with("system-")) {
    if (value > kHighest) e.push_back(forbidden_error(FieldPath("value"), "maximum allowed value of a user defined priority is 1000000000"));
    return;
  }
  const int64_t own = name == "system-cluster-critical" ? kCluster : name == "system-node-critical" ? kNode
                                                                                                    : 0;
  std::string why;
  if (own == 0) why = name + " is not a known system priority class";
  else if (value != own) why = "value of " + name + " PriorityClass must be " + std::to_string(own);
  else if (o["globalDefault"].as_bool()) why = "globalDefault of " + name + " PriorityClass must be false";
  if (!why.empty()) e.push_back(forbidden_error(FieldPath("metadata").child("name"), "priority class names with 'system-' prefix are reserved for system use only. error: " + why));
}

}  // namespace

void cluster(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  if (kind == "ConfigMap") {
    size_t total = 0;
    data_keys(o["data"], FieldPath("data"), e, total);
    data_keys(o["binaryData"], FieldPath("binaryData"), e, total);
    for (auto& m : o["data"].as_object())
      if (o["binaryData"].find(m.key)) e.push_back(invalid_error(FieldPath("data").key(m.key), m.key, "duplicate of key present in binaryData"));
    if (total > kDataMax) e.push_back(too_long(FieldPath("[]"), kDataMax));
    frozen(o, old, {"data", "binaryData"}, e);
  } else if (kind == "Secret") {
    secret(o, old, e);
  } else if (kind == "PodTemplate") {
    pod_template(o["template"], FieldPath("template"), e);
  } else if (kind == "Node") {
    const json::Value& taints = o["spec"]["taints"];
    std::set<std::string> seen;
    for (size_t i = 0; i < taints.size(); ++i) {
      const json::Value& t = taints.at(i);
      FieldPath p = kSpec.child("taints").index(i);
      text_must(check_qualified_name, t["key"], p.child("key"), e);
      one_of(t["effect"], {"NoExecute", "NoSchedule", "PreferNoSchedule"}, p.child("effect"), e);
      if (!seen.insert(t["key"].as_string() + ":" + t["effect"].as_string()).second) e.push_back(duplicate_error(p, t));
    }
    if (old && !(*old)["spec"]["providerID"].as_string().empty() && !((*old)["spec"]["providerID"] == o["spec"]["providerID"]))
      e.push_back(forbidden_error(kSpec.child("providerID"), "node updates may not change providerID except from \"\" to valid"));
  }
}

void policy(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (kind == "PodDisruptionBudget") {
    if (!s["minAvailable"].is_null() && !s["maxUnavailable"].is_null()) e.push_back(invalid_error(kSpec, s, "minAvailable and maxUnavailable cannot be both set"));
    if (old && s == (*old)["spec"]) return;
    for (auto f : {"minAvailable", "maxUnavailable"}) {
      int_or_percent(s[f], kSpec.child(f), e);
      at_most_all(s[f], kSpec.child(f), e);
    }
    if (const json::Value& v = s["unhealthyPodEvictionPolicy"]; v.is_string()) supported(v, {"AlwaysAllow", "IfHealthyBudget"}, kSpec.child("unhealthyPodEvictionPolicy"), e);
    validate_label_selector(s["selector"], kSpec.child("selector"), e);
  } else if (kind == "HorizontalPodAutoscaler") {
    horizontal_autoscaler(o, old, e);
  } else if (kind == "Role" || kind == "ClusterRole") {
    rules(o["rules"], kind == "Role", e);
    if (o["aggregationRule"].is_object()) aggregation(o["aggregationRule"]["clusterRoleSelectors"], e);
  } else if (kind == "RoleBinding" || kind == "ClusterRoleBinding") {
    role_binding(o, old, kind == "RoleBinding", e);
  } else if (kind == "PriorityClass") {
    priority_value(o, e);
    if (const json::Value& v = o["preemptionPolicy"]; v.is_string()) supported(v, {"PreemptLowerPriority", "Never"}, FieldPath("preemptionPolicy"), e);
    if (old) immutable(o["preemptionPolicy"], (*old)["preemptionPolicy"], FieldPath("preemptionPolicy"), e);
    if (old && !(o["value"] == (*old)["value"])) e.push_back(forbidden_error(FieldPath("value"), "may not be changed in an update."));
  }
}

}  // namespace caravel::kube::check
