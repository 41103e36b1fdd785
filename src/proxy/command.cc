#include "proxy/command.h"

#include <csignal>
#include <fstream>

#include "base/log.h"
#include "kube/main_loop.h"
#include "net/http.h"
#include "net/process.h"
#include "proxy/nft.h"
#include "proxy/proxier.h"

namespace caravel::proxy {
namespace {

const Log start_log("kube-proxy");

// Connections that one side has left stay known for as long as upstream's kube-proxy has it (--conntrack-tcp-timeout-...).
void set_conntrack_timeouts() {
  const std::pair<const char*, const char*> timeouts[] = {{"established", "86400"}, {"close_wait", "3600"}};
  for (auto& [state, seconds] : timeouts) {
    std::ofstream file("/proc/sys/net/netfilter/nf_conntrack_tcp_timeout_" + std::string(state));
    if (!(file << seconds << std::flush)) start_log.warn("cannot set a connection timeout; the kernel's holds", {{"state", state}});
  }
}

Status forget_stale(const UdpState& state) {
  TRY(auto flows, udp_flows());
  return forget(stale_flows(flows, state));
}

struct Shared {
  Proxier* proxier;
  MetricRegistry* metrics;
};

Task<void> answer(Shared shared, net::ServerRequest& request, net::ResponseWriter& writer) {
  const std::string& path = request.target.path;
  HealthAnswer a{404, {{"content-type", "text/plain; charset=utf-8"}}, "404 page not found\n"};
  if (path == "/healthz") a = answer_healthz(shared.proxier->health());
  else if (path == "/livez") a = answer_livez(shared.proxier->health());
  else if (path == "/metrics") {
    a.status = 200;
    a.body = shared.metrics->expose();
  }
  auto sent = co_await writer.send(a.status, a.headers, a.body);
  (void)sent;
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "kube-proxy"));
  if (flags.given("master")) config.server = flags.get("master");
  TRY(auto transport, kube::make_http_transport(loop, config));
  ProxyOptions options;
  options.here.node = flags.get("node-name");
  options.cluster_cidr = flags.get("cluster-cidr");
  options.service_cidr = flags.get("service-cidr");
  MetricRegistry metrics;
  kube::Client client(*transport, "kube-proxy");
  Proxier* serving = nullptr;
  HealthCheckPorts ports(loop, [&serving] { return serving && serving->healthy(); });
  ProxyKernel kernel;
  kernel.apply = [](const std::string& commands) { return run_nft(commands); };
  kernel.forget_stale_flows = forget_stale;
  kernel.serve_health_checks = [&ports](HealthChecks checks) { ports.set(std::move(checks)); };
  Proxier proxier(loop, client, options, std::move(kernel), metrics);
  serving = &proxier;
  set_conntrack_timeouts();
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
