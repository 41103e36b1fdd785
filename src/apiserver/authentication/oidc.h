// Bearer tokens of an OpenID Connect issuer: JWTs whose signature its published keys verify.
//
// The discovery document and the keys are fetched when the first token of the issuer comes, and the keys
// again when a token names one that is not known, at most once in kKeysAgain. Several tokens wait for one fetch.
// Messages are upstream's; they name claims and keys, never tokens.
// Threading: one executor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/authentication/jose.h"
#include "apiserver/authentication/jwt_config.h"
#include "apiserver/authentication/token_authenticator.h"
#include "apiserver/exchange.h"
#include "base/executor.h"
#include "base/scope.h"

namespace caravel::apiserver {

class OidcAuthenticator final : public TokenAuthenticator {
 public:
  OidcAuthenticator(Executor& ex, JwtIssuer issuer, Exchange exchange) : ex_(&ex), issuer_(std::move(issuer)), exchange_(std::move(exchange)), fetched_(ex) {}
  Task<TokenAnswer> authenticate(std::string token, std::vector<std::string> audiences) override;

 private:
  Task<Status> fetch_keys();
  Task<Status> fetch_once();
  Task<Result<json::Value>> get(std::string url);
  const VerificationKey* verifying_key(const Jwt& jwt) const;

  Executor* ex_;
  JwtIssuer issuer_;
  Exchange exchange_;
  std::string jwks_uri_;
  std::vector<VerificationKey> keys_;
  bool fetching_ = false;
  Event fetched_;
  Time last_fetch_;
  Status last_result_;
  bool ever_ = false;
};

// The user that verified claims describe; pure, for the authenticator and its tests. `asked` are the audiences
// that a review asks for, empty: the issuer's.
Result<TokenAnswer> user_of_claims(const JwtIssuer& issuer, const json::Value& claims, const std::vector<std::string>& asked, Time now);

}  // namespace caravel::apiserver
