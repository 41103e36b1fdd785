// From verified claims to a user.
#include <algorithm>

#include "apiserver/authentication/oidc.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;
namespace cel = kube::cel;

constexpr Duration kNotBeforeLeeway = std::chrono::minutes(5);

Error refused(std::string why) { return make_error(Code::kUnauthorized, "oidc: " + std::move(why)); }

std::vector<std::string> texts(const Value& v) {
  std::vector<std::string> out;
  if (v.is_string()) out.push_back(v.as_string());
  for (auto& s : v.as_array()) out.push_back(s.as_string());
  return out;
}

bool all_texts(const Value& v) {
  return v.is_string() || (v.is_array() && std::all_of(v.as_array().begin(), v.as_array().end(), [](const Value& s) { return s.is_string(); }));
}

Result<cel::Value> evaluate(const ClaimExpression& e, const char* name, const cel::Value& over) {
  cel::Budget budget;
  auto r = e.program->run({{name, over}}, budget);
  if (!r.ok()) return refused("error evaluating expression '" + e.text + "': " + r.error().message);
  return r;
}

// The texts that an expression gives: none for null and "".
Result<std::vector<std::string>> texts_of(const ClaimExpression& e, const cel::Value& claims) {
  TRY(cel::Value v, evaluate(e, "claims", claims));
  Value j = cel::to_json(v);
  if (!j.is_null() && !all_texts(j)) return refused("error evaluating expression '" + e.text + "': it must be a string or a list of strings");
  std::vector<std::string> out = texts(j);
  std::erase(out, "");
  return out;
}

std::string quoted(const std::vector<std::string>& v) { return "[" + join(v, " ") + "]"; }

Status check_times(const Value& claims, Time now) {
  if (!claims["exp"].is_number()) return refused("verify token: oidc: token has no expiry");
  Time expires = Time::from_seconds(static_cast<int64_t>(claims["exp"].as_double()));
  if (now >= expires) return refused("verify token: oidc: token is expired (Token Expiry: " + format_rfc3339(expires) + ")");
  if (claims["nbf"].is_number()) {
    Time from = Time::from_seconds(static_cast<int64_t>(claims["nbf"].as_double()));
    if (now + kNotBeforeLeeway < from) return refused("verify token: oidc: current time " + format_rfc3339(now) + " before the nbf (not before) time: " + format_rfc3339(from));
  }
  return ok();
}

Result<std::string> username_of(const JwtIssuer& issuer, const Value& claims, const cel::Value& cel_claims) {
  const ClaimMapping& m = issuer.username;
  if (m.expression.given()) {
    TRY(cel::Value v, evaluate(m.expression, "claims", cel_claims));
    if (!v.is(cel::Kind::kString)) return refused("error evaluating username claim expression: username claim expression must return a string");
    if (v.s().empty()) return refused("error evaluating username claim expression: empty username returned");
    return v.s();
  }
  const Value* name = claims.find(m.claim);
  if (!name) return refused("parse username claims \"" + m.claim + "\": claim not present");
  if (!name->is_string()) return refused("parse username claims \"" + m.claim + "\": it is not a string");
  if (m.claim == "email")
    if (const Value* verified = claims.find("email_verified")) {
      if (!verified->is_bool()) return refused("parse 'email_verified' claim: it is not a boolean");
      if (!verified->as_bool()) return refused("email not verified");
    }
  return m.prefix + name->as_string();
}

Result<std::vector<std::string>> groups_of(const JwtIssuer& issuer, const Value& claims, const cel::Value& cel_claims) {
  const ClaimMapping& m = issuer.groups;
  if (m.expression.given()) return texts_of(m.expression, cel_claims);
  std::vector<std::string> out;
  if (m.claim.empty()) return out;
  const Value* groups = claims.find(m.claim);
  if (!groups || groups->is_null()) return out;
  if (!all_texts(*groups)) return refused("parse groups claim \"" + m.claim + "\": it is neither a string nor a list of strings");
  for (auto& g : texts(*groups)) out.push_back(m.prefix + g);
  return out;
}

