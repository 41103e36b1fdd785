// Time, as a value that is handed in. Durations are std::chrono; instants are Time, nanoseconds of Unix
// time (UTC). Nothing outside net/, node/, vpc/ and main asks the system for the time: code takes an
// Executor (executor.h), whose now() is wall time in the product and virtual time in a simulation.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caravel {

using Duration = std::chrono::nanoseconds;
using namespace std::chrono_literals;

struct Time {
  // Since 1970-01-01T00:00:00Z; 0 means "not set". Nanoseconds from 1716 to 2223 (kNear), microseconds beyond, so that
  // every year from 1 to 9999 has its place ("never" is often written as 9999-12-31): the order is right everywhere,
  // differences are so between times that are near.
  int64_t ns = 0;

  static constexpr int64_t kNearSeconds = 8'000'000'000, kNear = kNearSeconds * 1'000'000'000;
  struct Parts {
    int64_t seconds = 0, nanos = 0;  // nanos: 0 to 999,999,999
  };
  static Time at(Parts p);  // what is outside those years becomes the nearest within
  Parts parts() const;
  static Time from_seconds(int64_t s) { return s > -kNearSeconds && s < kNearSeconds ? Time{s * 1'000'000'000} : at({s, 0}); }
  int64_t seconds() const { return ns > -kNear && ns < kNear ? ns / 1'000'000'000 : parts().seconds; }
  int64_t millis() const { return ns > -kNear && ns < kNear ? ns / 1'000'000 : parts().seconds * 1000; }
  bool is_zero() const { return ns == 0; }
  auto operator<=>(const Time&) const = default;
  Time operator+(Duration d) const { return {ns + d.count()}; }
  Time operator-(Duration d) const { return {ns - d.count()}; }
  Duration operator-(Time o) const { return Duration(ns - o.ns); }
};

// "2026-11-23T03:21:00Z": Kubernetes' metav1.Time.
std::string format_rfc3339(Time t);
// "2026-11-23T03:21:00.123456Z": metav1.MicroTime (always six digits).
std::string format_rfc3339_micro(Time t);
// "2026-11-23T03:21:00.123Z": AWS timestamps.
std::string format_rfc3339_milli(Time t);
// Accepts any RFC 3339 date-time, with offset and fraction.
Result<Time> parse_rfc3339(std::string_view text);

// Go's time.Duration text: "1h2m3.5s", "250ms"; parse accepts what Go accepts.
std::string format_duration(Duration d);
Result<Duration> parse_duration(std::string_view text);
// kubectl's short age: "5s", "3m20s", "2d4h" (k8s.io/apimachinery duration.HumanDuration).
std::string human_duration(Duration d);

}  // namespace caravel
