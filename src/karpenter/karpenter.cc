#include "karpenter/karpenter.h"

namespace caravel::karpenter {

namespace {
constexpr Duration kCatalogRefresh = 12h, kCatalogRetry = 5s;
}

Karpenter::Karpenter(Executor& ex, kube::Client client, aws::Client& aws, Settings settings) : context_(ex, client, aws, std::move(settings)) {}
Karpenter::~Karpenter() = default;

Task<void> Karpenter::keep_catalog() {
  for (;;) {
    Duration wait = context_.cloud.catalog_known() ? kCatalogRefresh : kCatalogRetry;
    co_await sleep(context_.ex, wait);
    Status known = co_await context_.cloud.refresh_catalog();
    if (!known.ok()) context_.log.warn("cannot learn instance types and prices", {{"error", known.error().message}});
  }
}

Task<void> Karpenter::run(StopToken stop) {
  // The controllers register their handlers before the informers start, and outlive the scope's tasks.
  NodeClassController node_classes(context_);
  NodePoolController node_pools(context_);
  NodeClaimController node_claims(context_);
  TerminationController termination(context_);
  Provisioner provisioner(context_);
  DisruptionController disruption(context_);
  GarbageCollector garbage(context_);
  InterruptionController interruption(context_);
  TaskScope scope;
  context_.start(scope);
  co_await context_.wait_synced();
  Status cluster = co_await context_.cloud.refresh_cluster();
  if (!cluster.ok()) context_.log.warn("cannot describe the cluster", {{"error", cluster.error().message}});
  Status catalog = co_await context_.cloud.refresh_catalog();
  if (!catalog.ok()) context_.log.warn("cannot learn instance types and prices yet", {{"error", catalog.error().message}});
  scope.spawn(keep_catalog());
  node_classes.start(scope);
  node_pools.start(scope);
  node_claims.start(scope);
  termination.start(scope);
  scope.spawn(provisioner.run());
  scope.spawn(disruption.run());
  scope.spawn(garbage.run());
  scope.spawn(interruption.run());
  context_.log.info("running", {{"cluster", context_.cloud.cluster().name}, {"nodepools", context_.pools.all().size()}});
  co_await stop.wait(context_.ex);
}

}  // namespace caravel::karpenter
