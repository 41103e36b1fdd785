// The node's HTTPS server on port 10250, which the API server calls for kubectl logs, exec, attach and
// port-forward and monitoring for statistics. Who gets in is the NodeAuthorizer's to say.
#pragma once

#include <memory>
#include <string>

#include "net/http.h"
#include "node/agent.h"
#include "node/authorization.h"
#include "node/bootstrap.h"

namespace caravel::node {

class NodeServer {
 public:
  NodeServer(net::EventLoop& loop, Agent& agent, cri::Runtime& runtime, NodeAuthorizer& authorizer, std::string client_ca);
  ~NodeServer();
  Status listen(const std::string& address, const Identity& identity);
  // New connections use it.
  Status use_identity(const Identity& identity);

 private:
  Task<void> handle(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> container_logs(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> exec(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> attach(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> port_forward(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> system_logs(net::ServerRequest& q, net::ResponseWriter& w);
  Task<void> pods(net::ResponseWriter& w);
  Task<void> stats_summary(net::ResponseWriter& w);
  Task<void> metrics(net::ResponseWriter& w);

  net::EventLoop* loop_;
  Agent* agent_;
  cri::Runtime* runtime_;
  NodeAuthorizer* authorizer_;
  std::string client_ca_;
  net::TlsServerOptions tls_options_;
  std::shared_ptr<net::TlsServerContext> tls_;
  std::unique_ptr<net::HttpServer> http_;
};

}  // namespace caravel::node
