#include "kube/quantity.h"

#include <array>

namespace caravel::kube {

namespace {

using Int = __int128;
constexpr Int kMax = static_cast<Int>(INT64_MAX) * 1'000'000'000;

Error bad_number() {
  return invalid("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'");
}
Error bad_suffix() { return invalid("unable to parse quantity's suffix"); }

Int cap(Int nanos) { return nanos > kMax ? kMax : nanos < -kMax ? -kMax
                                                                : nanos; }

// num / den, rounded away from zero.
Int divide_up(Int num, Int den) {
  Int q = num / den;
  if (num % den != 0) q += num < 0 ? -1 : 1;
  return q;
}

std::string digits(Int v) {
  if (v == 0) return "0";
  bool negative = v < 0;
  std::string s;
  while (v != 0) {
    int d = static_cast<int>(v % 10);
    s.insert(s.begin(), static_cast<char>('0' + (d < 0 ? -d : d)));
    v /= 10;
  }
  return negative ? "-" + s : s;
}

struct Suffix {
  Quantity::Format format;
  bool binary;
  int exponent;  // of 10, or of 1024
};

// nullopt-like: ok=false when there is no such suffix.
bool find_suffix(std::string_view s, Suffix& out) {
  using F = Quantity::Format;
  static constexpr std::array<std::pair<std::string_view, int>, 10> decimal = {
      {{"n", -9}, {"u", -6}, {"m", -3}, {"", 0}, {"k", 3}, {"M", 6}, {"G", 9}, {"T", 12}, {"P", 15}, {"E", 18}}};
  static constexpr std::array<std::string_view, 6> binary = {"Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
  for (auto& [name, e] : decimal)
    if (s == name) return out = {F::kDecimalSI, false, e}, true;
  for (size_t i = 0; i < binary.size(); ++i)
    if (s == binary[i]) return out = {F::kBinarySI, true, static_cast<int>(i) + 1}, true;
  if (s.size() > 1 && (s[0] == 'e' || s[0] == 'E')) {
    size_t i = 1;
    bool negative = false;
    if (s[i] == '-' || s[i] == '+') negative = s[i++] == '-';
    if (i == s.size() || s.size() - i > 4) return false;
    int e = 0;
    for (; i < s.size(); ++i) {
      if (s[i] < '0' || s[i] > '9') return false;
      e = e * 10 + (s[i] - '0');
    }
    return out = {F::kDecimalExponent, false, negative ? -e : e}, true;
  }
  return false;
}

}  // namespace

Result<Quantity> Quantity::parse(std::string_view s) {
  if (s.empty()) return bad_number();
  size_t i = 0;
  bool negative = false;
  if (s[0] == '+' || s[0] == '-') negative = s[i++] == '-';
  std::string mantissa;
  int fraction = 0;
  bool dot = false, any = false;
  for (; i < s.size() && ((s[i] >= '0' && s[i] <= '9') || s[i] == '.'); ++i) {
    if (s[i] == '.') {
      if (dot) return bad_number();
      dot = true;
      continue;
    }
    any = true;
    mantissa += s[i];
    if (dot) ++fraction;
  }
  if (!any) return bad_number();
  for (size_t k = i; k < s.size(); ++k)
    if (std::string_view("eEinumkKMGTP+-0123456789").find(s[k]) == std::string_view::npos) return bad_number();
  Suffix suffix{};
  if (!find_suffix(s.substr(i), suffix)) return bad_suffix();

  // value = mantissa × 10^scale × 1024^binary, wanted in units of 10^-9.
  size_t first = mantissa.find_first_not_of('0');
  mantissa = first == mantissa.npos ? "" : mantissa.substr(first);
  int scale = -fraction + (suffix.binary ? 0 : suffix.exponent) + 9;
  Quantity q;
  q.format_ = suffix.format;
  if (mantissa.empty()) return q;
  while (mantissa.size() > 1 && mantissa.back() == '0') mantissa.pop_back(), ++scale;
  bool inexact = false;
  // More digits than we can hold below 10^-9 only matter for rounding up.
  while (mantissa.size() > 27 && scale < 0) {
    inexact |= mantissa.back() != '0';
    mantissa.pop_back();
    ++scale;
  }
  Int v = 0;
  if (static_cast<int>(mantissa.size()) + scale > 32) {
    v = kMax;
  } else {
    for (char c : mantissa) v = v * 10 + (c - '0');
    for (int k = 0; suffix.binary && k < suffix.exponent; ++k) {
      if (v > static_cast<Int>(1) << 114) {
        v = (static_cast<Int>(1) << 124) - 1;
        break;
      }
      v *= 1024;
    }
    for (; scale > 0; --scale) {
      v *= 10;
      if (v > kMax * 1000) break;
    }
    Int den = 1;
    for (; scale < 0 && den <= static_cast<Int>(1) << 120; ++scale) {
      if (den > (static_cast<Int>(1) << 122)) break;
      den *= 10;
    }
    if (scale < 0) v = 1;  // far below the finest step: rounds up to it
    else if (den > 1) v = divide_up(v, den);
    if (inexact && den == 1) v += 1;
  }
  q.nanos_ = cap(negative ? -v : v);
  return q;
}

Quantity Quantity::of(std::string_view text) {
  auto q = parse(text);
  return q.ok() ? *q : Quantity();
}

Quantity Quantity::from_milli(int64_t milli, Format format) {
  Quantity q;
  q.nanos_ = cap(static_cast<Int>(milli) * 1'000'000);
  q.format_ = format;
  return q;
}

int64_t Quantity::value() const { return static_cast<int64_t>(divide_up(nanos_, kNano)); }
int64_t Quantity::milli_value() const {
  Int m = divide_up(nanos_, 1'000'000);
  return m > INT64_MAX ? INT64_MAX : m < INT64_MIN ? INT64_MIN
                                                   : static_cast<int64_t>(m);
}

std::string Quantity::text() const {
  if (nanos_ == 0) return "0";
  Format format = format_;
  if (format == Format::kBinarySI) {
    Int limit = static_cast<Int>(1024) * kNano;
    if ((nanos_ > -limit && nanos_ < limit) || nanos_ % kNano != 0) format = Format::kDecimalSI;
  }
  if (format == Format::kBinarySI) {
    static constexpr const char* names[] = {"", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"};
    Int v = nanos_ / kNano;
    int k = 0;
    while (k < 6 && v % 1024 == 0) v /= 1024, ++k;
    return digits(v) + names[k];
  }
  Int v = nanos_;
  int exponent = -9;
  while (v % 10 == 0) v /= 10, ++exponent;
  while (exponent > 18) v *= 10, --exponent;
  while (exponent % 3 != 0) v *= 10, --exponent;
  if (format == Format::kDecimalExponent) return exponent == 0 ? digits(v) : digits(v) + "e" + std::to_string(exponent);
  static constexpr const char* names[] = {"n", "u", "m", "", "k", "M", "G", "T", "P", "E"};
  return digits(v) + names[(exponent + 9) / 3];
}

Quantity& Quantity::operator+=(const Quantity& o) {
  if (is_zero()) format_ = o.format_;
  nanos_ = cap(nanos_ + o.nanos_);
  return *this;
}
Quantity& Quantity::operator-=(const Quantity& o) {
  if (is_zero()) format_ = o.format_;
  nanos_ = cap(nanos_ - o.nanos_);
  return *this;
}
Quantity Quantity::operator-() const {
  Quantity q = *this;
  q.nanos_ = -q.nanos_;
  return q;
}

}  // namespace caravel::kube
