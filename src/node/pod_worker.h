// PodWorker: drives one pod of this node from its object to running containers and, when it is deleted,
// to nothing. It looks (the runtime, the API object, probes), asks plan_pod() what to do, does it, writes
// the status, and sleeps until something may have changed. Everything it needs to know after a restart
// of the agent is in the runtime's labels and annotations and in the pod's directory.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "kube/events.h"
#include "node/address_source.h"
#include "node/container_config.h"
#include "node/cri/runtime.h"
#include "node/pod_plan.h"
#include "node/pod_resize.h"
#include "node/prober.h"
#include "node/sources.h"

namespace caravel::node {

// What all workers of a node share.
struct AgentContext {
  net::EventLoop* loop = nullptr;
  cri::Runtime* runtime = nullptr;
  kube::Client* client = nullptr;
  kube::EventRecorder* events = nullptr;
  NodeSettings* settings = nullptr;
  AddressSource* addresses = nullptr;
  ProbeRunner* probes = nullptr;
  WatchedObjects<core::ConfigMap>* config_maps = nullptr;
  WatchedObjects<core::Secret>* secrets = nullptr;
  std::function<std::vector<std::shared_ptr<const core::Service>>()> services;
  std::map<std::string, kube::Quantity> allocatable;
  // CPU and memory that the node has granted to its other pods.
  std::function<Amounts(const std::string& uid)> granted_to_others;
  int mtu = 1500;
};

class PodWorker {
 public:
  PodWorker(AgentContext& context, std::shared_ptr<const core::Pod> pod);
  ~PodWorker();
  void update(std::shared_ptr<const core::Pod> pod);  // a newer version of the object
  // Ends the pod at once: it takes more of the node than it may.
  void evict(std::string message);
  void reject(WaitReason why);  // the node does not take the pod: it fails; before run()
  void gone();                  // the object has been removed
  void wake();                  // the runtime may have changed
  void sources_changed();       // a ConfigMap or Secret may have changed
  bool done() const { return done_; }
  const core::Pod& pod() const { return *pod_; }
  const PodRuntime& runtime_state() const { return rt_; }
  const core::PodStatus& last_status() const { return last_sent_; }
  Task<void> run();

 private:
  struct Pull {
    bool running = true;
    std::string error;
  };

  // pod_worker.cc: the loop and what it sees
  Task<Status> sync();
  Task<Status> observe();
  Task<Status> describe(cri::Container c, ContainerRecord* out);
  void update_backoff();
  void update_probes();
  void decide_resize();
  Task<void> apply_resources();
  Task<void> publish();

  // pod_start.cc: what makes things run
  Task<Status> ensure_volumes();
  Task<Status> find_claimed_volumes();
  Task<Status> create_sandbox();
  Task<Status> start_container(std::string name);
  // True when the image is there; otherwise the container waits (rt_.waiting says why).
  Task<bool> ensure_image(core::Container c, cri::Image* image);
  // The same for the images that the container mounts as volumes, and mounts them.
  Task<Status> ensure_image_volumes(core::Container c);
  Task<void> pull(std::string name, std::string image);
  Task<Result<cri::ContainerConfig>> make_config(core::Container c, cri::Image image, int attempt);
  Task<void> post_start(core::Container c, std::string id);

  // pod_stop.cc: what ends them
  Task<void> stop_container(ContainerRecord r, int64_t grace, std::string message);
  Task<void> kill_in_background(ContainerRecord r, std::string message, std::optional<int64_t> grace = std::nullopt);
  Task<void> stop_running(int64_t grace, std::string message);
  Task<void> stop_counted(ContainerRecord r, int64_t grace, std::string message, int* left, Event* done);
  Task<void> terminate();
  Task<void> clean_up();
  int64_t grace_period() const;

  kube::ObjectReference reference(const std::string& container = "") const;
  void event(bool warning, const std::string& reason, const std::string& message, const std::string& container = "");
  std::string pod_text() const;  // "name_namespace(uid)"
  std::string owner(int attempt) const;
  std::string network_marker(const std::string& sandbox) const;
  Time now() const;  // whole seconds, as the API keeps them

  AgentContext* c_;
  std::shared_ptr<const core::Pod> pod_;
  std::string uid_;
  bool gone_ = false, done_ = false, finished_ = false, evicted_ = false, volumes_dirty_ = true;
  Event changed_;
  PodRuntime rt_;
  PodPlan plan_;
  Backoff restart_backoff_, start_backoff_{std::chrono::seconds(1), std::chrono::seconds(30)}, pull_backoff_;
  std::map<std::string, ContainerRecord> known_;  // by id: records whose state has not changed
  std::map<std::string, Time> start_not_before_;
  std::map<std::string, std::string> volumes_;
  std::map<std::string, core::PersistentVolume> claimed_;  // by the name of the pod's volume
  std::map<std::string, Pull> pulls_;                      // by image
  std::set<std::string> killing_;
  std::set<std::string> image_volumes_;                              // mounted
  std::map<std::string, std::unique_ptr<ContainerProber>> probers_;  // by container id
  std::vector<WatchedObjects<core::ConfigMap>::Handle> config_map_handles_;
  std::vector<WatchedObjects<core::Secret>::Handle> secret_handles_;
  PodSources sources_;
  PodTokens tokens_;
  core::PodStatus last_sent_;
  bool sent_ = false;      // last_sent_ is what the API server has
  bool has_sent_ = false;  // last_sent_ is set
  TaskScope scope_;
};

}  // namespace caravel::node
