#include "node/pod_worker.h"

#include <algorithm>

#include "base/log.h"
#include "base/strings.h"
#include "net/process.h"
#include "node/logs.h"
#include "node/pod_status.h"

namespace caravel::node {
namespace {

const Log kLog{"node"};
constexpr Duration kLookAgain = std::chrono::seconds(60);  // sources and tokens are looked at this often
constexpr Duration kRetry = std::chrono::seconds(2);
constexpr Duration kResizeAgain = std::chrono::seconds(10);
constexpr size_t kMessageMax = 4096;  // bytes of a termination message
constexpr size_t kLogTail = 2048;     // bytes of log that may stand in for it
constexpr int64_t kLogTailLines = 80;
constexpr int kRoundsMax = 20;  // actions in one go before the status is written

Time whole_seconds(int64_t ns) { return Time::from_seconds(ns / 1'000'000'000); }

std::string termination_message(const cri::ContainerStatus& s) {
  auto path = s.annotations.find(kMessagePathAnnotation);
  auto policy = s.annotations.find(kMessagePolicyAnnotation);
  std::string message;
  if (path != s.annotations.end())
    if (auto text = net::read_file(path->second); text.ok()) message = text->substr(0, kMessageMax);
  if (message.empty() && s.exit_code != 0 && policy != s.annotations.end() && policy->second == "FallbackToLogsOnError") message = log_tail(net::read_file(s.log_path).value_or(""), kLogTailLines, kLogTail);
  return message.empty() ? s.message : to_valid_utf8(message);
}

}  // namespace

PodWorker::PodWorker(AgentContext& context, std::shared_ptr<const core::Pod> pod)
    : c_(&context), pod_(std::move(pod)), uid_(pod_->metadata.uid), changed_(*context.loop), tokens_(*context.loop, *context.client) {}
PodWorker::~PodWorker() = default;

void PodWorker::evict(std::string message) {
  if (rt_.failed || gone_ || pod_->metadata.deletion_timestamp) return;
  event(true, "Evicted", message);
  rt_.failed = WaitReason{"Evicted", std::move(message)};
  finished_ = evicted_ = true;
  changed_.set();
}

void PodWorker::update(std::shared_ptr<const core::Pod> pod) {
  pod_ = std::move(pod);
  volumes_dirty_ = true;
  changed_.set();
}
void PodWorker::reject(WaitReason why) {
  event(true, why.reason, why.message.substr(why.message.find(": ") + 2));
  rt_.failed = std::move(why);
  finished_ = true;
}
void PodWorker::gone() {
  gone_ = true;
  changed_.set();
}
void PodWorker::wake() { changed_.set(); }
void PodWorker::sources_changed() {
  volumes_dirty_ = true;
  changed_.set();
}

Time PodWorker::now() const { return whole_seconds(c_->loop->now().ns); }
std::string PodWorker::pod_text() const { return pod_->metadata.name + "_" + pod_->metadata.namespace_ + "(" + uid_ + ")"; }
std::string PodWorker::owner(int attempt) const { return uid_ + "." + std::to_string(attempt); }
std::string PodWorker::network_marker(const std::string& sandbox) const { return c_->settings->pod_directory(*pod_) + "/network-" + sandbox; }

kube::ObjectReference PodWorker::reference(const std::string& container) const {
  kube::ObjectReference r = kube::reference_to(*pod_);
  for (auto& c : pod_->spec.containers)
    if (c.name == container) r.field_path = "spec.containers{" + container + "}";
  for (auto& c : pod_->spec.init_containers)
    if (c.name == container) r.field_path = "spec.initContainers{" + container + "}";
  for (auto& c : pod_->spec.ephemeral_containers)
    if (c.name == container) r.field_path = "spec.ephemeralContainers{" + container + "}";
  return r;
}

void PodWorker::event(bool warning, const std::string& reason, const std::string& message, const std::string& container) {
  if (warning) c_->events->warning(reference(container), reason, message);
  else c_->events->normal(reference(container), reason, message);
}

Task<void> PodWorker::run() {
  while (!done_) {
    changed_.reset();
    if (gone_ || pod_->metadata.deletion_timestamp) {
      co_await terminate();
      break;
    }
    Status s = co_await sync();
    if (!s.ok()) kLog.warn("pod cannot be synced yet", {{"pod", pod_text()}, {"error", s.error().message}});
    Duration wait = s.ok() ? kLookAgain : kRetry;
    if (auto t = tokens_.renew_at()) {
      if (*t <= c_->loop->now()) volumes_dirty_ = true;
      wait = std::min(wait, std::max<Duration>(*t - c_->loop->now(), kRetry));
    }
    if (plan_.look_again) wait = std::min(wait, std::max<Duration>(*plan_.look_again - c_->loop->now(), std::chrono::milliseconds(100)));
    co_await changed_.wait(wait);
  }
  done_ = true;
}

Task<Status> PodWorker::sync() {
  Status result;
  for (int round = 0; round < kRoundsMax; ++round) {
    CO_TRY_VOID(co_await observe());
    if (pod_->status.phase == "Failed" || pod_->status.phase == "Succeeded") finished_ = true;
    plan_ = finished_ ? PodPlan{} : plan_pod(*pod_, rt_, c_->loop->now());
    if (finished_) plan_.stop_all = plan_.finished = true;
    if (plan_.failed) {
      event(false, plan_.failed->reason, plan_.failed->message);
      rt_.failed = plan_.failed;
    }
    if (gone_ || pod_->metadata.deletion_timestamp) break;
    if (plan_.stop_all) {
      finished_ = true;
      const bool sandbox = rt_.sandbox() != nullptr;
      if (sandbox) {
        co_await publish();
        co_await stop_running(evicted_ ? 0 : grace_period(), "Stopping container ");
        CO_TRY_VOID(co_await c_->runtime->stop_pod_sandbox(rt_.sandbox()->id));
        c_->addresses->release(owner(rt_.sandboxes[0].attempt));
        continue;
      }
      break;
    }
    if (volumes_dirty_) {
      result = co_await ensure_volumes();
      if (!result.ok()) break;
    }
    decide_resize();
    co_await apply_resources();
    if (plan_.create_sandbox) {
      result = co_await create_sandbox();
      if (!result.ok()) break;
      continue;
    }
    for (const KillAction& k : plan_.kill) {
      const ContainerRecord* r = rt_.latest(k.name);
      if (!r || r->id != k.container_id || killing_.count(r->id)) continue;
      killing_.insert(r->id);
      scope_.spawn(kill_in_background(*r, k.message, k.grace));
    }
    if (plan_.start.empty()) break;
    bool started = false;
    const std::vector<std::string> names = plan_.start;
    for (const std::string& name : names) {
      Status s = co_await start_container(name);
      started |= s.ok();
    }
    co_await publish();
    if (!started) break;
  }
  co_await publish();
  co_return result;
}

void PodWorker::decide_resize() {
  if (rt_.granted.empty()) rt_.granted = granted_before(*pod_);
  if (!asks_for_resize(*pod_, rt_.granted)) {
    rt_.resize_pending.reset();
    return;
  }
  auto refused = judge_resize(running_requests(*pod_), running_requests(*pod_, &rt_.granted), c_->granted_to_others(uid_), c_->allocatable);
  if (refused) {
    if (!rt_.resize_pending || rt_.resize_pending->reason != refused->reason)
      event(true, "Resize" + refused->reason, "Pod resize " + refused->reason + ": " + refused->message);
    rt_.resize_pending = std::move(refused);
    plan_.look_again = c_->loop->now() + kResizeAgain;
    return;
  }
  rt_.resize_pending.reset();
  for (auto& [name, has] : rt_.granted)
    if (auto c = find_container(*pod_, name)) has = c->resources;
  event(false, "ResizeStarted", "Pod resize started for generation " + std::to_string(pod_->metadata.generation));
  rt_.resizing = true;
}

// Tells the runtime what containers that run already are granted now; restarts those that ask for it.
Task<void> PodWorker::apply_resources() {
  bool all = true;
  rt_.resize_error.clear();
  for (const auto& [name, granted] : rt_.granted) {
    const ContainerRecord* r = rt_.latest(name);
    const std::optional<core::Container> c = find_container(*pod_, name);
    if (!r || !c || r->state != cri::kRunning) continue;
    const std::string id = r->id;
    auto it = rt_.applied.find(id);
    if (it != rt_.applied.end() && it->second == granted) continue;
    if (it != rt_.applied.end() && restarts_for(*c, it->second, granted)) {
      all = false;
      if (killing_.insert(id).second) scope_.spawn(kill_in_background(*r, "Container " + name + " resize requires restart"));
      continue;
    }
    core::Container as_granted = *c;
    as_granted.resources = granted;
    Status s = co_await c_->runtime->update_container_resources(id, container_resources(*pod_, as_granted, c_->settings->memory_capacity));
    if (s.ok()) {
      rt_.applied[id] = granted;
      continue;
    }
    all = false;
    rt_.resizing = true;
    rt_.resize_error = s.error().message;
    plan_.look_again = c_->loop->now() + kResizeAgain;
  }
  std::erase_if(rt_.applied, [&](auto& a) { return !known_.count(a.first); });
  if (rt_.resizing && all) {
    rt_.resizing = false;
    event(false, "ResizeCompleted", "Pod resize completed for generation " + std::to_string(pod_->metadata.generation));
  }
}

Task<Status> PodWorker::describe(cri::Container c, ContainerRecord* out) {
  auto it = known_.find(c.id);
  if (it != known_.end() && it->second.state == c.state) {
    *out = it->second;
    co_return ok();
  }
  auto r = co_await c_->runtime->container_status(c.id, false);
  if (!r.ok()) co_return std::move(r).error();
  const cri::ContainerStatus& s = r->status;
  out->id = c.id;
  out->name = c.labels[kContainerNameLabel];
  out->attempt = static_cast<int>(c.metadata.attempt);
  out->state = s.state;
  out->created_at = whole_seconds(s.created_at);
  out->started_at = whole_seconds(s.started_at);
  out->finished_at = whole_seconds(s.finished_at);
  out->exit_code = s.exit_code;
  out->reason = s.reason;
  out->image = s.image.image;
  out->image_ref = s.image_ref;
  out->log_path = s.log_path;
  if (s.state == cri::kExited) out->message = termination_message(s);
  known_[c.id] = *out;
  co_return ok();
}

Task<Status> PodWorker::observe() {
  cri::StringMap mine;
  mine[kPodUidLabel] = uid_;
  auto sandboxes = co_await c_->runtime->list_pod_sandboxes(mine);
  if (!sandboxes.ok()) co_return std::move(sandboxes).error();
  auto containers = co_await c_->runtime->list_containers(mine);
  if (!containers.ok()) co_return std::move(containers).error();

  std::vector<SandboxRecord> boxes;
  for (auto& s : *sandboxes) {
    SandboxRecord r;
    r.id = s.id;
    r.attempt = static_cast<int>(s.metadata.attempt);
    r.created_at = Time{s.created_at};
    r.pod_ip = s.annotations[kPodIpAnnotation];
    // A sandbox whose network was never finished (the agent was killed) is as good as none.
    r.ready = s.state == cri::kSandboxReady && (pod_->spec.host_network || net::path_exists(network_marker(s.id)));
    boxes.push_back(std::move(r));
  }
  std::sort(boxes.begin(), boxes.end(), [](auto& a, auto& b) { return a.created_at > b.created_at; });

  std::map<std::string, std::vector<ContainerRecord>> records;
  for (const cri::Container& c : *containers) {
    ContainerRecord r;
    Status s = co_await describe(c, &r);
    if (!s.ok()) continue;  // it has just been removed
    records[r.name].push_back(std::move(r));
  }
  for (auto& [name, list] : records) std::sort(list.begin(), list.end(), [](auto& a, auto& b) { return a.attempt != b.attempt ? a.attempt > b.attempt : a.created_at > b.created_at; });
  std::erase_if(known_, [&](auto& k) {
    return std::none_of(containers->begin(), containers->end(), [&](auto& c) { return c.id == k.first; });
  });
  // Containers that were made but never started (the agent was killed in between) go away.
  for (auto& [name, list] : records)
    while (!list.empty() && list[0].state == cri::kCreated) {
      Status s = co_await c_->runtime->remove_container(list[0].id);
      if (!s.ok()) break;
      list.erase(list.begin());
    }
  rt_.sandboxes = std::move(boxes);
  rt_.containers = std::move(records);
  update_backoff();
  update_probes();
  co_return ok();
}

void PodWorker::update_backoff() {
  const Time now = c_->loop->now();
  rt_.not_before = start_not_before_;
  for (auto& [name, list] : rt_.containers) {
    if (list.empty()) continue;
    const std::optional<core::Container> spec = find_container(*pod_, name);
    if (!spec || list[0].state != cri::kExited) {
      if (auto w = rt_.waiting.find(name); list[0].state == cri::kRunning && w != rt_.waiting.end()) rt_.waiting.erase(w);
      continue;
    }
    const Time t = restart_backoff_.not_before(name, list[0].finished_at, now);
    auto& slot = rt_.not_before[name];
    slot = std::max(slot, t);
    if (t <= now) continue;
    const std::string text = "back-off " + format_duration(restart_backoff_.current(name)) + " restarting failed container=" + name + " pod=" + pod_text();
    auto& w = rt_.waiting[name];
    if (w.reason != "CrashLoopBackOff") event(true, "BackOff", "Back-off restarting failed container " + name + " in pod " + pod_text(), name);
    w = {"CrashLoopBackOff", text};
  }
}

void PodWorker::update_probes() {
  std::set<std::string> alive;
  for (auto& [name, list] : rt_.containers) {
    if (list.empty() || list[0].state != cri::kRunning || killing_.count(list[0].id)) continue;
    const std::optional<core::Container> spec = find_container(*pod_, name);
    if (!spec || !(spec->startup_probe || spec->readiness_probe || spec->liveness_probe)) continue;
    const std::string& id = list[0].id;
    alive.insert(id);
    if (!probers_.count(id)) {
      std::string host = rt_.sandboxes.empty() ? "" : rt_.sandboxes[0].pod_ip;
      std::optional<core::ContainerStatus> known;
      for (auto* statuses : {&pod_->status.init_container_statuses, &pod_->status.container_statuses})
        for (auto& s : *statuses)
          if (s.name == name) known = s;
      probers_[id] = std::make_unique<ContainerProber>(
          *c_->loop, *c_->probes, *spec, list[0], host, known, [this, name = name](std::string reason, std::string m) { event(true, reason.c_str(), m, name); }, [this] { changed_.set(); });
    }
    rt_.probes[name] = probers_[id]->state();
  }
  std::erase_if(probers_, [&](auto& p) { return !alive.count(p.first); });
}

Task<void> PodWorker::publish() {
  if (gone_) co_return;
  StatusInput in;
  in.pod = pod_.get();
  in.runtime = &rt_;
  in.plan = &plan_;
  in.node_ip = c_->settings->node_ip;
  in.now = now();
  if (has_sent_) in.previous = &last_sent_;
  core::PodStatus status = compute_status(in);
  if (sent_ && status == last_sent_) co_return;
  if (!sent_ && status == pod_->status) {
    sent_ = true;
    last_sent_ = status;
    co_return;
  }
  json::Value patch = json::Value::object();
  patch["metadata"]["uid"] = uid_;
  patch["status"] = kube::to_json(status);
  // Lists merged by address: a new sandbox's address must take the old one's place, not stand beside it.
  json::Value replace = json::Value::object();
  replace["$patch"] = "replace";
  for (const char* list : {"podIPs", "hostIPs"})
    if (std::as_const(patch)["status"][list].is_array()) patch["status"][list].push_back(replace);
  kube::WriteOptions o;
  o.subresource = "status";
  auto r = co_await c_->client->patch(core::Pod::resource(), pod_->metadata.namespace_, pod_->metadata.name, kube::PatchType::kStrategic,
                                      std::move(patch), std::move(o));
  if (!r.ok()) {
    if (r.error().code != Code::kNotFound) kLog.warn("pod status not written", {{"pod", pod_text()}, {"error", r.error().message}});
    sent_ = false;
    co_return;
  }
  last_sent_ = std::move(status);
  sent_ = has_sent_ = true;
}

}  // namespace caravel::node
