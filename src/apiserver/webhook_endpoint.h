// Webhooks that a kubeconfig file names: token reviews, access reviews, audit events. (Those of admission and
// conversion are objects: webhook_transport.h.)
#pragma once

#include <string>

#include "apiserver/exchange.h"
#include "base/executor.h"

namespace caravel::apiserver {

struct WebhookEndpoint {
  std::string url;
  std::string version = "v1";  // of the review
  std::string authorization;   // header, "" for none
  Duration timeout = std::chrono::seconds(30);
};

struct WebhookPatience {
  Duration first_pause = std::chrono::milliseconds(500);  // the next ones are half as long again each
  double jitter = 0;                                      // of each pause, added at random
};

// Posts JSON. A webhook that cannot be reached or answers 429 or 5xx is asked five times in all. The answer is
// one of 200 to 299; any other is an error: Post "URL": the answer is 404.
Task<Result<net::ClientResponse>> post_to_webhook(Executor* ex, Exchange exchange, WebhookEndpoint to, std::string body, WebhookPatience patience = {});

}  // namespace caravel::apiserver
