#include "kube/int_or_string.h"

#include "base/strings.h"

namespace caravel::kube {

int32_t IntOrString::as_int() const {
  if (!is_string) return int_value;
  auto n = parse_int(string_value);
  return n && *n >= INT32_MIN && *n <= INT32_MAX ? static_cast<int32_t>(*n) : 0;
}

Result<int> IntOrString::scaled(int total, bool round_up) const {
  if (!is_string) return static_cast<int>(int_value);
  std::string_view s = string_value;
  if (!s.empty() && s.back() == '%') {
    if (auto percent = parse_int(s.substr(0, s.size() - 1))) {
      int64_t n = *percent * total;
      return static_cast<int>(round_up && n > 0 ? (n + 99) / 100 : n / 100);
    }
    return invalid("invalid value \"" + string_value + "\": a percentage is a whole number followed by %, such as \"25%\"");
  }
  return invalid("invalid value for IntOrString: invalid type: string is not a percentage");
}

}  // namespace caravel::kube
