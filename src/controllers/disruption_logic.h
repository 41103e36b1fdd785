// What the disruption controller decides without a cluster.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controllers/common.h"
#include "kube/types/policy.h"

namespace caravel::controllers {

// The condition DisruptionTarget says that a pod is about to go. On a pod that stays all the same it is stale after this
// time, and becomes False. What its kubelet says is never stale, nor is anything about a pod that has ended.
inline constexpr Duration kStaleDisruption = std::chrono::minutes(2);
// How long until then; nullopt: the pod has no such condition.
std::optional<Duration> until_stale_disruption(const kube::core::Pod& p, Time now);

// An eviction that has not led to a deletion after this time is forgotten.
inline constexpr Duration kDisruptedFor = std::chrono::minutes(2);

// Whether the budget counts against the replicas that the pods' workloads want, not against the pods that there are.
bool counts_by_scale(const kube::policy::PodDisruptionBudget& b);

struct BudgetPlan {
  kube::policy::PodDisruptionBudgetStatus status;
  std::vector<PodPtr> not_deleted;  // evicted long ago, and still there
  std::optional<Duration> again;    // when to look again
};
// `pods`: all that the budget selects, the ended ones too. `scale`: what their workloads want together, where that counts.
// A budget that asks for nothing allows nothing, as upstream.
BudgetPlan plan_budget(const kube::policy::PodDisruptionBudget& b, const std::vector<PodPtr>& pods, int scale, Time now);
// With an error nothing may be evicted: better too few than too many.
kube::policy::PodDisruptionBudgetStatus failed_budget(const kube::policy::PodDisruptionBudget& b, const std::string& why, Time now);

// Sentences of events.
std::string unmanaged_text(const kube::policy::PodDisruptionBudget& b);
std::string not_deleted_text(const kube::policy::PodDisruptionBudget& b);
std::string many_budgets_text(const kube::core::Pod& p, const std::string& chosen);

}  // namespace caravel::controllers
