#include "kube/main_loop.h"

#include <csignal>

#include "base/log.h"
#include "net/http.h"
#include "net/process.h"

namespace caravel::kube {
namespace {

Task<void> answer_health(net::ServerRequest& request, net::ResponseWriter& writer) {
  std::string path = request.target.path;
  bool known = path == "/healthz" || path == "/livez" || path == "/readyz";
  net::Headers headers{{"content-type", "text/plain; charset=utf-8"}};
  auto sent = co_await writer.send(known ? 200 : 404, headers, known ? "ok" : "404 page not found\n");
  (void)sent;
}

Task<void> run_then_stop(net::EventLoop& loop, Task<void> work) {
  co_await std::move(work);
  loop.stop();
}

}  // namespace

std::vector<Flag> component_flags(std::string default_health_address) {
  return {
      {"kubeconfig", "FILE", "how to reach the API server; default: the pod's ServiceAccount"},
      {"leader-elect-namespace", "NAMESPACE", "where the leader's Lease lives; empty: no election", ""},
      {"identity", "NAME", "this replica's name in the Lease; default: the host's name", ""},
      {"health-address", "ADDRESS", "where /healthz, /livez and /readyz answer; empty: nowhere", default_health_address},
  };
}

Result<ComponentOptions> component_options(const Flags& flags, std::string name) {
  ComponentOptions o;
  o.name = std::move(name);
  o.ns = flags.get("leader-elect-namespace");
  o.identity = flags.get("identity");
  o.health_address = flags.get("health-address");
  if (o.identity.empty()) {
    auto host = net::read_file("/proc/sys/kernel/hostname");
    o.identity = host.ok() ? std::string(host->substr(0, host->find('\n'))) : o.name;
  }
  return o;
}

Result<ClientConfig> component_client_config(const Flags& flags, std::string_view name) {
  auto config = flags.given("kubeconfig") ? load_kubeconfig(flags.get("kubeconfig")) : in_cluster_config();
  if (config.ok()) config->user_agent = "caravel-" + std::string(name);
  return config;
}

int run_component(net::EventLoop& loop, Transport& transport, ComponentOptions options, std::function<Task<void>(StopToken)> lead) {
  Log log(options.name);
  StopSource stop(loop);
  net::HttpServer health(loop, answer_health);
  if (!options.health_address.empty()) {
    auto listener = net::listen(loop, net::Address{options.health_address});
    if (!listener.ok()) {
      log.error("cannot serve health checks", {{"error", listener.error().message}});
      return 1;
    }
    health.serve(std::move(*listener));
  }
  auto end = [&stop] { stop.stop(); };
  loop.handle_signal(SIGTERM, end);
  loop.handle_signal(SIGINT, end);
  log.info("started", {{"identity", options.identity}});
  {
    TaskScope scope;
    Client client(transport, options.name);
    if (options.ns.empty()) {
      scope.spawn(run_then_stop(loop, lead(stop.token())));
    } else {
      LeaderElectionOptions election;
      election.ns = options.ns;
      election.name = options.name;
      election.identity = options.identity;
      scope.spawn(run_then_stop(loop, run_with_leader_election(loop, client, election, stop.token(), lead)));
    }
    loop.run();
  }
  log.info("ended");
  return 0;
}

}  // namespace caravel::kube
