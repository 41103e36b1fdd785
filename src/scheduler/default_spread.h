// The selector behind the cluster's default spread constraints: a pod without constraints of its own is
// spread together with the pods of its Services and of its owner (ReplicaSet, StatefulSet,
// ReplicationController).
#pragma once

#include <optional>

#include "kube/informer.h"
#include "kube/scheduling_spec.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"

namespace caravel::scheduler {

using namespace kube::scheduling;

class DefaultSpread {
 public:
  DefaultSpread(Executor& ex, kube::Client client);
  void start(TaskScope& scope);
  Task<void> wait_synced();
  // nullopt when nothing selects the pod.
  std::optional<Selector> selector(const kube::core::Pod& pod) const;

 private:
  kube::Informer<kube::core::Service> services_;
  kube::Informer<kube::core::ReplicationController> controllers_;
  kube::Informer<kube::apps::ReplicaSet> replica_sets_;
  kube::Informer<kube::apps::StatefulSet> stateful_sets_;
};

}  // namespace caravel::scheduler
