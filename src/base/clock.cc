#include "base/clock.h"

#include <cmath>
#include <cstdio>

#include "base/civil_date.h"

namespace caravel {
namespace {

constexpr int64_t kFirstSecond = -62'135'596'800, kLastSecond = 253'402'300'799;  // of the years 1 and 9999

// With leading zeros. Every object that is written has a few times: snprintf took a twelfth of a Lease's renewal.
void put_digits(std::string& out, int64_t n, int width) {
  if (n < 0) {
    out += '-';
    n = -n;
    --width;
  }
  char buf[20];
  int at = sizeof buf;
  for (; n > 0 || width > 0; n /= 10, --width) buf[--at] = static_cast<char>('0' + n % 10);
  out.append(buf + at, sizeof buf - static_cast<size_t>(at));
}

std::string format_with_fraction(Time t, int digits) {
  auto [secs, nanos] = t.parts();
  int64_t days = secs / 86400, rem = secs % 86400;
  if (rem < 0) {
    rem += 86400;
    --days;
  }
  const CivilDate date = civil_from_days(days);
  std::string out;
  out.reserve(sizeof "2026-01-02T15:04:05.123456789Z");
  put_digits(out, date.year, 4);
  out += '-';
  put_digits(out, date.month, 2);
  out += '-';
  put_digits(out, date.day, 2);
  out += 'T';
  put_digits(out, rem / 3600, 2);
  out += ':';
  put_digits(out, rem / 60 % 60, 2);
  out += ':';
  put_digits(out, rem % 60, 2);
  if (digits > 0) {
    out += '.';
    for (int i = digits; i < 9; ++i) nanos /= 10;
    put_digits(out, nanos, digits);
  }
  out += 'Z';
  return out;
}

bool digits_at(std::string_view s, size_t at, size_t n, int64_t& out) {
  if (at + n > s.size()) return false;
  out = 0;
  for (size_t i = at; i < at + n; ++i) {
    if (s[i] < '0' || s[i] > '9') return false;
    out = out * 10 + (s[i] - '0');
  }
  return true;
}

}  // namespace

Time Time::at(Parts p) {
  if (p.seconds < kFirstSecond) p = {kFirstSecond, 0};
  if (p.seconds > kLastSecond) p = {kLastSecond, 999'999'999};
  if (p.seconds >= kNearSeconds) return Time{kNear + (p.seconds - kNearSeconds) * 1'000'000 + p.nanos / 1000};
  if (p.seconds < -kNearSeconds) return Time{-kNear + (p.seconds + kNearSeconds) * 1'000'000 + p.nanos / 1000};
  return Time{p.seconds * 1'000'000'000 + p.nanos};
}

Time::Parts Time::parts() const {
  auto floored = [](int64_t count, int64_t unit) { return count / unit - (count % unit < 0 ? 1 : 0); };
  if (ns >= kNear || ns < -kNear) {
    const int64_t micros = ns >= kNear ? ns - kNear : ns + kNear, s = floored(micros, 1'000'000);
    return {s + (ns >= kNear ? kNearSeconds : -kNearSeconds), (micros - s * 1'000'000) * 1000};
  }
  const int64_t s = floored(ns, 1'000'000'000);
  return {s, ns - s * 1'000'000'000};
}

std::string format_rfc3339(Time t) { return format_with_fraction(t, 0); }
std::string format_rfc3339_micro(Time t) { return format_with_fraction(t, 6); }
std::string format_rfc3339_milli(Time t) { return format_with_fraction(t, 3); }

Result<Time> parse_rfc3339(std::string_view s) {
  auto bad = [&] { return invalid("\"" + std::string(s) + "\" is not an RFC 3339 time such as 2026-01-02T15:04:05Z"); };
  int64_t y, mo, d, h, mi, sec;
  if (!digits_at(s, 0, 4, y) || s.size() < 20 || s[4] != '-' || !digits_at(s, 5, 2, mo) || s[7] != '-' ||
      !digits_at(s, 8, 2, d) || (s[10] != 'T' && s[10] != 't') || !digits_at(s, 11, 2, h) || s[13] != ':' ||
      !digits_at(s, 14, 2, mi) || s[16] != ':' || !digits_at(s, 17, 2, sec))
    return bad();
  if (mo < 1 || mo > 12 || d < 1 || d > 31 || h > 23 || mi > 59 || sec > 60) return bad();
  size_t i = 19;
  int64_t nanos = 0;
  if (i < s.size() && s[i] == '.') {
    int64_t scale = 100'000'000;
    size_t start = ++i;
    for (; i < s.size() && s[i] >= '0' && s[i] <= '9'; ++i, scale /= 10) nanos += (s[i] - '0') * scale;
    if (i == start) return bad();
  }
  int64_t offset = 0;
  if (i < s.size() && (s[i] == 'Z' || s[i] == 'z')) {
    ++i;
  } else if (i < s.size() && (s[i] == '+' || s[i] == '-')) {
    int64_t oh, om;
    if (!digits_at(s, i + 1, 2, oh) || i + 3 >= s.size() || s[i + 3] != ':' || !digits_at(s, i + 4, 2, om)) return bad();
    offset = (oh * 3600 + om * 60) * (s[i] == '-' ? -1 : 1);
    i += 6;
  } else {
    return bad();
  }
  if (i != s.size()) return bad();
  int64_t secs = days_from_civil(y, static_cast<int>(mo), static_cast<int>(d)) * 86400 + h * 3600 + mi * 60 + sec - offset;
  if (secs == kFirstSecond && nanos == 0) return Time{};  // Go's zero time, which Kubernetes writes as null
  return Time::at({secs, nanos});
}

std::string format_duration(Duration dur) {
  int64_t n = dur.count();
  if (n == 0) return "0s";
  std::string sign = n < 0 ? "-" : "";
  uint64_t u = n < 0 ? 0 - static_cast<uint64_t>(n) : static_cast<uint64_t>(n);
  auto with_fraction = [](uint64_t whole, uint64_t frac, int width, const char* unit) {
    std::string s = std::to_string(whole);
    if (frac) {
      std::string f = std::to_string(frac);
      f.insert(0, static_cast<size_t>(width) - f.size(), '0');
      while (f.back() == '0') f.pop_back();
      s += "." + f;
    }
    return s + unit;
  };
  if (u < 1000) return sign + std::to_string(u) + "ns";
  if (u < 1'000'000) return sign + with_fraction(u / 1000, u % 1000, 3, "µs");
  if (u < 1'000'000'000) return sign + with_fraction(u / 1'000'000, u % 1'000'000, 6, "ms");
  uint64_t secs = u / 1'000'000'000;
  std::string out = sign;
  uint64_t h = secs / 3600, m = secs / 60 % 60;
  if (h) out += std::to_string(h) + "h";
  if (h || m) out += std::to_string(m) + "m";
  return out + with_fraction(secs % 60, u % 1'000'000'000, 9, "s");
}

Result<Duration> parse_duration(std::string_view text) {
  auto bad = [&] { return invalid("\"" + std::string(text) + "\" is not a duration such as 1h30m or 250ms"); };
  std::string_view s = text;
  bool neg = false;
  if (!s.empty() && (s[0] == '-' || s[0] == '+')) {
    neg = s[0] == '-';
    s.remove_prefix(1);
  }
  if (s == "0") return Duration(0);
  if (s.empty()) return bad();
  double total = 0;
  while (!s.empty()) {
    double v = 0, scale = 1;
    bool any = false;
    while (!s.empty() && s[0] >= '0' && s[0] <= '9') v = v * 10 + (s[0] - '0'), s.remove_prefix(1), any = true;
    if (!s.empty() && s[0] == '.') {
      s.remove_prefix(1);
      while (!s.empty() && s[0] >= '0' && s[0] <= '9') scale /= 10, v += (s[0] - '0') * scale, s.remove_prefix(1), any = true;
    }
    if (!any) return bad();
    auto unit = [&](std::string_view u) {
      if (!s.starts_with(u)) return false;
      s.remove_prefix(u.size());
      return true;
    };
    if (unit("ns")) total += v;
    else if (unit("us") || unit("µs") || unit("μs")) total += v * 1e3;
    else if (unit("ms")) total += v * 1e6;
    else if (unit("s")) total += v * 1e9;
    else if (unit("m")) total += v * 60e9;
    else if (unit("h")) total += v * 3600e9;
    else return bad();
  }
  if (total > 9.2e18) return bad();
  return Duration(static_cast<int64_t>(std::llround(neg ? -total : total)));
}

std::string human_duration(Duration dur) {
  int64_t s = std::chrono::duration_cast<std::chrono::seconds>(dur).count();
  if (s < -1) return "<invalid>";
  if (s < 0) return "0s";
  auto two = [](int64_t a, const char* ua, int64_t b, const char* ub) {
    std::string out = std::to_string(a) + ua;
    if (b) out += std::to_string(b) + ub;
    return out;
  };
  if (s < 120) return std::to_string(s) + "s";
  int64_t m = s / 60;
  if (m < 10) return two(m, "m", s % 60, "s");
  if (m < 180) return std::to_string(m) + "m";
  int64_t h = m / 60;
  if (h < 8) return two(h, "h", m % 60, "m");
  if (h < 48) return std::to_string(h) + "h";
  int64_t d = h / 24;
  if (d < 8) return two(d, "d", h % 24, "h");
  if (d < 365 * 2) return std::to_string(d) + "d";
  int64_t y = d / 365;
  if (y < 8) return two(y, "y", d % 365, "d");
  return std::to_string(y) + "y";
}

}  // namespace caravel
