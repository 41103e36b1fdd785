// Hollow nodes: nodes that join a cluster, renew their Leases and "run" the pods bound to them after a
// drawn delay, without containers. One pod watch and one timer wheel serve all of them.
//
// A pod becomes Running and Ready with an address of its own; it goes away when it is deleted. Annotations
// of a pod steer it:
//   hollow.caravel.dev/run-for: 30s      it ends after this time (for Jobs)
//   hollow.caravel.dev/exit-code: "1"    with this code; 0 is Succeeded, else Failed
//   hollow.caravel.dev/never-ready: "true"
// Threading: one executor. All state is rebuilt from the API: it may be destroyed at any time.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::hollow {

struct NodeSpec {
  std::string name;
  std::string region = "us-east-1", zone, instance_type, provider_id;
  std::string arch = "amd64", internal_ip;
  std::string cpu = "4", memory = "16Gi", ephemeral_storage = "80Gi";
  int pods = 110;
  // What the node agent keeps for itself: capacity minus this is allocatable.
  std::string reserved_cpu = "0", reserved_memory = "0";
  std::map<std::string, std::string> labels;  // added to and over the standard ones
  struct Taint {
    std::string key, value, effect;
  };
  std::vector<Taint> taints;
};

struct Options {
  Duration pod_start_min = std::chrono::milliseconds(50), pod_start_max = std::chrono::milliseconds(500);
  Duration pod_stop_min = std::chrono::milliseconds(20), pod_stop_max = std::chrono::milliseconds(200);
  // How often a node says that it lives, as kubelets do. A simulation of days may choose longer, below the 50 s after
  // which the cluster gives a node up: a machine that fails then says so a last time, as it would have until then.
  Duration lease_period = std::chrono::seconds(10);
  Duration lease_duration = std::chrono::seconds(40);
  std::string version = "v1.36.0-eks-caravel";
  size_t calls_at_once = 128;
};

class HollowNodes {
 public:
  HollowNodes(Executor& ex, kube::Client client, Options options = Options());
  ~HollowNodes();
  HollowNodes(const HollowNodes&) = delete;

  // Registers the node (again, if it is known).
  void add(NodeSpec spec);
  // The machine is gone: no heartbeat, no pods; the Node object is left to the cluster.
  void remove(const std::string& name);
  // The machine is cut off: nothing happens on it until recover().
  void fail(const std::string& name);
  void recover(const std::string& name);
  size_t size() const;
  size_t registered() const;  // nodes that the API server has acknowledged

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// n nodes named hollow-00000…, spread over `zones` zones us-east-1a, b, …
std::vector<NodeSpec> uniform_nodes(int n, int zones, const std::string& instance_type = "m5.xlarge");

}  // namespace caravel::hollow
