#include "base/time_zone.h"

#include <algorithm>
#include <cctype>

#include "base/civil_date.h"

namespace caravel {
namespace {

// Big-endian numbers one after another; reading beyond the end sets `bad`.
struct Reader {
  std::string_view in;
  bool bad = false;
  int64_t number(size_t bytes) {
    if (in.size() < bytes) {
      bad = true;
      return 0;
    }
    uint64_t v = static_cast<signed char>(in[0]) < 0 ? ~0ull : 0;
    for (size_t i = 0; i < bytes; ++i) v = v << 8 | static_cast<unsigned char>(in[i]);
    in.remove_prefix(bytes);
    return static_cast<int64_t>(v);
  }
  void skip(size_t bytes) {
    if (in.size() < bytes) bad = true;
    else in.remove_prefix(bytes);
  }
};

struct Header {
  size_t utc = 0, standard = 0, leaps = 0, transitions = 0, types = 0, letters = 0;
};
Result<Header> header(Reader& r, char& version) {
  if (r.in.size() < 44 || r.in.substr(0, 4) != "TZif") return invalid("no time zone file: it does not begin with TZif");
  version = r.in[4];
  r.skip(20);
  Header h;
  for (size_t* n : {&h.utc, &h.standard, &h.leaps, &h.transitions, &h.types, &h.letters}) *n = static_cast<size_t>(r.number(4) & 0xffffffff);
  return h;
}

bool digit(std::string_view s) { return !s.empty() && std::isdigit(static_cast<unsigned char>(s[0])); }
int number(std::string_view& s) {
  int v = 0;
  while (digit(s) && v < 100000) v = v * 10 + (s[0] - '0'), s.remove_prefix(1);
  return v;
}
// "EST" or "<+03>"
bool skip_name(std::string_view& s) {
  size_t n = 0;
  if (s.starts_with('<')) {
    n = s.find('>');
    if (n == s.npos) return false;
    ++n;
  } else {
    while (n < s.size() && std::isalpha(static_cast<unsigned char>(s[n]))) ++n;
  }
  if (n < 3) return false;
  s.remove_prefix(n);
  return true;
}
// "5", "-3:30", "+26:00:00"
int clock(std::string_view& s) {
  int sign = 1;
  if (s.starts_with('-') || s.starts_with('+')) sign = s[0] == '-' ? -1 : 1, s.remove_prefix(1);
  int seconds = number(s) * 3600;
  for (int unit : {60, 1}) {
    if (!s.starts_with(':')) break;
    s.remove_prefix(1);
    seconds += number(s) * unit;
  }
  return sign * seconds;
}

}  // namespace

Result<TimeZone> TimeZone::parse(std::string_view tzif) {
  Reader r{tzif};
  char version = 0;
  TRY(Header h, header(r, version));
  size_t width = 4;
  if (version >= '2') {  // the first block is for programs of 32 bits
    r.skip(h.transitions * 5 + h.types * 6 + h.letters + h.leaps * 8 + h.standard + h.utc);
    if (r.bad) return invalid("the time zone file ends early");
    TRY(h, header(r, version));
    width = 8;
  }
  if (h.types == 0 || h.types > 256 || h.transitions > 100000) return invalid("the time zone file's counts cannot be");
  TimeZone out;
  for (size_t i = 0; i < h.transitions; ++i) out.transitions_.push_back({r.number(width), 0});
  std::vector<size_t> type(h.transitions);
  for (auto& t : type) t = static_cast<size_t>(r.number(1) & 0xff);
  std::vector<int> offsets;
  for (size_t i = 0; i < h.types; ++i) {
    offsets.push_back(static_cast<int>(r.number(4)));
    r.skip(2);
  }
  r.skip(h.letters + h.leaps * (width + 4) + h.standard + h.utc);
  if (r.bad) return invalid("the time zone file ends early");
  for (size_t i = 0; i < type.size(); ++i) {
    if (type[i] >= offsets.size()) return invalid("the time zone file names a type that it does not have");
    out.transitions_[i].offset = offsets[type[i]];
  }
  out.first_offset_ = offsets[0];
  if (width == 8 && r.in.starts_with('\n')) {
    std::string_view footer = r.in.substr(1, r.in.find('\n', 1) - 1);
    if (!footer.empty()) TRY_VOID(out.parse_footer(footer));
  }
  return out;
}

Status TimeZone::parse_footer(std::string_view s) {
  auto bad = [text = std::string(s)] { return invalid("the time zone file's rule \"" + text + "\" cannot be read"); };
  if (!skip_name(s)) return bad();
  standard_ = -clock(s);  // POSIX counts west of UTC
  has_rule_ = true;
  if (s.empty()) return ok();
  if (!skip_name(s)) return bad();
  summer_ = standard_ + 3600;
  if (!s.empty() && s[0] != ',') summer_ = -clock(s);
  has_summer_ = true;
  for (RuleDate* date : {&begin_, &end_}) {
    if (!s.starts_with(',')) return bad();
    s.remove_prefix(1);
    if (s.starts_with('M')) {
      s.remove_prefix(1);
      date->month = number(s);
      if (!s.starts_with('.')) return bad();
      s.remove_prefix(1);
      date->week = number(s);
      if (!s.starts_with('.')) return bad();
      s.remove_prefix(1);
      date->day = number(s);
      if (date->month < 1 || date->month > 12 || date->week < 1 || date->week > 5 || date->day > 6) return bad();
    } else {
      date->kind = s.starts_with('J') ? RuleDate::kJulian : RuleDate::kDayOfYear;
      if (s.starts_with('J')) s.remove_prefix(1);
      if (!digit(s)) return bad();
      date->day = number(s);
    }
    if (s.starts_with('/')) {
      s.remove_prefix(1);
      date->seconds = clock(s);
    }
  }
  return s.empty() ? ok() : bad();
}

int64_t TimeZone::start_of(const RuleDate& r, int year) {
  int64_t day = 0;
  if (r.kind == RuleDate::kMonth) {
    int64_t first = days_from_civil(year, r.month, 1);
    int64_t next = r.month == 12 ? days_from_civil(year + 1, 1, 1) : days_from_civil(year, r.month + 1, 1);
    day = first + (r.day - weekday_of(first) + 7) % 7 + (r.week - 1) * 7;
    while (day >= next) day -= 7;
  } else {
    day = days_from_civil(year, 1, 1) + r.day;
    bool leap = days_from_civil(year, 3, 1) - days_from_civil(year, 2, 1) == 29;
    if (r.kind == RuleDate::kJulian) day += leap && r.day >= 60 ? 0 : -1;  // never counts the leap day
  }
  return day * 86400 + r.seconds;
}

int TimeZone::offset_at(Time t) const {
  const int64_t s = t.seconds();
  if (!transitions_.empty() && s < transitions_.front().at) return first_offset_;
  if (has_rule_ && (transitions_.empty() || s >= transitions_.back().at)) {
    if (!has_summer_) return standard_;
    int year = static_cast<int>(civil_from_days((s + standard_) / 86400).year);
    int64_t begin = start_of(begin_, year) - standard_, end = start_of(end_, year) - summer_;
    bool summer = begin < end ? s >= begin && s < end : s >= begin || s < end;
    return summer ? summer_ : standard_;
  }
  if (transitions_.empty()) return first_offset_;
  auto it = std::upper_bound(transitions_.begin(), transitions_.end(), s, [](int64_t at, const Transition& x) { return at < x.at; });
  return std::prev(it)->offset;
}

}  // namespace caravel
