// Operators, conversions, time.
#include <cmath>
#include <ctime>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

using V = Value;
using R = Result<Value>;
using A = Arguments;

R overflow() { return invalid("integer overflow"); }
R unsigned_overflow() { return invalid("unsigned integer overflow"); }

template <class Op>
R whole(Op op, int64_t a, int64_t b) {
  int64_t out;
  if (op(a, b, &out)) return overflow();
  return V::integer(out);
}
R add_i(A a) {
  return whole([](int64_t x, int64_t y, int64_t* o) { return __builtin_add_overflow(x, y, o); }, a[0].i(), a[1].i());
}
R sub_i(A a) {
  return whole([](int64_t x, int64_t y, int64_t* o) { return __builtin_sub_overflow(x, y, o); }, a[0].i(), a[1].i());
}
R mul_i(A a) {
  return whole([](int64_t x, int64_t y, int64_t* o) { return __builtin_mul_overflow(x, y, o); }, a[0].i(), a[1].i());
}
R div_i(A a) {
  if (a[1].i() == 0) return invalid("division by zero");
  if (a[0].i() == INT64_MIN && a[1].i() == -1) return overflow();
  return V::integer(a[0].i() / a[1].i());
}
R mod_i(A a) {
  if (a[1].i() == 0) return invalid("modulus by zero");
  if (a[0].i() == INT64_MIN && a[1].i() == -1) return overflow();
  return V::integer(a[0].i() % a[1].i());
}
R neg_i(A a) { return a[0].i() == INT64_MIN ? overflow() : R(V::integer(-a[0].i())); }
R add_u(A a) {
  uint64_t o;
  return __builtin_add_overflow(a[0].u(), a[1].u(), &o) ? unsigned_overflow() : R(V::uinteger(o));
}
R sub_u(A a) { return a[0].u() < a[1].u() ? unsigned_overflow() : R(V::uinteger(a[0].u() - a[1].u())); }
R mul_u(A a) {
  uint64_t o;
  return __builtin_mul_overflow(a[0].u(), a[1].u(), &o) ? unsigned_overflow() : R(V::uinteger(o));
}
R div_u(A a) { return a[1].u() == 0 ? R(invalid("division by zero")) : R(V::uinteger(a[0].u() / a[1].u())); }
R mod_u(A a) { return a[1].u() == 0 ? R(invalid("modulus by zero")) : R(V::uinteger(a[0].u() % a[1].u())); }
R add_d(A a) { return V::number(a[0].d() + a[1].d()); }
R sub_d(A a) { return V::number(a[0].d() - a[1].d()); }
R mul_d(A a) { return V::number(a[0].d() * a[1].d()); }
R div_d(A a) { return V::number(a[0].d() / a[1].d()); }
R neg_d(A a) { return V::number(-a[0].d()); }
R add_s(A a) { return V::string(a[0].s() + a[1].s()); }
R add_y(A a) { return V::bytes(a[0].s() + a[1].s()); }

// Plain lists are joined; sets take what is new; maps by key replace in place.
R add_l(A a) {
  List out = a[0].as_list();
  const List& more = a[1].as_list();
  for (auto& x : more.items) {
    Value* same = nullptr;
    if (out.style != List::Style::kPlain)
      for (auto& old : out.items) {
        bool match = out.style == List::Style::kSet ? equal(old, x) : x.is(Kind::kMap) && old.is(Kind::kMap);
        if (match && out.style == List::Style::kMap)
          for (auto& k : out.keys) {
            const Value *p = old.find(k), *q = x.find(k);
            match = match && (p && q ? equal(*p, *q) : !p && !q);
          }
        if (match) {
          same = &old;
          break;
        }
      }
    if (same) *same = x;
    else out.items.push_back(x);
  }
  return V::list(std::move(out));
}

