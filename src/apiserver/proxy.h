// Requests that go on to a node agent, a pod or a service: logs, exec, attach, port-forward, proxy.
// Upgrades (WebSocket, SPDY/3.1) become a splice of the two byte streams.
#pragma once

#include <memory>
#include <string>

#include "apiserver/api_server.h"
#include "apiserver/forward.h"
#include "net/http.h"

namespace caravel::apiserver {

class NodeProxy {
 public:
  // `client_certificate`: by which node agents know the API server.
  static Result<std::unique_ptr<NodeProxy>> make(net::EventLoop& loop, ApiServer& server, const std::string& client_certificate, const std::string& client_key);
  static bool is_connection(const Request& r);
  // An error when nothing has been answered yet.
  Task<Status> serve(Request& r, net::ServerRequest& in, net::ResponseWriter& out);

 private:
  NodeProxy(net::EventLoop& loop, ApiServer& server, std::shared_ptr<net::TlsClientContext> tls);
  Task<Status> serve_log_messages(const ForwardGoal& goal, net::ServerRequest& in, net::ResponseWriter& out);
  Result<ForwardGoal> goal_of(const Request& r, const net::ServerRequest& in) const;
  Result<std::string> node_address(const std::string& node) const;
  Result<ForwardGoal> pod_goal(const Request& r) const;

  net::EventLoop* loop_;
  ApiServer* server_;
  std::shared_ptr<net::TlsClientContext> tls_;
  std::unique_ptr<net::HttpClient> client_;
};

}  // namespace caravel::apiserver
