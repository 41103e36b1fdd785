// ValidatingAdmissionPolicy, MutatingAdmissionPolicy and their bindings.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/validate_admission_rules.h"

namespace caravel::kube::check {

namespace {

using json::Value;
using K = cel::Type::Kind;

constexpr size_t kAuditAnnotationsMax = 20, kValueExpressionMax = 5 * 1024;

bool has_newline(std::string_view s) { return s.find_first_of("\r\n") != s.npos; }

bool identifier(const std::string& s) {
  if (s.empty() || (s[0] >= '0' && s[0] <= '9')) return false;
  return std::all_of(s.begin(), s.end(), [](char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_'; });
}

void named_rules(const Value& list, const FieldPath& p, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    FieldPath at = p.index(i);
    std::set<std::string> seen;
    const Value& names = list.at(i)["resourceNames"];
    for (size_t n = 0; n < names.size(); ++n) {
      const std::string& name = names.at(n).as_string();
      text_must(check_path_segment_name, name, at.child("resourceNames").index(n), e);
      if (!seen.insert(name).second) e.push_back(duplicate_error(at.child("resourceNames").index(n), name));
    }
    rule_with_operations(list.at(i), at, e);
  }
}

void match_resources(const Value& m, const FieldPath& p, FieldErrors& e) {
  one_of(m["matchPolicy"], {"Equivalent", "Exact"}, p.child("matchPolicy"), e);
  for (const char* selector : {"namespaceSelector", "objectSelector"}) {
    if (!m[selector].is_object()) e.push_back(required_error(p.child(selector)));
    else validate_label_selector(m[selector], p.child(selector), e);
  }
  named_rules(m["resourceRules"], p.child("resourceRules"), e);
  named_rules(m["excludeResourceRules"], p.child("excludeResourceRules"), e);
}

void param_kind(const Value& k, const FieldPath& p, FieldErrors& e) {
  const std::string &api = k["apiVersion"].as_string(), &kind = k["kind"].as_string();
  if (api.empty()) e.push_back(required_error(p.child("apiVersion")));
  else if (split(api, '/').size() > 2) e.push_back(invalid_error(p.child("apiVersion"), api, "unexpected GroupVersion string: " + api));
  if (kind.empty()) e.push_back(required_error(p.child("kind")));
  else if (std::string why = check_dns1035_label(to_lower(kind)); !why.empty()) e.push_back(invalid_error(p.child("kind"), kind, "may have mixed case, but should otherwise match: " + why));
}

void variables(const Value& list, cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& v = list.at(i);
    FieldPath at = p.index(i);
    const std::string& name = v["name"].as_string();
    if (name.empty()) e.push_back(required_error(at.child("name")));
    else if (!identifier(name)) e.push_back(invalid_error(at.child("name"), name, "name is not a valid CEL identifier"));
    else if (!seen.insert(name).second) e.push_back(duplicate_error(at.child("name"), name));
    cel::TypePtr type = cel::simple_type(K::kDyn);
    if (trim(v["expression"].as_string()).empty()) {
      e.push_back(required_error(at.child("expression"), "expression is not specified"));
    } else if (auto program = expression(v["expression"], compiler, {}, at.child("expression"), e)) {
      type = program->shared_type();
    }
    compiler.add_variable(name, std::move(type));
  }
}

void validation(const Value& v, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  std::string text(trim(v["expression"].as_string())), message(trim(v["message"].as_string()));
  if (text.empty()) e.push_back(required_error(p.child("expression"), "expression is not specified"));
  else expression(v["expression"], compiler, {K::kBool}, p.child("expression"), e);
  const std::string& message_expression = v["messageExpression"].as_string();
  if (!message_expression.empty() && trim(message_expression).empty()) e.push_back(invalid_error(p.child("messageExpression"), v["messageExpression"], "must be non-empty if specified"));
  else if (!message_expression.empty()) expression(v["messageExpression"], compiler, {K::kString}, p.child("messageExpression"), e);
  if (!v["message"].as_string().empty() && message.empty()) e.push_back(invalid_error(p.child("message"), v["message"], "message must be non-empty if specified"));
  else if (has_newline(message)) e.push_back(invalid_error(p.child("message"), v["message"], "message must not contain line breaks"));
  else if (has_newline(text) && message.empty()) e.push_back(required_error(p.child("message"), "message must be specified if expression contains line breaks"));
  one_of(v["reason"], {"Forbidden", "Invalid", "RequestEntityTooLarge", "Unauthorized"}, p.child("reason"), e, false);
}

void audit_annotations(const Value& list, const std::string& policy, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  if (list.size() > kAuditAnnotationsMax) e.push_back(invalid_error(p, list, "must not have more than " + std::to_string(kAuditAnnotationsMax) + " auditAnnotations"));
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    FieldPath at = p.index(i);
    const Value& a = list.at(i);
    const std::string &key = a["key"].as_string(), &value = a["valueExpression"].as_string();
    if (key.empty()) e.push_back(required_error(at.child("key")));
    else each_fault(check_qualified_name(policy.empty() ? key : policy + "/" + key), key, at.child("key"), e);
    if (!key.empty() && !seen.insert(key).second) e.push_back(duplicate_error(at.child("key"), key));
    if (trim(value).empty()) e.push_back(required_error(at.child("valueExpression"), "valueExpression is not specified"));
    else if (trim(value).size() > kValueExpressionMax) e.push_back(required_error(at.child("valueExpression"), "must not exceed " + std::to_string(kValueExpressionMax) + " bytes in length"));
    else expression(a["valueExpression"], compiler, {K::kString, K::kNull}, at.child("valueExpression"), e);
  }
}

// What both kinds of policies have, up to what they do.
void policy_head(const Value& s, cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  one_of(s["failurePolicy"], {"Fail", "Ignore"}, p.child("failurePolicy"), e);
  if (s["paramKind"].is_object()) param_kind(s["paramKind"], p.child("paramKind"), e);
  if (!s["matchConstraints"].is_object()) {
    e.push_back(required_error(p.child("matchConstraints")));
  } else {
    match_resources(s["matchConstraints"], p.child("matchConstraints"), e);
    if (s["matchConstraints"]["resourceRules"].size() == 0) e.push_back(required_error(p.child("matchConstraints").child("resourceRules")));
  }
  match_conditions(s["matchConditions"], compiler, p.child("matchConditions"), e);
  variables(s["variables"], compiler, p.child("variables"), e);
}

void validating_policy(const Value& o, FieldErrors& e) {
  const FieldPath p("spec");
  const Value& s = o["spec"];
  cel::PolicyCompiler compiler(s["paramKind"].is_object());
  policy_head(s, compiler, p, e);
  if (s["validations"].size() == 0 && s["auditAnnotations"].size() == 0) {
    for (const char* f : {"validations", "auditAnnotations"}) e.push_back(required_error(p.child(f), "validations or auditAnnotations must contain at least one item"));
    return;
  }
  for (size_t i = 0; i < s["validations"].size(); ++i) validation(s["validations"].at(i), compiler, p.child("validations").index(i), e);
  audit_annotations(s["auditAnnotations"], o["metadata"]["name"].as_string(), compiler, p.child("auditAnnotations"), e);
}

void mutation(const Value& m, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  const std::string& type = m["patchType"].as_string();
  const Value &apply = m["applyConfiguration"], &patch = m["jsonPatch"];
  one_of(m["patchType"], {"ApplyConfiguration", "JSONPatch"}, p.child("patchType"), e);
  auto part = [&](const char* name, const Value& given, bool wanted, bool list) {
    FieldPath at = p.child(name);
    if (!wanted) {
      if (given.is_object()) e.push_back(invalid_error(at, "{" + std::string(name) + "}", "must not be specified when patchType is " + type));
      return;
    }
    if (!given.is_object()) {
      e.push_back(required_error(at, "must be specified when patchType is " + type));
      return;
    }
    if (trim(given["expression"].as_string()).empty()) {
      e.push_back(required_error(at.child("expression"), "expression is not specified"));
      return;
    }
    auto program = expression(given["expression"], compiler, {}, at.child("expression"), e);
    if (!program || program->type().kind == K::kDyn) return;
    const cel::Type& t = program->type();
    bool good = list ? t.kind == K::kList && (!t.item || t.item->kind == K::kDyn || t.item->name == "JSONPatch") : t.kind == K::kObject && t.name == "Object";
    if (!good) e.push_back(invalid_error(at.child("expression"), given["expression"], list ? "must evaluate to list(JSONPatch)" : "must evaluate to Object"));
  };
  part("applyConfiguration", apply, type == "ApplyConfiguration", false);
  part("jsonPatch", patch, type == "JSONPatch", true);
}

void mutating_policy(const Value& o, FieldErrors& e) {
  const FieldPath p("spec");
  const Value& s = o["spec"];
  cel::PolicyCompiler compiler(s["paramKind"].is_object());
  compiler.allow_mutations();
  policy_head(s, compiler, p, e);
  one_of(s["reinvocationPolicy"], {"IfNeeded", "Never"}, p.child("reinvocationPolicy"), e);
  if (s["mutations"].size() == 0) e.push_back(required_error(p.child("mutations"), "mutations must contain at least one item"));
  for (size_t i = 0; i < s["mutations"].size(); ++i) mutation(s["mutations"].at(i), compiler, p.child("mutations").index(i), e);
}

void param_ref(const Value& r, const FieldPath& p, FieldErrors& e) {
  const std::string& name = r["name"].as_string();
  bool selector = r["selector"].is_object();
  if (name.empty() && !selector) e.push_back(required_error(p, "one of name or selector must be specified"));
  if (!name.empty()) {
    text_must(check_path_segment_name, name, p.child("name"), e);
    if (selector) {
      e.push_back(forbidden_error(p.child("name"), "name and selector are mutually exclusive"));
      e.push_back(forbidden_error(p.child("selector"), "name and selector are mutually exclusive"));
    }
  }
  if (selector) validate_label_selector(r["selector"], p.child("selector"), e);
  one_of(r["parameterNotFoundAction"], {"Allow", "Deny"}, p.child("parameterNotFoundAction"), e);
}

void actions(const Value& list, const FieldPath& p, FieldErrors& e) {
  if (list.size() == 0) e.push_back(required_error(p, "at least one validation action is required"));
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    one_of(list.at(i), {"Audit", "Deny", "Warn"}, p.index(i), e);
    if (!seen.insert(list.at(i).as_string()).second) e.push_back(duplicate_error(p.index(i), list.at(i)));
  }
  if (seen.count("Deny") && seen.count("Warn"))
    e.push_back(invalid_error(p, list, "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)"));
}

