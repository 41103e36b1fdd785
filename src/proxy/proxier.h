// The shell of the service proxy: watches, builds, applies; at most one transaction at a time and at
// most ten in a second. A refused transaction is repeated from nothing. Threading: one executor.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "base/metrics.h"
#include "kube/dynamic_informer.h"
#include "proxy/conntrack.h"
#include "proxy/health_check.h"
#include "proxy/ruleset.h"

namespace caravel::proxy {

// What the proxy does to its node. The first two run on a worker.
struct ProxyKernel {
  std::function<Status(const std::string& commands)> apply;
  std::function<Status(const UdpState& state)> forget_stale_flows;
  std::function<void(HealthChecks checks)> serve_health_checks;
};

class Proxier {
 public:
  Proxier(Executor& ex, kube::Client client, ProxyOptions options, ProxyKernel kernel, MetricRegistry& metrics);
  Task<void> run(TaskScope& scope);  // until destroyed
  // The last transaction is in the kernel and not older than its inputs by more than two minutes.
  bool healthy() const;
  ProxyHealth health() const;

 private:
  Task<void> forget_stale_flows(UdpState state);
  Executor& ex_;
  ProxyOptions options_;
  ProxyKernel kernel_;
  kube::DynamicInformer services_, slices_, node_;
  Event changed_;
  std::optional<NftRuleset> applied_;
  Time dirty_since_{};  // zero: in step
  Time updated_{};      // the last transaction
  UdpState flows_of_;   // what the kernel's UDP flows have been compared with
  MetricFamily& syncs_;
  MetricFamily& seconds_;
};

}  // namespace caravel::proxy
