// Bearer tokens that a webhook knows: it is sent a TokenReview and answers with its status.
//
// Answers are kept for a while, by token and audiences (as a digest). A webhook that cannot be reached or
// answers 429 or 5xx is asked again, a few times with growing pauses; such failures are not kept.
// Threading: one executor.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>

#include "apiserver/authentication/token_authenticator.h"
#include "apiserver/webhook_endpoint.h"
#include "base/executor.h"

namespace caravel::apiserver {

// Posts a review and gives its answer's object; asks again as post_to_webhook().
Task<Result<json::Value>> ask_webhook(Executor* ex, Exchange exchange, WebhookEndpoint to, std::string body);

class TokenWebhook final : public TokenAuthenticator {
 public:
  // `api_audiences`: what tokens for the API server itself are for.
  TokenWebhook(Executor& ex, WebhookEndpoint to, Exchange exchange, Duration keep, std::vector<std::string> api_audiences)
      : ex_(&ex), to_(std::move(to)), exchange_(std::move(exchange)), keep_(keep), api_audiences_(std::move(api_audiences)) {}
  Task<TokenAnswer> authenticate(std::string token, std::vector<std::string> audiences) override;

 private:
  struct Kept {
    TokenAnswer answer;
    Time until;
  };
  Executor* ex_;
  WebhookEndpoint to_;
  Exchange exchange_;
  Duration keep_;
  std::vector<std::string> api_audiences_;
  std::unordered_map<std::string, Kept> kept_;
};

}  // namespace caravel::apiserver