void binding(const Value& s, bool validating, FieldErrors& e) {
  const FieldPath p("spec");
  const std::string& policy = s["policyName"].as_string();
  if (policy.empty()) e.push_back(required_error(p.child("policyName")));
  else text_must(check_dns1123_subdomain, policy, p.child("policyName"), e);
  if (s["paramRef"].is_object()) param_ref(s["paramRef"], p.child("paramRef"), e);
  if (s["matchResources"].is_object()) match_resources(s["matchResources"], p.child("matchResources"), e);
  if (validating) actions(s["validationActions"], p.child("validationActions"), e);
}

}  // namespace

void admission(std::string_view kind, const Value& o, const Value*, FieldErrors& e) {
  if (kind == "MutatingWebhookConfiguration") webhook_configuration(o, true, e);
  else if (kind == "ValidatingWebhookConfiguration") webhook_configuration(o, false, e);
  else if (kind == "ValidatingAdmissionPolicy") validating_policy(o, e);
  else if (kind == "MutatingAdmissionPolicy") mutating_policy(o, e);
  else if (kind == "ValidatingAdmissionPolicyBinding") binding(o["spec"], true, e);
  else if (kind == "MutatingAdmissionPolicyBinding") binding(o["spec"], false, e);
}

}  // namespace caravel::kube::check
