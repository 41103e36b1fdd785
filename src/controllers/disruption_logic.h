// What the disruption controller decides without a cluster.
#pragma once

#include <optional>

#include "controllers/common.h"

namespace caravel::controllers {

// The condition DisruptionTarget says that a pod is about to go. On a pod that stays all the same it is stale after this
// time, and becomes False. What its kubelet says is never stale, nor is anything about a pod that has ended.
inline constexpr Duration kStaleDisruption = std::chrono::minutes(2);
// How long until then; nullopt: the pod has no such condition.
std::optional<Duration> until_stale_disruption(const kube::core::Pod& p, Time now);

}  // namespace caravel::controllers
