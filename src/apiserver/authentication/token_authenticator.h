// A way to tell whose bearer token it is that may have to ask somebody else (keys of an issuer, a webhook).
// Authenticator asks those of this kind in their order, after those that know at once.
// Tokens appear in no message and no log line.
#pragma once

#include <string>
#include <vector>

#include "apiserver/request.h"
#include "base/task.h"

namespace caravel::apiserver {

struct TokenAnswer {
  UserPtr user;                        // null: not his token, or `error`
  std::vector<std::string> audiences;  // of those asked for, the token's
  std::string error;                   // why a token that concerns him is no good; "" when it does not concern him
};

class TokenAuthenticator {
 public:
  virtual ~TokenAuthenticator() = default;
  // `audiences`: for whom the token must be meant; empty: for the API server.
  virtual Task<TokenAnswer> authenticate(std::string token, std::vector<std::string> audiences) = 0;
};

}  // namespace caravel::apiserver
