#include "node/agent.h"

#include "node/local_storage.h"
#include "node/network.h"

#include <algorithm>
#include <set>

#include "base/log.h"
#include "net/process.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
constexpr Duration kLook = std::chrono::seconds(1);          // upstream's PLEG period
constexpr Duration kStorageLook = std::chrono::seconds(10);  // upstream's monitoring interval
constexpr Duration kRetry = std::chrono::seconds(1);

kube::InformerOptions my_pods(const std::string& node) {
  kube::InformerOptions o;
  o.field_selector = "spec.nodeName=" + node;
  return o;
}

cri::StringMap my_label(const std::string& node) {
  cri::StringMap m;
  m[kNodeLabel] = node;
  return m;
}

}  // namespace

Agent::Agent(AgentContext context, kube::Client client)
    : context_(std::move(context)),
      client_(client),
      pods_(*context_.loop, client, my_pods(context_.settings->node_name)),
      services_(*context_.loop, client),
      config_maps_(*context_.loop, client, [this](const std::string& ns) { sources_changed(ns); }),
      secrets_(*context_.loop, client, [this](const std::string& ns) { sources_changed(ns); }) {
  context_.client = &client_;
  context_.config_maps = &config_maps_;
  context_.secrets = &secrets_;
  context_.granted_to_others = [this](const std::string& uid) {
    Amounts out;
    for (auto& other : admitted())
      if (other.pod->metadata.uid != uid)
        for (auto& [resource, q] : running_requests(*other.pod, other.granted)) out[resource] += q;
    return out;
  };
  context_.services = [this] {
    std::vector<std::shared_ptr<const core::Service>> out;
    for (auto& [k, s] : services_.all()) out.push_back(s);
    return out;
  };
}

Agent::~Agent() {
  scope_.cancel_all();
  workers_.clear();
}

void Agent::start() {
  pods_.add_handler([this](auto&, auto&) { reconcile_workers(); });
  pods_.start(scope_);
  services_.start(scope_);
  scope_.spawn(main_loop());
}

Task<void> Agent::main_loop() {
  co_await pods_.wait_synced();
  co_await services_.wait_synced();  // a container must not start without the variables of its services
  while (true) {
    Status s = co_await adopt();
    if (s.ok()) break;
    runtime_error_ = s.error().message;
    kLog.warn("the container runtime cannot be read yet", {{"error", runtime_error_}});
    co_await sleep(*context_.loop, kRetry);
  }
  adopted_ = true;
  reconcile_workers();
  scope_.spawn(watch_local_storage());
  co_await watch_runtime();
}

Task<void> Agent::watch_local_storage() {
  while (true) {
    Status s = co_await evict_over_limits();
    if (!s.ok()) kLog.warn("the pods' use of the disk cannot be measured", {{"error", s.error().message}});
    co_await sleep(*context_.loop, kStorageLook);
  }
}

Task<Status> Agent::evict_over_limits() {
  std::vector<std::string> limited;
  for (auto& [uid, w] : workers_)
    if (!w->done() && !w->runtime_state().failed && has_storage_limits(w->pod())) limited.push_back(uid);
  if (limited.empty()) co_return ok();
  auto stats = co_await context_.runtime->list_container_stats(my_label(context_.settings->node_name));
  if (!stats.ok()) co_return std::move(stats).error();
  for (const std::string& uid : limited) {
    auto worker = workers_.find(uid);
    if (worker == workers_.end()) continue;
    const core::Pod pod = worker->second->pod();
    const std::string volumes = context_.settings->pod_directory(pod) + "/volumes", logs = context_.settings->log_directory(pod);
    LocalStorageUse use;
    for (auto& c : *stats)
      if (c.attributes.labels[kPodUidLabel] == uid) use.containers[c.attributes.metadata.name] += static_cast<int64_t>(c.writable_layer.used_bytes.value);
    std::function<LocalStorageUse()> measure = [pod, volumes, logs, use] {
      LocalStorageUse out = use;
      for (auto& [name, bytes] : out.containers) bytes += directory_bytes(logs + "/" + name);
      for (auto& v : pod.spec.volumes) {
        if (v.empty_dir) out.empty_dirs[v.name] = directory_bytes(volume_directory(volumes, v));
        else if (is_file_volume(v)) out.other += directory_bytes(volume_directory(volumes, v));
      }
      return out;
    };
    const LocalStorageUse measured = co_await run_blocking<LocalStorageUse>(*context_.loop, std::move(measure));
    worker = workers_.find(uid);
    if (worker == workers_.end()) continue;
    if (auto message = over_limit(pod, measured)) worker->second->evict(*message);
  }
  co_return ok();
}

