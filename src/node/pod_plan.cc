#include "node/pod_plan.h"

#include <algorithm>

namespace caravel::node {
namespace {

std::string policy(const core::Pod& pod) { return pod.spec.restart_policy.empty() ? "Always" : pod.spec.restart_policy; }

// Started for the purposes of those who wait for it: running, and past its startup probe.
bool has_started(const core::Container& c, const ContainerRecord& r, const PodRuntime& runtime) {
  if (r.state != cri::kRunning) return false;
  if (!c.startup_probe) return true;
  auto it = runtime.probes.find(c.name);
  return it != runtime.probes.end() && it->second.container_id == r.id && it->second.started;
}

bool probe_failed(const ContainerRecord& r, const PodRuntime& runtime) {
  auto it = runtime.probes.find(r.name);
  return it != runtime.probes.end() && it->second.container_id == r.id && it->second.failed;
}

class Planner {
 public:
  Planner(const core::Pod& pod, const PodRuntime& runtime, Time now) : pod_(pod), runtime_(runtime), now_(now) {}

  PodPlan plan() {
    const bool ever_started = any_app_record();
    if (past_deadline()) {
      plan_.failed = WaitReason{"DeadlineExceeded", "Pod was active on the node longer than the specified deadline"};
      return finish();
    }
    if (!runtime_.sandbox()) {
      // A new sandbox is for containers that are still to run.
      if (ever_started && !anything_to_run()) return finish();
      plan_.create_sandbox = true;
      return std::move(plan_);
    }
    for (auto& e : pod_.spec.ephemeral_containers)
      if (!runtime_.latest(e.name)) start_unless_backing_off(e.name);  // once
    if (!plan_inits(ever_started)) return std::move(plan_);
    bool alive = false;
    for (auto& c : pod_.spec.containers) alive |= plan_container(c, false);
    if (!alive) return finish();
    return std::move(plan_);
  }

 private:
  PodPlan finish() {
    plan_.stop_all = true;
    plan_.finished = true;
    plan_.start.clear();
    plan_.backing_off.clear();
    return std::move(plan_);
  }
  bool past_deadline() {
    if (!pod_.spec.active_deadline_seconds || !pod_.status.start_time) return false;
    const Time end = *pod_.status.start_time + std::chrono::seconds(*pod_.spec.active_deadline_seconds);
    if (end > now_) plan_.look_again = end;
    return end <= now_;
  }
  bool any_app_record() const {
    for (auto& c : pod_.spec.containers)
      if (runtime_.latest(c.name)) return true;
    return false;
  }
  bool anything_to_run() const {
    for (auto& c : pod_.spec.containers) {
      const ContainerRecord* r = runtime_.latest(c.name);
      if (!r || r->state != cri::kExited || should_restart(pod_, c, false, *r)) return true;
    }
    return false;
  }
  // True when the app containers may run.
  bool plan_inits(bool ever_started) {
    for (auto& c : pod_.spec.init_containers) {
      const ContainerRecord* r = runtime_.latest(c.name);
      if (is_sidecar(c)) {
        plan_container(c, true);
        if (!ever_started && (!r || !has_started(c, *r, runtime_))) return false;
        continue;
      }
      if (ever_started) continue;
      if (r && r->state == cri::kExited && r->exit_code == 0) continue;
      if (r && r->state == cri::kExited && !should_restart(pod_, c, true, *r)) {
        finish();
        return false;
      }
      plan_container(c, true);
      return false;
    }
    return true;
  }
  // Plans one container; true when it runs or is going to.
  bool plan_container(const core::Container& c, bool init) {
    const ContainerRecord* r = runtime_.latest(c.name);
    if (r && (r->state == cri::kRunning || r->state == cri::kCreated)) {
      if (probe_failed(*r, runtime_)) {
        auto it = runtime_.probes.find(c.name);
        plan_.kill.push_back({r->id, c.name, it->second.failure_message, it->second.grace});
      }
      return true;
    }
    if (r && !should_restart(pod_, c, init, *r)) return false;
    start_unless_backing_off(c.name);
    return true;
  }
  void start_unless_backing_off(const std::string& name) {
    auto wait = runtime_.not_before.find(name);
    if (wait == runtime_.not_before.end() || wait->second <= now_) {
      plan_.start.push_back(name);
      return;
    }
    plan_.backing_off.push_back(name);
    plan_.look_again = plan_.look_again ? std::min(*plan_.look_again, wait->second) : wait->second;
  }

  const core::Pod& pod_;
  const PodRuntime& runtime_;
  Time now_;
  PodPlan plan_;
};

}  // namespace

namespace {
// The first of the container's restart rules that the exit code meets says that it starts again. Rules go before the policies.
bool rule_restarts(const core::Container& c, int32_t exit_code) {
  for (auto& rule : c.restart_policy_rules) {
    if (!rule.exit_codes) continue;
    const auto& values = rule.exit_codes->values;
    const bool listed = std::find(values.begin(), values.end(), exit_code) != values.end();
    if ((rule.exit_codes->operator_ == "In" && listed) || (rule.exit_codes->operator_ == "NotIn" && !listed)) return rule.action == "Restart" || rule.action == "RestartAllContainers";
  }
  return false;
}
}  // namespace

bool should_restart(const core::Pod& pod, const core::Container& c, bool init, const ContainerRecord& ended) {
  std::string p = policy(pod);
  if (c.restart_policy) {
    if (rule_restarts(c, ended.exit_code)) return true;
    p = *c.restart_policy;
  }
  if (init && !is_sidecar(c)) return p != "Never" && ended.exit_code != 0;
  if (p == "Always") return true;
  return p == "OnFailure" && ended.exit_code != 0;
}

bool initialized(const core::Pod& pod, const PodRuntime& runtime) {
  for (auto& c : pod.spec.containers)
    if (runtime.latest(c.name)) return true;
  for (auto& c : pod.spec.init_containers) {
    const ContainerRecord* r = runtime.latest(c.name);
    if (!r) return false;
    if (is_sidecar(c)) {
      if (!has_started(c, *r, runtime)) return false;
    } else if (r->state != cri::kExited || r->exit_code != 0) {
      return false;
    }
  }
  return true;
}

PodPlan plan_pod(const core::Pod& pod, const PodRuntime& runtime, Time now) { return Planner(pod, runtime, now).plan(); }

void Backoff::next(const std::string& key, Time now) {
  auto it = entries_.find(key);
  if (it == entries_.end() || now - it->second.updated > 2 * most_) {
    entries_[key] = {first_, now};
    return;
  }
  it->second.delay = std::min(it->second.delay * 2, most_);
  it->second.updated = now;
}

Duration Backoff::current(const std::string& key) const {
  auto it = entries_.find(key);
  return it == entries_.end() ? Duration(0) : it->second.delay;
}

Time Backoff::not_before(const std::string& key, Time ended, Time now) const {
  auto it = entries_.find(key);
  if (it == entries_.end() || now - it->second.updated > 2 * most_) return Time{};
  return ended + it->second.delay;
}

}  // namespace caravel::node
