#include "controllers/node_zones.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

TEST(NodeZones, AZoneIsInTroubleFromMoreThanTwoNodesAnd55PercentOn) {
  NodeMonitor o;
  EXPECT_EQ(zone_state(4, 2, o), ZoneState::kNormal) << "two nodes are no zone's trouble";
  EXPECT_EQ(zone_state(6, 3, o), ZoneState::kNormal);
  EXPECT_EQ(zone_state(5, 3, o), ZoneState::kPartial);
  EXPECT_EQ(zone_state(5, 5, o), ZoneState::kFull);
  EXPECT_EQ(zone_state(1, 1, o), ZoneState::kFull);
  o.unhealthy_zone_threshold = 0.5;
  EXPECT_EQ(zone_state(6, 3, o), ZoneState::kPartial);
}

TEST(NodeZones, ASmallZoneInPartialTroubleKeepsItsPodsALargeOneLosesThemSlowly) {
  NodeMonitor o;
  EXPECT_EQ(eviction_interval(ZoneState::kNormal, 10, o), Duration(10s));
  EXPECT_EQ(eviction_interval(ZoneState::kFull, 10, o), Duration(10s));
  EXPECT_FALSE(eviction_interval(ZoneState::kPartial, 50, o));
  EXPECT_EQ(eviction_interval(ZoneState::kPartial, 51, o), Duration(100s));
}

TEST(NodeZones, TheRatesAreOptions) {
  NodeMonitor o;
  o.eviction_rate = 2;
  o.secondary_eviction_rate = 0.5;
  o.large_cluster_size_threshold = 3;
  EXPECT_EQ(eviction_interval(ZoneState::kNormal, 10, o), Duration(500ms));
  EXPECT_EQ(eviction_interval(ZoneState::kPartial, 4, o), Duration(2s));
  EXPECT_FALSE(eviction_interval(ZoneState::kPartial, 3, o));
  o.eviction_rate = 0;
  EXPECT_FALSE(eviction_interval(ZoneState::kFull, 10, o)) << "nothing is evicted";
}

}  // namespace
}  // namespace caravel::controllers
