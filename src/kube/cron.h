// Cron schedules as CronJob has them: five fields with ranges, steps, lists and names, the macros (@hourly, @every 5m), and a time
// zone. Times are matched on the zone's wall clock: what falls into the hour that spring skips does not run, what falls into the hour
// that autumn repeats runs twice, as robfig/cron does it for Kubernetes.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/clock.h"
#include "base/result.h"
#include "base/time_zone.h"

namespace caravel::kube {

class CronSchedule {
 public:
  // Errors are worded as upstream's: "expected exactly 5 fields, found 4: [* * * *]".
  static Result<CronSchedule> parse(std::string_view text);
  // The first time after `t`; nothing if there is none within five years ("0 0 31 2 *").
  std::optional<Time> next(Time t, const TimeZone& zone) const;

 private:
  bool matches_day(int64_t days_since_1970) const;
  uint64_t minutes_ = 0, hours_ = 0, days_ = 0, months_ = 0, weekdays_ = 0;  // bits
  bool any_day_ = false, any_weekday_ = false;
  Duration every_{0};  // @every: the fields are unused
};

// "Europe/Berlin", from the system's tzdata. Errors: "unknown time zone X", as upstream's. "" and "UTC" are UTC; "Local" is refused.
Result<TimeZone> load_time_zone(const std::string& name);

}  // namespace caravel::kube
