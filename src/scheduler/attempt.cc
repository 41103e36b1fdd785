#include <algorithm>

#include "scheduler/pod_spec.h"
#include "scheduler/shell.h"

namespace caravel::scheduler {

namespace {

constexpr const char* kNeverPreempts = "not eligible due to preemptionPolicy=Never.";

}  // namespace

std::optional<Scheduler::Impl::Attempt> Scheduler::Impl::begin(const std::string& key) {
  PodPtr pod = pods.get(kube::ObjectKey::parse(key));
  const auto which = pod ? profile_of(*pod) : std::nullopt;
  if (!pod || is_assigned(*pod) || !which) {
    leave_queue(key);
    return std::nullopt;
  }
  if (placed.count(key)) return std::nullopt;  // its binding is under way
  drop_class(key);
  Volumes::Needs needs = volumes.needs(*pod);
  if (!(cluster.profiles()[*which].filters & kVolumeBinding)) needs.problem.clear();
  std::set<std::string> holders;
  if (cluster.profiles()[*which].filters & kVolumeRestrictions)
    for (const auto& claim : needs.exclusive)
      if (auto held = exclusive.find(claim); held != exclusive.end()) holders.insert(held->second);
  const size_t profile = *which;
  ClassId c = cluster.intern(spec_of(*pod, profile, needs), profile);
  const bool conflict = (cluster.profile(c).filters & kNodeAffinity) && names_conflict(cluster.spec(c));
  if ((!needs.problem.empty() || conflict) && cluster.node_count() != 0) {
    Failure why;
    why.nodes = cluster.node_count();
    why.plugins = conflict ? kNodeAffinity : kVolumeBinding;
    why.prefilter = conflict ? "pod affinity terms conflict" : std::move(needs.problem);
    why.preempts = cluster.profile(c).preempts;
    why.deallocates = cluster.profile(c).deallocates;
    if (pod->spec.preemption_policy.value_or("") == "Never") why.preemption_note = kNeverPreempts;
    waiting[key] = c;
    queue.failed(key, why.plugins, ex.now());
    report(*pod, "Unschedulable", describe_failure(why), "");
    return std::nullopt;
  }
  const std::string nominated = nominations.contains(key) ? nominations.node_of(key) : pod->status.nominated_node_name;
  return Attempt{key, pod, c, nominated, std::move(holders)};
}

Failure Scheduler::Impl::explain(const Attempt& a) {
  Failure why = cluster.explain(a.klass, !a.holders.empty());
  why.preempts = cluster.profile(a.klass).preempts;
  why.deallocates = cluster.profile(a.klass).deallocates;
  return why;
}

bool Scheduler::Impl::decide(const Attempt& a) {
  nominations.hide(a.key, priority_of(*a.pod));
  NodeId node = a.nominated.empty() || !a.holders.empty() ? -1 : cluster.nodes().find(a.nominated);
  if (node >= 0 && (!cluster.nodes().alive[node] || cluster.check(a.klass, node))) node = -1;
  if (node < 0 && a.holders.empty()) node = cluster.schedule(a.klass).node;
  if (node >= 0) {
    nominations.show();
    assume(a, node);
    return true;
  }
  Failure why = explain(a);
  std::string next = a.nominated;
  if (why.nodes != 0) {
    std::optional<Preemption> found = find_victims(a, why, next);
    if (found) next = start_preemption(a, *found, why);
  }
  nominations.show();
  give_up(a, why, next);
  return false;
}

void Scheduler::Impl::assume(const Attempt& a, NodeId node) {
  nominations.clear(a.key);
  put(a.key, {a.pod->metadata.uid, cluster.node_name(node), cluster.add_pod(a.klass, node), true, facts_of(a.key, *a.pod)});
  hold_claims(a.key, *a.pod);
  wake_by_pod(kPodAdded, -1, cluster.spec(a.klass));
  cluster.release(a.klass);
}

void Scheduler::Impl::give_up(const Attempt& a, const Failure& why, const std::string& next) {
  if (next.empty()) nominations.clear(a.key);
  else nominations.set(a.key, a.klass, priority_of(*a.pod), next);
  waiting[a.key] = a.klass;
  queue.failed(a.key, why.plugins, ex.now());
  std::string text = describe_failure(why);
  const std::string_view none = "no new claims to deallocate";
  if (size_t at = text.find(none); at != text.npos && !a.pod->spec.resource_claims.empty()) text.replace(at, none.size(), "still not schedulable");
  report(*a.pod, "Unschedulable", std::move(text), next);
}

const PodFacts* Scheduler::Impl::facts_at(PodId id) const { return static_cast<size_t>(id) < facts.size() ? facts[static_cast<size_t>(id)] : nullptr; }

std::optional<Preemption> Scheduler::Impl::find_victims(const Attempt& a, Failure& why, std::string& next) {
  const core::Pod& pod = *a.pod;
  const ClassId c = a.klass;
  const int32_t priority = priority_of(pod);
  next.clear();
  if (!cluster.profile(c).preempts) return std::nullopt;
  if (pod.spec.preemption_policy.value_or("") == "Never") {
    why.preemption_note = kNeverPreempts;
    next = a.nominated;
    return std::nullopt;
  }
  NodeId old = a.nominated.empty() ? -1 : cluster.nodes().find(a.nominated);
  auto nominee = old >= 0 && cluster.nodes().alive[old] ? cluster.check(c, old, !a.holders.empty()) : std::nullopt;
  if (nominee && nominee->preemption_may_help)
    for (PodId id : cluster.nodes().nodes[old].pods)
      if (const PodFacts* f = facts_at(id); f && f->leaving && f->priority < priority) {
        why.preemption_note = "not eligible due to a terminating pod on the nominated node.";
        next = a.nominated;
        return std::nullopt;
      }
  if (priorities.empty() || priorities.begin()->first >= priority) return std::nullopt;
  std::vector<Budget> all;
  for (const auto& [k, b] : budgets.all()) {
    Budget out{b->metadata.namespace_, Selector{true, {}}, b->status.disruptions_allowed, {}};
    if (b->spec.selector) out.selector = selector_of(*b->spec.selector);
    for (const auto& [name, at] : b->status.disrupted_pods) out.disrupted.insert(name);
    all.push_back(std::move(out));
  }
  NodeId start = static_cast<NodeId>(ex.random_below(cluster.nodes().size()));
  Preemption p = preempt(
      cluster, c, priority, [this](PodId id) { return facts_at(id); }, all, start, a.holders);
  if (!p.best) {
    why.preemption = std::move(p.reasons);
    return std::nullopt;
  }
  return p;
}

std::string Scheduler::Impl::start_preemption(const Attempt& a, const Preemption& p, Failure& why) {
  const core::Pod& pod = *a.pod;
  why.preempted = true;
  const std::string node = cluster.node_name(p.best->node);
  std::vector<Victim> victims;
  for (PodId id : p.best->pods) {
    Placed& victim = placed.at(facts_at(id)->key);
    victim.facts.leaving = true;  // at once: the next look must wait for it, not choose others
    kube::ObjectKey k = kube::ObjectKey::parse(victim.facts.key);
    if (PodPtr known = pods.get(k); !known || !known->metadata.deletion_timestamp) victims.push_back({k.ns, k.name, victim.uid, known ? known->metadata.generation : 0});
  }
  log.info("preempting", {{"pod", a.key}, {"node", node}, {"victims", victims.size()}});
  // Pods of lower priority that were promised room there look for another place.
  for (const std::string& other : nominations.below(node, priority_of(pod))) {
    nominations.clear(other);
    if (PodPtr o = pods.get(kube::ObjectKey::parse(other))) {
      scope->spawn(write_status(subject_of(*o), json::Value(), ""));
      queue.add(other, priority_of(*o), o->metadata.creation_timestamp);
    }
  }
  scope->spawn(evict(a.key, std::move(victims), {pod.metadata.uid, pod.spec.scheduler_name, kube::reference_to(pod)}, node));
  return node;
}

Task<void> Scheduler::Impl::evict(std::string key, std::vector<Victim> victims, Preemptor by, std::string node) {
  co_await yield(ex);  // the preemptor is back in the queue before anything can fail
  std::vector<std::string> failed = co_await remove_victims(ex, client, &events, std::move(victims), std::move(by), node);
  for (const auto& name : failed)
    if (auto it = placed.find(name); it != placed.end()) it->second.facts.leaving = false;
  // The preemptor looks again after its back-off, as after any call that failed: woken at once it would choose the same victims
  // and ask again as fast as a server that is down refuses.
  if (!failed.empty() && !placed.count(key)) {
    queue.errored(key, ex.now());
    work.set();
  }
}

}  // namespace caravel::scheduler
