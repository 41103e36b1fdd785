// Where a pod may run: node and pod affinity, tolerations, topology spread.
#include <charconv>
#include <set>

#include "base/strings.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr int64_t kWeightMax = 100;

void node_requirement(const Value& r, bool values_too, const FieldPath& p, FieldErrors& e) {
  const std::string& op = r["operator"].as_string();
  const Value& values = r["values"];
  if (op == "In" || op == "NotIn") {
    if (values.size() == 0) e.push_back(required_error(p.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
  } else if (op == "Exists" || op == "DoesNotExist") {
    if (values.size()) e.push_back(forbidden_error(p.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
  } else if (op == "Gt" || op == "Lt") {
    if (values.size() != 1) e.push_back(required_error(p.child("values"), "must be specified single value when `operator` is 'Lt' or 'Gt'"));
  } else {
    e.push_back(invalid_error(p.child("operator"), op, "not a valid selector operator"));
  }
  text_must(check_qualified_name, r["key"].as_string(), p.child("key"), e);
  for (size_t i = 0; values_too && i < values.size(); ++i) text_must(check_label_value, values.at(i), p.child("values").index(i), e);
}

void node_field(const Value& r, const FieldPath& p, FieldErrors& e) {
  const std::string &op = r["operator"].as_string(), &key = r["key"].as_string();
  const Value& values = r["values"];
  if (op != "In" && op != "NotIn") e.push_back(invalid_error(p.child("operator"), op, "not a valid selector operator"));
  else if (values.size() != 1) e.push_back(required_error(p.child("values"), "must be only one value when `operator` is 'In' or 'NotIn' for node field selector"));
  if (key != "metadata.name") return e.push_back(invalid_error(p.child("key"), key, "not a valid field selector key"));
  for (size_t i = 0; i < values.size(); ++i) text_must(check_dns1123_subdomain, values.at(i), p.child("values").index(i), e);
}

// A preference may have any value: it may not matter.
void node_term(const Value& t, bool values_too, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < t["matchExpressions"].size(); ++i) node_requirement(t["matchExpressions"].at(i), values_too, p.child("matchExpressions").index(i), e);
  for (size_t i = 0; i < t["matchFields"].size(); ++i) node_field(t["matchFields"].at(i), p.child("matchFields").index(i), e);
}

void term_weight(const Value& w, const FieldPath& p, FieldErrors& e) {
  if (w.as_int() < 1 || w.as_int() > kWeightMax) e.push_back(invalid_error(p.child("weight"), w.as_int(), "must be in the range 1-100"));
}

void label_keys(const Value& keys, bool selector, const FieldPath& p, FieldErrors& e) {
  if (keys.size() == 0) return;
  if (!selector) return e.push_back(forbidden_error(p, "must not be specified when labelSelector is not set"));
  for (size_t i = 0; i < keys.size(); ++i) text_must(check_qualified_name, keys.at(i), p.index(i), e);
}

// The selector of a pod's term holds what matchLabelKeys stood for by now; a key that is there once more was said twice.
void match_label_keys(const Value& owner, const FieldPath& p, FieldErrors& e) {
  const Value &match = owner["matchLabelKeys"], &mismatch = owner["mismatchLabelKeys"], &selector = owner["labelSelector"];
  if (match.size() + mismatch.size() == 0) return;
  label_keys(match, selector.is_object(), p.child("matchLabelKeys"), e);
  label_keys(mismatch, selector.is_object(), p.child("mismatchLabelKeys"), e);
  std::set<std::string_view> seen;
  for (auto& m : selector["matchLabels"].as_object()) seen.insert(m.key.view());
  for (const Value& x : selector["matchExpressions"].as_array()) {
    const std::string& key = x["key"].as_string();
    for (size_t i = match.size(); i-- > 0;)
      if (match.at(i).as_string() == key) {
        if (seen.count(key)) e.push_back(invalid_error(p.index(i), key, "exists in both matchLabelKeys and labelSelector"));
        break;
      }
    seen.insert(key);
  }
  for (size_t i = 0; i < match.size(); ++i)
    for (const Value& other : mismatch.as_array())
      if (other == match.at(i)) {
        e.push_back(invalid_error(p.child("matchLabelKeys").index(i), other, "exists in both matchLabelKeys and mismatchLabelKeys"));
        break;
      }
}

void pod_term(const Value& t, const FieldPath& p, FieldErrors& e) {
  if (t["labelSelector"].is_object()) validate_label_selector(t["labelSelector"], p.child("labelSelector"), e);
  if (t["namespaceSelector"].is_object()) validate_label_selector(t["namespaceSelector"], p.child("namespaceSelector"), e);
  for (const Value& ns : t["namespaces"].as_array()) text_must(check_dns1123_label, ns, p.child("namespace"), e);
  match_label_keys(t, p, e);
  const std::string& key = t["topologyKey"].as_string();
  if (key.empty()) e.push_back(required_error(p.child("topologyKey"), "can not be empty"));
  text_must(check_qualified_name, key, p.child("topologyKey"), e);
}

void pod_terms(const Value& a, const FieldPath& p, FieldErrors& e) {
  const Value &required = a["requiredDuringSchedulingIgnoredDuringExecution"], &preferred = a["preferredDuringSchedulingIgnoredDuringExecution"];
  for (size_t i = 0; i < required.size(); ++i) pod_term(required.at(i), p.child("requiredDuringSchedulingIgnoredDuringExecution").index(i), e);
  for (size_t i = 0; i < preferred.size(); ++i) {
    const FieldPath at = p.child("preferredDuringSchedulingIgnoredDuringExecution").index(i);
    term_weight(preferred.at(i)["weight"], at, e);
    pod_term(preferred.at(i)["podAffinityTerm"], at.child("podAffinityTerm"), e);
  }
}

}  // namespace

void node_selector(const Value& selector, const FieldPath& p, FieldErrors& e) {
  const Value& terms = selector["nodeSelectorTerms"];
  const FieldPath at = p.child("nodeSelectorTerms");
  if (terms.size() == 0) return e.push_back(required_error(at, "must have at least one node selector term"));
  for (size_t i = 0; i < terms.size(); ++i) node_term(terms.at(i), true, at.index(i), e);
}

void pod_affinity(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const Value& a = pod.spec["affinity"];
  if (const Value& node = a["nodeAffinity"]; node.is_object()) {
    const FieldPath at = p.child("nodeAffinity");
    if (const Value& required = node["requiredDuringSchedulingIgnoredDuringExecution"]; required.is_object())
      node_selector(required, at.child("requiredDuringSchedulingIgnoredDuringExecution"), e);
    const Value& preferred = node["preferredDuringSchedulingIgnoredDuringExecution"];
    for (size_t i = 0; i < preferred.size(); ++i) {
      const FieldPath term = at.child("preferredDuringSchedulingIgnoredDuringExecution").index(i);
      term_weight(preferred.at(i)["weight"], term, e);
      node_term(preferred.at(i)["preference"], false, term.child("preference"), e);
    }
  }
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"})
    if (a[kind].is_object()) pod_terms(a[kind], p.child(kind), e);
}

void tolerations(const Value& list, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& t = list.at(i);
    const FieldPath at = p.index(i);
    const std::string &key = t["key"].as_string(), &op = t["operator"].as_string(), &value = t["value"].as_string(), &effect = t["effect"].as_string();
    if (!key.empty()) text_must(check_qualified_name, key, at.child("key"), e);
    if (key.empty() && op != "Exists") e.push_back(invalid_error(at.child("operator"), op, "operator must be Exists when `key` is empty, which means \"match all values and all keys\""));
    if (t["tolerationSeconds"].is_int() && effect != "NoExecute") e.push_back(invalid_error(at.child("effect"), effect, "effect must be 'NoExecute' when `tolerationSeconds` is set"));
    if (op.empty() || op == "Equal") {
      if (!value.empty()) text_must(check_label_value, value, at.child("operator"), e);
    } else if (op == "Exists") {
      if (!value.empty()) e.push_back(invalid_error(at.child("operator"), value, "value must be empty when `operator` is 'Exists'"));
    } else if (op == "Lt" || op == "Gt") {  // behind a feature gate that is off by default
      e.push_back(not_supported(at.child("operator"), op, {std::string_view("Equal"), std::string_view("Exists"), std::string_view("Lt"), std::string_view("Gt")}));
    } else {
      e.push_back(not_supported(at.child("operator"), op, {std::string_view("Equal"), std::string_view("Exists")}));
    }
    if (!effect.empty()) supported(t["effect"], {"NoSchedule", "PreferNoSchedule", "NoExecute"}, at.child("effect"), e);
  }
}

void topology_spread(const PodParts& pod, const FieldPath& p, FieldErrors& e) {
  const auto& list = pod.spec["topologySpreadConstraints"].as_array();
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list[i];
    const FieldPath at = p.index(i);
    const std::string &key = c["topologyKey"].as_string(), &action = c["whenUnsatisfiable"].as_string();
    if (c["maxSkew"].as_int() <= 0) e.push_back(invalid_error(at.child("maxSkew"), c["maxSkew"].as_int(), "must be greater than zero"));
    if (key.empty()) e.push_back(required_error(at.child("topologyKey"), "can not be empty"));
    supported(c["whenUnsatisfiable"], {"DoNotSchedule", "ScheduleAnyway"}, at.child("whenUnsatisfiable"), e);
    for (size_t k = i + 1; k < list.size(); ++k)
      if (list[k]["topologyKey"].as_string() == key && list[k]["whenUnsatisfiable"].as_string() == action) {
        e.push_back(duplicate_error(at.child("{topologyKey, whenUnsatisfiable}"), "{" + key + ", " + action + "}"));
        break;
      }
    if (const Value& domains = c["minDomains"]; domains.is_int()) {
      if (domains.as_int() <= 0) e.push_back(invalid_error(at.child("minDomains"), domains, "must be greater than zero"));
      if (action != "DoNotSchedule") e.push_back(invalid_error(at.child("minDomains"), domains, "can only use minDomains if whenUnsatisfiable=DoNotSchedule, not " + action));
    }
    for (std::string_view policy : {"nodeAffinityPolicy", "nodeTaintsPolicy"})
      if (c[policy].is_string()) supported(c[policy], {"Honor", "Ignore"}, at.child(policy), e);
    match_label_keys(c, at, e);
    if (c["labelSelector"].is_object()) validate_label_selector(c["labelSelector"], at.child("labelSelector"), e);
  }
}

}  // namespace caravel::kube::check
