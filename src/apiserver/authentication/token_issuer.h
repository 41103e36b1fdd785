// ServiceAccount tokens: signed JWTs (ES256) bound to the account and, where asked for, to a pod, secret
// or node, with audiences and expiry; and the documents by which others verify them (OIDC discovery, JWKS).
#pragma once

#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "apiserver/core.h"
#include "apiserver/request.h"
#include "base/clock.h"
#include "base/json.h"

namespace caravel::apiserver {

struct TokenOptions {
  std::string signing_key;  // PEM; RSA keys sign RS256, P-256 keys ES256
  std::string issuer = "https://kubernetes.default.svc.cluster.local";
  std::vector<std::string> audiences;  // accepted for the API itself; default: the issuer
  std::string jwks_uri;                // default: issuer + "/openid/v1/jwks"
};

struct TokenSpec {
  std::string ns, account, account_uid;
  std::vector<std::string> audiences;
  int64_t seconds = 3600;
  std::string pod, pod_uid, secret, secret_uid, node, node_uid;
};

struct VerifiedToken {
  UserPtr user;
  std::vector<std::string> audiences;
};

class TokenIssuer {
 public:
  static Result<std::unique_ptr<TokenIssuer>> make(Core& core, TokenOptions options);
  // The token and when it ends.
  Result<std::pair<std::string, Time>> issue(const TokenSpec& spec);
  // The token of a Secret of type kubernetes.io/service-account-token: it never ends, and is good for as long as the Secret
  // holds it.
  Result<std::string> secret_token(const std::string& ns, const std::string& account, const std::string& account_uid, const std::string& secret);
  // Checks signature, times, issuer, that the account and what it is bound to still exist. `audiences`:
  // at least one must be the token's; empty: the API's own.
  Result<VerifiedToken> verify(const std::string& token, const std::vector<std::string>& audiences = {});
  json::Value discovery_document() const;
  json::Value jwks() const;
  const std::vector<std::string>& api_audiences() const { return options_.audiences; }
  const std::string& issuer() const { return options_.issuer; }

 private:
  TokenIssuer(Core& core, TokenOptions options) : core_(&core), options_(std::move(options)) {}
  // A token whose signature was verified before.
  struct Known {
    json::Value claims;
    UserPtr user;
    Time expires;
  };
  Result<std::string> sign(const json::Value& claims) const;
  Status still_valid(const json::Value& claims, const std::string& token) const;
  Core* core_;
  TokenOptions options_;
  std::string alg_, kid_, public_key_;
  json::Value jwk_;
  std::unordered_map<std::string, Known> known_;
};

}  // namespace caravel::apiserver
