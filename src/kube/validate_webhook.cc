// MutatingWebhookConfiguration and ValidatingWebhookConfiguration, and the rules that policies share with them.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/validate_admission_rules.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr size_t kMatchConditionsMax = 64;
constexpr int64_t kTimeoutMax = 30;
const std::vector<std::string> kReviewVersions = {"v1", "v1beta1"};

bool known_review(const Value& v) { return std::find(kReviewVersions.begin(), kReviewVersions.end(), v.as_string()) != kReviewVersions.end(); }

bool has(const Value& list, std::string_view text) {
  return std::any_of(list.as_array().begin(), list.as_array().end(), [&](const Value& v) { return v.as_string() == text; });
}

// A list where "*" stands alone.
void words(const Value& list, std::string_view what, const FieldPath& p, FieldErrors& e) {
  if (list.size() == 0) e.push_back(required_error(p));
  if (list.size() > 1 && has(list, "*")) e.push_back(invalid_error(p, list, "if '*' is present, must not specify other " + std::string(what)));
}

void rule_resources(const Value& list, const FieldPath& p, FieldErrors& e) {
  if (list.size() == 0) e.push_back(required_error(p));
  std::set<std::string> all_subs, all_resources;
  bool everything = false, star = false, plain = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& r = list.at(i).as_string();
    if (r.empty()) {
      e.push_back(required_error(p.index(i)));
      continue;
    }
    everything = everything || r == "*/*";
    star = star || r == "*";
    size_t slash = r.find('/');
    if (slash == r.npos) {
      plain = plain || r != "*";
      continue;
    }
    std::string resource = r.substr(0, slash), sub = r.substr(slash + 1);
    if (all_subs.count(resource)) e.push_back(invalid_error(p.index(i), r, "if '" + resource + "/*' is present, must not specify " + r));
    if (all_resources.count(sub)) e.push_back(invalid_error(p.index(i), r, "if '*/" + sub + "' is present, must not specify " + r));
    if (sub == "*") all_subs.insert(resource);
    if (resource == "*") all_resources.insert(sub);
  }
  if (list.size() > 1 && everything) e.push_back(invalid_error(p, list, "if '*/*' is present, must not specify other resources"));
  if (star && plain) e.push_back(invalid_error(p, list, "if '*' is present, must not specify other resources without subresources"));
}

void review_versions(const Value& list, const FieldPath& p, FieldErrors& e) {
  if (list.size() == 0) {
    e.push_back(required_error(p, "must specify one of " + join(kReviewVersions, ", ")));
    return;
  }
  std::set<std::string> seen;
  bool known = false;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string& v = list.at(i).as_string();
    if (!seen.insert(v).second) {
      e.push_back(invalid_error(p.index(i), v, "duplicate version"));
      continue;
    }
    text_must(check_dns1035_label, v, p.index(i), e);
    known = known || known_review(list.at(i));
  }
  if (!known) e.push_back(invalid_error(p, list, "must include at least one of " + join(kReviewVersions, ", ")));
}

void url(const std::string& text, const FieldPath& p, FieldErrors& e) {
  const std::string form = "; desired format: https://host[/path]";
  size_t colon = text.find("://");
  std::string scheme = colon == text.npos ? "" : to_lower(text.substr(0, colon));
  std::string rest = colon == text.npos ? text : text.substr(colon + 3);
  std::string fragment, query;
  if (size_t hash = rest.find('#'); hash != rest.npos) fragment = rest.substr(hash + 1), rest.resize(hash);
  if (size_t mark = rest.find('?'); mark != rest.npos) query = rest.substr(mark + 1), rest.resize(mark);
  std::string host = colon == text.npos ? "" : rest.substr(0, rest.find('/'));
  std::string user;
  if (size_t at = host.rfind('@'); at != host.npos) user = host.substr(0, at), host = host.substr(at + 1);
  if (scheme != "https") e.push_back(invalid_error(p, scheme, "'https' is the only allowed URL scheme" + form));
  if (host.empty()) e.push_back(invalid_error(p, host, "host must be specified" + form));
  if (!user.empty()) e.push_back(invalid_error(p, user, "user information is not permitted in the URL"));
  if (!fragment.empty()) e.push_back(invalid_error(p, fragment, "fragments are not permitted in the URL"));
  if (!query.empty()) e.push_back(invalid_error(p, query, "query parameters are not permitted in the URL"));
}

