// The registry of kinds that schema/ describes: what discovery, the RESTMapper, kubectl's columns and the
// API server's tables are made from. Constant; shared by everybody.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/resource.h"
#include "kube/type_info.h"

namespace caravel::kube {

struct Column {
  std::string_view name;    // "Ready"
  std::string_view type;    // string integer number boolean date
  std::string_view source;  // a JSONPath (".status.phase"), or "@ready" for a printer in kube/table.cc
  int priority = 0;         // above 0: only in wide output
};

struct Subresource {
  std::string_view name;                                   // "status", "scale", "log"
  std::string_view api_version;                            // of what it takes and gives: "autoscaling/v1"
  std::string_view kind;                                   // "Scale"
  std::string_view verbs;                                  // "get,patch,update"
  std::string_view spec_path, status_path, selector_path;  // scale of custom resources
};

struct KindInfo {
  const TypeInfo* type = nullptr;
  const Resource& (*resource_fn)() = nullptr;
  std::string_view singular;
  std::string_view short_names;     // "po" or "crd,crds"
  std::string_view categories;      // "all,api-extensions"
  std::string_view verbs;           // "create,delete,..."; create-only kinds have just that
  std::span<const Column> columns;  // without Name, which is always first (except for Events)
  std::span<const Subresource> subresources;
  std::span<const std::string_view> selectable_fields;  // of custom resources, beyond metadata
  bool crd = false;                                     // installed as a CustomResourceDefinition rather than built in
  std::string_view also_versions;                       // further served versions with the same schema: "v1beta1"
  std::string_view storage_version;                     // "" when it is the resource's own version
  std::string_view description;

  const Resource& resource() const { return resource_fn(); }
  const Subresource* subresource(std::string_view name) const;
  bool has_verb(std::string_view verb) const;
};

// Every kind, built in or custom, ordered by group, version and plural.
const std::vector<const KindInfo*>& all_kinds();
// nullptr when there is none. Versions of also_versions are found too.
const KindInfo* find_kind(std::string_view group, std::string_view version, std::string_view kind);
const KindInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural);
// "apps/v1" -> {"apps","v1"}; "v1" -> {"","v1"}.
struct GroupVersion {
  std::string group, version;
};
GroupVersion parse_group_version(std::string_view api_version);
// By what people type: plural, singular, short name, kind (any case), "deploy.apps", "deployments.v1.apps".
const KindInfo* find_by_name(std::string_view name);
// The CRD kinds of an API group ("karpenter.sh"), and the manifest (apiextensions.k8s.io/v1
// CustomResourceDefinition) that installs one of them.
std::vector<const KindInfo*> crd_kinds(std::string_view group);
json::Value crd_manifest(const KindInfo& kind);
// Manifests of all CRD kinds of ours.
std::vector<json::Value> all_crd_manifests();

namespace tables {
void each_kind(void (*f)(void* context, const KindInfo& kind), void* context);  // generated
}

}  // namespace caravel::kube
