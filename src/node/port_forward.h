// kubectl port-forward: connections to ports inside a pod's network namespace, each a pair of SPDY
// streams (data and error) with the same requestID. Older clients of WebSockets have channels instead: channel_forward.h.
#pragma once

#include <string>

#include "net/http.h"
#include "net/stream.h"

namespace caravel::node {

// netns: the path of the namespace, "" for this process' own.
Task<void> serve_port_forward(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string netns);
// Connects to 127.0.0.1:port there.
Task<Result<net::StreamPtr>> connect_inside(net::EventLoop& loop, std::string netns, int port);

}  // namespace caravel::node