void service(const Value& s, bool of_crd, const FieldPath& p, FieldErrors& e) {
  if (s["name"].as_string().empty()) e.push_back(required_error(p.child("name"), of_crd ? "service name is required" : ""));
  if (s["namespace"].as_string().empty()) e.push_back(required_error(p.child("namespace"), of_crd ? "service namespace is required" : ""));
  if (const Value& port = s["port"]; port.is_int() && (port.as_int() < 1 || port.as_int() > 65535))
    e.push_back(invalid_error(p.child("port"), port, "port is not valid: must be between 1 and 65535, inclusive"));
  const std::string& path = s["path"].as_string();
  if (path.empty() || path == "/") return;
  FieldPath at = p.child("path");
  if (path[0] != '/') {
    e.push_back(invalid_error(at, path, "must start with a '/'"));
  }
  std::string inner = path.substr(1);
  if (inner.ends_with("/")) inner.pop_back();
  auto steps = split(inner, '/');
  for (size_t i = 0; i < steps.size(); ++i) {
    if (steps[i].empty()) e.push_back(invalid_error(at, path, "segment[" + std::to_string(i) + "] may not be empty"));
    else if (std::string why = check_dns1123_subdomain(steps[i]); !why.empty()) e.push_back(invalid_error(at, path, "segment[" + std::to_string(i) + "]: " + why));
  }
}

void qualified(const std::string& name, const FieldPath& p, FieldErrors& e) {
  if (name.empty()) e.push_back(required_error(p));
  else if (text_must(check_dns1123_subdomain, name, p, e) && split(name, '.').size() < 3) e.push_back(invalid_error(p, name, "should be a domain with at least three segments separated by dots"));
}

void webhook(const Value& w, bool mutating, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  qualified(w["name"].as_string(), p.child("name"), e);
  for (size_t i = 0; i < w["rules"].size(); ++i) rule_with_operations(w["rules"].at(i), p.child("rules").index(i), e);
  one_of(w["failurePolicy"], {"Fail", "Ignore"}, p.child("failurePolicy"), e, false);
  one_of(w["matchPolicy"], {"Equivalent", "Exact"}, p.child("matchPolicy"), e, false);
  if (w["sideEffects"].as_string().empty()) e.push_back(required_error(p.child("sideEffects"), "must specify one of None, NoneOnDryRun"));
  else one_of(w["sideEffects"], {"None", "NoneOnDryRun"}, p.child("sideEffects"), e);
  if (const Value& t = w["timeoutSeconds"]; t.is_int() && (t.as_int() < 1 || t.as_int() > kTimeoutMax))
    e.push_back(invalid_error(p.child("timeoutSeconds"), t, "the timeout value must be between 1 and 30 seconds"));
  if (w["namespaceSelector"].is_object()) validate_label_selector(w["namespaceSelector"], p.child("namespaceSelector"), e);
  if (w["objectSelector"].is_object()) validate_label_selector(w["objectSelector"], p.child("objectSelector"), e);
  if (mutating) one_of(w["reinvocationPolicy"], {"IfNeeded", "Never"}, p.child("reinvocationPolicy"), e, false);
  webhook_client_config(w["clientConfig"], p.child("clientConfig"), e);
  match_conditions(w["matchConditions"], compiler, p.child("matchConditions"), e);
  review_versions(w["admissionReviewVersions"], p.child("admissionReviewVersions"), e);
}

}  // namespace

