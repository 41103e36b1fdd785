// The API server over HTTPS: authentication, bodies, headers, streaming watches, connection-like
// subresources (proxy.h). Everything else is ApiServer::handle.
#pragma once

#include <memory>

#include "apiserver/api_server.h"
#include "apiserver/proxy.h"
#include "net/http.h"

namespace caravel::apiserver {

class HttpFrontend {
 public:
  // The server outlives the frontend; `proxy` may be null (no connections to nodes).
  HttpFrontend(net::EventLoop& loop, ApiServer& server, NodeProxy* proxy);
  net::Handler handler();

 private:
  Task<void> serve(net::ServerRequest& in, net::ResponseWriter& out);
  Task<Status> begin_trail(Request& r);
  Task<void> pass_on(std::string service, Request& r, net::ServerRequest& in, net::ResponseWriter& out);
  Task<void> send(net::ServerRequest& in, net::ResponseWriter& out, Request& r, Response res);
  void observe(const Request& r, const Response& res, Duration took);
  Task<void> send_parts(net::ResponseWriter& out, net::Headers h, Response res);
  Task<void> send_watch_messages(net::ServerRequest& in, net::ResponseWriter& out, Response res, double* sent);  // over a WebSocket
  Task<void> send_watch(net::ResponseWriter& out, Response res, double* sent);                                   // `sent` counts events
  net::EventLoop* loop_;
  ApiServer* server_;
  NodeProxy* proxy_;
  MetricFamily* watch_events_;
  MetricFamily *durations_ = nullptr, *sli_durations_ = nullptr, *sizes_ = nullptr, *long_running_ = nullptr;
  double *reading_ = nullptr, *mutating_ = nullptr;  // requests in flight
};

}  // namespace caravel::apiserver
