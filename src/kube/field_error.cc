#include "kube/field_error.h"

#include "base/strings.h"

namespace caravel::kube {

namespace {
std::string show(const json::Value& v) { return v.is_string() ? json::quote(v.as_string()) : json::dump(v); }
template <class List>
FieldError unsupported(const FieldPath& p, const json::Value& value, const List& supported) {
  std::string list;
  for (auto& s : supported) list += (list.empty() ? "" : ", ") + json::quote(s);
  return {p.text(), "FieldValueNotSupported", "Unsupported value: " + show(value) + (list.empty() ? "" : ": supported values: " + list)};
}
}  // namespace

FieldError required_error(const FieldPath& p, std::string_view detail) {
  return {p.text(), "FieldValueRequired", detail.empty() ? "Required value" : "Required value: " + std::string(detail)};
}
FieldError invalid_error(const FieldPath& p, const json::Value& value, std::string_view detail) {
  return {p.text(), "FieldValueInvalid", "Invalid value: " + show(value) + (detail.empty() ? "" : ": " + std::string(detail))};
}
FieldError invalid_without_value(const FieldPath& p, std::string_view detail) { return {p.text(), "FieldValueInvalid", "Invalid value: " + std::string(detail)}; }
FieldError not_supported(const FieldPath& p, const json::Value& value, const std::vector<std::string>& supported) { return unsupported(p, value, supported); }
FieldError not_supported(const FieldPath& p, const json::Value& value, std::initializer_list<std::string_view> supported) { return unsupported(p, value, supported); }
FieldError not_found(const FieldPath& p, const json::Value& value, std::string_view detail) {
  return {p.text(), "FieldValueNotFound", "Not found: " + show(value) + (detail.empty() ? "" : ": " + std::string(detail))};
}
FieldError forbidden_error(const FieldPath& p, std::string_view detail) { return {p.text(), "FieldValueForbidden", "Forbidden: " + std::string(detail)}; }
FieldError duplicate_error(const FieldPath& p, const json::Value& value) { return {p.text(), "FieldValueDuplicate", "Duplicate value: " + show(value)}; }
FieldError too_long(const FieldPath& p, int64_t max) {
  return {p.text(), "FieldValueTooLong", "Too long: may not be more than " + std::to_string(max) + " bytes"};
}
FieldError too_many(const FieldPath& p, int64_t actual, int64_t max) {
  return {p.text(), "FieldValueTooMany", "Too many: " + std::to_string(actual) + ": must have at most " + std::to_string(max) + " items"};
}
FieldError type_error(const FieldPath& p, const json::Value& value, std::string_view detail) {
  return {p.text(), "FieldValueTypeInvalid", "Invalid value: " + show(value) + (detail.empty() ? "" : ": " + std::string(detail))};
}

}  // namespace caravel::kube
