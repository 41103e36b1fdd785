// How fast nodes in trouble lose their pods: by the state of their zone, as upstream.
//
//   Normal    fewer than 55 % (or no more than two) of the zone's nodes are in trouble: one node in 10 s
//   Partial   more, but not all: one node in 100 s, and none in a zone of up to 50 nodes
//   Full      all of the zone's nodes: one node in 10 s, for then the others can take the pods
//
// (by default; NodeMonitor has the numbers).
// When all zones are Full it is more likely that we are cut off than that all nodes are gone: nothing is evicted.
#pragma once

#include <cstddef>
#include <optional>

#include "base/clock.h"
#include "controllers/controllers.h"

namespace caravel::controllers {

enum class ZoneState { kNormal,
                       kPartial,
                       kFull };
ZoneState zone_state(size_t nodes, size_t in_trouble, const NodeMonitor& o);
// Time between two nodes; nullopt: none is touched.
std::optional<Duration> eviction_interval(ZoneState state, size_t nodes, const NodeMonitor& o);

}  // namespace caravel::controllers
