#include "apiserver/admission/matching.h"

#include <algorithm>

#include "apiserver/object_meta.h"

namespace caravel::apiserver {

namespace {

using json::Value;

std::vector<std::string> texts(const Value& v) {
  std::vector<std::string> out;
  for (auto& s : v.as_array()) out.push_back(s.as_string());
  return out;
}
bool any_of(const std::vector<std::string>& list, std::string_view what) {
  return std::any_of(list.begin(), list.end(), [&](const std::string& s) { return s == "*" || s == what; });
}
bool is_namespace(const AdmissionRequest& a) { return a.is("", "namespaces"); }

bool resource_matches(const std::string& rule, std::string_view plural, std::string_view subresource) {
  size_t slash = rule.find('/');
  std::string_view r = std::string_view(rule).substr(0, slash), s = slash == rule.npos ? std::string_view() : std::string_view(rule).substr(slash + 1);
  return (r == "*" || r == plural) && (s == "*" || s == subresource);
}

const Value& labels_of(const Value* object) {
  static const Value none;
  return object ? (*object)["metadata"]["labels"] : none;
}

}  // namespace

ResourceRule ResourceRule::parse(const Value& v) {
  ResourceRule r;
  r.operations = texts(v["operations"]);
  r.groups = texts(v["apiGroups"]);
  r.versions = texts(v["apiVersions"]);
  r.resources = texts(v["resources"]);
  r.names = texts(v["resourceNames"]);
  r.scope = v["scope"].as_string();
  return r;
}

bool ResourceRule::matches(const AdmissionRequest& a, const ServedType& as) const {
  if (!any_of(operations, operation_name(a.operation)) || !any_of(groups, as.resource.group) || !any_of(versions, as.resource.version)) return false;
  if (std::none_of(resources.begin(), resources.end(), [&](const std::string& r) { return resource_matches(r, as.resource.plural, a.subresource); })) return false;
  if (!names.empty() && std::find(names.begin(), names.end(), a.name) == names.end()) return false;
  bool namespaced = as.resource.namespaced && !a.ns.empty();
  return scope.empty() || scope == "*" || (scope == "Namespaced") == namespaced;
}

Result<MatchCriteria> MatchCriteria::parse(const Value& v, std::string_view rules, std::string_view excluded) {
  MatchCriteria m;
  for (auto& r : v[rules].as_array()) m.rules.push_back(ResourceRule::parse(r));
  if (!excluded.empty())
    for (auto& r : v[excluded].as_array()) m.excluded.push_back(ResourceRule::parse(r));
  m.equivalent = v["matchPolicy"].as_string() != "Exact";
  if (v["namespaceSelector"].is_object()) {
    TRY(m.namespaces, kube::LabelSelector::from_json(v["namespaceSelector"]));
  }
  if (v["objectSelector"].is_object()) {
    TRY(m.objects, kube::LabelSelector::from_json(v["objectSelector"]));
  }
  return m;
}

bool MatchCriteria::excludes(const Core& core, const AdmissionRequest& a) const {
  if (excluded.empty()) return false;
  MatchCriteria inverse;
  inverse.rules = excluded;
  inverse.equivalent = equivalent;
  return inverse.match_rules(core, a) != nullptr;
}

ServedTypePtr MatchCriteria::match_rules(const Core& core, const AdmissionRequest& a) const {
  auto met = [&](const std::vector<ResourceRule>& list, const ServedType& as) {
    return std::any_of(list.begin(), list.end(), [&](const ResourceRule& r) { return r.matches(a, as); });
  };
  auto find = [&](const std::vector<ResourceRule>& list) -> ServedTypePtr {
    const kube::Resource& r = a.type->resource;
    if (met(list, *a.type)) return core.types.find(r.group, r.version, r.plural);
    if (!equivalent || !a.type->storage) return nullptr;
    for (auto& t : core.types.all())
      if (t->storage == a.type->storage && t.get() != a.type && met(list, *t)) return t;
    return nullptr;
  };
  if (!excluded.empty() && find(excluded)) return nullptr;
  return find(rules);
}

ObjectPtr namespace_of(const Core& core, const AdmissionRequest& a) {
  if (a.ns.empty()) return nullptr;
  return core.types.find("", "v1", "namespaces")->storage->cache->get("", a.ns);
}

Result<bool> MatchCriteria::match_selectors(const Core& core, const AdmissionRequest& a) const {
  if (!namespaces.empty()) {
    if (is_namespace(a)) {
      // The labels that it will have; a delete or a subresource is judged by those that it has.
      const Value* from = a.object && a.subresource.empty() ? a.object : a.old;
      if (!namespaces.matches(labels_of(from))) return false;
    } else if (!a.ns.empty()) {
      ObjectPtr ns = namespace_of(core, a);
      if (!ns) return status::not_found(core.types.find("", "v1", "namespaces")->resource, a.ns);
      ValuePtr v = ns->value();
      if (!namespaces.matches(labels_of(v.get()))) return false;
    }
  }
  if (objects.empty()) return true;
  auto selected = [&](const Value* o) { return o && o->find("metadata") && objects.matches(labels_of(o)); };
  return selected(a.object) || selected(a.old);
}

bool exempt_from_admission(const AdmissionRequest& a) { return a.type->resource.group == "admissionregistration.k8s.io"; }

}  // namespace caravel::apiserver
