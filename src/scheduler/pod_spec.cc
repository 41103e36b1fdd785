#include "scheduler/pod_spec.h"

#include <algorithm>

#include "kube/scheduling_translate.h"
#include "kube/types/core.h"

namespace caravel::scheduler {

std::string normalized_image(const std::string& name) {
  const size_t colon = name.rfind(':'), slash = name.rfind('/');
  const bool tagged = colon != name.npos && (slash == name.npos || colon > slash);
  return tagged ? name : name + ":latest";
}

PodSpec scheduling_spec_of(const kube::core::Pod& pod, const Volumes::Needs& volumes, const std::optional<Selector>& selector, const Profile& profile) {
  PodSpec out = pod_spec_of(pod, profile.default_spread ? selector : std::nullopt);
  if (!profile.default_spread && pod.spec.topology_spread_constraints.empty() && selector && !selector->all.empty()) {
    for (const auto& d : profile.default_constraints) {
      SpreadConstraint c = d.constraint;
      c.selector = *selector;
      (d.hard ? out.hard_spread : out.soft_spread).push_back(std::move(c));
    }
  }
  for (const auto* containers : {&pod.spec.init_containers, &pod.spec.containers})
    for (const auto& c : *containers) out.images.push_back(normalized_image(c.image));
  out.attached = volumes.attached;
  if (profile.filters & kVolumeBinding) out.volume_nodes = volumes.nodes;
  else std::copy_if(volumes.nodes.begin(), volumes.nodes.end(), std::back_inserter(out.volume_nodes), [](const VolumeNodes& v) { return v.zonal; });
  if (!(profile.filters & kVolumeZone)) std::erase_if(out.volume_nodes, [](const VolumeNodes& v) { return v.zonal; });
  return out;
}

bool names_conflict(const PodSpec& p) {
  if (!p.required_nodes || p.required_nodes->empty()) return false;
  return std::all_of(p.required_nodes->begin(), p.required_nodes->end(), [](const NodeTerm& t) {
    std::optional<std::vector<std::string>> names;
    for (const Requirement& r : t.fields) {
      if (r.key != "metadata.name" || r.op != Op::kIn) continue;
      if (!names) names = r.values;
      else std::erase_if(*names, [&](const std::string& n) { return std::find(r.values.begin(), r.values.end(), n) == r.values.end(); });
    }
    return names && names->empty();
  });
}

}  // namespace caravel::scheduler
