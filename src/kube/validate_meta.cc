// ObjectMeta, labels, selectors.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/validate_kinds.h"

namespace caravel::kube {

namespace {
constexpr size_t kAnnotationsMax = 256 * 1024;
}

void validate_labels(const json::Value& labels, const FieldPath& path, FieldErrors& e) {
  for (auto& m : labels.as_object()) {
    check::text_must(check_qualified_name, m.key.view(), path, e);
    check::text_must(check_label_value, m.value, path, e);
  }
}

void validate_annotations(const json::Value& annotations, const FieldPath& path, FieldErrors& e) {
  size_t total = 0;
  for (auto& a : annotations.as_object()) {
    check::each_fault(check_qualified_name(to_lower(a.key)), a.key, path, e);
    total += a.key.size() + a.value.as_string().size();
  }
  if (total > kAnnotationsMax) e.push_back(too_long(path, kAnnotationsMax));
}

void validate_label_selector(const json::Value& s, const FieldPath& path, FieldErrors& e) {
  validate_labels(s["matchLabels"], path.child("matchLabels"), e);
  const auto& list = s["matchExpressions"].as_array();
  for (size_t i = 0; i < list.size(); ++i) {
    FieldPath p = path.child("matchExpressions").index(i);
    const std::string& op = list[i]["operator"].as_string();
    size_t n = list[i]["values"].size();
    if (op == "In" || op == "NotIn") {
      if (n == 0) e.push_back(required_error(p.child("values"), "must be specified when `operator` is 'In' or 'NotIn'"));
    } else if (op == "Exists" || op == "DoesNotExist") {
      if (n != 0) e.push_back(forbidden_error(p.child("values"), "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"));
    } else {
      e.push_back(invalid_error(p.child("operator"), list[i]["operator"], "not a valid selector operator"));
    }
    check::text_must(check_qualified_name, list[i]["key"], p.child("key"), e);
    for (size_t k = 0; k < n; ++k)
      check::text_must(check_label_value, list[i]["values"].at(k), p.child("values").index(k), e);
  }
}

void validate_object_meta(const json::Value& m, bool namespaced, NameCheck check, const FieldPath& path, FieldErrors& e) {
  const std::string &name = m["name"].as_string(), &prefix = m["generateName"].as_string(), &ns = m["namespace"].as_string();
  if (check && !prefix.empty()) {
    // A prefix may end where a name may not.
    std::string p = prefix;
    if (p.back() == '-') p.back() = 'a';
    check::each_fault(check(p), prefix, path.child("generateName"), e);
  }
  if (name.empty()) {
    if (check && prefix.empty()) e.push_back(required_error(path.child("name"), "name or generateName is required"));
  } else if (check) {
    check::each_fault(check(name), name, path.child("name"), e);
  }
  if (namespaced) {
    if (ns.empty()) e.push_back(required_error(path.child("namespace")));
    else check::each_fault(check_dns1123_label(ns), ns, path.child("namespace"), e);
  } else if (!ns.empty()) {
    e.push_back(forbidden_error(path.child("namespace"), "not allowed on this type"));
  }
  validate_labels(m["labels"], path.child("labels"), e);
  validate_annotations(m["annotations"], path.child("annotations"), e);
  const auto& owners = m["ownerReferences"].as_array();
  int controllers = 0;
  for (size_t i = 0; i < owners.size(); ++i) {
    FieldPath p = path.child("ownerReferences").index(i);
    if (owners[i]["apiVersion"].as_string().empty()) e.push_back(invalid_error(p.child("apiVersion"), owners[i]["apiVersion"].as_string(), "version must not be empty"));
    if (owners[i]["kind"].as_string().empty()) e.push_back(invalid_error(p.child("kind"), "", "must not be empty"));
    if (owners[i]["name"].as_string().empty()) e.push_back(invalid_error(p.child("name"), "", "must not be empty"));
    if (owners[i]["uid"].as_string().empty()) e.push_back(invalid_error(p.child("uid"), "", "must not be empty"));
    if (owners[i]["controller"].as_bool() && ++controllers > 1)
      e.push_back(invalid_error(path.child("ownerReferences"), m["ownerReferences"], "Only one reference can have Controller set to true."));
  }
  const auto& finalizers = m["finalizers"].as_array();
  for (size_t i = 0; i < finalizers.size(); ++i)
    check::text_must(check_qualified_name, finalizers[i], path.child("finalizers"), e);  // upstream gives no index here
}

void validate_object_meta_update(const json::Value& now, const json::Value& old, const FieldPath& path, FieldErrors& e) {
  for (auto field : {"name", "namespace", "uid", "creationTimestamp"}) {
    const json::Value &a = now[field], &b = old[field];
    if (!b.is_null() && !(a == b) && !(a.is_null() && b.as_string().empty())) e.push_back(invalid_error(path.child(field), a, "field is immutable"));
  }
  if (!old["deletionTimestamp"].is_null()) {
    // Nothing can be added to an object that is on its way out.
    std::set<std::string> before, added;
    for (auto& f : old["finalizers"].as_array()) before.insert(f.as_string());
    for (auto& f : now["finalizers"].as_array())
      if (!before.count(f.as_string())) added.insert(f.as_string());
    if (!added.empty()) {
      std::string list;
      for (auto& f : added) list += (list.empty() ? "" : ", ") + json::quote(f);
      e.push_back(forbidden_error(path.child("finalizers"), "no new finalizers can be added if the object is being deleted, found new finalizers []string{" + list + "}"));
    }
  }
}

}  // namespace caravel::kube
