// A time zone from a TZif file (RFC 8536, what /usr/share/zoneinfo holds): the offset from UTC at an instant. Instants after the last
// transition follow the POSIX rule at the file's end. Values; no threading rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace caravel {

class TimeZone {
 public:
  TimeZone() = default;  // UTC
  static Result<TimeZone> parse(std::string_view tzif);
  // Seconds east of UTC.
  int offset_at(Time t) const;

 private:
  // "M3.2.0/2": the nth (5: last) weekday of a month, or a day of the year; at `seconds` of local time.
  struct RuleDate {
    enum Kind { kMonth,
                kJulian,
                kDayOfYear } kind = kMonth;
    int month = 0, week = 0, day = 0, seconds = 7200;
  };
  struct Transition {
    int64_t at = 0;
    int offset = 0;
  };
  Status parse_footer(std::string_view text);
  static int64_t start_of(const RuleDate& r, int year);  // local seconds since 1970

  int first_offset_ = 0;  // before the first transition
  std::vector<Transition> transitions_;
  bool has_rule_ = false, has_summer_ = false;
  int standard_ = 0, summer_ = 0;
  RuleDate begin_, end_;
};

}  // namespace caravel
