// Which of a StatefulSet's pods go when it is scaled down, and what marks a pod as one of the set's. Pure.
#pragma once

#include <optional>
#include <vector>

#include "kube/types/core.h"

namespace caravel::controllers {

inline constexpr const char* kStatefulPodName = "statefulset.kubernetes.io/pod-name";

// Whether the pod bears its own name as a label, by which Services of single pods select.
bool has_identity(const kube::core::Pod& p);

struct StatefulPod {
  int ordinal = 0;
  bool condemned = false;  // its ordinal is not wanted any more
  bool terminating = false;
  bool available = false;  // running, and ready for minReadySeconds
};

// The ordinals to delete now, the highest first. In order (OrderedReady) it is one at a time, and none while the next to
// go is not available, unless it is the first unhealthy pod of the set: wanted ones count before condemned ones, low
// ordinals before high (upstream's processCondemned). `pods` in any order.
std::vector<int> condemned_to_delete(std::vector<StatefulPod> pods, bool ordered);

}  // namespace caravel::controllers
