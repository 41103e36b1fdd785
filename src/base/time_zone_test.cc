#include "base/time_zone.h"

#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "base/civil_date.h"

namespace caravel {
namespace {

// Seconds east of UTC at an instant, or a failure when this machine has no such zone.
int offset(const std::string& zone, const char* when) {
  std::ifstream in("/usr/share/zoneinfo/" + zone, std::ios::binary);
  std::string text((std::istreambuf_iterator<char>(in)), {});
  auto z = TimeZone::parse(text);
  if (!z.ok()) {
    ADD_FAILURE() << zone << ": " << z.error().message << " (is tzdata installed?)";
    return -1;
  }
  return z->offset_at(*parse_rfc3339(when));
}

TEST(TimeZone, KnowsTransitionsOfThePast) {
  EXPECT_EQ(offset("Europe/Berlin", "1945-05-24T12:00:00Z"), 3 * 3600);  // double summer time
  EXPECT_EQ(offset("America/New_York", "2006-04-01T12:00:00Z"), -5 * 3600);
  EXPECT_EQ(offset("Asia/Kathmandu", "2024-01-01T00:00:00Z"), 5 * 3600 + 45 * 60);
}

TEST(TimeZone, FollowsTheRuleAfterTheLastTransition) {
  EXPECT_EQ(offset("America/New_York", "2050-03-13T06:59:59Z"), -5 * 3600);
  EXPECT_EQ(offset("America/New_York", "2050-03-13T07:00:00Z"), -4 * 3600);
  EXPECT_EQ(offset("America/New_York", "2050-11-06T05:59:59Z"), -4 * 3600);
  EXPECT_EQ(offset("America/New_York", "2050-11-06T06:00:00Z"), -5 * 3600);
  EXPECT_EQ(offset("Australia/Sydney", "2050-01-01T00:00:00Z"), 11 * 3600);  // summer spans the new year
  EXPECT_EQ(offset("Australia/Sydney", "2050-07-01T00:00:00Z"), 10 * 3600);
  EXPECT_EQ(offset("Etc/UTC", "2050-07-01T00:00:00Z"), 0);
}

TEST(TimeZone, GarbageIsRefused) {
  for (std::string text : {std::string(), std::string("TZif"), std::string("TZif2") + std::string(39, '\0'), std::string(100, 'x'), std::string("TZif2") + std::string(15, '\0') + std::string(200, '\xff')})
    EXPECT_FALSE(TimeZone::parse(text).ok());
}

TEST(CivilDate, RoundTrips) {
  for (int64_t day = -800000; day < 800000; day += 373) {
    CivilDate c = civil_from_days(day);
    ASSERT_EQ(days_from_civil(c.year, c.month, c.day), day);
  }
  EXPECT_EQ(days_from_civil(2024, 2, 29), 19782);
}

}  // namespace
}  // namespace caravel
