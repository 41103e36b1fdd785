#include "proxy/command.h"

#include <csignal>

#include "kube/main_loop.h"
#include "net/http.h"
#include "net/process.h"
#include "proxy/nft.h"
#include "proxy/proxier.h"

namespace caravel::proxy {
namespace {

struct Shared {
  Proxier* proxier;
  MetricRegistry* metrics;
};

Task<void> answer(Shared shared, net::ServerRequest& request, net::ResponseWriter& writer) {
  const std::string& path = request.target.path;
  int status = 404;
  std::string body = "404 page not found\n";
  if (path == "/healthz" || path == "/livez") {
    bool good = shared.proxier->healthy();
    status = good ? 200 : 503;
    body = good ? "ok" : "the rules are not in step with the API server\n";
  } else if (path == "/metrics") {
    status = 200;
    body = shared.metrics->expose();
  }
  net::Headers headers{{"content-type", "text/plain; charset=utf-8"}};
  auto sent = co_await writer.send(status, headers, body);
  (void)sent;
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "kube-proxy"));
  if (flags.given("master")) config.server = flags.get("master");
  TRY(auto transport, kube::make_http_transport(loop, config));
  ProxyOptions options;
  options.node_name = flags.get("node-name");
  options.cluster_cidr = flags.get("cluster-cidr");
  options.service_cidr = flags.get("service-cidr");
  MetricRegistry metrics;
  kube::Client client(*transport, "kube-proxy");
  Proxier proxier(
      loop, client, options, [](const std::string& commands) { return run_nft(commands); }, metrics);
  Shared shared{&proxier, &metrics};
  net::HttpServer server(loop, [shared](net::ServerRequest& q, net::ResponseWriter& w) { return answer(shared, q, w); });
  if (!flags.get("healthz-bind-address").empty()) {
    TRY(auto listener, net::listen(loop, net::Address{flags.get("healthz-bind-address")}));
    server.serve(std::move(listener));
  }
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.handle_signal(SIGINT, [&loop] { loop.stop(); });
  TaskScope scope;
  scope.spawn(proxier.run(scope));
  loop.run();
  scope.cancel_all();
  return 0;  // the rules stay: connections go on while the proxy is replaced
}

}  // namespace

const Command kProxyCommand = {
    "kube-proxy",
    "programs the node's nftables for Services",
    "caravel kube-proxy --node-name ip-10-0-11-23.us-east-1.compute.internal\n"
    "Needs CAP_NET_ADMIN in the network namespace of the node.\n",
    {
        {"kubeconfig", "FILE", "how to reach the API server; default: the pod's ServiceAccount"},
        {"master", "URL", "the API server's address, in place of the kubeconfig's: the Service address does not work before the proxy does"},
        {"node-name", "NAME", "this node's name, for traffic policies that keep to the node", ""},
        {"cluster-cidr", "CIDR", "sources outside it are masqueraded on cluster addresses; empty: nobody is", ""},
        {"service-cidr", "CIDR", "packets to it without a Service are rejected; empty: they pass", ""},
        {"healthz-bind-address", "ADDRESS", "where /healthz, /livez and /metrics answer; empty: nowhere", "0.0.0.0:10256"},
    },
    run,
    false,
};

}  // namespace caravel::proxy
