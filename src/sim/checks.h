// What must hold in every cluster once it is at rest. What must hold at every moment is in watchdog.h.
#pragma once

#include <string>
#include <vector>

#include "sim/cluster.h"

namespace caravel::sim {

// What must hold once nothing changes any more: workloads have what they ask for, owners exist, endpoints
// are the ready pods. One sentence for each that does not.
std::vector<std::string> settled(Cluster& c);

}  // namespace caravel::sim
