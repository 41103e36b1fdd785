// What the pods of a simulated cluster are asked to do, and the metrics APIs that tell of it.
//
// A load is an amount of one metric that a workload as a whole is asked for. It is spread evenly over the pods of the
// workload that are Ready; a pod uses no more CPU than its containers' limits allow. metrics.k8s.io tells of "cpu" and
// "memory" by pod; custom.metrics.k8s.io tells of any other metric by pod (type Pods), or by the object that the load was
// set for (type Object); external.metrics.k8s.io tells of the sum in the namespace, load by load.
// Samples are of this instant, over the last 15 s. Units: thousandths of the metric's unit.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "base/executor.h"
#include "kube/client.h"
#include "kube/types/core.h"

namespace caravel::sim {

// The workload that a pod belongs to: "Deployment shop/web" for those of its ReplicaSets, else its controller, else itself.
std::string workload_of(const kube::core::Pod& p);
bool is_ready(const kube::core::Pod& p);

class Loads {
 public:
  explicit Loads(Executor& ex) : ex_(&ex) {}
  // `object` as workload_of() says it: "Deployment shop/web", "Service shop/web".
  void set(const std::string& object, const std::string& metric, int64_t milli) { loads_[object][metric] = milli; }
  int64_t of(const std::string& object, const std::string& metric) const;
  // While true, whoever asks for metrics is told that the server cannot handle the request.
  bool down = false;

  // The server behind `inner` together with the metrics APIs. The loads outlive it.
  std::unique_ptr<kube::Transport> serve(std::unique_ptr<kube::Transport> inner);

  // What the metrics APIs answer, given the pods of the namespace.
  static bool is_metrics_path(const std::string& path);
  Result<json::Value> answer(const kube::ApiRequest& request, const std::vector<kube::core::Pod>& pods) const;

 private:
  json::Value resource_metrics(const std::vector<kube::core::Pod>& pods, const std::string& selector) const;
  json::Value pod_metrics(const std::vector<kube::core::Pod>& pods, const std::string& selector, const std::string& metric) const;
  // Each serving pod's share of what its workload is asked for.
  std::map<std::string, int64_t> shares(const std::vector<kube::core::Pod>& pods, const std::string& metric) const;
  Executor* ex_;
  std::map<std::string, std::map<std::string, int64_t>> loads_;  // object -> metric -> milli
};

}  // namespace caravel::sim
