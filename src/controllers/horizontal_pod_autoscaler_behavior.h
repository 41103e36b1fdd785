// How fast a HorizontalPodAutoscaler may change the number of replicas: stabilisation windows, scaling policies, bounds.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "kube/types/autoscaling.h"

namespace caravel::controllers {

inline constexpr Duration kDownscaleStabilization = std::chrono::minutes(5);

// What is remembered of one autoscaler between looks; lost with the process, as upstream's.
struct HpaMemory {
  struct Recommendation {
    int replicas = 0;
    Time at;
  };
  struct Change {
    int replicas = 0;  // how many more or fewer
    Time at;
  };
  std::vector<Recommendation> recommendations;
  std::vector<Change> ups, downs;
};
// Enters a change of size that has been made and drops what no policy looks at any more.
void remember_change(const kube::autoscaling::HorizontalPodAutoscaler& hpa, HpaMemory& memory, int before, int after, Time now);

struct HpaReason {
  bool status = false;
  std::string reason, message;
};
struct Normalized {
  int replicas = 0;
  HpaReason able, limited;  // AbleToScale, ScalingLimited
};
// `desired`: what the metrics ask for; it is remembered as a recommendation.
Normalized normalize(const kube::autoscaling::HorizontalPodAutoscaler& hpa, HpaMemory& memory, int current, int desired, Time now);

}  // namespace caravel::controllers
