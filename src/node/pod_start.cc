// PodWorker: volumes, sandbox, images, containers.
#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"
#include "node/image_volumes.h"
#include "node/network.h"
#include "node/pod_worker.h"

namespace caravel::node {
namespace {

const Log kStartLog{"node"};
constexpr Duration kSourceWait = std::chrono::seconds(10);  // for the first look at a ConfigMap or Secret
constexpr int64_t kHookTimeout = 600;                       // seconds; bounds a postStart hook

// Made from files of this machine; there is no registry of this name to pull from.
bool is_local_image(const std::string& image) { return image.rfind("caravel.local/", 0) == 0; }

std::string tag_of(const std::string& image) {
  size_t slash = image.rfind('/');
  size_t colon = image.find(':', slash == image.npos ? 0 : slash);
  return colon == image.npos ? "latest" : image.substr(colon + 1);
}

std::string pull_policy(const core::Container& c) {
  if (is_local_image(c.image)) return "IfNotPresent";
  if (!c.image_pull_policy.empty()) return c.image_pull_policy;
  return tag_of(c.image) == "latest" && c.image.find('@') == std::string::npos ? "Always" : "IfNotPresent";
}

template <class Entry>
Task<void> wait_for(Executor& ex, std::shared_ptr<Entry> entry) {
  for (Duration waited = Duration(0); !entry->informer.synced() && waited < kSourceWait; waited += std::chrono::milliseconds(10))
    co_await sleep(ex, std::chrono::milliseconds(10));
}

std::optional<cri::AuthConfig> pull_secret(const PodSources& sources, const core::Pod& pod, const std::string& image) {
  const std::string registry = image.substr(0, image.find('/'));
  for (auto& ref : pod.spec.image_pull_secrets) {
    auto it = sources.secrets.find(ref.name);
    if (it == sources.secrets.end() || !it->second) continue;
    auto data = it->second->data.find(".dockerconfigjson");
    if (data == it->second->data.end()) continue;
    auto config = json::parse(data->second);
    if (!config.ok()) continue;
    const json::Value& auths = static_cast<const json::Value&>(*config)["auths"];
    for (auto& m : auths.as_object()) {
      if (m.key.find(registry) == std::string::npos) continue;
      cri::AuthConfig a;
      const json::Value& v = m.value;
      a.username = v["username"].as_string();
      a.password = v["password"].as_string();
      a.auth = v["auth"].as_string();
      a.server_address = m.key;
      return a;
    }
  }
  return std::nullopt;
}

}  // namespace

// What the pod's claims are bound to; a binding never changes, so each is looked up once.
Task<Status> PodWorker::find_claimed_volumes() {
  for (const core::Volume& v : pod_->spec.volumes) {
    const std::string volume = v.name, name = claim_of(*pod_, v), ns = pod_->metadata.namespace_;
    if (name.empty() || claimed_.count(volume)) continue;
    const std::string failed = "Unable to attach or mount volumes: unmounted volumes=[" + volume + "], unattached volumes=[], failed to process volumes=[" + volume +
                               "]: error processing PVC " + ns + "/" + name + ": ";
    const bool owned = v.ephemeral.has_value();
    auto claim = co_await c_->client->get<core::PersistentVolumeClaim>(ns, name);
    if (!claim.ok()) co_return make_error(claim.error().code, failed + "failed to fetch PVC from API server: " + claim.error().message);
    const auto& owners = claim->metadata.owner_references;
    if (owned && std::none_of(owners.begin(), owners.end(), [&](auto& o) { return o.uid == pod_->metadata.uid; }))
      co_return invalid(failed + "PVC " + ns + "/" + name + " was not created for pod " + ns + "/" + pod_->metadata.name + " (pod is not owner)");
    if (claim->status.phase != "Bound" || claim->spec.volume_name.empty()) co_return unavailable(failed + "PVC is not bound");
    const std::string bound_to = claim->spec.volume_name;
    auto pv = co_await c_->client->get<core::PersistentVolume>("", bound_to);
    if (!pv.ok()) co_return make_error(pv.error().code, failed + "failed to get PV " + bound_to + ": " + pv.error().message);
    claimed_[volume] = std::move(*pv);
  }
  co_return ok();
}

Task<Status> PodWorker::ensure_volumes() {
  const PodReferences wanted = references(*pod_);
  if (config_map_handles_.size() != wanted.config_maps.size() || secret_handles_.size() != wanted.secrets.size()) {
    config_map_handles_.clear();
    secret_handles_.clear();
    for (auto& name : wanted.config_maps) config_map_handles_.push_back(c_->config_maps->watch(pod_->metadata.namespace_, name));
    for (auto& name : wanted.secrets) secret_handles_.push_back(c_->secrets->watch(pod_->metadata.namespace_, name));
  }
  for (size_t i = 0; i < config_map_handles_.size(); ++i) co_await wait_for(*c_->loop, config_map_handles_[i]);
  for (size_t i = 0; i < secret_handles_.size(); ++i) co_await wait_for(*c_->loop, secret_handles_[i]);
  sources_ = PodSources{};
  for (auto& h : config_map_handles_) sources_.config_maps[h->name] = h->object();
  for (auto& h : secret_handles_) sources_.secrets[h->name] = h->object();

  VolumeContext context;
  context.pod_directory = c_->settings->pod_directory(*pod_);
  context.sources = sources_;
  context.facts.host_ip = c_->settings->node_ip;
  context.facts.allocatable = c_->allocatable;
  context.now = c_->loop->now();
  Status failed = co_await find_claimed_volumes();
  context.claimed = claimed_;
  if (failed.ok()) {
    auto tokens = co_await tokens_.get(pod_);
    if (tokens.ok()) context.tokens = std::move(*tokens);
    else failed = std::move(tokens).error();
  }
  if (failed.ok()) {
    auto volumes = setup_volumes(*pod_, context);
    if (volumes.ok()) volumes_ = std::move(*volumes);
    else failed = std::move(volumes).error();
  }
  if (!failed.ok()) {
    event(true, "FailedMount", failed.error().message);
    co_return failed;
  }
  volumes_dirty_ = false;
  co_return ok();
}

Task<Status> PodWorker::create_sandbox() {
  int attempt = 0;
  for (auto& s : rt_.sandboxes) attempt = std::max(attempt, s.attempt + 1);
  const std::vector<SandboxRecord> old = rt_.sandboxes;
  for (const SandboxRecord& s : old) {
    CO_TRY_VOID(co_await c_->runtime->stop_pod_sandbox(s.id));
    c_->addresses->release(owner(s.attempt));
  }
  if (!old.empty()) event(false, "SandboxChanged", "Pod sandbox changed, it will be killed and re-created.");

  Status failed;
  PodAddress address;
  address.ip = c_->settings->node_ip;
  if (!pod_->spec.host_network) {
    auto a = co_await c_->addresses->acquire(owner(attempt));
    if (a.ok()) address = *a;
    else failed = wrap(std::move(a).error(), "failed to assign an IP address to the container");
  }
  const std::string dir = c_->settings->pod_directory(*pod_);
  const std::string hostname = pod_hostname(*pod_, *c_->settings);
  if (failed.ok()) failed = net::make_directories(dir);
  if (failed.ok()) failed = net::make_directories(c_->settings->log_directory(*pod_));
  if (failed.ok())
    failed = net::write_file_atomic(dir + "/etc-hosts", hosts_file(*pod_, address.ip, hostname, c_->settings->cluster_domain,
                                                                   net::read_file("/etc/hosts").value_or("127.0.0.1\tlocalhost\n")));
  if (failed.ok()) failed = net::write_file_atomic(dir + "/etc-hostname", hostname + "\n");
  std::string id;
  if (failed.ok()) {
    auto r = co_await c_->runtime->run_pod_sandbox(sandbox_config(*pod_, *c_->settings, attempt, address.ip));
    if (r.ok()) id = *r;
    else failed = std::move(r).error();
  }
  if (failed.ok() && !pod_->spec.host_network) {
    auto status = co_await c_->runtime->pod_sandbox_status(id, true);
    int pid = 0;
    if (status.ok()) {
      auto info = json::parse(status->info["info"]);
      if (info.ok()) pid = static_cast<int>(static_cast<const json::Value&>(*info)["pid"].as_int());
    }
    if (pid <= 0) failed = internal("the runtime does not say which process holds the sandbox");
    else failed = co_await connect_pod(*c_->loop, uid_, address, pid, c_->mtu);
    if (failed.ok()) failed = net::write_file_atomic(network_marker(id), address.ip);
  }
  if (!failed.ok()) {
    event(true, "FailedCreatePodSandBox", "Failed to create pod sandbox: " + failed.error().message);
    c_->addresses->release(owner(attempt));
    if (!id.empty()) {
      Status s = co_await c_->runtime->stop_pod_sandbox(id);
      if (!s.ok()) kStartLog.warn("a failed sandbox was not stopped", {{"pod", pod_text()}, {"error", s.error().message}});
    }
  }
  co_return failed;
}

Task<Status> PodWorker::ensure_image_volumes(core::Container c) {
  for (const core::Volume& v : pod_->spec.volumes) {
    const bool used = std::any_of(c.volume_mounts.begin(), c.volume_mounts.end(), [&](auto& m) { return m.name == v.name; });
    if (!v.image || !used || image_volumes_.count(v.name)) continue;
    core::Container wanted;  // whose state says what the container waits for
    wanted.name = c.name;
    wanted.image = v.image->reference;
    wanted.image_pull_policy = v.image->pull_policy;
    const std::string name = v.name;
    cri::Image image;
    const bool there = co_await ensure_image(std::move(wanted), &image);
    if (!there) co_return unavailable("the image of volume " + name + " is not there yet");
    const std::string directory = volumes_[name];
    CO_TRY_VOID(co_await mount_image(*c_->loop, c_->settings->containerd, image.id, directory));
    image_volumes_.insert(name);
  }
  co_return ok();
}

Task<void> PodWorker::pull(std::string name, std::string image) {
  const Time begun = c_->loop->now();
  event(false, "Pulling", "Pulling image \"" + image + "\"", name);
  auto r = co_await c_->runtime->pull_image(image, pull_secret(sources_, *pod_, image));
  Pull& p = pulls_[image];
  p.running = false;
  p.error = r.ok() ? "" : r.error().message;
  if (r.ok()) {
    const std::string took = format_duration(Duration((c_->loop->now() - begun).count() / 1'000'000 * 1'000'000));
    event(false, "Pulled", "Successfully pulled image \"" + image + "\" in " + took + " (" + took + " including waiting)", name);
    pull_backoff_.forget(image);
  } else {
    event(true, "Failed", "Failed to pull image \"" + image + "\": " + p.error, name);
    event(true, "Failed", "Error: ErrImagePull", name);
  }
  changed_.set();
}

Task<bool> PodWorker::ensure_image(core::Container c, cri::Image* image) {
  const std::string policy = pull_policy(c);
  auto present = co_await c_->runtime->image_status(c.image);
  if (!present.ok()) {
    rt_.waiting[c.name] = {"ImageInspectError", "Failed to inspect image \"" + c.image + "\": " + present.error().message};
    co_return false;
  }
  const bool there = present->has_value() && !(*present)->id.empty();
  auto it = pulls_.find(c.image);
  const bool pulled = it != pulls_.end() && !it->second.running && it->second.error.empty();
  if (there && (policy != "Always" || pulled)) {
    *image = **present;
    if (!pulled) event(false, "Pulled", "Container image \"" + c.image + "\" already present on machine", c.name);
    if (policy == "Always") pulls_.erase(it);  // the next start asks the registry again
    co_return true;
  }
  if (policy == "Never" || is_local_image(c.image)) {
    rt_.waiting[c.name] = {"ErrImageNeverPull", "Container image \"" + c.image + "\" is not present " +
                                                    (is_local_image(c.image) ? "and caravel.local is not a registry: see `caravel images`" : "with pull policy of Never")};
    event(true, "ErrImageNeverPull", rt_.waiting[c.name].message, c.name);
    start_not_before_[c.name] = c_->loop->now() + std::chrono::seconds(10);
    co_return false;
  }
  if (it != pulls_.end() && it->second.running) co_return false;
  if (it != pulls_.end() && !it->second.error.empty()) {
    const std::string error = it->second.error;
    const Time now = c_->loop->now();
    const Time until = start_not_before_[c.name];
    if (until <= now) {  // the failure is new: wait before the next try
      pull_backoff_.next(c.image, now);
      start_not_before_[c.name] = now + pull_backoff_.current(c.image);
      rt_.waiting[c.name] = {pull_backoff_.current(c.image) > std::chrono::seconds(10) ? "ImagePullBackOff" : "ErrImagePull", error};
      it->second.error.clear();
      pulls_.erase(it);
      if (rt_.waiting[c.name].reason == "ImagePullBackOff") {
        rt_.waiting[c.name].message = "Back-off pulling image \"" + c.image + "\": ErrImagePull: " + error;
        event(false, "BackOff", "Back-off pulling image \"" + c.image + "\"", c.name);
        event(true, "Failed", "Error: ImagePullBackOff", c.name);
      }
    }
    co_return false;
  }
  pulls_[c.image] = Pull{};
  scope_.spawn(pull(c.name, c.image));
  co_return false;
}

Task<Result<cri::ContainerConfig>> PodWorker::make_config(core::Container c, cri::Image image, int attempt) {
  ContainerInput in;
  in.pod = pod_.get();
  in.container = &c;
  in.node = c_->settings;
  in.volumes = volumes_;
  in.image_ref = image.id;
  if (image.uid) in.image_user = image.uid->value;
  in.image_user_name = image.username;
  in.attempt = attempt;
  for (auto& e : pod_->spec.ephemeral_containers) {
    if (e.name != c.name || e.target_container_name.empty()) continue;
    const ContainerRecord* target = rt_.latest(e.target_container_name);
    if (!target || target->state != cri::kRunning) co_return unavailable("unable to find target container " + e.target_container_name);
    in.processes_of = target->id;
  }
  PodFacts facts;
  facts.host_ip = c_->settings->node_ip;
  facts.allocatable = c_->allocatable;
  if (!rt_.sandboxes.empty()) facts.pod_ip = rt_.sandboxes[0].pod_ip;
  facts.pod_ips.push_back(facts.pod_ip);
  CO_TRY(in.environment, container_environment(*pod_, c, sources_, c_->services(), facts));
  CO_TRY(cri::ContainerConfig config, container_config(in));
  const std::string sub_paths = c_->settings->pod_directory(*pod_) + "/volume-subpaths/" + c.name;
  for (size_t i = 0; i < config.mounts.size(); ++i) {
    cri::Mount& m = config.mounts[i];
    if (m.volume.empty()) continue;
    const std::string place = sub_paths + "/" + std::to_string(i);
    CO_TRY_VOID(bind_sub_path(m.volume, m.host_path.substr(m.volume.size() + 1), place));
    m.host_path = place;
  }
  const std::string message = termination_file(*pod_, c.name, attempt, *c_->settings);
  CO_TRY_VOID(net::make_directories(message.substr(0, message.rfind('/'))));
  CO_TRY_VOID(net::write_file_atomic(message, "", 0666));
  CO_TRY_VOID(net::make_directories(c_->settings->log_directory(*pod_) + "/" + c.name));
  co_return config;
}

Task<Status> PodWorker::start_container(std::string name) {
  const std::optional<core::Container> spec = find_container(*pod_, name);
  if (!spec || !rt_.sandbox()) co_return internal("nothing to start for " + name);
  core::Container c = *spec;
  if (auto granted = rt_.granted.find(name); granted != rt_.granted.end()) c.resources = granted->second;
  const ContainerRecord* last = rt_.latest(name);
  const int attempt = last ? last->attempt + 1 : 0;

  CO_TRY_VOID(co_await ensure_image_volumes(c));
  cri::Image image;
  bool there = co_await ensure_image(c, &image);
  if (!there) co_return unavailable("the image " + c.image + " is not there yet");

  const Time now = c_->loop->now();
  std::string reason;
  Status failed;
  std::string id;
  auto config = co_await make_config(c, image, attempt);
  if (!config.ok()) {
    reason = "CreateContainerConfigError";
    failed = std::move(config).error();
  } else {
    auto created = co_await c_->runtime->create_container(rt_.sandbox()->id, std::move(*config),
                                                          sandbox_config(*pod_, *c_->settings, rt_.sandbox()->attempt, rt_.sandbox()->pod_ip));
    if (!created.ok()) {
      reason = "CreateContainerError";
      failed = std::move(created).error();
    } else {
      id = *created;
      rt_.applied[id] = c.resources;
      event(false, "Created", "Created container: " + name, name);
      failed = co_await c_->runtime->start_container(id);
      if (!failed.ok()) reason = "RunContainerError";
    }
  }
  if (!failed.ok()) {
    rt_.waiting[name] = {reason, failed.error().message};
    event(true, "Failed", "Error: " + failed.error().message, name);
    start_backoff_.next(name, now);
    start_not_before_[name] = now + start_backoff_.current(name);
    plan_.look_again = start_not_before_[name];
    co_return failed;
  }
  if (last) restart_backoff_.next(name, now);
  start_not_before_.erase(name);
  rt_.waiting.erase(name);
  event(false, "Started", "Started container " + name, name);
  if (c.lifecycle && c.lifecycle->post_start) scope_.spawn(post_start(c, id));
  // Of containers that have ended, the last one stays: its state and its log are asked for.
  auto& history = rt_.containers[name];
  for (size_t i = 1; i < history.size(); ++i) {
    Status s = co_await c_->runtime->remove_container(history[i].id);
    if (!s.ok()) kStartLog.warn("an old container was not removed", {{"pod", pod_text()}, {"error", s.error().message}});
  }
  co_return ok();
}

Task<void> PodWorker::post_start(core::Container c, std::string id) {
  const core::LifecycleHandler hook = *c.lifecycle->post_start;
  if (hook.sleep) {
    co_await sleep(*c_->loop, std::chrono::seconds(hook.sleep->seconds));
    co_return;
  }
  core::Probe probe;
  probe.exec = hook.exec;
  probe.http_get = hook.http_get;
  probe.tcp_socket = hook.tcp_socket;
  probe.timeout_seconds = kHookTimeout;
  const std::string host = rt_.sandboxes.empty() ? "" : rt_.sandboxes[0].pod_ip;
  auto s = co_await c_->probes->check(probe, id, host, c.ports);
  if (s.ok()) co_return;
  event(true, "FailedPostStartHook", "PostStartHook failed: " + s.error().message, c.name);
  ContainerRecord r;
  r.id = id;
  r.name = c.name;
  co_await stop_container(r, grace_period(), "FailedPostStartHook");
  changed_.set();
}

}  // namespace caravel::node
