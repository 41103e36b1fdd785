// JSON Web Tokens of others: their parts, the keys (JWK) of their issuers, their signatures.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::apiserver {

struct Jwt {
  json::Value header, claims;
  std::string signed_text, signature;
};
// Splits and decodes; verifies nothing. Errors do not repeat the token.
Result<Jwt> parse_jwt(std::string_view token);

class VerificationKey {
 public:
  // An RSA or EC key of RFC 7517; its "kid", "alg" and "use".
  static Result<VerificationKey> parse(const json::Value& jwk);
  // RS256/384/512, PS256/384/512, ES256/384/512. False when the key is of another type.
  bool verifies(std::string_view alg, std::string_view text, std::string_view signature) const;
  std::string kid, alg, use;

 private:
  std::shared_ptr<void> key_;
};

bool known_signing_alg(std::string_view alg);

}  // namespace caravel::apiserver
