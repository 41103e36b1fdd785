// The parts of a pod's validation, and of whatever else has volumes and node selectors.
//
// Fields, reasons and sentences are upstream's; the order of errors is that of upstream's checks. A field that
// is absent costs one look-up: paths are spelled out only for what is there.
#pragma once

#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "kube/quantity.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

// What the parts of one pod ask about the whole. Pods have few of each: a search is a scan.
struct PodParts {
  const json::Value& spec;
  const json::Value* metadata = nullptr;                                      // null in a template: its pods have names of their own
  std::vector<std::pair<std::string_view, const json::Value*>> volumes = {};  // those that are valid, by name
  std::vector<std::string_view> claims = {};                                  // names of resourceClaims
  // A StatefulSet's: its pods have volumes of these names instead of the template's, and names of their own.
  const json::Value* claim_templates = nullptr;

  bool is_pod() const { return metadata != nullptr; }
  bool host_users() const { return spec["hostUsers"].as_bool(true); }
  const json::Value* volume(std::string_view name) const {
    for (auto& v : volumes)
      if (v.first == name) return v.second;
    return nullptr;
  }
};

// Calls f(container, list, index) for each container of each kind.
template <class F>
void each_container(const json::Value& spec, F f) {
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"}) {
    const auto& items = spec[list].as_array();
    for (size_t i = 0; i < items.size(); ++i) f(items[i], list, i);
  }
}

// Paths below a volume; also what a pod's other local paths obey.
void no_backsteps(const std::string& path, const FieldPath& p, FieldErrors& e);
void descending_path(const std::string& path, const FieldPath& p, FieldErrors& e);  // relative, without '..'
void unreserved_path(const std::string& path, const FieldPath& p, FieldErrors& e);  // nor beginning with '..'
void file_mode(const json::Value& mode, const FieldPath& p, FieldErrors& e);
void pull_policy(const json::Value& v, const FieldPath& p, FieldErrors& e);

void pod_volumes(PodParts& pod, const FieldPath& p, FieldErrors& e);
void projected_volume(const json::Value& source, const PodParts& pod, const FieldPath& p, FieldErrors& e);
void downward_volume(const json::Value& source, const FieldPath& p, FieldErrors& e);
void volume_items(const json::Value& items, const FieldPath& p, FieldErrors& e);
// The source of a PersistentVolume; `name` is the volume's.
void persistent_volume_source(const json::Value& spec, const std::string& name, const FieldPath& p, FieldErrors& e);
void persistent_claim_spec(const json::Value& spec, const FieldPath& p, FieldErrors& e);
void csi_driver_name(const json::Value& name, const FieldPath& p, FieldErrors& e);

// fieldRef of an environment variable (in a volume fewer paths are allowed) and resourceFieldRef.
void field_ref(const json::Value& ref, bool in_volume, const FieldPath& p, FieldErrors& e);
void resource_field_ref(const json::Value& ref, bool in_volume, const FieldPath& p, FieldErrors& e);

void pod_containers(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void container_environment(const json::Value& c, const FieldPath& p, FieldErrors& e);
void container_mounts(const json::Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e);
void container_probes(const json::Value& c, const PodParts& pod, const FieldPath& p, FieldErrors& e);
void compute_resources(const json::Value& r, const std::vector<std::string_view>& claims, const FieldPath& p, FieldErrors& e);
// Names of resources: any, a container's, and what a quota may count.
bool resource_name(const std::string& name, const FieldPath& p, FieldErrors& e);
void container_resource_name(const std::string& name, const FieldPath& p, FieldErrors& e);
void quota_resource_name(const std::string& name, const FieldPath& p, FieldErrors& e);
// What the containers need together: sidecars stay, the other init containers come one at a time.
std::map<std::string, Quantity> container_totals(const json::Value& spec, std::string_view kind);
void pod_level_resources(const PodParts& pod, const FieldPath& p, FieldErrors& e);

void pod_security(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void container_security(const json::Value& context, bool host_users, const FieldPath& p, FieldErrors& e);
// Rules of `os`, hostUsers and Windows' host processes, which look at every container.
void pod_os(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void host_process(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void pod_annotations(const json::Value& annotations, const json::Value& spec, const FieldPath& p, FieldErrors& e);
// The seccomp and AppArmor profiles of old annotations and of fields; `p` is that of the spec.
void profiles_match_annotations(const json::Value& annotations, const json::Value& spec, const FieldPath& p, FieldErrors& e);

void pod_affinity(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void tolerations(const json::Value& list, const FieldPath& p, FieldErrors& e);
void topology_spread(const PodParts& pod, const FieldPath& p, FieldErrors& e);
void node_selector(const json::Value& selector, const FieldPath& p, FieldErrors& e);

void pod_update(const json::Value& now, const json::Value& old, FieldErrors& e);

}  // namespace caravel::kube::check