Status check_claim_rules(const JwtIssuer& issuer, const Value& claims, const cel::Value& cel_claims) {
  for (const ClaimRule& r : issuer.claim_rules) {
    if (r.expression.given()) {
      TRY(cel::Value v, evaluate(r.expression, "claims", cel_claims));
      if (v.is_true()) continue;
      std::string why = "error evaluating claim validation expression: validation expression '" + r.expression.text + "' failed";
      return refused(r.message.empty() ? why : why + ": " + r.message);
    }
    const Value* have = claims.find(r.claim);
    if (!have) return refused("required claim " + r.claim + " not present in ID token");
    if (!have->is_string()) return refused("parse claim " + r.claim + ": it is not a string");
    if (have->as_string() != r.required_value) return refused("required claim " + r.claim + " value does not match. Got = " + have->as_string() + ", want = " + r.required_value);
  }
  return ok();
}

Status check_user_rules(const JwtIssuer& issuer, const User& u) {
  if (issuer.user_rules.empty()) return ok();
  Value v = Value::object();
  v["username"] = u.name;
  v["uid"] = u.uid;
  v["groups"] = Value::array();
  for (auto& g : u.groups) v["groups"].push_back(g);
  v["extra"] = Value::object();
  for (auto& [k, list] : u.extra) {
    Value all = Value::array();
    for (auto& x : list) all.push_back(x);
    v["extra"][k] = std::move(all);
  }
  cel::Value user = cel::from_json(v);
  for (const ClaimRule& r : issuer.user_rules) {
    TRY(cel::Value passed, evaluate(r.expression, "user", user));
    if (passed.is_true()) continue;
    std::string why = "error evaluating user info validation rule: validation expression '" + r.expression.text + "' failed";
    return refused(r.message.empty() ? why : why + ": " + r.message);
  }
  return ok();
}

}  // namespace

Result<TokenAnswer> user_of_claims(const JwtIssuer& issuer, const Value& claims, const std::vector<std::string>& asked, Time now) {
  TokenAnswer answer;
  const std::vector<std::string> has = texts(claims["aud"]);
  auto among = [](const std::vector<std::string>& list, const std::string& x) { return std::find(list.begin(), list.end(), x) != list.end(); };
  if (std::none_of(has.begin(), has.end(), [&](auto& a) { return among(issuer.audiences, a); })) {
    if (issuer.audiences.size() == 1) return refused("verify token: oidc: expected audience \"" + issuer.audiences[0] + "\" got " + json::dump(claims["aud"]));
    return refused("verify token: oidc: expected audience in " + quoted(issuer.audiences) + " got " + quoted(has));
  }
  for (auto& a : asked)
    if (among(has, a)) answer.audiences.push_back(a);
  if (!asked.empty() && answer.audiences.empty()) return refused("the token is for none of the audiences " + quoted(asked));
  TRY_VOID(check_times(claims, now));
  const cel::Value cel_claims = cel::from_json(claims);
  auto u = std::make_shared<User>();
  TRY(u->name, username_of(issuer, claims, cel_claims));
  TRY(u->groups, groups_of(issuer, claims, cel_claims));
  if (issuer.uid.expression.given()) {
    TRY(cel::Value v, evaluate(issuer.uid.expression, "claims", cel_claims));
    if (!v.is(cel::Kind::kString)) return refused("error evaluating uid claim expression: uid claim expression must return a string");
    u->uid = v.s();
  } else if (!issuer.uid.claim.empty()) {
    const Value* uid = claims.find(issuer.uid.claim);
    if (!uid || !uid->is_string()) return refused("parse uid claim \"" + issuer.uid.claim + "\": claim not present");
    u->uid = uid->as_string();
  }
  for (auto& [key, expression] : issuer.extra) {
    TRY(std::vector<std::string> values, texts_of(expression, cel_claims));
    if (!values.empty()) u->extra[key] = std::move(values);
  }
  if (const std::string& id = claims["jti"].as_string(); !id.empty()) u->extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + id};
  TRY_VOID(check_claim_rules(issuer, claims, cel_claims));
  TRY_VOID(check_user_rules(issuer, *u));
  if (!u->in_group("system:authenticated")) u->groups.emplace_back("system:authenticated");
  answer.user = std::move(u);
  return answer;
}

}  // namespace caravel::apiserver
