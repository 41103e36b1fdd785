// What must hold in every cluster.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/scope.h"
#include "kube/informer.h"
#include "sim/cluster.h"

namespace caravel::sim {

// Follows every change and notes what must never happen, even for an instant.
class Watchdog {
 public:
  explicit Watchdog(Cluster& c);
  const std::vector<std::string>& violations() const { return violations_; }

 private:
  void on_pod(const json::Value& pod);
  std::map<std::string, std::string> node_of_;  // pod uid -> node
  std::vector<std::string> violations_;
  kube::Reflector pods_;
  TaskScope scope_;
};

// What must hold once nothing changes any more: workloads have what they ask for, owners exist, endpoints
// are the ready pods. One sentence for each that does not.
std::vector<std::string> settled(Cluster& c);

}  // namespace caravel::sim
