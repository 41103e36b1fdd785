// What the HorizontalPodAutoscaler controller does about one autoscaler, as functions of it, the scale of its target, the
// pods, what was measured and what is remembered. Reasons and messages of conditions and events as upstream's.
//
// Several metrics: the largest proposal counts. One that cannot be had forbids to scale down, all of them to scale at all.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "controllers/horizontal_pod_autoscaler_behavior.h"
#include "controllers/horizontal_pod_autoscaler_replicas.h"

namespace caravel::controllers {

using HpaPtr = std::shared_ptr<const kube::autoscaling::HorizontalPodAutoscaler>;

struct HpaTarget {
  std::string reference;  // "Deployment/team/web"
  int spec_replicas = 0, status_replicas = 0;
  std::string selector;
};
// One metric of the spec. Object and external metrics have a value, the others pods.
struct Measured {
  PodMetrics pods;
  int64_t milli = 0;
};
struct HpaInput {
  HpaPtr hpa;
  HpaTarget target;
  std::vector<PodPtr> pods;               // that the selector selects
  std::string bad_selector;               // why it cannot be parsed
  std::vector<std::string> sharers;       // all autoscalers, this one too, that control these pods, if several
  std::vector<Result<Measured>> metrics;  // by spec.metrics
};

struct HpaEvent {
  bool warning = false;
  std::string reason, message;
};
struct HpaDecision {
  kube::autoscaling::HorizontalPodAutoscalerStatus status;
  std::vector<HpaEvent> events;
  std::optional<int> rescale;  // to so many
  std::string why;
  bool decided = false;  // false: something is amiss, it is tried again at the next look
};

// False where the bounds decide alone, or the target is switched off.
bool needs_metrics(const kube::autoscaling::HorizontalPodAutoscaler& hpa, const HpaTarget& target);
HpaDecision decide(const HpaInput& in, HpaMemory& memory, Time now);
// The target's scale could not be had.
HpaDecision without_scale(const kube::autoscaling::HorizontalPodAutoscaler& hpa, const std::string& why, Time now);
// After the scale was written, or not.
void note_rescaled(const HpaInput& in, HpaMemory& memory, HpaDecision& d, Time now);
void note_rescale_failed(const HpaInput& in, HpaDecision& d, const std::string& why, Time now);

}  // namespace caravel::controllers
