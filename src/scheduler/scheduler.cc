#include "scheduler/scheduler.h"

#include "scheduler/shell.h"

namespace caravel::scheduler {

Scheduler::Impl::Impl(Executor& e, kube::Client c, Options o)
    : ex(e), client(c), options(std::move(o)), events(e, c, "default-scheduler"), pods(e, c), nodes(e, c), namespaces(e, c), budgets(e, c), csi_nodes(e, c), default_spread(e, c), volumes(e, c), claims(e, c), cluster(e.random_u64(), options.profiles), nominations(cluster), queue(options.queue), work(e), permits(e, options.bindings_max) {
  pods.add_handler([this](const PodPtr& old, const PodPtr& now) { on_pod(old, now); });
  nodes.add_handler([this](const NodePtr& old, const NodePtr& now) { on_node(old, now); });
  namespaces.add_handler([this](const auto& old, const auto& now) {
    cluster.set_namespace((now ? now : old)->metadata.name, now ? now->metadata.labels : Labels{});
    wake(kNamespace, -1);
  });
  csi_nodes.add_handler([this](const auto& old, const auto& now) { on_csi_node(old.get(), now.get()); });
  volumes.on_change([this](const core::PersistentVolumeClaim* claim) { wake_by_volumes(claim); });
  claims.on_change([this] { wake(kVolumes, -1); });
}

std::optional<size_t> Scheduler::Impl::profile_of(const core::Pod& pod) const {
  const auto& all = options.profiles;
  for (size_t i = 0; i < all.size(); ++i)
    if (all[i].scheduler_name == pod.spec.scheduler_name) return i;
  return std::nullopt;
}

Task<void> Scheduler::Impl::run() {
  co_await nodes.wait_synced();
  co_await namespaces.wait_synced();
  co_await budgets.wait_synced();
  co_await volumes.wait_synced();
  co_await claims.wait_synced();
  co_await default_spread.wait_synced();
  // Pods last: what they need of volumes is looked up when they are seen.
  co_await csi_nodes.wait_synced();
  pods.start(*scope);
  co_await pods.wait_synced();
  synced = true;
  log.info("watching", {{"nodes", cluster.node_count()}, {"pods", placed.size()}, {"pending", queue.active()}});
  size_t decided = 0;
  for (;;) {
    while (auto key = queue.pop(ex.now())) {
      std::string k = std::move(*key);
      std::optional<Attempt> attempt = begin(k);
      bool bound = false;
      if (attempt) {
        const bool extended = is_extended(*attempt);
        if (!attempt->pod->spec.resource_claims.empty()) bound = decide_with_claims(*attempt);
        else if (extended) bound = co_await decide_extended(std::move(*attempt));
        else bound = decide(*attempt);
      }
      if (bound) co_await permits.acquire();
      if (bound) start_binding(k);
      if (++decided % options.burst == 0) co_await yield(ex);
    }
    work.reset();
    std::optional<Duration> wait;
    if (auto due = queue.next_due()) wait = std::max(*due - ex.now(), Duration(0));
    co_await work.wait(wait);
  }
}

Scheduler::Scheduler(Executor& ex, kube::Client client, Options options) : impl_(std::make_unique<Impl>(ex, client, std::move(options))) {}
Scheduler::~Scheduler() = default;

void Scheduler::start(TaskScope& scope) {
  impl_->scope = &scope;
  impl_->nodes.start(scope);
  impl_->namespaces.start(scope);
  impl_->budgets.start(scope);
  impl_->volumes.start(scope);
  impl_->claims.start(scope);
  impl_->default_spread.start(scope);
  impl_->csi_nodes.start(scope);
  scope.spawn(impl_->run());
}

bool Scheduler::synced() const { return impl_->synced; }
size_t Scheduler::pending() const { return impl_->queue.active() + impl_->queue.backing_off() + impl_->queue.unschedulable(); }

}  // namespace caravel::scheduler
