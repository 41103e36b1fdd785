#include "kube/validate_crd_parts.h"

#include <re2/re2.h>

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

using json::Value;

std::string_view go_regex_code(RE2::ErrorCode code) {
  switch (code) {
    case RE2::ErrorBadEscape: return "invalid escape sequence";
    case RE2::ErrorBadCharClass: return "invalid character class";
    case RE2::ErrorBadCharRange: return "invalid character class range";
    case RE2::ErrorMissingBracket: return "missing closing ]";
    case RE2::ErrorMissingParen: return "missing closing )";
    case RE2::ErrorTrailingBackslash: return "trailing backslash at end of expression";
    case RE2::ErrorRepeatArgument: return "missing argument to repetition operator";
    case RE2::ErrorRepeatSize: return "invalid repeat count";
    case RE2::ErrorRepeatOp: return "invalid nested repetition operator";
    case RE2::ErrorBadPerlOp: return "invalid or unsupported Perl syntax";
    case RE2::ErrorBadUTF8: return "invalid UTF-8";
    case RE2::ErrorBadNamedCapture: return "invalid named capture";
    case RE2::ErrorPatternTooLarge: return "expression too large";
    default: return "regexp/syntax: internal error";
  }
}

struct Step {
  const Value* schema = nullptr;
  FieldPath path;
  std::string root, fault;
};

// ".spec.a": where it leads in the schema.
Step follow(const Value& schema, std::string_view path) {
  Step at;
  at.schema = &schema;
  auto fail = [&](std::string why) {
    at.fault = std::move(why);
    return at;
  };
  // Words, and the three characters that stand between them.
  auto word = [](std::string_view& rest) {
    const size_t n = rest.empty() ? 0 : std::string_view(".[]").find(rest[0]) != std::string_view::npos ? 1
                                                                                                        : std::min(rest.find_first_of(".[]"), rest.size());
    std::string out(rest.substr(0, n));
    rest.remove_prefix(n);
    return out;
  };
  while (!path.empty()) {
    const std::string mark = word(path);
    if (mark == "[") return fail("array notation is not allowed");
    if (mark != ".") return fail("expected [ or . but got: " + mark);
    if (path.empty()) return fail("unexpected end of JSON path");
    const std::string name = word(path);
    const Value &properties = (*at.schema)["properties"], &more = (*at.schema)["additionalProperties"];
    if (properties.size()) {
      const Value* next = properties.find(name);
      if (!next) return fail("does not refer to a valid field");
      at.schema = next;
      at.path = at.path.child(name);
    } else if (more.is_object()) {
      at.schema = &more;
      at.path = at.path.key(name);
    } else {
      return fail("does not refer to a valid field");
    }
    if (at.root.empty()) at.root = name;
  }
  return at;
}

}  // namespace

std::string regex_fault(const std::string& pattern) {
  RE2::Options o;
  o.set_log_errors(false);
  const RE2 re(pattern, o);
  if (re.ok()) return "";
  // The C++ library has one code for both.
  const bool closes = re.error_code() == RE2::ErrorMissingParen && re.error().find("unexpected") != std::string::npos;
  return "error parsing regexp: " + std::string(closes ? "unexpected )" : go_regex_code(re.error_code())) + ": `" + re.error_arg() + "`";
}

void crd_selectable_fields(const Value& list, const Value& schema, bool keeps, const FieldPath& p, FieldErrors& e) {
  constexpr size_t kMost = 8;
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const FieldPath at = p.index(i).child("jsonPath");
    const std::string& path = list.at(i)["jsonPath"].as_string();
    if (path.empty()) {
      e.push_back(required_error(at));
      continue;
    }
    const Step end = follow(schema, path);
    if (!end.fault.empty()) {
      e.push_back(invalid_error(at, path, "is an invalid path: " + end.fault));
      continue;
    }
    if (end.root == "metadata") e.push_back(invalid_error(at, path, "must not point to fields in metadata"));
    const std::string& type = (*end.schema)["type"].as_string();
    if (type != "string" && type != "boolean" && type != "integer")
      e.push_back(invalid_error(at, path, "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed."));
    if (!seen.insert(end.path.text()).second) e.push_back(duplicate_error(at, path));
  }
  if (seen.size() > kMost && !keeps) e.push_back(too_many(p, static_cast<int64_t>(seen.size()), kMost));
}

void crd_approval(const Value& o, const Value* old, FieldErrors& e) {
  constexpr std::string_view kKey = "api-approved.kubernetes.io";
  const std::string& group = o["spec"]["group"].as_string();
  if (group != "k8s.io" && group != "kubernetes.io" && !group.ends_with(".k8s.io") && !group.ends_with(".kubernetes.io")) return;
  enum State { kMissing,
               kBypassed,
               kApproved,
               kBad };
  auto state_of = [&](const Value& crd) {
    const std::string& note = crd["metadata"]["annotations"][kKey].as_string();
    if (note.empty()) return kMissing;
    if (note.starts_with("unapproved")) return kBypassed;
    const size_t host = note.find("://");
    return host != note.npos && host > 0 && note.size() > host + 3 && note[host + 3] != '/' && note.find(' ') == note.npos ? kApproved : kBad;
  };
  const State now = state_of(o);
  if (old && state_of(*old) == now) return;
  const FieldPath at = FieldPath("metadata").child("annotations").key(kKey);
  const std::string must = "protected groups must have approval annotation " + json::quote(kKey), see = ", see https://github.com/kubernetes/enhancements/pull/1111";
  if (now == kMissing) e.push_back(required_error(at, must + see));
  if (now == kBad) e.push_back(invalid_error(at, o["metadata"]["annotations"][kKey], must + " with either a URL or a reason starting with \"unapproved\"" + see));
}

void crd_root_with_status(const Value& schema, const FieldPath& p, FieldErrors& e) {
  static constexpr std::string_view kForbidden[] = {"not", "allOf", "anyOf", "oneOf", "enum", "default", "additionalProperties", "maxProperties", "minProperties",
                                                    "x-kubernetes-embedded-resource", "x-kubernetes-int-or-string", "x-kubernetes-list-type", "x-kubernetes-list-map-keys", "x-kubernetes-map-type", "nullable"};
  const bool any = std::any_of(std::begin(kForbidden), std::end(kForbidden), [&](std::string_view f) { return !schema[f].is_null() && !(schema[f].is_bool() && !schema[f].as_bool()); });
  if (any)
    e.push_back(invalid_error(p, schema, "only [Description Type Format Title Maximum ExclusiveMaximum Minimum ExclusiveMinimum MaxLength MinLength Pattern MaxItems MinItems UniqueItems MultipleOf Required Items Properties ExternalDocs Example XPreserveUnknownFields XValidations] fields are allowed at the root of the schema if the status subresource is enabled"));
}

void crd_stored_versions(const Value& o, FieldErrors& e) {
  const FieldPath p("status.storedVersions");
  const Value &stored = o["status"]["storedVersions"], &versions = o["spec"]["versions"];
  for (size_t i = 0; i < stored.size(); ++i) {
    const std::string& v = stored.at(i).as_string();
    const auto& all = versions.as_array();
    if (std::any_of(all.begin(), all.end(), [&](const Value& x) { return x["name"].as_string() == v; })) continue;
    e.push_back(invalid_error(p.index(i), v, "missing from spec.versions; " + v + " was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in " + v + " and removes " + v + " from status.storedVersions"));
  }
}

}  // namespace caravel::kube::check
