// The way to aggregated API servers over HTTPS, with the front proxy's client certificate.
#pragma once

#include <memory>
#include <string>

#include "apiserver/aggregation/aggregator.h"
#include "net/event_loop.h"

namespace caravel::apiserver {

// The loop outlives it.
std::unique_ptr<AggregateTransport> make_https_aggregate_transport(net::EventLoop& loop, std::string client_certificate, std::string client_key);

}  // namespace caravel::apiserver
