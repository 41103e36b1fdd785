#include "controllers/node_match.h"

#include <algorithm>

#include "base/strings.h"
#include "controllers/common.h"

namespace caravel::controllers {

using kube::core::NodeSelectorRequirement;

bool tolerates(const std::vector<kube::core::Toleration>& tolerations, const kube::core::Taint& taint) {
  for (auto& t : tolerations) {
    if (!t.effect.empty() && t.effect != taint.effect) continue;
    if (!t.key.empty() && t.key != taint.key) continue;
    bool exists = t.operator_ == "Exists";
    if (t.key.empty() && !exists) continue;
    if (exists || t.value == taint.value) return true;
  }
  return false;
}

namespace {

bool matches(const NodeSelectorRequirement& r, const std::string* value) {
  bool in = value && std::find(r.values.begin(), r.values.end(), *value) != r.values.end();
  if (r.operator_ == "In") return in;
  if (r.operator_ == "NotIn") return !in;
  if (r.operator_ == "Exists") return value != nullptr;
  if (r.operator_ == "DoesNotExist") return value == nullptr;
  if (!value || r.values.size() != 1) return false;
  auto a = parse_int(*value), b = parse_int(r.values[0]);
  if (!a || !b) return false;
  return r.operator_ == "Gt" ? *a > *b : r.operator_ == "Lt" && *a < *b;
}

}  // namespace

bool matches(const kube::core::NodeSelector& s, const kube::core::Node& n) {
  for (auto& term : s.node_selector_terms) {
    if (term.match_expressions.empty() && term.match_fields.empty()) continue;  // selects nothing
    bool all = true;
    for (auto& r : term.match_expressions) {
      auto it = n.metadata.labels.find(r.key);
      all = all && matches(r, it == n.metadata.labels.end() ? nullptr : &it->second);
    }
    for (auto& r : term.match_fields) all = all && r.key == "metadata.name" && matches(r, &n.metadata.name);
    if (all) return true;
  }
  return false;
}

bool node_affinity_matches(const kube::core::PodSpec& p, const kube::core::Node& n) {
  if (!matches(p.node_selector, n.metadata.labels)) return false;
  if (!p.affinity || !p.affinity->node_affinity || !p.affinity->node_affinity->required_during_scheduling_ignored_during_execution) return true;
  return matches(*p.affinity->node_affinity->required_during_scheduling_ignored_during_execution, n);
}

}  // namespace caravel::controllers
