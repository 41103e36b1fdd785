// A cluster in virtual time.
//
//   Cluster c(seed);
//   c.start();                       // API server, controllers, scheduler, hollow nodes
//   c.apply(yaml);                   // as a user
//   c.faults().watch_broken = 0.01;  c.crash("scheduler"); c.run_for(5s); c.revive("scheduler");
#pragma once

#include <map>
#include <memory>
#include <string>
#include <vector>

#include "apiserver/api_server.h"
#include "base/executor.h"
#include "base/scope.h"
#include "hollow/hollow.h"
#include "kube/client.h"
#include "scheduler/scheduler.h"
#include "sim/faults.h"
#include "store/store.h"

namespace caravel::sim {

struct ClusterOptions {
  int nodes = 6, zones = 3;
  std::vector<hollow::NodeSpec> node_list;  // these instead, where given
  hollow::Options hollow;
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed, ClusterOptions options = ClusterOptions());
  ~Cluster();

  // Brings everything up; false when the API server does not start.
  bool start();
  // "controllers", "scheduler", "hollow". A crash destroys the component where it stands.
  void crash(const std::string& component);
  void revive(const std::string& component);
  static std::vector<std::string> components() { return {"controllers", "scheduler", "hollow"}; }

  VirtualExecutor& ex() { return ex_; }
  Faults& faults() { return faults_; }
  Trace& trace() { return trace_; }
  hollow::HollowNodes* nodes() { return hollow_.get(); }
  void run_for(Duration d) { ex_.run_for(d); }

  // As the administrator, past all faults. Each runs virtual time until it is answered.
  kube::Client admin();
  // Creates what is new and merges what is there.
  Status apply(const std::string& yaml);
  std::vector<json::Value> list(const kube::Resource& r, const std::string& ns = "");
  Result<json::Value> get(const kube::Resource& r, const std::string& ns, const std::string& name);
  Status patch(const kube::Resource& r, const std::string& ns, const std::string& name, json::Value merge);
  Status remove(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& propagation = "Background");

 private:
  kube::Transport& transport(std::string_view who);

  VirtualExecutor ex_;
  ClusterOptions options_;
  Faults faults_;
  Trace trace_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::unique_ptr<kube::Transport> admin_;
  struct Door {
    std::unique_ptr<kube::Transport> direct, faulty;
  };
  std::map<std::string, Door, std::less<>> doors_;
  std::unique_ptr<scheduler::Scheduler> scheduler_;
  std::unique_ptr<hollow::HollowNodes> hollow_;
  std::map<std::string, std::unique_ptr<TaskScope>> scopes_;
};

}  // namespace caravel::sim
