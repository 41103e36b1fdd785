#include "controllers/node_zones.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

TEST(NodeZones, AZoneIsInTroubleFromMoreThanTwoNodesAnd55PercentOn) {
  EXPECT_EQ(zone_state(4, 2), ZoneState::kNormal) << "two nodes are no zone's trouble";
  EXPECT_EQ(zone_state(6, 3), ZoneState::kNormal);
  EXPECT_EQ(zone_state(5, 3), ZoneState::kPartial);
  EXPECT_EQ(zone_state(5, 5), ZoneState::kFull);
  EXPECT_EQ(zone_state(1, 1), ZoneState::kFull);
}

TEST(NodeZones, ASmallZoneInPartialTroubleKeepsItsPodsALargeOneLosesThemSlowly) {
  EXPECT_EQ(eviction_interval(ZoneState::kNormal, 10), Duration(10s));
  EXPECT_EQ(eviction_interval(ZoneState::kFull, 10), Duration(10s));
  EXPECT_FALSE(eviction_interval(ZoneState::kPartial, 50));
  EXPECT_EQ(eviction_interval(ZoneState::kPartial, 51), Duration(100s));
}

}  // namespace
}  // namespace caravel::controllers
