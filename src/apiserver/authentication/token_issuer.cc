#include "apiserver/authentication/token_issuer.h"

#include <algorithm>

#include "apiserver/object_meta.h"
#include "base/hash.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::apiserver {

namespace {
constexpr size_t kKnownMax = 4'096;
// Tokens in Secrets name this issuer, whatever the cluster's is, and have claims of their own.
constexpr std::string_view kSecretIssuer = "kubernetes/serviceaccount";
constexpr std::string_view kSecretClaim = "kubernetes.io/serviceaccount/";
constexpr int64_t kNever = 9'000'000'000;  // seconds; the year 2255, what a Time can hold

// A Secret's token in the words of the others. `audiences`: those of the API, which it is for.
json::Value modern(const json::Value& old, const std::vector<std::string>& audiences) {
  auto claim = [&](std::string_view name) -> const std::string& { return old[std::string(kSecretClaim) + std::string(name)].as_string(); };
  json::Value out = json::Value::object();
  for (auto& a : audiences) out["aud"].push_back(a);
  out["exp"] = kNever;
  out["iss"] = std::string(kSecretIssuer);
  json::Value& k = out["kubernetes.io"];
  k["namespace"] = claim("namespace");
  k["secret"]["name"] = claim("secret.name");
  k["serviceaccount"]["name"] = claim("service-account.name");
  k["serviceaccount"]["uid"] = claim("service-account.uid");
  return out;
}

ObjectPtr look(Core& core, std::string_view group, std::string_view plural, std::string_view ns, std::string_view name) {
  ServedTypePtr t = core.types.find_resource(group, plural);
  return t && t->storage ? t->storage->cache->get(ns, name) : nullptr;
}
}  // namespace

Result<std::unique_ptr<TokenIssuer>> TokenIssuer::make(Core& core, TokenOptions options) {
  if (options.audiences.empty()) options.audiences = {options.issuer};
  if (options.jwks_uri.empty()) options.jwks_uri = options.issuer + "/openid/v1/jwks";
  std::unique_ptr<TokenIssuer> t(new TokenIssuer(core, std::move(options)));
  TRY(t->public_key_, net::public_key_pem(t->options_.signing_key));
  TRY(std::string jwk, net::public_jwk(t->options_.signing_key));
  TRY(t->jwk_, json::parse(jwk));
  t->alg_ = t->jwk_["kty"].as_string() == "RSA" ? "RS256" : t->jwk_["crv"].as_string() == "P-384" ? "ES384"
                                                                                                  : "ES256";
  t->kid_ = net::jwk_thumbprint(jwk);
  return t;
}

Result<std::string> TokenIssuer::sign(const json::Value& claims) const {
  json::Value header = json::Value::object();
  header["alg"] = alg_;
  header["kid"] = kid_;
  std::string text = base64url_encode(json::dump(header)) + "." + base64url_encode(json::dump(claims));
  TRY(std::string signature, net::jose_sign(alg_, options_.signing_key, text));
  return text + "." + base64url_encode(signature);
}

Result<std::string> TokenIssuer::secret_token(const std::string& ns, const std::string& account, const std::string& account_uid, const std::string& secret) {
  json::Value claims = json::Value::object();
  auto claim = [&](std::string_view name, const std::string& value) { claims[std::string(kSecretClaim) + std::string(name)] = value; };
  claims["iss"] = std::string(kSecretIssuer);
  claim("namespace", ns);
  claim("secret.name", secret);
  claim("service-account.name", account);
  claim("service-account.uid", account_uid);
  claims["sub"] = "system:serviceaccount:" + ns + ":" + account;
  return sign(claims);
}

