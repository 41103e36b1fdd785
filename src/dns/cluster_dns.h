// Keeps ClusterRecords in step with the API server. Threading: one executor.
#pragma once

#include <optional>

#include "dns/cluster_records.h"
#include "kube/dynamic_informer.h"

namespace caravel::dns {

class ClusterDns {
 public:
  ClusterDns(Executor& ex, kube::Client client, std::string zone, uint32_t ttl);
  Task<void> run(TaskScope& scope);  // until destroyed
  bool ready() const { return records_.has_value(); }
  std::optional<Answer> resolve(const net::dns::Question& q) const;

 private:
  void rebuild();
  Executor& ex_;
  std::string zone_;
  uint32_t ttl_;
  kube::DynamicInformer services_, slices_, namespaces_;
  Event changed_;
  std::optional<ClusterRecords> records_;
};

}  // namespace caravel::dns
