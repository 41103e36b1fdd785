#include "certs/command.h"

#include <csignal>

#include "base/strings.h"
#include "certs/context.h"
#include "kube/main_loop.h"

namespace caravel::certs {
namespace {

Task<void> lead(net::EventLoop* loop, kube::Transport* transport, Settings settings, StopToken stop) {
  kube::Client client(*transport, "cert-manager");
  Context c(*loop, client, settings);
  std::vector<std::unique_ptr<kube::Controller>> controllers;
  controllers.push_back(make_ingress_shim(c));
  controllers.push_back(make_certificate_controller(c));
  controllers.push_back(make_request_controller(c));
  controllers.push_back(make_issuer_controller(c));
  controllers.push_back(make_order_controller(c));
  controllers.push_back(make_challenge_controller(c));
  TaskScope scope;
  kube::DynamicInformer* informers[] = {&c.certificates, &c.requests, &c.issuers, &c.cluster_issuers, &c.orders, &c.challenges, &c.ingresses, &c.secrets};
  for (auto* i : informers) i->start(scope);
  for (auto* i : informers) co_await i->wait_synced();
  Log("cert-manager").info("caches are synced");
  for (auto& controller : controllers) controller->start(scope);
  co_await stop.wait(*loop);
}

Result<int> run_cert_manager(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "cert-manager"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "cert-manager-controller"));
  Settings settings;
  settings.cluster_resource_namespace = flags.get("cluster-resource-namespace");
  settings.solver_image = flags.get("acme-http01-solver-image");
  auto* t = transport.get();
  return kube::run_component(loop, *transport, options, [&loop, t, settings](StopToken stop) { return lead(&loop, t, settings, stop); });
}

std::vector<Flag> cert_manager_flags() {
  auto flags = kube::component_flags("0.0.0.0:9403");
  flags.push_back({"cluster-resource-namespace", "NAMESPACE", "where ClusterIssuers keep their Secrets", "cert-manager"});
  flags.push_back({"acme-http01-solver-image", "IMAGE", "image of the HTTP-01 solver pods", "caravel.local/caravel:latest"});
  return flags;
}

struct SolverAnswer {
  std::string domain, path, key;
};

Task<void> solve(const SolverAnswer* answer, net::ServerRequest& request, net::ResponseWriter& writer) {
  std::string host = request.authority.substr(0, request.authority.rfind(':'));
  net::Headers headers{{"content-type", "text/plain"}};
  int status = 200;
  std::string body = answer->key;
  if (request.target.path == "/healthz" || request.target.path == "/") body = "ok";
  else if (request.target.path != answer->path || host != answer->domain) status = 404, body = "no challenge of that name here\n";
  auto sent = co_await writer.send(status, headers, body);
  (void)sent;
}

Result<int> run_solver(const Flags& flags) {
  net::EventLoop loop;
  SolverAnswer answer{flags.get("domain"), "/.well-known/acme-challenge/" + flags.get("token"), flags.get("key")};
  if (answer.domain.empty() || flags.get("token").empty() || answer.key.empty()) return invalid("acmesolver needs --domain, --token and --key");
  net::HttpServer server(loop, [&answer](net::ServerRequest& q, net::ResponseWriter& w) { return solve(&answer, q, w); });
  TRY(auto listener, net::listen(loop, net::Address{"0.0.0.0:" + flags.get("listen-port")}));
  server.serve(std::move(listener));
  loop.handle_signal(SIGTERM, [&loop] { loop.stop(); });
  loop.run();
  return 0;
}

}  // namespace

const Command kCertManagerCommand = {
    "cert-manager",
    "issues and renews certificates: Issuers, Certificates, ACME",
    "caravel cert-manager [flags]\nRuns in a pod with its ServiceAccount, or anywhere with --kubeconfig.\n",
    cert_manager_flags(),
    run_cert_manager,
    false,
};

const Command kAcmeSolverCommand = {
    "acmesolver",
    "answers one ACME HTTP-01 challenge",
    "caravel acmesolver --domain NAME --token TOKEN --key KEY\n",
    {
        {"listen-port", "PORT", "port to answer on", "8089"},
        {"domain", "NAME", "the name being proven"},
        {"token", "TOKEN", "the challenge's token"},
        {"key", "KEY", "the key authorization to answer with"},
    },
    run_solver,
    true,
};

}  // namespace caravel::certs
