#include "controllers/node_zones.h"

namespace caravel::controllers {

ZoneState zone_state(size_t nodes, size_t in_trouble, const NodeMonitor& o) {
  if (nodes > 0 && in_trouble == nodes) return ZoneState::kFull;
  if (in_trouble > 2 && static_cast<double>(in_trouble) / static_cast<double>(nodes) >= o.unhealthy_zone_threshold) return ZoneState::kPartial;
  return ZoneState::kNormal;
}

std::optional<Duration> eviction_interval(ZoneState state, size_t nodes, const NodeMonitor& o) {
  const bool slow = state == ZoneState::kPartial;
  const double rate = !slow ? o.eviction_rate : nodes > o.large_cluster_size_threshold ? o.secondary_eviction_rate
                                                                                       : 0;
  if (rate <= 0) return std::nullopt;
  return Duration(static_cast<int64_t>(1e9 / rate));
}

}  // namespace caravel::controllers
