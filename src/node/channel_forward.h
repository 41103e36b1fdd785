// Port-forward over the oldest WebSocket channels, which other clients than kubectl speak: the ports are in the query
// (?port=80&port=443), and each has two channels, data and errors, that begin with the port as two bytes, the lower first.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "net/http.h"

namespace caravel::node {

// Whether a WebSocket's client wants channels rather than SPDY inside the WebSocket.
bool wants_forward_channels(const net::ServerRequest& q);
// The ports that a request names: "80", "80,443", several parameters.
Result<std::vector<int>> forwarded_ports(const net::ServerRequest& q);
Task<void> serve_forward_channels(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string netns);

}  // namespace caravel::node