Result<std::pair<std::string, Time>> TokenIssuer::issue(const TokenSpec& spec) {
  Time now = core_->ex.now();
  int64_t expires = now.seconds() + spec.seconds;
  json::Value claims = json::Value::object();
  json::Value aud = json::Value::array();
  for (auto& a : spec.audiences.empty() ? options_.audiences : spec.audiences) aud.push_back(a);
  claims["aud"] = std::move(aud);
  claims["exp"] = expires;
  claims["iat"] = now.seconds();
  claims["iss"] = options_.issuer;
  claims["jti"] = new_uid(core_->ex);
  json::Value k = json::Value::object();
  k["namespace"] = spec.ns;
  auto ref = [&](std::string_view what, const std::string& name, const std::string& uid) {
    if (name.empty()) return;
    k[what]["name"] = name;
    k[what]["uid"] = uid;
  };
  ref("node", spec.node, spec.node_uid);
  ref("pod", spec.pod, spec.pod_uid);
  ref("secret", spec.secret, spec.secret_uid);
  ref("serviceaccount", spec.account, spec.account_uid);
  claims["kubernetes.io"] = std::move(k);
  claims["nbf"] = now.seconds();
  claims["sub"] = "system:serviceaccount:" + spec.ns + ":" + spec.account;
  TRY(std::string token, sign(claims));
  return std::pair<std::string, Time>(std::move(token), Time::from_seconds(expires));
}

namespace {

// Of a token of ours.
Error refused_token(std::string why) { return make_error(Code::kUnauthorized, "[invalid bearer token, " + std::move(why) + "]"); }

// As Go's %q shows a list: ["a" "b"]
std::string quoted_list(const std::vector<std::string>& texts) {
  std::string out;
  for (auto& t : texts) out += (out.empty() ? "" : " ") + json::quote(t);
  return "[" + out + "]";
}

}  // namespace

Status TokenIssuer::still_valid(const json::Value& claims, const std::string& token) const {
  const json::Value& k = claims["kubernetes.io"];
  const std::string& ns = k["namespace"].as_string();
  auto bound = [&](std::string_view plural, std::string_view key, std::string_view in) -> Status {
    const std::string& name = k[key]["name"].as_string();
    if (name.empty()) return ok();
    ObjectPtr o = look(*core_, "", plural, in, name);
    const bool account = key == "serviceaccount";
    const Error gone = refused_token("service account token has been invalidated");
    if (!o) return account ? refused_token("serviceaccounts " + json::quote(name) + " not found") : gone;
    // The uid is in the bytes; find it without decoding.
    const std::string& uid = k[key]["uid"].as_string();
    if (!uid.empty() && o->bytes->find("\"uid\":\"" + uid + "\"") == std::string::npos)
      return account ? refused_token("service account UID (" + meta_string(*o->value(), "uid") + ") does not match claim (" + uid + ")") : gone;
    return ok();
  };
  TRY_VOID(bound("serviceaccounts", "serviceaccount", ns));
  TRY_VOID(bound("pods", "pod", ns));
  TRY_VOID(bound("secrets", "secret", ns));
  TRY_VOID(bound("nodes", "node", ""));
  if (claims["iss"].as_string() != kSecretIssuer) return ok();
  const std::string& name = k["secret"]["name"].as_string();
  ObjectPtr o = look(*core_, "", "secrets", ns, name);
  if (!o) return make_error(Code::kUnauthorized, "the token names no secret that exists");
  ValuePtr v = o->value();
  const json::Value& secret = *v;
  if (secret["metadata"].find("deletionTimestamp")) return make_error(Code::kUnauthorized, "secret " + name + " of the token is being deleted");
  if (base64_decode(secret["data"]["token"].as_string()) != token) return make_error(Code::kUnauthorized, "secret " + name + " holds another token");
  return ok();
}

