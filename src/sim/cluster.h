// A cluster in virtual time.
//
//   Cluster c(seed);
//   c.start();                       // API server, controllers, scheduler, hollow nodes
//   c.apply(yaml);                   // as a user
//   c.faults().watch_broken = 0.01;  c.crash("scheduler"); c.run_for(5s); c.revive("scheduler");
#pragma once

#include <map>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apiserver/api_server.h"
#include "base/executor.h"
#include "base/scope.h"
#include "hollow/hollow.h"
#include "kube/client.h"
#include "kube/leader_election.h"
#include "scheduler/scheduler.h"
#include "sim/faults.h"
#include "sim/load.h"
#include "sim/skew.h"
#include "store/store.h"

namespace caravel::sim {

struct ClusterOptions {
  int nodes = 6, zones = 3;
  std::vector<hollow::NodeSpec> node_list;  // these instead, where given
  hollow::Options hollow;
  // Two controller managers, "controllers" and "controllers-b", of which one leads by a Lease.
  bool elected = false;
  bool trace = true;  // false: no trace is kept, nor are writes counted
};

class Cluster {
 public:
  explicit Cluster(uint64_t seed, ClusterOptions options = ClusterOptions());
  ~Cluster();

  // Brings everything up; false when the API server does not start.
  bool start();
  // "controllers", "scheduler", "hollow", and "apiserver", which loses all but its store. A crash destroys
  // the component where it stands. revive("scheduler-b") starts a second scheduler that believes to be the only one.
  void crash(const std::string& component);
  void revive(const std::string& component);
  std::vector<std::string> components() const;
  // Sets the component's clock forward or back; zero makes it right again.
  void jump_clock(const std::string& component, Duration by);
  // A machine that falls silent, and comes back. hollow's crash ends the silence of all.
  void fail_node(const std::string& name);
  void recover_node(const std::string& name);
  const std::set<std::string>& failed_nodes() const { return failed_nodes_; }
  // Controller managers that believe to lead, now and at most so far.
  int leaders() const { return leaders_; }
  int leaders_max() const { return leaders_max_; }

  VirtualExecutor& ex() { return ex_; }
  Faults& faults() { return faults_; }
  Trace& trace() { return trace_; }
  Loads& loads() { return loads_; }
  hollow::HollowNodes* nodes() { return hollow_.get(); }
  void run_for(Duration d) { ex_.run_for(d); }

  // As the administrator, past all faults. Each runs virtual time until it is answered.
  kube::Client admin();
  // Creates what is new and merges what is there.
  Status apply(const std::string& yaml);
  std::vector<json::Value> list(const kube::Resource& r, const std::string& ns = "");
  Result<json::Value> get(const kube::Resource& r, const std::string& ns, const std::string& name);
  Status patch(const kube::Resource& r, const std::string& ns, const std::string& name, json::Value merge);
  Status evict(const std::string& ns, const std::string& pod);
  Status remove(const kube::Resource& r, const std::string& ns, const std::string& name, const std::string& propagation = "Background");

 private:
  kube::Transport& transport(std::string_view who);
  bool start_server();
  void connect(const std::string& who);
  void start_controllers(Executor& ex, TaskScope& scope);
  Task<void> lead(Executor* ex, kube::LeaderElectionOptions options);
  Task<void> run_as_leader(Executor* ex, std::string who, StopToken lost);
  Executor& clock_of(const std::string& component);

  VirtualExecutor ex_;
  ClusterOptions options_;
  Faults faults_;
  Trace trace_;
  Loads loads_;
  std::unique_ptr<store::Store> store_;
  std::unique_ptr<apiserver::ApiServer> server_;
  std::shared_ptr<ServerProcess> process_;
  const Faults none_;
  std::map<std::string, std::unique_ptr<FaultTransport>, std::less<>> doors_;
  std::map<std::string, std::unique_ptr<SkewedExecutor>> clocks_;
  std::set<std::string> failed_nodes_;
  int leaders_ = 0, leaders_max_ = 0;
  std::map<std::string, std::unique_ptr<scheduler::Scheduler>> schedulers_;
  std::unique_ptr<hollow::HollowNodes> hollow_;
  std::map<std::string, std::unique_ptr<TaskScope>> scopes_;
};

}  // namespace caravel::sim
