// What taint eviction and pod GC decide without a cluster.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "controllers/common.h"

namespace caravel::controllers {

// A pod that leaves its node when its tolerationSeconds are over.
struct PendingEviction {
  Time since, due;
  bool operator==(const PendingEviction&) const = default;
};
struct EvictionPlan {
  bool cancelled = false;                  // what was pending is not, and that is said
  bool evict = false;                      // at once
  std::optional<PendingEviction> pending;  // from now on
};
// Upstream's rules: of several tolerations of a taint the first counts; of several taints the shortest time. An eviction that is
// pending keeps its time until it is cancelled, whatever changes. Its time begins when pod and taint have met: upstream means
// the moment in which it sees that, which a restart of the controller must not move.
EvictionPlan plan_eviction(const kube::core::Pod& p, const std::vector<kube::core::Taint>& taints, const std::optional<PendingEviction>& pending, Time now);

// The status of a pod that is about to be removed by force or evicted, as a strategic merge patch; null when there is nothing to
// write. `reason` empty: only the phase. `fail`: a pod that has not ended becomes Failed, for its kubelet will not tell.
json::Value disruption_patch(const kube::core::Pod& p, const std::string& reason, const std::string& message, bool fail, Time now);

// The ended pods beyond `threshold`: evicted ones first, then the oldest.
std::vector<PodPtr> surplus_of_ended(std::vector<PodPtr> pods, size_t threshold);
// A terminating pod whose node is marked out of service and does not answer will not end by itself.
bool is_stranded(const kube::core::Pod& p, const kube::core::Node& n);

}  // namespace caravel::controllers
