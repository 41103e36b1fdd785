#include "scheduler/default_spread.h"

#include "kube/scheduling_translate.h"

namespace caravel::scheduler {

DefaultSpread::DefaultSpread(Executor& ex, kube::Client client)
    : services_(ex, client), controllers_(ex, client), replica_sets_(ex, client), stateful_sets_(ex, client) {}

void DefaultSpread::start(TaskScope& scope) {
  services_.start(scope);
  controllers_.start(scope);
  replica_sets_.start(scope);
  stateful_sets_.start(scope);
}

Task<void> DefaultSpread::wait_synced() {
  co_await services_.wait_synced();
  co_await controllers_.wait_synced();
  co_await replica_sets_.wait_synced();
  co_await stateful_sets_.wait_synced();
}

std::optional<Selector> DefaultSpread::selector(const kube::core::Pod& pod) const {
  const std::string& ns = pod.metadata.namespace_;
  Labels equal;  // merged equality requirements
  Selector out;
  for (const auto& s : services_.in_namespace(ns)) {
    const Labels& want = s->spec.selector;
    if (want.empty()) continue;
    bool selects = true;
    for (const auto& [k, v] : want) {
      auto it = pod.metadata.labels.find(k);
      selects = selects && it != pod.metadata.labels.end() && it->second == v;
    }
    if (selects) equal.insert(want.begin(), want.end());
  }
  for (const auto& owner : pod.metadata.owner_references) {
    if (!owner.controller.value_or(false)) continue;
    if (owner.kind == "ReplicationController") {
      if (auto rc = controllers_.get(ns, owner.name)) equal.insert(rc->spec.selector.begin(), rc->spec.selector.end());
    } else if (owner.kind == "ReplicaSet") {
      if (auto rs = replica_sets_.get(ns, owner.name); rs && rs->spec.selector) out = selector_of(*rs->spec.selector);
    } else if (owner.kind == "StatefulSet") {
      if (auto sts = stateful_sets_.get(ns, owner.name); sts && sts->spec.selector) out = selector_of(*sts->spec.selector);
    }
  }
  for (const auto& [k, v] : equal) out.all.push_back({k, Op::kIn, {v}});
  if (out.all.empty()) return std::nullopt;
  return out;
}

}  // namespace caravel::scheduler