R eq(A a) { return V::boolean(equal(a[0], a[1])); }
R ne(A a) { return V::boolean(!equal(a[0], a[1])); }
template <class Test>
R ordered(A a, Test test) {
  TRY(int c, compare(a[0], a[1]));
  return V::boolean(c != 2 && test(c));
}
R lt(A a) {
  return ordered(a, [](int c) { return c < 0; });
}
R le(A a) {
  return ordered(a, [](int c) { return c <= 0; });
}
R gt(A a) {
  return ordered(a, [](int c) { return c > 0; });
}
R ge(A a) {
  return ordered(a, [](int c) { return c >= 0; });
}
R negate(A a) { return V::boolean(!a[0].is_true()); }

R in_list(A a) {
  for (auto& x : a[1].items())
    if (equal(x, a[0])) return V::boolean(true);
  return V::boolean(false);
}
R in_map(A a) { return V::boolean(a[1].as_map().find(a[0]) != nullptr); }

R at_list(A a) {
  const Value& i = a[1];
  double d = i.is(Kind::kDouble) ? i.d() : 0;
  if (!i.is_number() || d != std::floor(d)) return invalid("no such overload");
  int64_t n = i.is(Kind::kDouble) ? static_cast<int64_t>(d) : i.i();
  if (n < 0 || static_cast<uint64_t>(n) >= a[0].items().size()) return invalid("index out of bounds: " + std::to_string(n));
  return a[0].items()[static_cast<size_t>(n)];
}
std::string key_text(const Value& k) {
  if (k.is(Kind::kString)) return k.s();
  return json::dump(to_json(k));
}
R at_map(A a) {
  const Value* v = a[0].as_map().find(a[1]);
  if (!v) return invalid("no such key: " + key_text(a[1]));
  return *v;
}
R maybe_at_list(A a) {
  R r = at_list(a);
  return r.ok() ? V::some(*r) : r.error().message.starts_with("index") ? R(V::none())
                                                                       : r;
}
R maybe_at_map(A a) {
  const Value* v = a[0].as_map().find(a[1]);
  return v ? V::some(*v) : V::none();
}

R size_s(A a) { return V::integer(static_cast<int64_t>(runes(a[0].s()).size())); }
R size_y(A a) { return V::integer(static_cast<int64_t>(a[0].s().size())); }
R size_l(A a) { return V::integer(static_cast<int64_t>(a[0].items().size())); }
R size_m(A a) { return V::integer(static_cast<int64_t>(a[0].as_map().entries.size())); }

