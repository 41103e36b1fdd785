#include "base/strings.h"
#include "cloud/identity.h"

namespace caravel::cloud {

namespace {

Output get_caller_identity(Context& c, const Value&) {
  Value out = Value::object();
  out["UserId"] = c.caller.user_id;
  out["Account"] = c.o.account;
  out["Arn"] = c.caller.arn;
  return out;
}

std::string role_name_of(const std::string& arn) {
  size_t slash = arn.rfind('/');
  return slash == arn.npos ? arn : arn.substr(slash + 1);
}

Output assume(Context& c, const Value& in, const char* action) {
  std::string name = role_name_of(in["RoleArn"].as_string()), session = in["RoleSessionName"].as_string();
  const Value* role = c.r.find("roles", name);
  if (!role || (*role)["Arn"] != in["RoleArn"])
    return aws::service_error("AccessDenied", std::string(c.caller.arn.empty() ? "Not authorized" : "User: " + c.caller.arn + " is not authorized") + " to perform " + action + " on resource: " + in["RoleArn"].as_string(), 403);
  int64_t seconds = in["DurationSeconds"].as_int(3600);
  if (seconds < 900 || seconds > 43200) return fail("ValidationError", "DurationSeconds must be between 900 and 43200");
  std::string arn = assumed_role_arn(c.o, name, session), user = (*role)["RoleId"].as_string() + ":" + session;
  Time expires = c.now + std::chrono::seconds(seconds);
  aws::Credentials k = issue_session(c.r, c.o, arn, user, expires, std::to_string(c.random()));
  Value out = Value::object();
  out["Credentials"]["AccessKeyId"] = k.access_key;
  out["Credentials"]["SecretAccessKey"] = k.secret_key;
  out["Credentials"]["SessionToken"] = k.session_token;
  out["Credentials"]["Expiration"] = format_rfc3339(expires);
  out["AssumedRoleUser"]["AssumedRoleId"] = user;
  out["AssumedRoleUser"]["Arn"] = arn;
  return out;
}

Output assume_role(Context& c, const Value& in) { return assume(c, in, "sts:AssumeRole"); }

Output assume_with_web_identity(Context& c, const Value& in) {
  TRY(Value claims, verify_jwt(in["WebIdentityToken"].as_string(), c.o.jwks, c.o.trust_any_web_identity, c.now));
  TRY(Value out, assume(c, in, "sts:AssumeRoleWithWebIdentity"));
  out["SubjectFromWebIdentityToken"] = std::as_const(claims)["sub"];
  const Value& aud = std::as_const(claims)["aud"];
  out["Audience"] = aud.is_array() ? aud.at(0) : aud;
  out["Provider"] = std::as_const(claims)["iss"];
  return out;
}

Output get_session_token(Context& c, const Value& in) {
  Time expires = c.now + std::chrono::seconds(in["DurationSeconds"].as_int(43200));
  aws::Credentials k = issue_session(c.r, c.o, c.caller.arn, c.caller.user_id, expires, std::to_string(c.random()));
  Value out = Value::object();
  out["Credentials"]["AccessKeyId"] = k.access_key;
  out["Credentials"]["SecretAccessKey"] = k.secret_key;
  out["Credentials"]["SessionToken"] = k.session_token;
  out["Credentials"]["Expiration"] = format_rfc3339(expires);
  return out;
}

Output get_access_key_info(Context& c, const Value&) {
  Value out = Value::object();
  out["Account"] = c.o.account;
  return out;
}

}  // namespace

void add_sts_actions(Handlers& h) {
  h["sts:GetCallerIdentity"] = get_caller_identity;
  h["sts:AssumeRole"] = assume_role;
  h["sts:AssumeRoleWithWebIdentity"] = assume_with_web_identity;
  h["sts:GetSessionToken"] = get_session_token;
  h["sts:GetAccessKeyInfo"] = get_access_key_info;
}

}  // namespace caravel::cloud
