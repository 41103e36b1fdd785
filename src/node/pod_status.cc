#include "node/pod_status.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::node {
namespace {

core::ContainerStateTerminated terminated(const ContainerRecord& r) {
  core::ContainerStateTerminated t;
  t.exit_code = r.exit_code;
  t.reason = !r.reason.empty() ? r.reason : r.exit_code == 0 ? "Completed"
                                                             : "Error";
  t.message = r.message;
  t.started_at = r.started_at;
  t.finished_at = r.finished_at;
  t.container_id = "containerd://" + r.id;
  return t;
}

class StatusComputer {
 public:
  explicit StatusComputer(const StatusInput& in) : in_(in), pod_(*in.pod), rt_(*in.runtime) {}

  core::PodStatus compute() {
    start_from_previous();
    initialized_ = initialized(pod_, rt_);
    out_.init_container_statuses.clear();
    out_.container_statuses.clear();
    for (auto& c : pod_.spec.init_containers) out_.init_container_statuses.push_back(container_status(c, true));
    for (auto& c : pod_.spec.containers) out_.container_statuses.push_back(container_status(c, false));
    out_.ephemeral_container_statuses.clear();
    for (auto& e : pod_.spec.ephemeral_containers) {
      core::ContainerStatus s = container_status(as_container(e), false);
      s.ready = false;  // nobody waits for it
      s.started.reset();
      s.resources.reset();
      out_.ephemeral_container_statuses.push_back(std::move(s));
    }
    out_.host_ip = in_.node_ip;
    out_.host_ips.clear();
    out_.host_ips.emplace_back().ip = in_.node_ip;
    if (!out_.start_time) out_.start_time = in_.now;
    if (out_.qos_class.empty()) out_.qos_class = qos_class(pod_);
    out_.observed_generation = pod_.metadata.generation;
    std::string ip;
    for (auto& s : rt_.sandboxes)
      if (ip.empty()) ip = s.pod_ip;
    if (!ip.empty()) {
      out_.pod_ip = ip;
      out_.pod_ips.clear();
      out_.pod_ips.emplace_back().ip = ip;
    }
    if (rt_.failed) {
      out_.phase = "Failed";
      out_.reason = rt_.failed->reason;
      out_.message = rt_.failed->message;
    }
    if (out_.phase != "Succeeded" && out_.phase != "Failed") out_.phase = phase();
    conditions();
    return std::move(out_);
  }

 private:
  // Conditions of others (readiness gates, DisruptionTarget) come from the object, ours from what we wrote.
  void start_from_previous() {
    static const char* kOwn[] = {"PodReadyToStartContainers", "Initialized", "ContainersReady", "Ready", "PodResizePending", "PodResizeInProgress"};
    auto own = [](const core::PodCondition& c) { return std::find(std::begin(kOwn), std::end(kOwn), c.type) != std::end(kOwn); };
    out_ = pod_.status;
    if (!in_.previous) return;
    out_ = *in_.previous;
    std::erase_if(out_.conditions, [&](auto& c) { return !own(c); });
    for (auto& c : pod_.status.conditions)
      if (!own(c)) out_.conditions.push_back(c);
  }

