// One HTTP request and its answer, handed in: HTTPS in the product, a script in tests.
#pragma once

#include <functional>

#include "base/task.h"
#include "net/http.h"

namespace caravel::apiserver {

// The callee lives as long as the function's copies.
using Exchange = std::function<Task<Result<net::ClientResponse>>(net::ClientRequest)>;

// Keeps connections; the loop outlives it.
Result<Exchange> make_exchange(net::EventLoop& loop, const net::TlsClientOptions& tls);

}  // namespace caravel::apiserver
