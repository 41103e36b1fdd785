#include "proxy/proxier.h"

#include <utility>

#include "base/log.h"

namespace caravel::proxy {
namespace {

const Log log("kube-proxy");
constexpr Duration kSyncEvery = std::chrono::milliseconds(100);  // at most
constexpr Duration kRetryAfter = std::chrono::seconds(1);
constexpr const char* kZoneLabel = "topology.kubernetes.io/zone";
constexpr Duration kStaleAfter = std::chrono::minutes(2);

kube::Resource services_resource() { return {"", "v1", "services", "Service", true}; }
kube::Resource nodes_resource() { return {"", "v1", "nodes", "Node", false}; }
kube::Resource slices_resource() { return {"discovery.k8s.io", "v1", "endpointslices", "EndpointSlice", true}; }

}  // namespace

Proxier::Proxier(Executor& ex, kube::Client client, ProxyOptions options, ProxyKernel kernel, MetricRegistry& metrics)
    : ex_(ex),
      options_(std::move(options)),
      kernel_(std::move(kernel)),
      services_(ex, client, services_resource()),
      slices_(ex, client, slices_resource()),
      node_(ex, client, nodes_resource(), {.field_selector = "metadata.name=" + options_.here.node}),
      changed_(ex),
      syncs_(metrics.counter("kubeproxy_sync_proxy_rules_total", "Transactions by result.", {"result"})),
      seconds_(metrics.histogram("kubeproxy_sync_proxy_rules_duration_seconds", "Time of one transaction.", {}, {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1, 2, 4, 8, 16})) {
  auto note = [this](const kube::DynamicInformer::Ptr&, const kube::DynamicInformer::Ptr&) {
    if (dirty_since_.is_zero()) dirty_since_ = ex_.now();
    changed_.set();
  };
  services_.add_handler(note);
  slices_.add_handler(note);
  // Of the node only its zone matters to the rules.
  node_.add_handler([this, note](const kube::DynamicInformer::Ptr& old, const kube::DynamicInformer::Ptr& now) {
    if (!now || kube::label(*now, kZoneLabel) == options_.here.zone) return;
    options_.here.zone = kube::label(*now, kZoneLabel);
    note(old, now);
  });
}

bool Proxier::healthy() const { return applied_ && (dirty_since_.is_zero() || ex_.now() - dirty_since_ < kStaleAfter); }

ProxyHealth Proxier::health() const {
  auto node = node_.get("", options_.here.node);
  return {healthy(), node_eligible(node.get()), updated_, ex_.now()};
}

// A failure is told and tried again with the next change.
Task<void> Proxier::forget_stale_flows(UdpState state) {
  std::function<Status()> work = [forget = kernel_.forget_stale_flows, state] { return forget(state); };
  Status s = co_await run_blocking<Status>(ex_, std::move(work));
  if (s.ok()) flows_of_ = std::move(state);
  else log.error("UDP flows to endpoints that are gone may go on", {{"error", s.error().message}});
}

Task<void> Proxier::run(TaskScope& scope) {
  services_.start(scope);
  slices_.start(scope);
  node_.start(scope);
  co_await services_.wait_synced();
  co_await slices_.wait_synced();
  co_await node_.wait_synced();
  changed_.set();
  for (;;) {
    co_await changed_.wait();
    changed_.reset();
    Time since = std::exchange(dirty_since_, Time{});
    Services services;
    Endpoints endpoints;
    for (auto& [key, object] : services_.all()) read_service(*object, services);
    for (auto& [key, object] : slices_.all()) read_slice(*object, endpoints);
    settle(endpoints);
    kernel_.serve_health_checks(health_checks(services, endpoints, options_.here.node));
    NftRuleset now = build_ruleset(services, endpoints, options_);
    std::string commands = transaction(applied_ ? &*applied_ : nullptr, now);
    if (!commands.empty()) {
      Time start = ex_.now();
      std::function<Status()> work = [apply = kernel_.apply, commands] { return apply(commands); };
      Status s = co_await run_blocking<Status>(ex_, std::move(work));
      seconds_.observe({}, std::chrono::duration<double>(ex_.now() - start).count());
      syncs_.inc({s.ok() ? "ok" : "error"});
      if (!s.ok()) {
        log.error("cannot program the rules; trying again", {{"error", s.error().message}});
        applied_.reset();
        dirty_since_ = since.is_zero() ? start : since;
        co_await sleep(ex_, kRetryAfter);
        changed_.set();
        continue;
      }
      if (!applied_) log.info("rules are in place", {{"chains", now.chains.size()}});
    }
    applied_ = std::move(now);
    updated_ = ex_.now();
    UdpState udp = udp_state(services, endpoints);
    if (udp != flows_of_) co_await forget_stale_flows(std::move(udp));
    co_await sleep(ex_, kSyncEvery);
  }
}

}  // namespace caravel::proxy
