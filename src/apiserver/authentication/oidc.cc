#include "apiserver/authentication/oidc.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::apiserver {

namespace {
constexpr Duration kKeysAgain = std::chrono::seconds(2);
constexpr Duration kFetchTimeout = std::chrono::seconds(10);
constexpr std::string_view kDiscoveryPath = "/.well-known/openid-configuration";
}  // namespace

Task<Result<json::Value>> OidcAuthenticator::get(std::string url) {
  net::ClientRequest q;
  q.url = url;
  q.headers.add("accept", "application/json");
  q.timeout = kFetchTimeout;
  auto res = co_await exchange_(std::move(q));
  if (!res.ok()) co_return unavailable("Get \"" + url + "\": " + res.error().message);
  if (res->status != 200) co_return unavailable("Get \"" + url + "\": the answer is " + std::to_string(res->status));
  auto doc = json::parse(res->body);
  if (!doc.ok() || !doc->is_object()) co_return unavailable("Get \"" + url + "\": the answer is no JSON object");
  co_return std::move(*doc);
}

Task<Status> OidcAuthenticator::fetch_once() {
  if (jwks_uri_.empty()) {
    std::string url = issuer_.discovery_url;
    if (url.empty()) {
      url = issuer_.url;
      if (url.ends_with('/')) url.pop_back();
      url += kDiscoveryPath;
    }
    auto doc = co_await get(std::move(url));
    if (!doc.ok()) co_return std::move(doc).error();
    const json::Value& d = *doc;
    if (d["issuer"].as_string() != issuer_.url)
      co_return unavailable("oidc: issuer URL provided to client (" + json::quote(issuer_.url) + ") did not match the issuer URL returned by provider (" + json::quote(d["issuer"].as_string()) + ")");
    if (d["jwks_uri"].as_string().empty()) co_return unavailable("oidc: the discovery document of " + issuer_.url + " names no jwks_uri");
    jwks_uri_ = d["jwks_uri"].as_string();
  }
  auto set = co_await get(jwks_uri_);
  if (!set.ok()) {
    jwks_uri_.clear();  // the issuer may have moved it
    co_return std::move(set).error();
  }
  const json::Value& s = *set;
  std::vector<VerificationKey> keys;
  for (auto& k : s["keys"].as_array()) {
    auto key = VerificationKey::parse(k);  // keys of other kinds are not for us
    if (key.ok() && (key->use.empty() || key->use == "sig")) keys.push_back(std::move(*key));
  }
  keys_ = std::move(keys);
  co_return ok();
}

Task<Status> OidcAuthenticator::fetch_keys() {
  if (fetching_) {
    co_await fetched_.wait();
    co_return last_result_;
  }
  if (ever_ && ex_->now() - last_fetch_ < kKeysAgain) co_return last_result_;
  fetching_ = true;
  fetched_.reset();
  last_result_ = co_await fetch_once();
  last_fetch_ = ex_->now();
  ever_ = true;
  fetching_ = false;
  fetched_.set();
  co_return last_result_;
}

const VerificationKey* OidcAuthenticator::verifying_key(const Jwt& jwt) const {
  const std::string &alg = jwt.header["alg"].as_string(), &kid = jwt.header["kid"].as_string();
  for (auto& k : keys_) {
    if (!kid.empty() && k.kid != kid) continue;
    if (!k.alg.empty() && k.alg != alg) continue;
    if (k.verifies(alg, jwt.signed_text, jwt.signature)) return &k;
  }
  return nullptr;
}

Task<TokenAnswer> OidcAuthenticator::authenticate(std::string token, std::vector<std::string> audiences) {
  TokenAnswer answer;
  auto parsed = parse_jwt(token);
  if (!parsed.ok()) co_return answer;  // no JWT: not for us
  const Jwt& jwt = *parsed;
  if (jwt.claims["iss"].as_string() != issuer_.url) co_return answer;
  const std::string& alg = jwt.header["alg"].as_string();
  if (std::find(issuer_.algorithms.begin(), issuer_.algorithms.end(), alg) == issuer_.algorithms.end() || !known_signing_alg(alg)) {
    answer.error = "oidc: verify token: oidc: id token signed with unsupported algorithm, expected [" + join(issuer_.algorithms, " ") + "] got " + json::quote(alg);
    co_return answer;
  }
  if (!verifying_key(jwt)) {
    Status fetched = co_await fetch_keys();
    if (!fetched.ok()) {
      answer.error = "oidc: verify token: failed to verify signature: fetching keys " + fetched.error().message;
      co_return answer;
    }
    if (!verifying_key(jwt)) {
      answer.error = "oidc: verify token: failed to verify signature: failed to verify id token signature";
      co_return answer;
    }
  }
  auto user = user_of_claims(issuer_, jwt.claims, audiences, ex_->now());
  if (!user.ok()) answer.error = user.error().message;
  else answer = std::move(*user);
  co_return answer;
}

}  // namespace caravel::apiserver
