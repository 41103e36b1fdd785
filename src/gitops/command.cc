#include "gitops/command.h"

#include "gitops/application_controller.h"
#include "kube/main_loop.h"

namespace caravel::gitops {
namespace {

Task<void> lead(net::EventLoop* loop, kube::Transport* transport, Settings settings, StopToken stop) {
  kube::Client client(*transport, "argocd-controller");
  ApplicationController controller(*loop, client, settings);
  co_await controller.run(stop);
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "argocd-application-controller"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "argocd-application-controller"));
  Settings settings;
  settings.ns = flags.get("namespace");
  settings.cache_directory = flags.get("cache-dir");
  TRY(settings.poll, parse_duration(flags.get("app-resync")));
  auto* t = transport.get();
  return kube::run_component(loop, *transport, options, [&loop, t, settings](StopToken stop) { return lead(&loop, t, settings, stop); });
}

std::vector<Flag> flags() {
  auto f = kube::component_flags("0.0.0.0:8082");
  f.push_back({"namespace", "NAMESPACE", "where Applications and settings live", "argocd"});
  f.push_back({"cache-dir", "DIR", "clones of repositories", "/tmp/argocd"});
  f.push_back({"app-resync", "DURATION", "how often repositories are looked at; argocd-cm's timeout.reconciliation overrides it", "120s"});
  return f;
}

}  // namespace

const Command kArgoCdCommand = {
    "argocd-application-controller",
    "keeps the cluster as git says: Argo CD's Applications",
    "caravel argocd-application-controller [flags]\n",
    flags(),
    run,
    false,
};

}  // namespace caravel::gitops
