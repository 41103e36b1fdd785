#include "controllers/disruption_logic.h"

#include "base/strings.h"

namespace caravel::controllers {

using kube::policy::PodDisruptionBudget;
using kube::policy::PodDisruptionBudgetStatus;

namespace {

void set_allowed(PodDisruptionBudgetStatus& s, int64_t generation, std::string reason, std::string message, Time now) {
  kube::meta::Condition c;
  c.type = "DisruptionAllowed";
  c.status = s.disruptions_allowed > 0 ? "True" : "False";
  c.reason = std::move(reason);
  c.message = std::move(message);
  c.observed_generation = generation;
  c.last_transition_time = Time::from_seconds(now.seconds());
  for (auto& old : s.conditions) {
    if (old.type != c.type) continue;
    if (old.status == c.status) c.last_transition_time = old.last_transition_time;
    old = c;
    return;
  }
  s.conditions.push_back(std::move(c));
}

// As upstream prints a selector in its events.
std::string printed(const std::optional<kube::meta::LabelSelector>& s) {
  if (!s) return "nil";
  std::string out = "&LabelSelector{MatchLabels:map[string]string{";
  for (auto& [k, v] : s->match_labels) out += k + ": " + v + ",";
  out += "},MatchExpressions:[]LabelSelectorRequirement{";
  for (auto& r : s->match_expressions) out += "LabelSelectorRequirement{Key:" + r.key + ",Operator:" + r.operator_ + ",Values:[" + join(r.values, " ") + "],},";
  return out + "},}";
}

}  // namespace

std::optional<Duration> until_stale_disruption(const kube::core::Pod& p, Time now) {
  if (!is_active(p)) return std::nullopt;
  const kube::core::PodCondition* c = condition(p, "DisruptionTarget");
  if (!c || c->status != "True" || c->reason == "TerminationByKubelet") return std::nullopt;
  return std::max<Duration>(Duration(0), c->last_transition_time + kStaleDisruption - now);
}

bool counts_by_scale(const PodDisruptionBudget& b) { return b.spec.max_unavailable || (b.spec.min_available && b.spec.min_available->is_string); }

BudgetPlan plan_budget(const PodDisruptionBudget& b, const std::vector<PodPtr>& pods, int scale, Time now) {
  BudgetPlan plan;
  int expected = 0, desired = 0;
  if (b.spec.max_unavailable) {
    expected = scale;
    desired = std::max(0, expected - b.spec.max_unavailable->scaled(expected, true).value_or(0));
  } else if (b.spec.min_available) {
    expected = counts_by_scale(b) ? scale : static_cast<int>(pods.size());
    desired = b.spec.min_available->scaled(expected, true).value_or(0);
  }
  std::map<std::string, Time> disrupted;
  int healthy = 0;
  for (auto& p : pods) {
    if (is_terminating(p->metadata)) continue;
    if (auto it = b.status.disrupted_pods.find(p->metadata.name); it != b.status.disrupted_pods.end()) {
      const Time gone_by = it->second + kDisruptedFor;
      if (gone_by > now) {
        disrupted[it->first] = it->second;
        plan.again = std::min<Duration>(plan.again.value_or(kDisruptedFor), gone_by - now);
        continue;
      }
      plan.not_deleted.push_back(p);
    }
    if (is_ready(*p)) ++healthy;
  }
  plan.status = b.status;
  plan.status.disrupted_pods = std::move(disrupted);
  plan.status.current_healthy = healthy;
  plan.status.desired_healthy = desired;
  plan.status.expected_pods = expected;
  plan.status.disruptions_allowed = expected <= 0 ? 0 : std::max(0, healthy - desired);
  plan.status.observed_generation = b.metadata.generation;
  set_allowed(plan.status, b.metadata.generation, plan.status.disruptions_allowed > 0 ? "SufficientPods" : "InsufficientPods", "", now);
  return plan;
}

PodDisruptionBudgetStatus failed_budget(const PodDisruptionBudget& b, const std::string& why, Time now) {
  PodDisruptionBudgetStatus s = b.status;
  s.disruptions_allowed = 0;
  set_allowed(s, s.observed_generation, "SyncFailed", why, now);
  return s;
}

std::string unmanaged_text(const PodDisruptionBudget& b) {
  return "Pods selected by this PodDisruptionBudget (selector: " + printed(b.spec.selector) +
         ") were found to be unmanaged. As a result, the status of the PDB cannot be calculated correctly, which may result in undefined behavior. To account for these pods "
         "please set \".spec.minAvailable\" field of the PDB to an integer value.";
}

// Upstream names the namespace twice and the budget not at all.
std::string not_deleted_text(const PodDisruptionBudget& b) {
  return "Pod was expected by PDB " + b.metadata.namespace_ + "/" + b.metadata.namespace_ + " to be deleted but it wasn't";
}

std::string many_budgets_text(const kube::core::Pod& p, const std::string& chosen) {
  return "Pod \"" + p.metadata.namespace_ + "\"/\"" + p.metadata.name + "\" matches multiple PodDisruptionBudgets.  Chose \"" + chosen + "\" arbitrarily.";
}

}  // namespace caravel::controllers
