#include "kube/cron.h"

#include <gtest/gtest.h>

namespace caravel::kube {
namespace {

std::string next(const char* schedule, const char* after, const char* zone = "") {
  auto s = CronSchedule::parse(schedule);
  if (!s.ok()) return s.error().message;
  auto z = load_time_zone(zone);
  if (!z.ok()) return z.error().message;
  auto t = s->next(*parse_rfc3339(after), *z);
  return t ? format_rfc3339(*t) : "never";
}

TEST(Cron, FieldsRangesStepsNamesAndMacros) {
  EXPECT_EQ(next("*/15 * * * *", "2026-01-01T00:00:00Z"), "2026-01-01T00:15:00Z");
  EXPECT_EQ(next("5/20 * * * *", "2026-01-01T00:25:00Z"), "2026-01-01T00:45:00Z");
  EXPECT_EQ(next("0 9-17/4 * * mon-fri", "2026-01-02T17:00:00Z"), "2026-01-05T09:00:00Z");
  EXPECT_EQ(next("0 0 29 feb ?", "2026-01-01T00:00:00Z"), "2028-02-29T00:00:00Z");
  EXPECT_EQ(next("59 23 31 12 *", "2026-12-31T23:59:00Z"), "2027-12-31T23:59:00Z");
  EXPECT_EQ(next("0 0 31 2 *", "2026-01-01T00:00:00Z"), "never");
  EXPECT_EQ(next("@hourly", "2026-01-01T00:00:00Z"), "2026-01-01T01:00:00Z");
  EXPECT_EQ(next("@weekly", "2026-01-01T00:00:00Z"), "2026-01-04T00:00:00Z");
  EXPECT_EQ(next("@every 90m", "2026-01-01T00:00:30Z"), "2026-01-01T01:30:30Z");
}

TEST(Cron, DayOfMonthOrDayOfWeekUnlessOneIsAStar) {
  EXPECT_EQ(next("0 0 13 * fri", "2026-01-01T00:00:00Z"), "2026-01-02T00:00:00Z");  // any Friday
  EXPECT_EQ(next("0 0 13 * fri", "2026-01-09T00:00:00Z"), "2026-01-13T00:00:00Z");  // any 13th
  EXPECT_EQ(next("0 0 * * fri", "2026-01-02T00:00:00Z"), "2026-01-09T00:00:00Z");
}

TEST(Cron, TheZonesWallClockDecides) {
  EXPECT_EQ(next("0 8 * * *", "2026-06-01T00:00:00Z", "Europe/Berlin"), "2026-06-01T06:00:00Z");
  EXPECT_EQ(next("0 8 * * *", "2026-12-01T00:00:00Z", "Europe/Berlin"), "2026-12-01T07:00:00Z");
  // 02:30 does not exist on the day when clocks go forward: the day after is next.
  EXPECT_EQ(next("30 2 * * *", "2026-03-28T12:00:00Z", "Europe/Berlin"), "2026-03-30T00:30:00Z");
  // 02:30 is there twice when they go back.
  EXPECT_EQ(next("30 2 * * *", "2026-10-24T12:00:00Z", "Europe/Berlin"), "2026-10-25T00:30:00Z");
  EXPECT_EQ(next("30 2 * * *", "2026-10-25T00:30:00Z", "Europe/Berlin"), "2026-10-25T01:30:00Z");
  EXPECT_EQ(next("30 2 * * *", "2026-10-25T01:30:00Z", "Europe/Berlin"), "2026-10-26T01:30:00Z");
  // Midnight after the short and the long day.
  EXPECT_EQ(next("0 0 * * *", "2026-03-28T23:00:00Z", "Europe/Berlin"), "2026-03-29T22:00:00Z");
  EXPECT_EQ(next("0 0 * * *", "2026-10-24T22:00:00Z", "Europe/Berlin"), "2026-10-25T23:00:00Z");
  EXPECT_EQ(next("* * * * *", "2026-01-01T00:00:00Z", "Mars/Olympus"), "unknown time zone Mars/Olympus");
  EXPECT_EQ(next("* * * * *", "2026-01-01T00:00:00Z", "../../etc/passwd"), "unknown time zone ../../etc/passwd");
}

TEST(Cron, ErrorsAreUpstreams) {
  EXPECT_EQ(next("* * * *", "2026-01-01T00:00:00Z"), "expected exactly 5 fields, found 4: [* * * *]");
  EXPECT_EQ(next("60 * * * *", "2026-01-01T00:00:00Z"), "end of range (60) above maximum (59): 60");
  EXPECT_EQ(next("* * 0 * *", "2026-01-01T00:00:00Z"), "beginning of range (0) below minimum (1): 0");
  EXPECT_EQ(next("5-1 * * * *", "2026-01-01T00:00:00Z"), "beginning of range (5) beyond end of range (1): 5-1");
  EXPECT_EQ(next("*/0 * * * *", "2026-01-01T00:00:00Z"), "step of range should be a positive number: */0");
  EXPECT_EQ(next("@fortnightly", "2026-01-01T00:00:00Z"), "unrecognized descriptor: @fortnightly");
  EXPECT_EQ(next("x * * * *", "2026-01-01T00:00:00Z"), "failed to parse int from x: strconv.Atoi: parsing \"x\": invalid syntax");
}

}  // namespace
}  // namespace caravel::kube