  core::ContainerStatus container_status(const core::Container& c, bool init) {
    core::ContainerStatus s;
    s.name = c.name;
    s.image = c.image;
    s.started = false;
    const ContainerRecord* r = rt_.latest(c.name);
    auto granted = rt_.granted.find(c.name);
    s.resources = granted != rt_.granted.end() ? granted->second : c.resources;
    s.allocated_resources = s.resources->requests;
    if (r && r->state == cri::kRunning)
      if (auto applied = rt_.applied.find(r->id); applied != rt_.applied.end()) s.resources = applied->second;
    auto wait = rt_.waiting.find(c.name);
    if (!r) {
      // What has ended is remembered when the runtime has it no more: the pod may stay for somebody's finalizer.
      if (const core::ContainerStatus* before = published(c.name, init); before && before->state.terminated && (over() || init)) return *before;
      core::ContainerStateWaiting w;
      const bool other_phase = init ? false : !pod_.spec.init_containers.empty() && !initialized_;
      w.reason = init || other_phase ? "PodInitializing" : "ContainerCreating";
      if (wait != rt_.waiting.end()) {
        w.reason = wait->second.reason;
        w.message = wait->second.message;
      }
      s.state.waiting = w;
      return s;
    }
    s.container_id = "containerd://" + r->id;
    s.image_id = r->image_ref;
    s.restart_count = r->attempt;
    auto& history = rt_.containers.at(c.name);
    if (history.size() > 1 && history[1].state == cri::kExited) s.last_state.terminated = terminated(history[1]);
    if (r->state == cri::kRunning) {
      s.state.running.emplace().started_at = r->started_at;
      auto p = rt_.probes.find(c.name);
      const ProbeState* probe = p != rt_.probes.end() && p->second.container_id == r->id ? &p->second : nullptr;
      s.started = !c.startup_probe || (probe && probe->started);
      s.ready = *s.started && (!c.readiness_probe || (probe && probe->ready));
      if (init && !is_sidecar(c)) s.ready = false;
    } else if (r->state == cri::kExited) {
      const bool backing_off = in_.plan && std::count(in_.plan->backing_off.begin(), in_.plan->backing_off.end(), c.name);
      if (wait != rt_.waiting.end() && (backing_off || wait->second.reason != "CrashLoopBackOff")) {
        core::ContainerStateWaiting w;
        w.reason = wait->second.reason;
        w.message = wait->second.message;
        s.state.waiting = w;
        s.last_state.terminated = terminated(*r);
      } else {
        s.state.terminated = terminated(*r);
      }
      if (init && r->exit_code == 0 && !is_sidecar(c)) s.ready = true;
    } else {
      s.state.waiting.emplace().reason = "ContainerCreating";
    }
    return s;
  }

  bool over() const { return pod_.metadata.deletion_timestamp || out_.phase == "Succeeded" || out_.phase == "Failed"; }
  const core::ContainerStatus* published(const std::string& name, bool init) const {
    const core::PodStatus& last = in_.previous ? *in_.previous : pod_.status;
    for (auto& s : init ? last.init_container_statuses : last.container_statuses)
      if (s.name == name) return &s;
    return nullptr;
  }

  std::string phase() const {
    int pending_init = 0, failed_init = 0;
    for (size_t i = 0; i < pod_.spec.init_containers.size(); ++i) {
      const auto& c = pod_.spec.init_containers[i];
      if (is_sidecar(c) || initialized_) continue;
      const ContainerRecord* r = rt_.latest(c.name);
      if (r && r->state == cri::kExited && r->exit_code == 0) continue;
      if (r && r->state == cri::kExited && !should_restart(pod_, c, true, *r)) ++failed_init;
      else ++pending_init;
    }
    if (failed_init) return "Failed";
    int running = 0, waiting = 0, stopped = 0, succeeded = 0;
    for (auto& s : out_.container_statuses) {
      if (s.state.running) ++running;
      else if (s.state.terminated) {
        ++stopped;
        if (s.state.terminated->exit_code == 0) ++succeeded;
      } else if (s.last_state.terminated) ++stopped;
      else ++waiting;
    }
    const bool was_running = out_.phase == "Running";
    if (pending_init || waiting) return was_running && !pending_init ? "Running" : "Pending";
    if (running) return "Running";
    if (!stopped) return "Pending";
    const std::string& policy = pod_.spec.restart_policy;
    // A pod that is being deleted is not restarted, whatever its policy.
    const bool deleted = pod_.metadata.deletion_timestamp.has_value();
    if (!deleted && (policy == "Always" || policy.empty())) return "Running";
    // So does a container with a policy or a rule of its own, whatever the pod's.
    for (auto& c : pod_.spec.containers)
      if (const ContainerRecord* r = rt_.latest(c.name); !deleted && r && r->state == cri::kExited && should_restart(pod_, c, false, *r)) return "Running";
    if (stopped == succeeded) return "Succeeded";
    return policy == "OnFailure" && !deleted ? "Running" : "Failed";
  }

  void set_condition(const std::string& type, bool value, const std::string& reason = "", const std::string& message = "") {
    for (auto& c : out_.conditions)
      if (c.type == type) {
        if ((c.status == "True") != value) c.last_transition_time = in_.now;
        c.status = value ? "True" : "False";
        c.reason = reason;
        c.message = message;
        c.observed_generation = pod_.metadata.generation;
        return;
      }
    core::PodCondition c;
    c.type = type;
    c.status = value ? "True" : "False";
    c.reason = reason;
    c.message = message;
    c.last_transition_time = in_.now;
    c.observed_generation = pod_.metadata.generation;
    out_.conditions.push_back(std::move(c));
  }

