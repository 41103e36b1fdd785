#include "apiserver/authentication/jwt_config.h"

#include <algorithm>
#include <set>

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::apiserver {

namespace {

using json::Value;
namespace cel = kube::cel;

Error bad_value(const std::string& at, const std::string& value, const std::string& why) { return invalid(at + ": Invalid value: " + json::quote(value) + ": " + why); }
Error required(const std::string& at, const std::string& why) { return invalid(at + ": Required value" + (why.empty() ? "" : ": " + why)); }

// A field that no one knows is an error, as in upstream's strict decoding.
Status only(const Value& v, const std::string& at, std::initializer_list<std::string_view> names) {
  for (auto& m : v.as_object())
    if (std::find(names.begin(), names.end(), std::string_view(m.key)) == names.end()) return invalid("strict decoding error: unknown field \"" + (at.empty() ? "" : at + ".") + m.key + "\"");
  return ok();
}

Result<ClaimExpression> compile(const Value& text, const std::string& at, ExpressionOver over, std::initializer_list<cel::Type::Kind> kinds) {
  auto e = compile_claim_expression(text.as_string(), over);
  if (!e.ok()) return bad_value(at, text.as_string(), "compilation failed: " + e.error().message);
  cel::Type::Kind kind = e->program->type().kind;
  bool fits = kind == cel::Type::Kind::kDyn;
  for (auto k : kinds) fits = fits || k == kind;
  if (!fits) return bad_value(at, text.as_string(), "compilation failed: must evaluate to " + std::string(kinds.size() == 1 && *kinds.begin() == cel::Type::Kind::kBool ? "bool" : kinds.size() == 1 ? "string"
                                                                                                                                                                                                     : "one of the types: [string list]"));
  return e;
}

Result<ClaimMapping> mapping(const Value& v, const std::string& at, bool prefixed, std::initializer_list<cel::Type::Kind> kinds) {
  ClaimMapping m;
  if (v.is_null()) return m;
  TRY_VOID(only(v, at, {"claim", "prefix", "expression"}));
  m.claim = v["claim"].as_string();
  const std::string& expression = v["expression"].as_string();
  if (!m.claim.empty() && !expression.empty()) return bad_value(at, "", "claim and expression can't both be set");
  if (!expression.empty()) {
    if (v.find("prefix")) return bad_value(at + ".prefix", v["prefix"].as_string(), "prefix can't be set when expression is set");
    TRY(m.expression, compile(v["expression"], at + ".expression", ExpressionOver::kClaims, kinds));
    return m;
  }
  if (m.claim.empty()) return m;
  if (prefixed && !v.find("prefix")) return required(at + ".prefix", "prefix is required when claim is set. It can be set to an empty string to disable prefixing");
  m.prefix = v["prefix"].as_string();
  return m;
}

Result<JwtIssuer> read_issuer(const Value& v, const std::string& at) {
  TRY_VOID(only(v, at, {"issuer", "claimValidationRules", "claimMappings", "userValidationRules"}));
  JwtIssuer j;
  const Value& issuer = v["issuer"];
  const std::string where = at + ".issuer";
  TRY_VOID(only(issuer, where, {"url", "discoveryURL", "certificateAuthority", "audiences", "audienceMatchPolicy", "egressSelectorType"}));
  j.url = issuer["url"].as_string();
  if (j.url.empty()) return required(where + ".url", "URL is required");
  if (!j.url.starts_with("https://")) return bad_value(where + ".url", j.url, "URL scheme must be https");
  j.discovery_url = issuer["discoveryURL"].as_string();
  if (!j.discovery_url.empty()) {
    if (!j.discovery_url.starts_with("https://")) return bad_value(where + ".discoveryURL", j.discovery_url, "URL scheme must be https");
    std::string a = j.url, b = j.discovery_url;
    while (a.ends_with('/')) a.pop_back();
    while (b.ends_with('/')) b.pop_back();
    if (a == b) return bad_value(where + ".discoveryURL", j.discovery_url, "discoveryURL must be different from URL");
  }
  j.ca = issuer["certificateAuthority"].as_string();
  if (!j.ca.empty() && j.ca.find("BEGIN CERTIFICATE") == j.ca.npos) return invalid(where + ".certificateAuthority: Invalid value: \"<omitted>\": data does not contain any valid RSA or ECDSA certificates");
  for (auto& a : issuer["audiences"].as_array()) {
    if (a.as_string().empty()) return required(where + ".audiences[" + std::to_string(j.audiences.size()) + "]", "audience can't be empty");
    j.audiences.push_back(a.as_string());
  }
  if (j.audiences.empty()) return required(where + ".audiences", "at least one issuer.audiences is required");
  const std::string& policy = issuer["audienceMatchPolicy"].as_string();
  if (j.audiences.size() > 1 && policy != "MatchAny") return bad_value(where + ".audienceMatchPolicy", policy, "audienceMatchPolicy must be MatchAny for multiple audiences");
  if (!policy.empty() && policy != "MatchAny") return bad_value(where + ".audienceMatchPolicy", policy, "audienceMatchPolicy must be empty or MatchAny for single audience");

  const Value& maps = v["claimMappings"];
  const std::string m = at + ".claimMappings";
  TRY_VOID(only(maps, m, {"username", "groups", "uid", "extra"}));
  using K = cel::Type::Kind;
  TRY(j.username, mapping(maps["username"], m + ".username", true, {K::kString}));
  if (!j.username.given()) return required(m + ".username", "claim or expression is required");
  TRY(j.groups, mapping(maps["groups"], m + ".groups", true, {K::kString, K::kList}));
  TRY(j.uid, mapping(maps["uid"], m + ".uid", false, {K::kString}));
  std::set<std::string> keys;
  for (size_t i = 0; i < maps["extra"].size(); ++i) {
    const Value& e = maps["extra"].at(i);
    const std::string x = m + ".extra[" + std::to_string(i) + "]";
    const std::string& key = e["key"].as_string();
    if (key.empty()) return required(x + ".key", "");
    if (key.find('/') == key.npos) return bad_value(x + ".key", key, "must be a domain-prefixed path (such as \"acme.io/foo\")");
    if (key != to_lower(key)) return bad_value(x + ".key", key, "must be lowercase");
    std::string domain = key.substr(0, key.find('/'));
    if (domain == "k8s.io" || domain == "kubernetes.io" || domain.ends_with(".k8s.io") || domain.ends_with(".kubernetes.io"))
      return bad_value(x + ".key", key, "k8s.io, kubernetes.io and their subdomains are reserved for Kubernetes use");
    if (!keys.insert(key).second) return invalid(x + ".key: Duplicate value: " + json::quote(key));
    if (e["valueExpression"].as_string().empty()) return required(x + ".valueExpression", "");
    TRY(auto expression, compile(e["valueExpression"], x + ".valueExpression", ExpressionOver::kClaims, {K::kString, K::kList}));
    j.extra.emplace_back(key, std::move(expression));
  }
  bool email_verified = false;
  for (size_t i = 0; i < v["claimValidationRules"].size(); ++i) {
    const Value& r = v["claimValidationRules"].at(i);
    const std::string x = at + ".claimValidationRules[" + std::to_string(i) + "]";
    TRY_VOID(only(r, x, {"claim", "requiredValue", "expression", "message"}));
    ClaimRule rule;
    rule.claim = r["claim"].as_string();
    rule.required_value = r["requiredValue"].as_string();
    rule.message = r["message"].as_string();
    const std::string& text = r["expression"].as_string();
    if (!rule.claim.empty() && !text.empty()) return bad_value(x, text, "claim and expression can't both be set");
    if (rule.claim.empty() && text.empty()) return required(x, "claim or expression is required");
    if (!rule.claim.empty() && !rule.message.empty()) return bad_value(x + ".message", rule.message, "message can't be set when claim is set");
    if (!text.empty()) {
      if (!rule.required_value.empty()) return bad_value(x + ".requiredValue", rule.required_value, "requiredValue can't be set when expression is set");
      TRY(rule.expression, compile(r["expression"], x + ".expression", ExpressionOver::kClaims, {K::kBool}));
      email_verified = email_verified || text.find("email_verified") != text.npos;
    }
    j.claim_rules.push_back(std::move(rule));
  }
  // An address that nobody has verified names nobody.
  if (const std::string& name = j.username.expression.text; name.find("claims.email") != name.npos) {
    for (auto& [key, e] : j.extra) email_verified = email_verified || e.text.find("email_verified") != e.text.npos;
    if (!email_verified && name.find("email_verified") == name.npos)
      return bad_value(m + ".username.expression", name, "claims.email_verified must be used in claimMappings.username.expression or claimMappings.extra[*].valueExpression or claimValidationRules[*].expression when claims.email is used in claimMappings.username.expression");
  }
  for (size_t i = 0; i < v["userValidationRules"].size(); ++i) {
    const Value& r = v["userValidationRules"].at(i);
    const std::string x = at + ".userValidationRules[" + std::to_string(i) + "]";
    TRY_VOID(only(r, x, {"expression", "message"}));
    ClaimRule rule;
    rule.message = r["message"].as_string();
    if (r["expression"].as_string().empty()) return required(x + ".expression", "expression is required");
    TRY(rule.expression, compile(r["expression"], x + ".expression", ExpressionOver::kUser, {K::kBool}));
    j.user_rules.push_back(std::move(rule));
  }
  return j;
}

}  // namespace

Result<ClaimExpression> compile_claim_expression(const std::string& text, ExpressionOver over) {
  cel::Environment env;
  if (over == ExpressionOver::kClaims) {
    auto claims = std::make_shared<cel::Type>();
    claims->kind = cel::Type::Kind::kMap;
    claims->key = cel::simple_type(cel::Type::Kind::kString);
    env.variables.emplace_back("claims", std::move(claims));
  } else {
    auto user = std::make_shared<cel::Type>();
    user->kind = cel::Type::Kind::kObject;
    for (const char* f : {"username", "uid"}) user->fields[f] = cel::simple_type(cel::Type::Kind::kString);
    auto strings = std::make_shared<cel::Type>();
    strings->kind = cel::Type::Kind::kList;
    strings->item = cel::simple_type(cel::Type::Kind::kString);
    user->fields["groups"] = strings;
    auto extra = std::make_shared<cel::Type>();
    extra->kind = cel::Type::Kind::kMap;
    extra->key = cel::simple_type(cel::Type::Kind::kString);
    extra->item = strings;
    user->fields["extra"] = extra;
    env.variables.emplace_back("user", std::move(user));
  }
  ClaimExpression e;
  e.text = text;
  TRY(e.program, cel::Program::compile(text, env));
  return e;
}

Result<AuthenticationSettings> parse_authentication_config(std::string_view text, const std::string& own_issuer) {
  TRY(const Value config, yaml::parse_json_or_yaml(std::string(text)));
  const std::string& version = config["apiVersion"].as_string();
  if (config["kind"].as_string() != "AuthenticationConfiguration" || (version != "apiserver.config.k8s.io/v1" && version != "apiserver.config.k8s.io/v1beta1"))
    return invalid("the file is not an AuthenticationConfiguration of apiserver.config.k8s.io/v1");
  TRY_VOID(only(config, "", {"apiVersion", "kind", "jwt", "anonymous"}));
  AuthenticationSettings s;
  std::set<std::string> urls, discovery;
  for (size_t i = 0; i < config["jwt"].size(); ++i) {
    const std::string at = "jwt[" + std::to_string(i) + "]";
    TRY(JwtIssuer j, read_issuer(config["jwt"].at(i), at));
    if (!own_issuer.empty() && j.url == own_issuer) return bad_value(at + ".issuer.url", j.url, "URL must not overlap with disallowed issuers: [" + own_issuer + "]");
    if (!urls.insert(j.url).second) return invalid(at + ".issuer.url: Duplicate value: " + json::quote(j.url));
    if (!j.discovery_url.empty() && !discovery.insert(j.discovery_url).second) return invalid(at + ".issuer.discoveryURL: Duplicate value: " + json::quote(j.discovery_url));
    s.issuers.push_back(std::move(j));
  }
  if (const Value& a = config["anonymous"]; a.is_object()) {
    TRY_VOID(only(a, "anonymous", {"enabled", "conditions"}));
    s.has_anonymous = true;
    s.anonymous = a["enabled"].as_bool();
    for (auto& c : a["conditions"].as_array()) s.anonymous_paths.push_back(c["path"].as_string());
    if (!s.anonymous && !s.anonymous_paths.empty()) return invalid("anonymous.conditions: Invalid value: conditions are not allowed when anonymous auth is disabled");
  }
  return s;
}

}  // namespace caravel::apiserver
