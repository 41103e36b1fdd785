// One running instance: its namespace, metadata service, cgroup and node agent.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "base/log.h"
#include "machines/imds.h"
#include "machines/substrate.h"
#include "machines/world_substrate.h"
#include "net/process.h"

namespace caravel::machines {

class Machine {
 public:
  Machine(net::EventLoop& loop, SubstrateHost& host, const WorldOptions& options, InstanceSpec spec);
  ~Machine();
  // Begins the boot: the namespace and its interfaces are there already. `up` is called when the machine runs.
  Task<Status> boot(std::function<void()> up);
  // Everything of it ends; containers of the node by their cgroup.
  Task<void> end(Duration grace);
  InstanceSpec& spec() { return spec_; }
  MetadataServer& metadata() { return metadata_; }
  std::string console_path() const { return directory_ + "/console.log"; }

 private:
  Task<void> run_user_data(std::function<void()> up);
  Task<void> run_node_agent();
  Task<Status> run_scripts(std::vector<std::string> scripts);
  net::ProcessOptions in_instance(std::vector<std::string> argv);

  net::EventLoop& loop_;
  SubstrateHost& host_;
  const WorldOptions& options_;
  InstanceSpec spec_;
  std::string directory_;
  MetadataServer metadata_;
  Log log_{"machine"};
  std::unique_ptr<net::Process> agent_;
  bool ending_ = false;
  TaskScope scope_;
};

// Cgroup helpers (v1 hierarchies and v2): limits and "end everything inside".
Status limit_cgroup(const std::string& path, int cpus, int64_t memory_mib);
// Makes the leaf cgroup and gives the file that takes the pids of processes that are to live in it.
Result<std::string> make_leaf_cgroup(const std::string& path);
void kill_cgroup(const std::string& path);
void remove_cgroup(const std::string& path);

}  // namespace caravel::machines
