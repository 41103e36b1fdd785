// Validation errors: field, reason and message as upstream's field.Error words them.
#pragma once

#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace caravel::kube {

// `reason` is the CauseType of the Status ("FieldValueInvalid"); `message` is without the field:
//   Invalid value: "A": a lowercase RFC 1123 label must ...
struct FieldError {
  std::string field, reason, message;
  std::string text() const { return field + ": " + message; }
};
using FieldErrors = std::vector<FieldError>;

// A path to a field: path.child("spec").index(0).key("a") -> "spec[0][a]".
class FieldPath {
 public:
  FieldPath() = default;
  explicit FieldPath(std::string text) : text_(std::move(text)) {}
  FieldPath child(std::string_view name) const { return text_.empty() ? FieldPath(std::string(name)) : join(".", name, ""); }
  FieldPath index(size_t i) const { return join("[", std::to_string(i), "]"); }
  FieldPath key(std::string_view k) const { return join("[", k, "]"); }
  const std::string& text() const { return text_; }

 private:
  FieldPath join(std::string_view open, std::string_view step, std::string_view close) const {
    std::string out;
    out.reserve(text_.size() + open.size() + step.size() + close.size());
    out.append(text_).append(open).append(step).append(close);
    return FieldPath(std::move(out));
  }

  std::string text_;
};

FieldError required_error(const FieldPath& p, std::string_view detail = "");
FieldError invalid_error(const FieldPath& p, const json::Value& value, std::string_view detail);
FieldError invalid_without_value(const FieldPath& p, std::string_view detail);  // where the value says nothing
FieldError not_supported(const FieldPath& p, const json::Value& value, const std::vector<std::string>& supported);
FieldError not_supported(const FieldPath& p, const json::Value& value, std::initializer_list<std::string_view> supported);
FieldError not_found(const FieldPath& p, const json::Value& value, std::string_view detail = "");
FieldError forbidden_error(const FieldPath& p, std::string_view detail);
FieldError duplicate_error(const FieldPath& p, const json::Value& value);
FieldError too_long(const FieldPath& p, int64_t max);
FieldError too_many(const FieldPath& p, int64_t actual, int64_t max);
FieldError type_error(const FieldPath& p, const json::Value& value, std::string_view detail);

}  // namespace caravel::kube
