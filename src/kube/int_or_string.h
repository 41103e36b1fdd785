// A number or a text: ports ("http" or 80), amounts ("25%" or 2).
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "base/json.h"
#include "base/result.h"

namespace caravel::kube {

struct IntOrString {
  bool is_string = false;
  int32_t int_value = 0;
  std::string string_value;

  IntOrString() = default;
  IntOrString(int value) : int_value(value) {}
  IntOrString(std::string value) : is_string(true), string_value(std::move(value)) {}
  IntOrString(const char* value) : is_string(true), string_value(value) {}

  std::string text() const { return is_string ? string_value : std::to_string(int_value); }
  // The number; of a text its decimal value, 0 if it is none.
  int32_t as_int() const;
  // The number, or the percentage of `total` rounded up or down; an error for any other text.
  Result<int> scaled(int total, bool round_up) const;
  json::Value to_json() const { return is_string ? json::Value(string_value) : json::Value(int_value); }
  bool operator==(const IntOrString&) const = default;
};

}  // namespace caravel::kube
