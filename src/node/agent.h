// The node agent: what the kubelet is to a node. Watches the pods that are bound to this node and keeps
// a PodWorker for each; looks at the runtime every second for changes that nobody announces; removes
// what belongs to no pod. Killing it stops no container: the next one finds everything again.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "kube/informer.h"
#include "node/host_ports.h"
#include "node/pod_admission.h"
#include "node/pod_worker.h"

namespace caravel::node {

class Agent {
 public:
  Agent(AgentContext context, kube::Client client);
  ~Agent();
  // Starts the watches; call once.
  void start();
  // "" when the node can run pods, else why not: for the Ready condition.
  std::string not_ready() const { return runtime_error_; }
  const PodWorker* find(const std::string& ns, const std::string& name) const;
  std::vector<std::shared_ptr<const core::Pod>> pods() const;
  AgentContext& context() { return context_; }

 private:
  Task<void> main_loop();
  Task<Status> adopt();
  Task<void> watch_runtime();
  Task<Status> look_at_runtime();
  Task<void> keep_host_ports();
  Task<void> watch_local_storage();
  Task<Status> evict_over_limits();
  Task<void> run_worker(std::string uid);
  std::vector<AdmittedPod> admitted() const;
  void reconcile_workers();
  void sources_changed(const std::string& ns);

  AgentContext context_;
  kube::Client client_;
  kube::Informer<core::Pod> pods_;
  kube::Informer<core::Service> services_;
  WatchedObjects<core::ConfigMap> config_maps_;
  WatchedObjects<core::Secret> secrets_;
  std::map<std::string, std::unique_ptr<PodWorker>> workers_;  // by pod uid
  std::map<std::string, std::string> seen_;                    // by pod uid: a digest of the runtime's state
  bool adopted_ = false;
  std::string runtime_error_;
  std::string host_port_rules_;  // that are in force; "": those of an earlier agent
  TaskScope scope_;
};

}  // namespace caravel::node
