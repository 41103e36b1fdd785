// PodWorker: hooks, signals, and the end of a pod.
#include <algorithm>

#include "base/log.h"
#include "net/process.h"
#include "node/image_volumes.h"
#include "node/network.h"
#include "node/pod_worker.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
constexpr int64_t kMinimumGrace = 2;  // seconds that a container gets after its preStop hook, as upstream
constexpr Duration kRetry = std::chrono::seconds(1);

}  // namespace

int64_t PodWorker::grace_period() const {
  if (pod_->metadata.deletion_grace_period_seconds) return *pod_->metadata.deletion_grace_period_seconds;
  return pod_->spec.termination_grace_period_seconds.value_or(30);
}

Task<void> PodWorker::stop_container(ContainerRecord r, int64_t grace, std::string message) {
  const std::optional<core::Container> spec = find_container(*pod_, r.name);
  const Time begun = c_->loop->now();
  if (!message.empty()) event(false, "Killing", message, r.name);
  if (spec && spec->lifecycle && spec->lifecycle->pre_stop && grace > 0) {
    const core::LifecycleHandler hook = *spec->lifecycle->pre_stop;
    const std::vector<core::ContainerPort> ports = spec->ports;
    if (hook.sleep) {
      co_await sleep(*c_->loop, std::chrono::seconds(std::min(hook.sleep->seconds, grace)));
    } else {
      core::Probe probe;
      probe.exec = hook.exec;
      probe.http_get = hook.http_get;
      probe.tcp_socket = hook.tcp_socket;
      probe.timeout_seconds = static_cast<int32_t>(grace);
      const std::string host = rt_.sandboxes.empty() ? "" : rt_.sandboxes[0].pod_ip;
      auto s = co_await c_->probes->check(probe, r.id, host, ports);
      if (!s.ok()) event(true, "FailedPreStopHook", "PreStopHook failed", r.name);
    }
    const int64_t used = (c_->loop->now() - begun) / std::chrono::seconds(1);
    grace = std::max(kMinimumGrace, grace - used);
  }
  Status s = co_await c_->runtime->stop_container(r.id, grace);
  if (!s.ok() && s.error().code != Code::kNotFound) kLog.warn("container not stopped", {{"pod", pod_text()}, {"container", r.name}, {"error", s.error().message}});
}

Task<void> PodWorker::kill_in_background(ContainerRecord r, std::string message, std::optional<int64_t> grace) {
  probers_.erase(r.id);
  // A pod that is being deleted has a say of its own.
  if (pod_->metadata.deletion_grace_period_seconds) grace.reset();
  co_await stop_container(r, grace.value_or(grace_period()), message);
  killing_.erase(r.id);
  changed_.set();
}

Task<void> PodWorker::stop_counted(ContainerRecord r, int64_t grace, std::string message, int* left, Event* done) {
  co_await stop_container(std::move(r), grace, std::move(message));
  if (--*left == 0) done->set();
}

Task<void> PodWorker::stop_running(int64_t grace, std::string message) {
  // App containers first, all at once; then the sidecars, last one first.
  const Time begun = c_->loop->now();
  std::vector<std::vector<ContainerRecord>> waves(1);
  for (auto& c : pod_->spec.containers)
    if (auto* r = rt_.latest(c.name); r && r->state == cri::kRunning) waves[0].push_back(*r);
  for (auto it = pod_->spec.init_containers.rbegin(); it != pod_->spec.init_containers.rend(); ++it)
    if (auto* r = rt_.latest(it->name); r && r->state == cri::kRunning) {
      if (is_sidecar(*it)) waves.push_back({*r});
      else waves[0].push_back(*r);
    }
  for (const auto& wave : waves) {
    if (wave.empty()) continue;
    const int64_t used = (c_->loop->now() - begun) / std::chrono::seconds(1);
    const int64_t left_of_grace = grace == 0 ? 0 : std::max(kMinimumGrace, grace - used);
    int left = static_cast<int>(wave.size());
    Event done(*c_->loop);
    TaskScope scope;
    for (const ContainerRecord& r : wave) scope.spawn(stop_counted(r, left_of_grace, message.empty() ? "" : message + r.name, &left, &done));
    // A shorter grace period, or the object's removal, cuts the wait short.
    while (!done.is_set()) {
      const bool finished = co_await done.wait(kRetry);
      if (finished) break;
      const bool forced = gone_ || (pod_->metadata.deletion_grace_period_seconds && *pod_->metadata.deletion_grace_period_seconds == 0 && grace > 0);
      if (!forced) continue;
      for (const ContainerRecord& r : wave) {
        Status s = co_await c_->runtime->stop_container(r.id, 0);
        if (!s.ok()) kLog.warn("container not killed", {{"pod", pod_text()}, {"error", s.error().message}});
      }
      break;
    }
  }
}

Task<void> PodWorker::terminate() {
  probers_.clear();
  while (true) {
    Status seen = co_await observe();
    probers_.clear();
    if (seen.ok()) {
      co_await stop_running(gone_ ? std::min<int64_t>(grace_period(), 30) : grace_period(), "Stopping container ");
      probers_.clear();
      seen = co_await observe();
      probers_.clear();
    }
    const bool running = std::any_of(rt_.containers.begin(), rt_.containers.end(), [](auto& c) { return !c.second.empty() && c.second[0].state == cri::kRunning; });
    if (seen.ok() && !running) break;
    co_await sleep(*c_->loop, kRetry);
  }
  plan_ = PodPlan{};
  plan_.finished = true;
  // The pod's last words: without sandboxes it cannot be ready to start containers.
  for (auto& s : rt_.sandboxes) s.ready = false;
  co_await publish();
  co_await clean_up();
  if (gone_) co_return;
  kube::DeleteOptions o;
  o.grace_period_seconds = 0;
  o.uid = uid_;
  auto r = co_await c_->client->remove(core::Pod::resource(), pod_->metadata.namespace_, pod_->metadata.name, std::move(o));
  if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict)
    kLog.warn("pod object not removed", {{"pod", pod_text()}, {"error", r.error().message}});
}

Task<void> PodWorker::clean_up() {
  const std::vector<SandboxRecord> boxes = rt_.sandboxes;
  for (const SandboxRecord& s : boxes) {
    Status stopped = co_await c_->runtime->stop_pod_sandbox(s.id);
    if (stopped.ok()) stopped = co_await c_->runtime->remove_pod_sandbox(s.id);
    if (!stopped.ok()) kLog.warn("sandbox not removed", {{"pod", pod_text()}, {"error", stopped.error().message}});
    c_->addresses->release(owner(s.attempt));
  }
  if (!pod_->spec.host_network) {
    Status s = co_await disconnect_pod(*c_->loop, uid_);
    if (!s.ok()) kLog.warn("pod network not removed", {{"pod", pod_text()}, {"error", s.error().message}});
  }
  const std::string volumes = c_->settings->pod_directory(*pod_) + "/volumes";
  for (const core::Volume& v : pod_->spec.volumes) {
    if (!v.image) continue;
    Status unmounted = co_await unmount_image(*c_->loop, c_->settings->containerd, volume_directory(volumes, v));
    if (!unmounted.ok()) kLog.warn("image volume not unmounted", {{"pod", pod_text()}, {"error", unmounted.error().message}});
  }
  Status s = remove_pod_directory(c_->settings->pod_directory(*pod_));
  if (s.ok()) s = net::remove_tree(c_->settings->log_directory(*pod_));
  if (!s.ok()) kLog.warn("pod directory not removed", {{"pod", pod_text()}, {"error", s.error().message}});
}

}  // namespace caravel::node
