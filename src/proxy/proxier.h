// The shell of the service proxy: watches, builds, applies; at most one transaction at a time and at
// most ten in a second. A refused transaction is repeated from nothing. Threading: one executor.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "kube/dynamic_informer.h"
#include "proxy/ruleset.h"

namespace caravel::proxy {

class Proxier {
 public:
  using Apply = std::function<Status(const std::string& commands)>;  // runs on a worker
  Proxier(Executor& ex, kube::Client client, ProxyOptions options, Apply apply, MetricRegistry& metrics);
  Task<void> run(TaskScope& scope);  // until destroyed
  // The last transaction is in the kernel and not older than its inputs by more than two minutes.
  bool healthy() const;

 private:
  NftRuleset wanted() const;
  Executor& ex_;
  ProxyOptions options_;
  Apply apply_;
  kube::DynamicInformer services_, slices_;
  Event changed_;
  std::optional<NftRuleset> applied_;
  Time dirty_since_{};  // zero: in step
  MetricFamily& syncs_;
  MetricFamily& seconds_;
};

}  // namespace caravel::proxy
