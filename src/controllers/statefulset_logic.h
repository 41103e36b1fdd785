// Which of a StatefulSet's pods go when it is scaled down. Pure.
#pragma once

#include <optional>
#include <vector>

namespace caravel::controllers {

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
