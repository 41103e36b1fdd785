#include "karpenter/command.h"

#include <cstdlib>

#include "aws/http_client.h"
#include "base/strings.h"
#include "karpenter/karpenter.h"
#include "kube/main_loop.h"

namespace caravel::karpenter {
namespace {

std::string environment(const char* name) {
  const char* v = std::getenv(name);
  return v ? v : "";
}

// A flag, or the environment variable by which upstream's chart sets it.
std::string flag_or(const Flags& flags, const char* flag, const char* variable) {
  if (flags.given(flag)) return flags.get(flag);
  std::string v = environment(variable);
  return v.empty() ? flags.get(flag) : v;
}

// "id.secret" from a bootstrap token Secret; with an empty name, of the first one in the namespace.
Task<Result<std::string>> bootstrap_token(kube::Client client, std::string where) {
  kube::ObjectKey key = kube::ObjectKey::parse(where);
  std::optional<core::Secret> secret;
  if (!key.name.empty()) {
    auto r = co_await client.get<core::Secret>(key.ns, key.name);
    if (!r.ok()) co_return wrap(std::move(r).error(), "reading the bootstrap token " + where);
    secret = std::move(*r);
  } else {
    kube::ListOptions o;
    o.ns = key.ns;
    auto r = co_await client.list<core::Secret>(std::move(o));
    if (!r.ok()) co_return wrap(std::move(r).error(), "looking for a bootstrap token in " + key.ns);
    for (auto& s : r->items)
      if (s.type == "bootstrap.kubernetes.io/token") secret = std::move(s);
  }
  if (!secret || !secret->data.count("token-id") || !secret->data.count("token-secret"))
    co_return not_found("there is no bootstrap token Secret (type bootstrap.kubernetes.io/token) at " + where);
  co_return secret->data.at("token-id") + "." + secret->data.at("token-secret");
}

struct Process {
  net::EventLoop& loop;
  kube::Transport& transport;
  aws::Client& aws;
  Settings settings;
  std::string bootstrap_secret;
  Karpenter* leader = nullptr;  // while we lead
};

Task<void> lead(Process* p, StopToken stop) {
  kube::Client client(p->transport, "karpenter");
  Settings settings = p->settings;
  if (!p->bootstrap_secret.empty()) {
    for (;;) {
      auto token = co_await bootstrap_token(client, p->bootstrap_secret);
      if (token.ok()) {
        settings.cloud.kubelet_flags.push_back("--bootstrap-token=" + *token);
        break;
      }
      Log("karpenter").warn("waiting for the bootstrap token", {{"error", token.error().message}});
      bool stopped = co_await stop.sleep(p->loop, 5s);
      if (stopped) co_return;
    }
  }
  Karpenter k(p->loop, client, p->aws, std::move(settings));
  p->leader = &k;
  co_await k.run(stop);
  p->leader = nullptr;
}

Task<void> answer_metrics(Process* p, net::ServerRequest& request, net::ResponseWriter& writer) {
  bool known = request.target.path == "/metrics";
  net::Headers headers{{"content-type", "text/plain; version=0.0.4; charset=utf-8"}};
  std::string body = !known ? "404 page not found\n" : p->leader ? p->leader->context().registry.expose()
                                                                 : "";
  auto sent = co_await writer.send(known ? 200 : 404, headers, body);
  (void)sent;
}

Result<int> run(const Flags& flags) {
  net::EventLoop loop;
  TRY(auto config, kube::component_client_config(flags, "karpenter"));
  TRY(auto transport, kube::make_http_transport(loop, config));
  TRY(auto options, kube::component_options(flags, "karpenter-leader-election"));
  auto aws = aws::make_http_client(loop, aws::options_from_process_environment());
  Settings settings;
  settings.cloud.cluster_name = flag_or(flags, "cluster-name", "CLUSTER_NAME");
  if (settings.cloud.cluster_name.empty()) return invalid("the cluster's name is not known; give --cluster-name or set CLUSTER_NAME");
  settings.cloud.cluster_endpoint = flag_or(flags, "cluster-endpoint", "CLUSTER_ENDPOINT");
  settings.cloud.cluster_ca_base64 = flag_or(flags, "cluster-ca-bundle", "CLUSTER_CA_BUNDLE");
  settings.interruption_queue = flag_or(flags, "interruption-queue", "INTERRUPTION_QUEUE");
  settings.cloud.catalog.vm_memory_overhead = parse_double(flag_or(flags, "vm-memory-overhead-percent", "VM_MEMORY_OVERHEAD_PERCENT")).value_or(0.075);
  settings.cloud.catalog.reserved_enis = static_cast<int>(parse_int(flag_or(flags, "reserved-enis", "RESERVED_ENIS")).value_or(0));
  settings.batch_idle = parse_duration(flag_or(flags, "batch-idle-duration", "BATCH_IDLE_DURATION")).value_or(Duration(1s));
  settings.batch_max = parse_duration(flag_or(flags, "batch-max-duration", "BATCH_MAX_DURATION")).value_or(Duration(10s));
  settings.disruption_poll = parse_duration(flag_or(flags, "disruption-poll-period", "DISRUPTION_POLL_PERIOD")).value_or(Duration(10s));
  settings.disruption_validation = parse_duration(flag_or(flags, "disruption-validation-period", "DISRUPTION_VALIDATION_PERIOD")).value_or(Duration(15s));
  settings.respect_preferences = flag_or(flags, "preference-policy", "PREFERENCE_POLICY") != "Ignore";
  Process process{loop, *transport, *aws, std::move(settings), flag_or(flags, "bootstrap-token-secret", "BOOTSTRAP_TOKEN_SECRET")};
  net::HttpServer metrics(loop, [&process](net::ServerRequest& q, net::ResponseWriter& w) { return answer_metrics(&process, q, w); });
  if (std::string address = flags.get("metrics-address"); !address.empty()) {
    TRY(auto listener, net::listen(loop, net::Address{address}));
    metrics.serve(std::move(listener));
  }
  return kube::run_component(loop, *transport, options, [&process](StopToken stop) { return lead(&process, stop); });
}

std::vector<Flag> flags() {
  auto f = kube::component_flags("0.0.0.0:8081");
  f.push_back({"cluster-name", "NAME", "the EKS cluster (CLUSTER_NAME)"});
  f.push_back({"cluster-endpoint", "URL", "its API server as nodes reach it; default: what EKS says (CLUSTER_ENDPOINT)"});
  f.push_back({"cluster-ca-bundle", "BASE64", "its certificate authority; default: what EKS says (CLUSTER_CA_BUNDLE)"});
  f.push_back({"interruption-queue", "NAME", "SQS queue of EC2 events (INTERRUPTION_QUEUE)"});
  f.push_back({"bootstrap-token-secret", "NS/NAME", "Secret of the token with which nodes join; NS/ takes the first in the namespace (BOOTSTRAP_TOKEN_SECRET)"});
  f.push_back({"vm-memory-overhead-percent", "SHARE", "memory that the hypervisor keeps", "0.075"});
  f.push_back({"reserved-enis", "N", "network interfaces that pods do not get", "0"});
  f.push_back({"batch-idle-duration", "DURATION", "how long without new pods ends a batch", "1s"});
  f.push_back({"batch-max-duration", "DURATION", "how long a batch may last", "10s"});
  f.push_back({"disruption-poll-period", "DURATION", "how often nodes to disrupt are looked for (DISRUPTION_POLL_PERIOD)", "10s"});
  f.push_back({"disruption-validation-period", "DURATION", "how long a disruption must stay right before it is carried out (DISRUPTION_VALIDATION_PERIOD)", "15s"});
  f.push_back({"preference-policy", "Respect|Ignore", "whether preferred rules count in the simulation", "Respect"});
  f.push_back({"metrics-address", "ADDRESS", "where /metrics answers; empty: nowhere", "0.0.0.0:8080"});
  return f;
}

}  // namespace

const Command kKarpenterCommand = {
    "karpenter",
    "adds and removes nodes as pods need them",
    "CLUSTER_NAME=caravel AWS_REGION=us-east-1 caravel karpenter --leader-elect-namespace kube-system\n",
    flags(),
    run,
    false,
};

}  // namespace caravel::karpenter
