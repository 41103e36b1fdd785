// A request that somebody else answers: passed on over HTTP/1.1, its answer streamed back; upgrades (WebSocket,
// SPDY/3.1) become a splice of the two byte streams.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "net/http.h"

namespace caravel::apiserver {

struct ForwardGoal {
  std::string address;  // host:port to connect to
  std::string host;     // of the URL; "": the address
  bool tls = false;
  std::string path;                                // with query
  std::shared_ptr<net::TlsClientContext> context;  // of TLS
  std::string server_name;                         // to verify; "": the host
  std::string link_prefix;                         // the path that stands for the root of what is shown; "": links stay
  net::Headers extra;                              // replace what the client sent under these names
};

// Headers that concern one connection or that say who asks, by lower-case name.
bool hop_by_hop(const std::string& name);

// An error when nothing has been answered yet.
Task<Status> forward_request(net::HttpClient* client, const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out);
Task<Status> forward_upgrade(net::EventLoop* loop, const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out);
bool wants_upgrade(const net::ServerRequest& in);

}  // namespace caravel::apiserver