  void clear_condition(const std::string& type) {
    std::erase_if(out_.conditions, [&](auto& c) { return c.type == type; });
  }
  void conditions() {
    if (rt_.resize_pending) set_condition("PodResizePending", true, rt_.resize_pending->reason, rt_.resize_pending->message);
    else clear_condition("PodResizePending");
    if (rt_.resizing) set_condition("PodResizeInProgress", true, rt_.resize_error.empty() ? "" : "Error", rt_.resize_error);
    else clear_condition("PodResizeInProgress");
    const bool terminal = out_.phase == "Succeeded" || out_.phase == "Failed";
    set_condition("PodReadyToStartContainers", rt_.sandbox() && !rt_.sandbox()->pod_ip.empty());

    std::vector<std::string> incomplete;
    for (size_t i = 0; i < pod_.spec.init_containers.size(); ++i) {
      const auto& s = out_.init_container_statuses[i];
      const bool done = is_sidecar(pod_.spec.init_containers[i]) ? s.started.value_or(false) : s.state.terminated && s.state.terminated->exit_code == 0;
      if (!done) incomplete.push_back(s.name);
    }
    const std::string names_incomplete = "containers with incomplete status: [" + join(incomplete, " ") + "]";
    if (out_.phase == "Succeeded") set_condition("Initialized", true, "PodCompleted");
    else if (incomplete.empty() || initialized_) set_condition("Initialized", true);
    else set_condition("Initialized", false, "ContainersNotInitialized", names_incomplete);

    std::vector<std::string> unready;
    for (size_t i = 0; i < pod_.spec.init_containers.size(); ++i)
      if (is_sidecar(pod_.spec.init_containers[i]) && !out_.init_container_statuses[i].ready) unready.push_back(out_.init_container_statuses[i].name);
    for (auto& s : out_.container_statuses)
      if (!s.ready) unready.push_back(s.name);
    std::string reason, message;
    bool ready = true;
    if (terminal) {
      ready = false;
      reason = out_.phase == "Succeeded" ? "PodCompleted" : "PodFailed";
    } else if (!unready.empty()) {
      ready = false;
      reason = "ContainersNotReady";
      message = "containers with unready status: [" + join(unready, " ") + "]";
    }
    set_condition("ContainersReady", ready, reason, message);
    if (ready) {
      std::vector<std::string> missing;
      for (auto& g : pod_.spec.readiness_gates) {
        auto it = std::find_if(pod_.status.conditions.begin(), pod_.status.conditions.end(), [&](auto& c) { return c.type == g.condition_type; });
        if (it == pod_.status.conditions.end()) missing.push_back("corresponding condition of pod readiness gate \"" + g.condition_type + "\" does not exist.");
        else if (it->status != "True")
          missing.push_back("the status of pod readiness gate \"" + g.condition_type + "\" is not \"True\", but " + it->status);
      }
      if (!missing.empty()) {
        ready = false;
        reason = "ReadinessGatesNotReady";
        message = join(missing, ", ");
      }
    }
    set_condition("Ready", ready, reason, message);
    set_condition("PodScheduled", true);  // the agent would not know of the pod otherwise; brings its observedGeneration up to date
  }

  const StatusInput& in_;
  const core::Pod& pod_;
  const PodRuntime& rt_;
  core::PodStatus out_;
  bool initialized_ = false;
};

}  // namespace

core::PodStatus compute_status(const StatusInput& in) { return StatusComputer(in).compute(); }

std::string qos_class(const core::Pod& pod) {
  bool any = false, guaranteed = true;
  for (auto* list : {&pod.spec.init_containers, &pod.spec.containers})
    for (auto& c : *list) {
      for (auto* m : {&c.resources.requests, &c.resources.limits})
        for (auto& [k, v] : *m)
          if ((k == "cpu" || k == "memory") && !v.is_zero()) any = true;
      for (const char* r : {"cpu", "memory"}) {
        auto limit = c.resources.limits.find(r);
        auto request = c.resources.requests.find(r);
        if (limit == c.resources.limits.end() || limit->second.is_zero()) guaranteed = false;
        else if (request != c.resources.requests.end() && request->second != limit->second) guaranteed = false;
      }
    }
  if (!any) return "BestEffort";
  return guaranteed ? "Guaranteed" : "Burstable";
}

}  // namespace caravel::node
