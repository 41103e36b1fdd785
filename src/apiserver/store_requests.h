// Writes to the store, counted under upstream's names for requests to etcd, whatever engine stands behind: dashboards and alerts ask for
// etcd_request_duration_seconds. Reads are answered from the watch caches and make no such requests. Threading: one executor.
#pragma once

#include <string_view>

#include "base/metrics.h"
#include "kube/resource.h"
#include "store/store.h"

namespace caravel::apiserver {

class StoreRequests {
 public:
  StoreRequests(Executor& ex, store::Store& store, MetricRegistry& metrics);
  // `operation`: "create", "update" or "delete". A transaction whose compares fail is no error, only an engine that does.
  Task<Result<store::TxnResult>> write(std::string_view operation, kube::Resource of, store::Txn txn);

 private:
  Executor& ex_;
  store::Store& store_;
  MetricFamily &seconds_, &requests_, &errors_;
};

}  // namespace caravel::apiserver
