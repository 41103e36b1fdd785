// How the server reaches a webhook that a kubeconfig describes.
#pragma once

#include <string>

#include "apiserver/authentication/token_webhook.h"
#include "apiserver/exchange.h"
#include "base/flags.h"
#include "kube/kubeconfig.h"
#include "net/event_loop.h"

namespace caravel::server {

// Errors name the flag.
Result<kube::ClientConfig> read_client(const std::string& path, const std::string& flag);
// The loop outlives it.
Result<apiserver::Exchange> exchange_with(net::EventLoop& loop, const kube::ClientConfig& c);
// `version`: of the reviews that it is sent.
apiserver::WebhookEndpoint endpoint_of(const kube::ClientConfig& c, const std::string& version);
// How long answers are kept, or how long is waited between tries: a flag's value. Errors name the flag.
Result<Duration> read_duration(const Flags& flags, const char* name);

}  // namespace caravel::server
