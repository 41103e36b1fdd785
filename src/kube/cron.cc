#include "kube/cron.h"

#include <algorithm>
#include <array>
#include <cctype>
#include <vector>

#include "base/civil_date.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::kube {
namespace {

constexpr const char* kZones = "/usr/share/zoneinfo/";

struct Field {
  int min, max;
  std::vector<std::string_view> names;  // of min, min + 1, ...
};
const std::array<Field, 5>& fields() {
  static const std::array<Field, 5> all = {Field{0, 59, {}}, Field{0, 23, {}}, Field{1, 31, {}},
                                           Field{1, 12, {"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"}},
                                           Field{0, 6, {"sun", "mon", "tue", "wed", "thu", "fri", "sat"}}};
  return all;
}

Result<int> value_of(const std::string& text, const Field& f) {
  std::string lower = to_lower(text);
  for (size_t i = 0; i < f.names.size(); ++i)
    if (lower == f.names[i]) return f.min + static_cast<int>(i);
  auto n = parse_int(text);
  if (!n) return invalid("failed to parse int from " + text + ": strconv.Atoi: parsing \"" + text + "\": invalid syntax");
  if (*n < 0) return invalid("negative number (" + std::to_string(*n) + ") not allowed: " + text);
  return static_cast<int>(std::min<int64_t>(*n, 1'000'000));
}

// number | number "-" number [ "/" number ] | "*" | "?"
Status add_range(const std::string& text, const Field& f, uint64_t& bits, bool& star) {
  auto step_parts = split(text, '/');
  auto ends = split(step_parts[0], '-');
  bool single = ends.size() == 1, any = false;
  int start = f.min, end = f.max, step = 1;
  if (ends[0] == "*" || ends[0] == "?") {
    any = true;
  } else {
    TRY(start, value_of(std::string(ends[0]), f));
    if (single) {
      end = start;
    } else if (ends.size() == 2) {
      TRY(end, value_of(std::string(ends[1]), f));
    } else {
      return invalid("too many hyphens: " + text);
    }
  }
  if (step_parts.size() == 2) {
    Field plain{0, 0, {}};
    TRY(step, value_of(std::string(step_parts[1]), plain));
    if (single) end = f.max;  // "3/5" is "3-max/5"
    if (step > 1) any = false;
  } else if (step_parts.size() > 2) {
    return invalid("too many slashes: " + text);
  }
  auto number = [](int n) { return " (" + std::to_string(n) + ") "; };
  if (start < f.min) return invalid("beginning of range" + number(start) + "below minimum (" + std::to_string(f.min) + "): " + text);
  if (end > f.max) return invalid("end of range" + number(end) + "above maximum (" + std::to_string(f.max) + "): " + text);
  if (start > end) return invalid("beginning of range" + number(start) + "beyond end of range (" + std::to_string(end) + "): " + text);
  if (step == 0) return invalid("step of range should be a positive number: " + text);
  for (int i = start; i <= end; i += step) bits |= uint64_t{1} << i;
  star |= any;
  return ok();
}

}  // namespace

Result<CronSchedule> CronSchedule::parse(std::string_view given) {
  std::string text(trim(given));
  if (text.empty()) return invalid("empty spec string");
  if (text.starts_with("@")) {
    constexpr std::pair<std::string_view, std::string_view> kMacros[] = {{"@yearly", "0 0 1 1 *"}, {"@annually", "0 0 1 1 *"}, {"@monthly", "0 0 1 * *"}, {"@weekly", "0 0 * * 0"}, {"@daily", "0 0 * * *"}, {"@midnight", "0 0 * * *"}, {"@hourly", "0 * * * *"}};
    for (auto& [name, meaning] : kMacros)
      if (text == name) return parse(meaning);
    constexpr std::string_view kEvery = "@every ";
    if (!text.starts_with(kEvery)) return invalid("unrecognized descriptor: " + text);
    auto d = parse_duration(std::string_view(text).substr(kEvery.size()));
    if (!d.ok()) return invalid("failed to parse duration " + text + ": " + d.error().message);
    CronSchedule out;
    out.every_ = std::max(std::chrono::duration_cast<Duration>(std::chrono::floor<std::chrono::seconds>(*d)), Duration(1s));
    return out;
  }
  auto words = split_words(text);
  if (words.size() != 5) {
    std::string list;
    for (auto& w : words) list += (list.empty() ? "" : " ") + std::string(w);
    return invalid("expected exactly 5 fields, found " + std::to_string(words.size()) + ": [" + list + "]");
  }
  CronSchedule out;
  bool star = false;
  bool* stars[] = {&star, &star, &out.any_day_, &star, &out.any_weekday_};
  uint64_t* bits[] = {&out.minutes_, &out.hours_, &out.days_, &out.months_, &out.weekdays_};
  for (size_t i = 0; i < 5; ++i)
    for (auto& part : split(words[i], ','))
      if (!part.empty()) TRY_VOID(add_range(std::string(part), fields()[i], *bits[i], *stars[i]));
  for (size_t i = 0; i < 5; ++i)
    if (*bits[i] == 0) return invalid("failed to parse int from : strconv.Atoi: parsing \"\": invalid syntax");
  return out;
}

bool CronSchedule::matches_day(int64_t days) const {
  bool day = days_ >> civil_from_days(days).day & 1, weekday = weekdays_ >> weekday_of(days) & 1;
  // Both are given: either will do. One is a star: the other decides.
  return any_day_ || any_weekday_ ? day && weekday : day || weekday;
}

std::optional<Time> CronSchedule::next(Time from, const TimeZone& zone) const {
  if (every_.count() > 0) return Time::from_seconds(from.seconds()) + every_;
  int64_t t = (from.seconds() / 60 + 1) * 60;
  const int64_t limit = t + int64_t{5} * 366 * 86400;
  auto local = [&](int64_t at) { return at + zone.offset_at(Time::from_seconds(at)); };
  // The first instant of the local day after `at`, whatever the clocks do in between.
  auto next_day = [&](int64_t at) {
    int64_t here = local(at), day = here / 86400, to = at + 86400 - here % 86400;
    if (local(to) / 86400 == day) to += 86400 - local(to) % 86400;                                         // the day was longer
    if (int64_t beyond = local(to) % 86400; beyond > 0 && local(to - beyond) / 86400 > day) to -= beyond;  // it was shorter
    return to;
  };
  while (t < limit) {
    const int64_t here = local(t), day = here / 86400;
    if (!(months_ >> civil_from_days(day).month & 1) || !matches_day(day)) {
      t = next_day(t);
    } else if (!(hours_ >> here % 86400 / 3600 & 1)) {
      t += 3600 - here % 3600;
    } else if (!(minutes_ >> here % 3600 / 60 & 1)) {
      t += 60 - here % 60;
    } else {
      return Time::from_seconds(t);
    }
  }
  return std::nullopt;
}

Result<TimeZone> load_time_zone(const std::string& name) {
  if (name.empty() || name == "UTC") return TimeZone();
  auto unknown = [&] { return invalid("unknown time zone " + name); };
  bool plain = std::all_of(name.begin(), name.end(), [](unsigned char c) { return std::isalnum(c) || c == '/' || c == '_' || c == '-' || c == '+' || c == '.'; });
  if (!plain || name == "Local" || name.starts_with('/') || name.find("..") != name.npos) return unknown();
  auto text = net::read_file(kZones + name);
  if (!text.ok()) return unknown();
  auto zone = TimeZone::parse(*text);
  if (!zone.ok()) return unknown();
  return zone;
}

}  // namespace caravel::kube
