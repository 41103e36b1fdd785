// What the node agent knows of a pod beside its API object: sandboxes and containers as the runtime
// reports them, probe results, back-offs. Plain data that the pure functions (pod_plan, pod_status) read.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kube/types/core.h"
#include "node/cri/messages.h"

namespace caravel::node {

namespace core = kube::core;

struct ContainerRecord {
  std::string id, name;
  int attempt = 0;  // restart count when it was made
  int state = cri::kUnknown;
  Time created_at, started_at, finished_at;
  int exit_code = 0;
  std::string reason, message;  // message: the termination message once it has ended
  std::string image, image_ref;
  std::string log_path;
};

struct SandboxRecord {
  std::string id;
  int attempt = 0;
  bool ready = false;
  Time created_at;
  std::string pod_ip;  // "" until the network is set up; the node's address for host-network pods
};

// Why a container is not there yet, as its waiting state shows it.
struct WaitReason {
  std::string reason, message;
};

struct ProbeState {
  std::string container_id;  // the results are of this container; others are stale
  bool started = false;      // the startup probe has succeeded, or there is none
  bool ready = false;
  bool failed = false;  // liveness or startup probe gave up
  std::string failure_message;
  std::optional<int64_t> grace;  // seconds that the failed probe gives the container, in place of the pod's
};

struct PodRuntime {
  std::vector<SandboxRecord> sandboxes;                            // newest first
  std::map<std::string, std::vector<ContainerRecord>> containers;  // by name, newest first
  std::map<std::string, ProbeState> probes;                        // by container name
  std::map<std::string, WaitReason> waiting;                       // by container name
  std::map<std::string, Time> not_before;                          // back-off: no start before this
  std::string sandbox_error;
  std::optional<WaitReason> failed;  // the pod as a whole has, and why
  // In-place resize (pod_resize.h). By container name what the node grants, by container id what the runtime was told.
  std::map<std::string, core::ResourceRequirements> granted, applied;
  std::optional<WaitReason> resize_pending;  // Deferred or Infeasible
  bool resizing = false;                     // granted, and not yet so in every container
  std::string resize_error;

  const ContainerRecord* latest(const std::string& name) const {
    auto it = containers.find(name);
    return it == containers.end() || it->second.empty() ? nullptr : &it->second[0];
  }
  const SandboxRecord* sandbox() const { return sandboxes.empty() || !sandboxes[0].ready ? nullptr : &sandboxes[0]; }
};

inline bool is_sidecar(const core::Container& init) { return init.restart_policy.value_or("") == "Always"; }
// An ephemeral container (`kubectl debug`) as a container like any other.
core::Container as_container(const core::EphemeralContainer& e);
// Of whatever sort.
std::optional<core::Container> find_container(const core::Pod& pod, const std::string& name);

}  // namespace caravel::node
