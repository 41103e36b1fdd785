#include "apiserver/store_requests.h"

namespace caravel::apiserver {

StoreRequests::StoreRequests(Executor& ex, store::Store& store, MetricRegistry& metrics)
    : ex_(ex),
      store_(store),
      seconds_(metrics.histogram("etcd_request_duration_seconds", "Etcd request latency in seconds for each operation and object type.", {"operation", "group", "resource"},
                                 {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60})),
      requests_(metrics.counter("etcd_requests_total", "Etcd request counts for each operation and object type.", {"operation", "group", "resource"})),
      errors_(metrics.counter("etcd_request_errors_total", "Etcd failed request counts for each operation and object type.", {"operation", "group", "resource"})) {}

Task<Result<store::TxnResult>> StoreRequests::write(std::string_view operation, kube::Resource of, store::Txn txn) {
  const Time begun = ex_.now();
  const LabelValues labels{std::string(operation), std::move(of.group), std::move(of.plural)};
  auto r = co_await store_.txn(std::move(txn));
  seconds_.observe(labels, std::chrono::duration<double>(ex_.now() - begun).count());
  requests_.inc(labels);
  if (!r.ok()) errors_.inc(labels);
  co_return r;
}

}  // namespace caravel::apiserver
