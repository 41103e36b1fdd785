#include "controllers/node_zones.h"

namespace caravel::controllers {

namespace {
constexpr Duration kEvictionEvery = 10s;       // 0.1 nodes a second
constexpr Duration kEvictionEverySlow = 100s;  // a large zone in partial trouble
constexpr double kUnhealthyShare = 0.55;
constexpr size_t kLargeZone = 50;
}  // namespace

ZoneState zone_state(size_t nodes, size_t in_trouble) {
  if (nodes > 0 && in_trouble == nodes) return ZoneState::kFull;
  if (in_trouble > 2 && static_cast<double>(in_trouble) / static_cast<double>(nodes) >= kUnhealthyShare) return ZoneState::kPartial;
  return ZoneState::kNormal;
}

std::optional<Duration> eviction_interval(ZoneState state, size_t nodes) {
  if (state != ZoneState::kPartial) return kEvictionEvery;
  if (nodes <= kLargeZone) return std::nullopt;
  return kEvictionEverySlow;
}

}  // namespace caravel::controllers