Task<Status> Agent::adopt() {
  auto boxes = co_await context_.runtime->list_pod_sandboxes(my_label(context_.settings->node_name));
  if (!boxes.ok()) co_return std::move(boxes).error();
  std::set<std::string> wanted;
  for (auto& [key, p] : pods_.all()) wanted.insert(p->metadata.uid);
  for (cri::PodSandbox& s : *boxes) {
    if (wanted.count(s.metadata.uid)) {
      const std::string ip = s.annotations[kPodIpAnnotation];
      if (s.state == cri::kSandboxReady && ip != context_.settings->node_ip && !ip.empty())
        context_.addresses->adopt(s.metadata.uid + "." + std::to_string(s.metadata.attempt), ip);
      continue;
    }
    kLog.info("removing a pod that is no longer in the API", {{"pod", s.metadata.namespace_ + "/" + s.metadata.name}});
    Status stopped = co_await context_.runtime->stop_pod_sandbox(s.id);
    if (stopped.ok()) stopped = co_await context_.runtime->remove_pod_sandbox(s.id);
    if (!stopped.ok()) kLog.warn("a stray sandbox was not removed", {{"error", stopped.error().message}});
  }
  auto directories = net::list_directory(context_.settings->root_directory + "/pods");
  if (directories.ok())
    for (auto& uid : *directories)
      if (!wanted.count(uid)) {
        Status removed = remove_pod_directory(context_.settings->root_directory + "/pods/" + uid);
        if (!removed.ok()) kLog.warn("a stray pod directory was not removed", {{"error", removed.error().message}});
      }
  co_return ok();
}

// The pods that hold a part of the node.
std::vector<AdmittedPod> Agent::admitted() const {
  std::vector<AdmittedPod> out;
  for (auto& [uid, w] : workers_) {
    const std::string& phase = w->pod().status.phase;
    if (!w->done() && !w->runtime_state().failed && phase != "Succeeded" && phase != "Failed") out.push_back({&w->pod(), &w->runtime_state().granted});
  }
  return out;
}

void Agent::reconcile_workers() {
  if (!adopted_) return;
  std::set<std::string> wanted;
  for (auto& [key, p] : pods_.all()) {
    const std::string& uid = p->metadata.uid;
    wanted.insert(uid);
    auto it = workers_.find(uid);
    if (it == workers_.end()) {
      std::optional<WaitReason> refused;
      if (!p->status.start_time && !p->metadata.deletion_timestamp) refused = judge_pod(*p, admitted(), context_.allocatable);
      workers_[uid] = std::make_unique<PodWorker>(context_, p);
      if (refused) workers_[uid]->reject(std::move(*refused));
      scope_.spawn(run_worker(uid));
    } else if (it->second->pod().metadata.resource_version != p->metadata.resource_version) {
      it->second->update(p);
    }
  }
  for (auto& [uid, w] : workers_)
    if (!wanted.count(uid)) w->gone();
}

Task<void> Agent::run_worker(std::string uid) {
  // Started from an informer's handler: leave that first.
  co_await yield(*context_.loop);
  co_await workers_[uid]->run();
  seen_.erase(uid);
  workers_.erase(uid);
  // The object may still be there for a moment (our delete is on its way); a new worker would find
  // nothing to do but delete it again, which is harmless and heals a lost delete.
  co_await sleep(*context_.loop, kRetry);
  reconcile_workers();
}

void Agent::sources_changed(const std::string& ns) {
  for (auto& [uid, w] : workers_)
    if (w->pod().metadata.namespace_ == ns) w->sources_changed();
}

Task<Status> Agent::look_at_runtime() {
  const cri::StringMap mine = my_label(context_.settings->node_name);
  auto boxes = co_await context_.runtime->list_pod_sandboxes(mine);
  if (!boxes.ok()) co_return std::move(boxes).error();
  auto containers = co_await context_.runtime->list_containers(mine);
  if (!containers.ok()) co_return std::move(containers).error();
  std::map<std::string, std::string> now;
  for (auto& s : *boxes) now[s.metadata.uid] += s.id + std::to_string(s.state) + ";";
  for (auto& c : *containers) now[c.labels[kPodUidLabel]] += c.id + std::to_string(c.state) + ";";
  for (auto& [uid, w] : workers_)
    if (seen_[uid] != now[uid]) w->wake();
  seen_ = std::move(now);
  co_return ok();
}

Task<void> Agent::keep_host_ports() {
  if (!adopted_) co_return;
  std::vector<HostPort> ports;
  for (auto& [uid, w] : workers_) {
    const SandboxRecord* box = w->runtime_state().sandbox();
    if (!box || w->done()) continue;
    for (auto& p : host_ports(w->pod(), box->pod_ip)) ports.push_back(std::move(p));
  }
  std::string rules = host_port_rules(std::move(ports));
  if (rules == host_port_rules_) co_return;
  Status s = co_await run_nft_script(*context_.loop, rules);
  if (s.ok()) host_port_rules_ = std::move(rules);
  else kLog.error("host ports do not lead to their pods", {{"error", s.error().message}});
}

Task<void> Agent::watch_runtime() {
  while (true) {
    Status s = co_await look_at_runtime();
    co_await keep_host_ports();
    runtime_error_ = s.ok() ? "" : "container runtime is down: " + s.error().message;
    co_await sleep(*context_.loop, kLook);
  }
}

const PodWorker* Agent::find(const std::string& ns, const std::string& name) const {
  for (auto& [uid, w] : workers_)
    if (w->pod().metadata.namespace_ == ns && w->pod().metadata.name == name) return w.get();
  return nullptr;
}

std::vector<std::shared_ptr<const core::Pod>> Agent::pods() const {
  std::vector<std::shared_ptr<const core::Pod>> out;
  for (auto& [k, p] : pods_.all()) out.push_back(p);
  return out;
}

}  // namespace caravel::node