Result<VerifiedToken> TokenIssuer::verify(const std::string& token, const std::vector<std::string>& audiences) {
  // A token that is none of ours may be somebody else's: nothing is said about it.
  const Error foreign = make_error(Code::kUnauthorized, "invalid bearer token");
  Time now = core_->ex.now();
  auto it = known_.find(token);
  if (it == known_.end()) {
    auto parts = split(token, '.');
    if (parts.size() != 3) return foreign;
    auto header_text = base64url_decode(parts[0]), claims_text = base64url_decode(parts[1]), signature = base64url_decode(parts[2]);
    if (!header_text || !claims_text || !signature) return foreign;
    const auto header = json::parse(*header_text);
    auto parsed = json::parse(*claims_text);
    if (!header.ok() || !parsed.ok() || !header->is_object() || !parsed->is_object()) return foreign;
    // Read through a constant: looking up a claim that a token does not have must not move the others.
    const json::Value& claims = *parsed;
    if ((*header)["alg"].as_string() != alg_ || (*header)["kid"].as_string() != kid_) return refused_token("token signed by an unknown key");
    const bool of_secret = claims["iss"].as_string() == kSecretIssuer;
    if (!of_secret && claims["iss"].as_string() != options_.issuer) return foreign;
    if (!net::jose_verify(alg_, public_key_, parts[0] + "." + parts[1], *signature)) return refused_token("failed to verify the signature");
    if (of_secret) *parsed = modern(claims, options_.audiences);
    const json::Value& k = claims["kubernetes.io"];
    auto user = std::make_shared<User>();
    user->name = "system:serviceaccount:" + k["namespace"].as_string() + ":" + k["serviceaccount"]["name"].as_string();
    user->uid = k["serviceaccount"]["uid"].as_string();
    user->groups = {"system:serviceaccounts", "system:serviceaccounts:" + k["namespace"].as_string(), "system:authenticated"};
    if (auto& jti = claims["jti"].as_string(); !jti.empty()) user->extra["authentication.kubernetes.io/credential-id"] = {"JTI=" + jti};
    for (std::string_view what : {"pod", "node"})
      if (k[what].is_object()) {
        user->extra["authentication.kubernetes.io/" + std::string(what) + "-name"] = {k[what]["name"].as_string()};
        if (!k[what]["uid"].as_string().empty()) user->extra["authentication.kubernetes.io/" + std::string(what) + "-uid"] = {k[what]["uid"].as_string()};
      }
    Known known;
    known.expires = Time::from_seconds(claims["exp"].as_int());
    known.claims = std::move(*parsed);
    known.user = std::move(user);
    if (known_.size() >= kKnownMax) known_.clear();
    it = known_.emplace(token, std::move(known)).first;
  }
  const Known& k = it->second;
  if (now >= k.expires) return refused_token("service account token has expired");
  if (now.seconds() < k.claims["nbf"].as_int()) return refused_token("service account token is not valid yet");
  VerifiedToken out;
  out.user = k.user;
  const auto& wanted = audiences.empty() ? options_.audiences : audiences;
  for (auto& a : k.claims["aud"].as_array())
    if (std::find(wanted.begin(), wanted.end(), a.as_string()) != wanted.end()) out.audiences.push_back(a.as_string());
  if (out.audiences.empty()) {
    std::vector<std::string> given;
    for (auto& a : k.claims["aud"].as_array()) given.push_back(a.as_string());
    return refused_token("token audiences " + quoted_list(given) + " is invalid for the target audiences " + quoted_list(wanted));
  }
  if (Status s = still_valid(k.claims, token); !s.ok()) {
    Error e = s.error();
    known_.erase(it);
    return e;
  }
  return out;
}

json::Value TokenIssuer::discovery_document() const {
  json::Value d = json::Value::object();
  d["issuer"] = options_.issuer;
  d["jwks_uri"] = options_.jwks_uri;
  d["response_types_supported"] = json::Value::array({"id_token"});
  d["subject_types_supported"] = json::Value::array({"public"});
  d["id_token_signing_alg_values_supported"] = json::Value::array({alg_});
  return d;
}

json::Value TokenIssuer::jwks() const {
  json::Value key = jwk_;
  key["use"] = "sig";
  key["kid"] = kid_;
  key["alg"] = alg_;
  json::Value d = json::Value::object();
  d["keys"] = json::Value::array({key});
  return d;
}

}  // namespace caravel::apiserver
