// Quantity: an exact decimal with Kubernetes' suffixes ("100m", "1.5Gi", "2e3").
//
// Held in billionths with the format it was written in; text() is upstream's canonical form:
// no fraction, the largest suffix that needs none ("0.5" -> "500m", "1024Ki" -> "1Mi", "1500m" stays).
// Values finer than 10^-9 are rounded up, values beyond ±2^63-1 are capped, as upstream does on parsing.
#pragma once

#include <compare>
#include <cstdint>
#include <string>
#include <string_view>

#include "base/result.h"

namespace caravel::kube {

class Quantity {
 public:
  enum class Format : uint8_t { kDecimalSI,
                                kBinarySI,
                                kDecimalExponent };

  Quantity() = default;
  explicit Quantity(int64_t value, Format format = Format::kDecimalSI) : nanos_(static_cast<__int128>(value) * kNano), format_(format) {}
  static Quantity from_milli(int64_t milli, Format format = Format::kDecimalSI);
  static Result<Quantity> parse(std::string_view text);
  // For constants and tests: an invalid text gives zero.
  static Quantity of(std::string_view text);

  int64_t value() const;        // units, rounded up (away from zero, as upstream)
  int64_t milli_value() const;  // thousandths, rounded up
  double as_double() const { return static_cast<double>(nanos_) / 1e9; }
  std::string text() const;  // canonical form
  Format format() const { return format_; }
  bool is_zero() const { return nanos_ == 0; }
  int sign() const { return nanos_ < 0 ? -1 : nanos_ > 0 ? 1
                                                         : 0; }

  // The left side's format wins, unless the left side is zero.
  Quantity& operator+=(const Quantity& o);
  Quantity& operator-=(const Quantity& o);
  friend Quantity operator+(Quantity a, const Quantity& b) { return a += b; }
  friend Quantity operator-(Quantity a, const Quantity& b) { return a -= b; }
  Quantity operator-() const;
  // By value: "1" equals "1000m".
  friend bool operator==(const Quantity& a, const Quantity& b) { return a.nanos_ == b.nanos_; }
  friend std::strong_ordering operator<=>(const Quantity& a, const Quantity& b) {
    return a.nanos_ < b.nanos_ ? std::strong_ordering::less : a.nanos_ > b.nanos_ ? std::strong_ordering::greater
                                                                                  : std::strong_ordering::equal;
  }

 private:
  static constexpr int64_t kNano = 1'000'000'000;
  __int128 nanos_ = 0;
  Format format_ = Format::kDecimalSI;
};

}  // namespace caravel::kube
