// Structural validation of custom resources, with the messages of upstream's validator.
#include <re2/re2.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <set>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validation.h"

namespace caravel::kube {

namespace {

// Compiled once per pattern text; CRDs hold few.
const RE2* regex(const std::string& pattern) {
  static std::mutex mutex;
  static std::map<std::string, std::unique_ptr<RE2>> cache;
  constexpr size_t kCacheMax = 4096;
  std::lock_guard lock(mutex);
  auto it = cache.find(pattern);
  if (it == cache.end()) {
    if (cache.size() > kCacheMax) cache.clear();
    RE2::Options o;
    o.set_log_errors(false);
    it = cache.emplace(pattern, std::make_unique<RE2>(pattern, o)).first;
  }
  return it->second->ok() ? it->second.get() : nullptr;
}

std::string type_name(Schema::Type t) {
  switch (t) {
    case Schema::Type::kObject: return "object";
    case Schema::Type::kArray: return "array";
    case Schema::Type::kString: return "string";
    case Schema::Type::kInteger: return "integer";
    case Schema::Type::kNumber: return "number";
    case Schema::Type::kBoolean: return "boolean";
    case Schema::Type::kIntOrString: return "integer,string";
    case Schema::Type::kAny: break;
  }
  return "";
}

std::string actual_type(const json::Value& v) {
  switch (v.type()) {
    case json::Type::kNull: return "null";
    case json::Type::kBool: return "boolean";
    case json::Type::kInt: return "integer";
    case json::Type::kDouble: return "number";
    case json::Type::kString: return "string";
    case json::Type::kArray: return "array";
    case json::Type::kObject: return "object";
  }
  return "";
}

bool has_type(Schema::Type t, const json::Value& v) {
  switch (t) {
    case Schema::Type::kAny: return true;
    case Schema::Type::kObject: return v.is_object();
    case Schema::Type::kArray: return v.is_array();
    case Schema::Type::kString: return v.is_string();
    case Schema::Type::kInteger: return v.is_int() || (v.is_number() && v.as_double() == std::floor(v.as_double()));
    case Schema::Type::kNumber: return v.is_number();
    case Schema::Type::kBoolean: return v.is_bool();
    case Schema::Type::kIntOrString: return v.is_int() || v.is_string();
  }
  return true;
}

std::string number_text(double d) { return d == std::floor(d) && std::fabs(d) < 1e15 ? std::to_string(static_cast<int64_t>(d)) : format("%g", d); }

}  // namespace

bool format_ok(const std::string& format, const std::string& text) {
  if (format == "date-time") return parse_rfc3339(text).ok();
  if (format == "date") return text.size() == 10 && parse_rfc3339(text + "T00:00:00Z").ok();
  if (format == "byte") return base64_decode(text).has_value();
  if (format == "duration") return parse_duration(text).ok();
  if (format == "uuid") {
    static const RE2 re("(?i)^[0-9a-f]{8}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{4}-?[0-9a-f]{12}$");
    return RE2::FullMatch(text, re);
  }
  if (format == "ipv4" || format == "ipv6" || format == "ip") return check_ip(text).empty() && (format != "ipv4" || text.find(':') == text.npos) && (format != "ipv6" || text.find(':') != text.npos);
  if (format == "quantity") return Quantity::parse(text).ok();
  return true;
}

namespace {

void check_string(const Schema& s, const std::string& text, const json::Value& v, const FieldPath& p, FieldErrors& e) {
  std::string body = p.text() + " in body ";
  size_t n = s.min_length >= 0 || s.max_length >= 0 ? utf8_length(text) : 0;
  if (s.max_length >= 0 && n > static_cast<size_t>(s.max_length))
    e.push_back({p.text(), "FieldValueTooLong", "Too long: may not be more than " + std::to_string(s.max_length) + " bytes"});
  if (s.min_length >= 0 && n < static_cast<size_t>(s.min_length))
    e.push_back(invalid_error(p, v, body + "should be at least " + std::to_string(s.min_length) + " chars long"));
  if (!s.pattern.empty()) {
    const RE2* re = regex(s.pattern);
    if (re && !RE2::PartialMatch(text, *re)) e.push_back(invalid_error(p, v, body + "should match '" + s.pattern + "'"));
  }
  if (!s.format.empty() && !format_ok(s.format, text))
    e.push_back(invalid_error(p, v, body + "must be of type " + s.format + ": " + json::quote(text)));
}

void check_number(const Schema& s, const json::Value& v, const FieldPath& p, FieldErrors& e) {
  double d = v.as_double();
  std::string body = p.text() + " in body should be ";
  if (!std::isnan(s.maximum) && (s.exclusive_maximum ? d >= s.maximum : d > s.maximum))
    e.push_back(invalid_error(p, v, body + (s.exclusive_maximum ? "less than " : "less than or equal to ") + number_text(s.maximum)));
  if (!std::isnan(s.minimum) && (s.exclusive_minimum ? d <= s.minimum : d < s.minimum))
    e.push_back(invalid_error(p, v, body + (s.exclusive_minimum ? "greater than " : "greater than or equal to ") + number_text(s.minimum)));
  if (!std::isnan(s.multiple_of) && s.multiple_of != 0 && std::fmod(d, s.multiple_of) != 0)
    e.push_back(invalid_error(p, v, body + "a multiple of " + number_text(s.multiple_of)));
  if (s.format == "int32" && (d < INT32_MIN || d > INT32_MAX)) e.push_back(invalid_error(p, v, body + "an int32"));
}

// `keyed` is the path with the keys of maps in brackets: what lists of kinds tell has it so, what the schema tells has
// them as members.
void check_value(const Schema& s, const json::Value& v, const FieldPath& p, const FieldPath& keyed, FieldErrors& e);

void check_list(const Schema& s, const json::Value& v, const FieldPath& p, const FieldPath& keyed, FieldErrors& e) {
  int64_t n = static_cast<int64_t>(v.size());
  if (s.max_items >= 0 && n > s.max_items) e.push_back(too_many(p, n, s.max_items));
  if (s.min_items >= 0 && n < s.min_items)
    e.push_back(invalid_error(p, n, p.text() + " in body should have at least " + std::to_string(s.min_items) + " items"));
  std::set<std::string> seen;
  for (size_t i = 0; i < v.size(); ++i) {
    const json::Value& item = v.at(i);
    if (s.list == Schema::List::kMap) {
      json::Value key = json::Value::object();
      for (auto& k : s.list_map_keys) {
        if (item.find(k)) key[k] = item[k];
        else if (const Schema* c = s.items ? s.items->property(k) : nullptr; c && c->has_default) key[k] = c->default_value;
      }
      if (!seen.insert(json::dump_sorted(key)).second) e.push_back(duplicate_error(keyed.index(i), key));
    } else if (s.list == Schema::List::kSet || s.unique_items) {
      if (!seen.insert(json::dump_sorted(item)).second) e.push_back(duplicate_error(keyed.index(i), item));
    }
    if (s.items) check_value(*s.items, item, p.index(i), keyed.index(i), e);
  }
}

void check_object(const Schema& s, const json::Value& v, const FieldPath& p, const FieldPath& keyed, FieldErrors& e) {
  int64_t n = static_cast<int64_t>(v.size());
  if (s.max_properties >= 0 && n > s.max_properties) e.push_back({p.text(), "FieldValueTooMany", "Too many: " + std::to_string(n) + ": must have at most " + std::to_string(s.max_properties) + " properties"});
  if (s.min_properties >= 0 && n < s.min_properties)
    e.push_back(invalid_error(p, n, p.text() + " in body should have at least " + std::to_string(s.min_properties) + " properties"));
  for (auto& r : s.required)
    if (!v.find(r)) e.push_back(required_error(p.child(r)));
  for (auto& m : v.as_object()) {
    if (const Schema* c = s.property(m.key)) check_value(*c, m.value, p.child(m.key), keyed.child(m.key), e);
    else if (s.additional) check_value(*s.additional, m.value, p.child(m.key), keyed.key(m.key), e);
  }
}

bool passes(const Schema& s, const json::Value& v, const FieldPath& p) {
  FieldErrors e;
  check_value(s, v, p, p, e);
  return e.empty();
}

void check_value(const Schema& s, const json::Value& v, const FieldPath& p, const FieldPath& keyed, FieldErrors& e) {
  if (v.is_null()) {
    if (s.nullable || s.type == Schema::Type::kAny) return;
    e.push_back(type_error(p, json::Value("null"), p.text() + " in body must be of type " + type_name(s.type) + ": \"null\""));
    return;
  }
  if (!has_type(s.type, v)) {
    std::string t = actual_type(v);
    e.push_back(type_error(p, json::Value(t), p.text() + " in body must be of type " + type_name(s.type) + ": " + json::quote(t)));
    return;
  }
  if (!s.enum_values.empty() && std::find(s.enum_values.begin(), s.enum_values.end(), v) == s.enum_values.end()) {
    std::vector<std::string> supported;
    for (auto& x : s.enum_values) supported.push_back(x.is_string() ? x.as_string() : json::dump(x));
    e.push_back(not_supported(p, v, supported));
  }
  if (v.is_string()) check_string(s, v.as_string(), v, p, e);
  else if (v.is_number()) check_number(s, v, p, e);
  else if (v.is_array()) check_list(s, v, p, keyed, e);
  else if (v.is_object()) check_object(s, v, p, keyed, e);
  if (s.type == Schema::Type::kIntOrString && v.is_int() && !s.pattern.empty()) {
    // Quantities written as numbers match their pattern as text.
  }
  for (auto& c : s.all_of) check_value(*c, v, p, keyed, e);
  auto count = [&](const std::vector<SchemaPtr>& list) {
    return std::count_if(list.begin(), list.end(), [&](const SchemaPtr& c) { return passes(*c, v, p); });
  };
  if (!s.any_of.empty() && count(s.any_of) == 0) e.push_back(invalid_error(p, v, p.text() + " in body must validate at least one schema (anyOf)"));
  if (!s.one_of.empty()) {
    auto n = count(s.one_of);
    if (n != 1) e.push_back(invalid_error(p, v, p.text() + " in body must validate one and only one schema (oneOf). Found " + (n ? std::to_string(n) : std::string("none")) + " valid" + (n ? " alternatives" : "")));
  }
  if (s.not_schema && passes(*s.not_schema, v, p)) e.push_back(invalid_error(p, v, p.text() + " in body must not validate the schema (not)"));
}

}  // namespace

void validate_schema(const Schema& s, const json::Value& v, const FieldPath& p, FieldErrors& e) { check_value(s, v, p, p, e); }

}  // namespace caravel::kube
