// A pod's own requirements, and the order in which Karpenter gives up its preferences.
#include <algorithm>

#include "karpenter/solver.h"

namespace caravel::karpenter {

namespace {

template <class T>
size_t heaviest(const std::vector<T>& v) {
  return static_cast<size_t>(std::max_element(v.begin(), v.end(), [](const T& a, const T& b) { return a.weight < b.weight; }) - v.begin());
}

void add_term(const kube::scheduling::NodeTerm& t, Requirements& out) {
  for (const auto& r : t.expressions) out.add(normalize_label(r.key), Requirement::of(r));
}

}  // namespace

Requirements requirements_of(const PodSpec& pod, bool preferences) {
  Requirements out = Requirements::from_labels(pod.node_selector);
  if (pod.required_nodes && !pod.required_nodes->empty()) add_term(pod.required_nodes->front(), out);
  if (preferences && !pod.preferred_nodes.empty()) add_term(pod.preferred_nodes[heaviest(pod.preferred_nodes)].term, out);
  return out;
}

std::optional<PodSpec> relax(const PodSpec& pod, bool prefer_no_schedule) {
  PodSpec p = pod;
  if (p.required_nodes && p.required_nodes->size() > 1) {
    p.required_nodes->erase(p.required_nodes->begin());
    return p;
  }
  auto drop_heaviest = [](auto& v) {
    if (v.empty()) return false;
    v.erase(v.begin() + static_cast<long>(heaviest(v)));
    return true;
  };
  if (drop_heaviest(p.preferred_affinity) || drop_heaviest(p.preferred_anti_affinity) || drop_heaviest(p.preferred_nodes)) return p;
  if (!p.soft_spread.empty()) {
    p.soft_spread.pop_back();
    return p;
  }
  if (!prefer_no_schedule) return std::nullopt;
  // In the end even taints that say "rather not" are accepted.
  Toleration any{"", true, "", kube::scheduling::Effect::kPreferNoSchedule};
  for (const auto& t : p.tolerations)
    if (t.exists && t.key.empty() && t.effect == any.effect) return std::nullopt;
  p.tolerations.push_back(any);
  return p;
}

}  // namespace caravel::karpenter