void webhook_client_config(const Value& c, const FieldPath& p, FieldErrors& e, bool of_crd) {
  bool has_url = !c["url"].is_null(), has_service = c["service"].is_object();
  if (has_url == has_service) e.push_back(required_error(p, "exactly one of url or service is required"));
  else if (has_url) url(c["url"].as_string(), p.child("url"), e);
  else service(c["service"], of_crd, p.child("service"), e);
}

void rule_with_operations(const Value& r, const FieldPath& p, FieldErrors& e) {
  words(r["operations"], "operations", p.child("operations"), e);
  for (size_t i = 0; i < r["operations"].size(); ++i) one_of(r["operations"].at(i), {"*", "CONNECT", "CREATE", "DELETE", "UPDATE"}, p.child("operations").index(i), e);
  words(r["apiGroups"], "API groups", p.child("apiGroups"), e);
  words(r["apiVersions"], "API versions", p.child("apiVersions"), e);
  for (size_t i = 0; i < r["apiVersions"].size(); ++i)
    if (r["apiVersions"].at(i).as_string().empty()) e.push_back(required_error(p.child("apiVersions").index(i)));
  rule_resources(r["resources"], p.child("resources"), e);
  one_of(r["scope"], {"*", "Cluster", "Namespaced"}, p.child("scope"), e, false);
}

std::optional<cel::Program> expression(const Value& text, const cel::PolicyCompiler& compiler, std::initializer_list<cel::Type::Kind> kinds, const FieldPath& p, FieldErrors& e) {
  auto program = compiler.compile(text.as_string());
  if (!program.ok()) {
    e.push_back(invalid_error(p, text, "compilation failed: " + program.error().message));
    return std::nullopt;
  }
  cel::Type::Kind kind = program->type().kind;
  if (kinds.size() && kind != cel::Type::Kind::kDyn && std::find(kinds.begin(), kinds.end(), kind) == kinds.end()) {
    std::string names;
    const std::string got = " but got " + cel::type_text(program->type());
    for (auto k : kinds) names += (names.empty() ? "" : " ") + std::string(k == cel::Type::Kind::kNull ? "null_type" : cel::type_text(*cel::simple_type(k)));
    e.push_back(invalid_error(p, text, kinds.size() == 1 ? "must evaluate to " + names + got : "must evaluate to one of [" + names + "]" + got));
    return std::nullopt;
  }
  return std::move(*program);
}

void match_conditions(const Value& list, const cel::PolicyCompiler& compiler, const FieldPath& p, FieldErrors& e) {
  if (list.size() > kMatchConditionsMax) e.push_back(too_many(p, static_cast<int64_t>(list.size()), kMatchConditionsMax));
  std::set<std::string> seen;
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list.at(i);
    FieldPath at = p.index(i);
    if (trim(c["expression"].as_string()).empty()) e.push_back(required_error(at.child("expression")));
    else expression(c["expression"], compiler, {cel::Type::Kind::kBool}, at.child("expression"), e);
    const std::string& name = c["name"].as_string();
    if (name.empty()) {
      e.push_back(required_error(at.child("name")));
      continue;
    }
    text_must(check_qualified_name, name, at.child("name"), e);
    if (!seen.insert(name).second) e.push_back(duplicate_error(at.child("name"), name));
  }
}

void webhook_configuration(const Value& o, bool mutating, FieldErrors& e) {
  const cel::PolicyCompiler compiler(false);
  std::set<std::string> names;
  const Value& list = o["webhooks"];
  for (size_t i = 0; i < list.size(); ++i) {
    FieldPath p = FieldPath("webhooks").index(i);
    webhook(list.at(i), mutating, compiler, p, e);
    const std::string& name = list.at(i)["name"].as_string();
    if (!name.empty() && !names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
  }
}

}  // namespace caravel::kube::check
