#include <algorithm>

#include "scheduler/pod_spec.h"
#include "scheduler/shell.h"

namespace caravel::scheduler {

void Scheduler::Impl::on_pod(const PodPtr& old, const PodPtr& now) {
  std::string key = key_of(now ? *now : *old);
  if (!now || (old && old->metadata.uid != now->metadata.uid)) forget(key);
  if (!now) return;
  if (is_terminal(*now)) {
    forget(key);
  } else if (is_assigned(*now)) {
    place(key, old, *now);
  } else if (profile_of(*now)) {
    enqueue(key, old, *now);
  }
}

void Scheduler::Impl::enqueue(const std::string& key, const PodPtr& old, const core::Pod& pod) {
  if (placed.count(key)) return;  // its binding is under way
  if (pod.metadata.deletion_timestamp || !pod.spec.scheduling_gates.empty()) {
    leave_queue(key);
    return;
  }
  bool known = queue.contains(key);
  if (known && old && old->spec == pod.spec && old->metadata.labels == pod.metadata.labels && old->status.resource_claim_statuses == pod.status.resource_claim_statuses) return;
  queue.add(key, priority_of(pod), pod.metadata.creation_timestamp);
  // A nomination that an earlier scheduler has written.
  if (!known && !pod.status.nominated_node_name.empty() && !nominations.contains(key)) nominate(key, pod, pod.status.nominated_node_name);
  work.set();
}

void Scheduler::Impl::nominate(const std::string& key, const core::Pod& pod, const std::string& node) {
  const size_t profile = profile_of(pod).value_or(0);
  ClassId c = cluster.intern(spec_of(pod, profile, volumes.needs(pod)), profile);
  nominations.set(key, c, priority_of(pod), node);
  cluster.release(c);
}

bool Scheduler::Impl::is_preempted(const core::Pod& pod) {
  if (!pod.metadata.deletion_timestamp) return false;
  for (const auto& c : pod.status.conditions)
    if (c.type == "DisruptionTarget" && c.status == "True" && c.reason == "PreemptionByScheduler") return true;
  return false;
}

PodFacts Scheduler::Impl::facts_of(const std::string& key, const core::Pod& pod) const {
  return {key, priority_of(pod), pod.status.start_time.value_or(ex.now()), is_preempted(pod)};
}

void Scheduler::Impl::put(const std::string& key, Placed p) {
  size_t id = static_cast<size_t>(p.id);
  ++priorities[p.facts.priority];
  if (facts.size() <= id) facts.resize(id + 1);
  facts[id] = &(placed[key] = std::move(p)).facts;
}

void Scheduler::Impl::hold_claims(const std::string& key, const core::Pod& pod) {
  for (const auto& claim : volumes.needs(pod).exclusive) exclusive[claim] = key;
}

NodeId Scheduler::Impl::take(std::unordered_map<std::string, Placed>::iterator it) {
  Placed& p = it->second;
  NodeId node = cluster.nodes().find(p.node);
  cluster.remove_pod(p.id);
  facts[static_cast<size_t>(p.id)] = nullptr;
  std::erase_if(exclusive, [&](const auto& e) { return e.second == it->first; });
  if (auto n = priorities.find(p.facts.priority); --n->second == 0) priorities.erase(n);
  placed.erase(it);
  return node;
}

void Scheduler::Impl::place(const std::string& key, const PodPtr& old, const core::Pod& pod) {
  leave_queue(key);
  bool terminating = pod.metadata.deletion_timestamp.has_value();
  auto it = placed.find(key);
  if (it != placed.end() && it->second.node == pod.spec.node_name) {
    Placed& p = it->second;
    bool unchanged = p.assumed || (old && old->spec == pod.spec && old->metadata.labels == pod.metadata.labels);
    p.assumed = false;
    p.facts.leaving = p.facts.leaving || is_preempted(pod);
    if (pod.status.start_time) p.facts.start = *pod.status.start_time;
    if (unchanged) {
      if (terminating) cluster.set_terminating(p.id);
      return;
    }
  }
  std::optional<PodSpec> before;  // a pod that has changed has left, and come as another
  NodeId left = -1;
  if (it != placed.end()) {
    before = spec_for_waiters(it->second.id);
    left = take(it);
  }
  PodSpec spec = pod_spec_of(pod, std::nullopt);
  spec.attached = volumes.needs(pod).attached;
  ClassId c = cluster.intern(spec);
  put(key, {pod.metadata.uid, pod.spec.node_name, cluster.add_pod(c, pod.spec.node_name, terminating), false, facts_of(key, pod)});
  hold_claims(key, pod);
  cluster.release(c);
  if (before) wake_by_pod(kPodDeleted, left, *before);
  wake_by_pod(kPodAdded, -1, spec);
}

void Scheduler::Impl::forget(const std::string& key) {
  leave_queue(key);
  auto it = placed.find(key);
  if (it == placed.end()) return;
  const std::optional<PodSpec> spec = spec_for_waiters(it->second.id);
  const NodeId left = take(it);
  if (spec) wake_by_pod(kPodDeleted, left, *spec);
}

void Scheduler::Impl::leave_queue(const std::string& key) {
  queue.remove(key);
  nominations.clear(key);
  drop_class(key);
}

void Scheduler::Impl::drop_class(const std::string& key) {
  auto it = waiting.find(key);
  if (it == waiting.end()) return;
  cluster.release(it->second);
  waiting.erase(it);
}

void Scheduler::Impl::on_node(const NodePtr& old, const NodePtr& now) {
  if (!now) {
    cluster.remove_node(old->metadata.name);
    wake(kNodeRemoved, -1);
    return;
  }
  NodeSpec spec = node_spec_of(*now);
  uint32_t what = 0;
  NodeId known = cluster.nodes().find(spec.name);
  if (known < 0 || !cluster.nodes().alive[known]) {
    what = kNodeAdded;
  } else {
    const NodeSpec& before = cluster.nodes().nodes[known].spec;
    if (!(before.allocatable == spec.allocatable) || before.max_pods != spec.max_pods) what |= kNodeAllocatable;
    if (before.labels != spec.labels) what |= kNodeLabels;
    if (before.taints != spec.taints) what |= kNodeTaints;
    if (before.unschedulable && !spec.unschedulable) what |= kNodeUncordoned;
    if (before == spec) return;
  }
  NodeId n = cluster.set_node(spec);
  if (what) wake(what, n);
}

bool Scheduler::Impl::takes(const std::string& key, NodeId node, std::unordered_map<ClassId, bool>& known) {
  auto it = waiting.find(key);
  if (node < 0 || it == waiting.end() || !cluster.nodes().alive[node]) return false;
  auto [fits, fresh] = known.emplace(it->second, false);
  if (fresh) fits->second = !cluster.check(it->second, node);
  return fits->second;
}

void Scheduler::Impl::wake(uint32_t event, NodeId node) {
  if (!synced) return;
  std::unordered_map<ClassId, bool> known;
  constexpr uint32_t kAnywhere = kPodTopologySpread | kInterPodAffinity | kVolumeBinding | kVolumeZone | kVolumeRestrictions | kNodeVolumeLimits | kExtenders;
  queue.wake(event, ex.now(), [&](const std::string& key, uint32_t plugins) {
    if (nominations.contains(key)) return true;  // its own nomination would stand in its way
    if (node < 0 || (plugins & kAnywhere) || !waiting.count(key) || !cluster.nodes().alive[node]) return true;
    return takes(key, node, known);
  });
  if (queue.ready()) work.set();
}

std::optional<PodSpec> Scheduler::Impl::spec_for_waiters(PodId pod) const {
  if (waiting.empty()) return std::nullopt;
  return cluster.pod_spec(pod);
}

void Scheduler::Impl::wake_by_pod(uint32_t event, NodeId node, const PodSpec& pod) {
  if (!synced || waiting.empty()) return;
  std::unordered_map<ClassId, bool> known;
  queue.wake(event, ex.now(), [&](const std::string& key, uint32_t plugins) {
    auto it = waiting.find(key);
    if (it == waiting.end() || (event == kPodDeleted && nominations.contains(key))) return true;
    if (cluster.may_gain(it->second, plugins, pod, event == kPodAdded)) return true;
    return event == kPodDeleted && takes(key, node, known);
  });
  if (queue.ready()) work.set();
}

void Scheduler::Impl::wake_by_volumes(const core::PersistentVolumeClaim* claim) {
  if (!synced) return;
  queue.wake(kVolumes, ex.now(), [&](const std::string& key, uint32_t plugins) {
    PodPtr pod = claim && !(plugins & kExtenders) ? pods.get(kube::ObjectKey::parse(key)) : nullptr;
    return !pod || Volumes::names(*pod, *claim);
  });
  if (queue.ready()) work.set();
}

PodSpec Scheduler::Impl::spec_of(const core::Pod& pod, size_t profile, const Volumes::Needs& needs) const {
  PodSpec out = scheduling_spec_of(pod, needs, default_spread.selector(pod), cluster.profiles()[profile]);
  // Images that no node has decide nothing, and would only keep alike pods apart.
  if (std::none_of(out.images.begin(), out.images.end(), [&](const std::string& i) { return cluster.nodes().images.holders(i); })) out.images.clear();
  return out;
}

void Scheduler::Impl::on_csi_node(const kube::storage::CSINode* old, const kube::storage::CSINode* now) {
  AttachLimits limits;
  if (now)
    for (const auto& d : now->spec.drivers)
      if (d.allocatable && d.allocatable->count) limits[d.name] = *d.allocatable->count;
  cluster.set_attach_limits((now ? now : old)->metadata.name, limits);
  wake(kAttachLimits, -1);
}

}  // namespace caravel::scheduler
