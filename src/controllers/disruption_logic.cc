#include "controllers/disruption_logic.h"

namespace caravel::controllers {

std::optional<Duration> until_stale_disruption(const kube::core::Pod& p, Time now) {
  if (!is_active(p)) return std::nullopt;
  const kube::core::PodCondition* c = condition(p, "DisruptionTarget");
  if (!c || c->status != "True" || c->reason == "TerminationByKubelet") return std::nullopt;
  return std::max<Duration>(Duration(0), c->last_transition_time + kStaleDisruption - now);
}

}  // namespace caravel::controllers
