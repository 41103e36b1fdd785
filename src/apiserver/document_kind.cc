#include "apiserver/document_kind.h"

#include <algorithm>

#include "kube/kinds.h"
#include "kube/patch.h"

namespace caravel::apiserver {

namespace {

// Objects that every group version has beside its kinds.
bool in_every_version(std::string_view kind) {
  for (std::string_view k : {"WatchEvent", "ListOptions", "GetOptions", "DeleteOptions", "CreateOptions", "UpdateOptions", "PatchOptions"})
    if (k == kind) return true;
  return false;
}

// The package of upstream's internal type.
std::string internal_package(std::string_view group) {
  if (group.empty() || group == "events.k8s.io") return "core";
  if (group == "internal.apiserver.k8s.io") return "apiserverinternal";
  return std::string(group.substr(0, group.find('.')));
}

// Groups of the aggregator and of custom resource definitions have registries of their own.
const char* registry_of(std::string_view group) {
  if (group == "apiextensions.k8s.io") return "pkg/apiserver/apiserver.go:55";
  if (group == "apiregistration.k8s.io") return "pkg/apiserver/scheme/scheme.go:28";
  return "pkg/api/legacyscheme/scheme.go:30";
}

bool registered(const kube::GroupVersion& v, std::string_view kind) {
  auto built_in = [&](std::string_view k) {
    const kube::KindInfo* info = kube::find_kind(v.group, v.version, k);
    return info && !info->crd;
  };
  if (built_in(kind)) return true;
  if (kind.ends_with("List") && built_in(kind.substr(0, kind.size() - 4))) return true;
  auto& all = kube::all_kinds();
  const bool version_known = std::any_of(all.begin(), all.end(), [&](auto* k) { return !k->crd && k->resource().group == v.group && k->resource().version == v.version; });
  return (version_known && in_every_version(kind)) || (v.group.empty() && v.version == "v1" && kind == "Status");
}

}  // namespace

std::string registry_problem(const ServedType& t, const std::string& api_version, const std::string& kind) {
  const kube::GroupVersion v = kube::parse_group_version(api_version);
  if (kind == t.resource.kind && v.group == t.resource.group && v.version == t.resource.version) return "";
  if (!registered(v, kind)) return "no kind " + json::quote(kind) + " is registered for version " + json::quote(api_version) + " in scheme \"" + registry_of(t.resource.group) + "\"";
  const std::string package = internal_package(t.resource.group);
  if (kind == t.resource.kind && internal_package(v.group) == package) return "";
  return "converting (" + v.version + "." + kind + ") to (" + package + "." + t.resource.kind + "): unknown conversion";
}

std::string header_problem(const json::Value& document) {
  if (!document.is_object())
    return "json: cannot unmarshal " + kube::json_type_name(document) + " into Go value of type struct { APIVersion string \"json:\\\"apiVersion,omitempty\\\"\"; Kind string \"json:\\\"kind,omitempty\\\"\" }";
  for (const char* f : {"apiVersion", "kind"})
    if (auto* m = document.find(f); m && !m->is_null() && !m->is_string())
      return "json: cannot unmarshal " + kube::json_type_name(*m) + " into Go struct field ." + f + " of type string";
  return "";
}

std::string kind_text(std::string_view api_version, std::string_view kind) {
  return (api_version.find('/') == api_version.npos ? "/" : "") + std::string(api_version) + ", Kind=" + std::string(kind);
}

}  // namespace caravel::apiserver
