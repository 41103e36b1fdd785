#include "ingress/command.h"

#include <csignal>

#include "base/strings.h"
#include "ingress/controller.h"
#include "kube/main_loop.h"

namespace caravel::ingress {
namespace {

Task<void> health(IngressController* controller, net::ServerRequest& request, net::ResponseWriter& writer) {
  bool known = request.target.path == "/healthz" || request.target.path == "/readyz";
  int status = !known ? 404 : controller->ready() ? 200
                                                  : 500;
  net::Headers headers{{"content-type", "text/plain; charset=utf-8"}};
  auto sent = co_await writer.send(status, headers, status == 200 ? "ok" : status == 404 ? "404 page not found\n"
                                                                                         : "nginx is not configured yet\n");
  (void)sent;
}

Task<void> run_then_stop(net::EventLoop& loop, IngressController& controller, StopToken stop) {
  co_await controller.run(stop);
  loop.stop();
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "ingress-nginx"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "ingress-nginx-leader"));
  ControllerSettings settings;
  settings.controller_class = flags.get("controller-class");
  settings.publish_service = flags.get("publish-service");
  settings.config_map = flags.get("configmap");
  settings.default_ssl_secret = flags.get("default-ssl-certificate");
  settings.nginx = flags.get("nginx");
  TRY(int64_t http_port, flags.get_int("http-port"));
  TRY(int64_t https_port, flags.get_int("https-port"));
  settings.paths.http_port = static_cast<int>(http_port);
  settings.paths.https_port = static_cast<int>(https_port);
  settings.paths.directory = flags.get("work-dir");

  kube::Client client(*transport, "nginx-ingress-controller");
  IngressController controller(loop, client, settings);
  net::HttpServer server(loop, [&controller](net::ServerRequest& q, net::ResponseWriter& w) { return health(&controller, q, w); });
  TRY(auto listener, net::listen(loop, net::Address{flags.get("health-address")}));
  server.serve(std::move(listener));

  StopSource stop(loop);
  loop.handle_signal(SIGTERM, [&stop] { stop.stop(); });
  loop.handle_signal(SIGINT, [&stop] { stop.stop(); });
  TaskScope scope;
  scope.spawn(run_then_stop(loop, controller, stop.token()));
  auto write = [&controller](StopToken lost) { return controller.write_statuses(lost); };
  if (options.ns.empty()) {
    scope.spawn(write(stop.token()));
  } else {
    kube::LeaderElectionOptions election;
    election.ns = options.ns;
    election.name = options.name;
    election.identity = options.identity;
    scope.spawn(kube::run_with_leader_election(loop, client, election, stop.token(), write));
  }
  loop.run();
  return 0;
}

std::vector<Flag> flags() {
  auto f = kube::component_flags("0.0.0.0:10254");
  f.push_back({"controller-class", "NAME", "spec.controller of our IngressClasses", "k8s.io/ingress-nginx"});
  f.push_back({"publish-service", "NS/NAME", "the Service whose addresses the Ingresses' status shows"});
  f.push_back({"configmap", "NS/NAME", "the controller's settings"});
  f.push_back({"default-ssl-certificate", "NS/NAME", "TLS Secret for names without one"});
  f.push_back({"nginx", "PROGRAM", "the nginx program", "nginx"});
  f.push_back({"http-port", "PORT", "", "80"});
  f.push_back({"https-port", "PORT", "", "443"});
  f.push_back({"work-dir", "DIR", "nginx's configuration and temporary files", "/tmp/nginx"});
  return f;
}

}  // namespace

const Command kIngressCommand = {
    "nginx-ingress-controller",
    "serves Ingresses with nginx",
    "caravel nginx-ingress-controller --publish-service ingress-nginx/ingress-nginx-controller\n",
    flags(),
    run,
    false,
};

}  // namespace caravel::ingress