R same(A a) { return a[0]; }
R int_u(A a) { return a[0].u() > INT64_MAX ? overflow() : R(V::integer(a[0].i())); }
R int_d(A a) {
  double d = a[0].d();
  if (!(d > -9223372036854775808.0 && d < 9223372036854775808.0)) return overflow();
  return V::integer(static_cast<int64_t>(d));
}
R int_s(A a) {
  auto i = parse_int(a[0].s());
  if (!i) return invalid("strconv.ParseInt: parsing " + json::quote(a[0].s()) + ": invalid syntax");
  return V::integer(*i);
}
R int_T(A a) { return V::integer(a[0].i() / 1'000'000'000 - (a[0].i() % 1'000'000'000 < 0 ? 1 : 0)); }
R uint_i(A a) { return a[0].i() < 0 ? unsigned_overflow() : R(V::uinteger(a[0].u())); }
R uint_d(A a) {
  double d = a[0].d();
  if (!(d >= 0 && d < 18446744073709551616.0)) return unsigned_overflow();
  return V::uinteger(static_cast<uint64_t>(d));
}
R uint_s(A a) {
  auto i = parse_int(a[0].s());
  if (!i || *i < 0) return invalid("strconv.ParseUint: parsing " + json::quote(a[0].s()) + ": invalid syntax");
  return V::uinteger(static_cast<uint64_t>(*i));
}
R double_i(A a) { return V::number(static_cast<double>(a[0].i())); }
R double_u(A a) { return V::number(static_cast<double>(a[0].u())); }
R double_s(A a) {
  auto d = parse_double(a[0].s());
  if (!d) return invalid("strconv.ParseFloat: parsing " + json::quote(a[0].s()) + ": invalid syntax");
  return V::number(*d);
}
R string_b(A a) { return V::string(a[0].is_true() ? "true" : "false"); }
R string_i(A a) { return V::string(std::to_string(a[0].i())); }
R string_u(A a) { return V::string(std::to_string(a[0].u())); }
R string_d(A a) {
  for (int precision = 1; precision <= 17; ++precision) {
    std::string t = format("%.*g", precision, a[0].d());
    if (precision == 17 || parse_double(t) == a[0].d()) return V::string(t);
  }
  return V::string("NaN");
}
R string_y(A a) { return is_valid_utf8(a[0].s()) ? R(V::string(a[0].s())) : R(invalid("invalid UTF-8 in bytes, cannot convert to string")); }
R string_D(A a) {
  std::string t = format("%.9f", static_cast<double>(a[0].i() / 1'000'000'000) + static_cast<double>(a[0].i() % 1'000'000'000) / 1e9);
  while (t.back() == '0') t.pop_back();
  if (t.back() == '.') t.pop_back();
  return V::string(t + "s");
}
R string_T(A a) {
  std::string t = format_rfc3339(Time{a[0].i()});
  if (int64_t f = ((a[0].i() % 1'000'000'000) + 1'000'000'000) % 1'000'000'000; f != 0) {
    std::string digits = format(".%09lld", static_cast<long long>(f));
    while (digits.back() == '0') digits.pop_back();
    t.insert(t.size() - 1, digits);
  }
  return V::string(t);
}
R bytes_s(A a) { return V::bytes(a[0].s()); }
R bool_s(A a) {
  const std::string& s = a[0].s();
  if (s == "true" || s == "True" || s == "TRUE" || s == "t" || s == "1") return V::boolean(true);
  if (s == "false" || s == "False" || s == "FALSE" || s == "f" || s == "0") return V::boolean(false);
  return invalid("strconv.ParseBool: parsing " + json::quote(s) + ": invalid syntax");
}
R type_of(A a) { return V::type(type_name(a[0])); }
R duration_s(A a) {
  auto d = parse_duration(a[0].s());
  if (!d.ok()) return invalid("time: invalid duration " + json::quote(a[0].s()));
  return V::duration(d->count());
}
R timestamp_s(A a) {
  auto t = parse_rfc3339(a[0].s());
  if (!t.ok()) return invalid("parsing time " + json::quote(a[0].s()) + " as \"2006-01-02T15:04:05Z07:00\": cannot parse");
  return V::timestamp(t->ns);
}
R timestamp_i(A a) {
  int64_t ns;
  return __builtin_mul_overflow(a[0].i(), int64_t{1'000'000'000}, &ns) ? R(invalid("timestamp overflow")) : R(V::timestamp(ns));
}
R sum_time(A a, int64_t sign, V (*make)(int64_t)) {
  int64_t o;
  if (sign > 0 ? __builtin_add_overflow(a[0].i(), a[1].i(), &o) : __builtin_sub_overflow(a[0].i(), a[1].i(), &o)) return invalid("duration overflow");
  return make(o);
}
R add_DD(A a) { return sum_time(a, 1, V::duration); }
R sub_DD(A a) { return sum_time(a, -1, V::duration); }
R add_T(A a) { return sum_time(a, 1, V::timestamp); }
R sub_TD(A a) { return sum_time(a, -1, V::timestamp); }
R neg_D(A a) { return a[0].i() == INT64_MIN ? overflow() : R(V::duration(-a[0].i())); }

std::tm parts(const Value& t) {
  std::time_t s = int_T(A(&t, 1))->i();
  std::tm out{};
  gmtime_r(&s, &out);
  return out;
}
R full_year(A a) { return V::integer(parts(a[0]).tm_year + 1900); }
R month(A a) { return V::integer(parts(a[0]).tm_mon); }
R date(A a) { return V::integer(parts(a[0]).tm_mday); }
R day_of_month(A a) { return V::integer(parts(a[0]).tm_mday - 1); }
R day_of_week(A a) { return V::integer(parts(a[0]).tm_wday); }
R day_of_year(A a) { return V::integer(parts(a[0]).tm_yday); }
R hours(A a) { return V::integer(parts(a[0]).tm_hour); }
R minutes(A a) { return V::integer(parts(a[0]).tm_min); }
R seconds(A a) { return V::integer(parts(a[0]).tm_sec); }
R millis(A a) { return V::integer(((a[0].i() % 1'000'000'000) + 1'000'000'000) % 1'000'000'000 / 1'000'000); }
R hours_D(A a) { return V::integer(a[0].i() / 3'600'000'000'000); }
R minutes_D(A a) { return V::integer(a[0].i() / 60'000'000'000); }
R seconds_D(A a) { return V::integer(a[0].i() / 1'000'000'000); }
R millis_D(A a) { return V::integer(a[0].i() / 1'000'000); }

bool zero_value(const Value& v) {
  switch (v.kind()) {
    case Kind::kNull: return true;
    case Kind::kBool: return v.is_false();
    case Kind::kInt:
    case Kind::kUint:
    case Kind::kDuration: return v.i() == 0;
    case Kind::kDouble: return v.d() == 0;
    case Kind::kString:
    case Kind::kBytes: return v.s().empty();
    case Kind::kList: return v.items().empty();
    case Kind::kMap: return v.as_map().entries.empty();
    default: return false;
  }
}
R optional_of(A a) { return V::some(a[0]); }
R optional_none(A) { return V::none(); }
R optional_non_zero(A a) { return zero_value(a[0]) ? V::none() : V::some(a[0]); }
R has_value(A a) { return V::boolean(a[0].held() != nullptr); }
R value_of(A a) { return a[0].held() ? R(*a[0].held()) : R(invalid("optional.none() dereference")); }
R or_value(A a) { return a[0].held() ? *a[0].held() : a[1]; }
R or_optional(A a) { return a[0].held() ? a[0] : a[1]; }

constexpr Function kOperators[] = {
    {"_+_", false, "iii", add_i},
    {"_+_", false, "uuu", add_u},
    {"_+_", false, "ddd", add_d},
    {"_+_", false, "sss", add_s},
    {"_+_", false, "yyy", add_y},
    {"_+_", false, "LLL", add_l},
    {"_+_", false, "DDD", add_DD},
    {"_+_", false, "TTD", add_T},
    {"_+_", false, "TDT", add_T},
    {"_-_", false, "iii", sub_i},
    {"_-_", false, "uuu", sub_u},
    {"_-_", false, "ddd", sub_d},
    {"_-_", false, "DDD", sub_DD},
    {"_-_", false, "TTD", sub_TD},
    {"_-_", false, "DTT", sub_DD},
    {"_*_", false, "iii", mul_i},
    {"_*_", false, "uuu", mul_u},
    {"_*_", false, "ddd", mul_d},
    {"_/_", false, "iii", div_i},
    {"_/_", false, "uuu", div_u},
    {"_/_", false, "ddd", div_d},
    {"_%_", false, "iii", mod_i},
    {"_%_", false, "uuu", mod_u},
    {"-_", false, "ii", neg_i},
    {"-_", false, "dd", neg_d},
    {"-_", false, "DD", neg_D},
    {"!_", false, "bb", negate},
    {"_==_", false, "bAA", eq},
    {"_!=_", false, "bAA", ne},
    {"@in", false, "bAL", in_list},
    {"@in", false, "bBM", in_map},
    {"_[_]", false, "ALi", at_list},
    {"_[_]", false, "AL*", at_list},
    {"_[_]", false, "AMB", at_map},
    {"_[?_]", false, "OLi", maybe_at_list},
    {"_[?_]", false, "OMB", maybe_at_map},
    {"size", false, "is", size_s},
    {"size", false, "iy", size_y},
    {"size", false, "iL", size_l},
    {"size", false, "iM", size_m},
    {"size", true, "is", size_s},
    {"size", true, "iy", size_y},
    {"size", true, "iL", size_l},
    {"size", true, "iM", size_m},
    {"optional.of", false, "OA", optional_of},
    {"optional.none", false, "O", optional_none},
    {"optional.ofNonZeroValue", false, "OA", optional_non_zero},
    {"hasValue", true, "bO", has_value},
    {"value", true, "AO", value_of},
    {"orValue", true, "AOA", or_value},
    {"or", true, "OOO", or_optional},
#define ORDERED(op, f)                                                                                                                          \
  {op, false, "bii", f}, {op, false, "buu", f}, {op, false, "bdd", f}, {op, false, "bid", f}, {op, false, "bdi", f}, {op, false, "biu", f},     \
      {op, false, "bui", f}, {op, false, "bud", f}, {op, false, "bdu", f}, {op, false, "bss", f}, {op, false, "byy", f}, {op, false, "bbb", f}, \
      {op, false, "bDD", f}, { op, false, "bTT", f }
    ORDERED("_<_", lt),
    ORDERED("_<=_", le),
    ORDERED("_>_", gt),
    ORDERED("_>=_", ge),
#undef ORDERED
};
constexpr Function kConversions[] = {
    {"int", false, "ii", same},
    {"int", false, "iu", int_u},
    {"int", false, "id", int_d},
    {"int", false, "is", int_s},
    {"int", false, "iT", int_T},
    {"int", false, "iD", seconds_D},
    {"uint", false, "uu", same},
    {"uint", false, "ui", uint_i},
    {"uint", false, "ud", uint_d},
    {"uint", false, "us", uint_s},
    {"double", false, "dd", same},
    {"double", false, "di", double_i},
    {"double", false, "du", double_u},
    {"double", false, "ds", double_s},
    {"string", false, "ss", same},
    {"string", false, "sb", string_b},
    {"string", false, "si", string_i},
    {"string", false, "su", string_u},
    {"string", false, "sd", string_d},
    {"string", false, "sy", string_y},
    {"string", false, "sD", string_D},
    {"string", false, "sT", string_T},
    {"bytes", false, "yy", same},
    {"bytes", false, "ys", bytes_s},
    {"bool", false, "bb", same},
    {"bool", false, "bs", bool_s},
    {"type", false, "tA", type_of},
    {"dyn", false, "*A", same},
    {"duration", false, "Ds", duration_s},
    {"duration", false, "DD", same},
    {"timestamp", false, "Ts", timestamp_s},
    {"timestamp", false, "Ti", timestamp_i},
    {"timestamp", false, "TT", same},
};
constexpr Function kTime[] = {
    {"getFullYear", true, "iT", full_year},
    {"getMonth", true, "iT", month},
    {"getDate", true, "iT", date},
    {"getDayOfMonth", true, "iT", day_of_month},
    {"getDayOfWeek", true, "iT", day_of_week},
    {"getDayOfYear", true, "iT", day_of_year},
    {"getHours", true, "iT", hours},
    {"getMinutes", true, "iT", minutes},
    {"getSeconds", true, "iT", seconds},
    {"getMilliseconds", true, "iT", millis},
    {"getHours", true, "iD", hours_D},
    {"getMinutes", true, "iD", minutes_D},
    {"getSeconds", true, "iD", seconds_D},
    {"getMilliseconds", true, "iD", millis_D},
};

}  // namespace

std::span<const Function> operator_functions() { return kOperators; }
std::span<const Function> conversion_functions() { return kConversions; }
std::span<const Function> time_functions() { return kTime; }

}  // namespace caravel::kube::cel
