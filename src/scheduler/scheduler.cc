#include "scheduler/scheduler.h"

#include <unordered_map>

#include "base/log.h"
#include "kube/events.h"
#include "kube/informer.h"
#include "kube/scheduling_translate.h"
#include "kube/types/core.h"
#include "kube/types/policy.h"
#include "scheduler/cluster.h"
#include "scheduler/default_spread.h"
#include "scheduler/nominations.h"
#include "scheduler/preemption.h"
#include "scheduler/queue.h"
#include "scheduler/victims.h"
#include "scheduler/volumes.h"

namespace caravel::scheduler {

namespace core = kube::core;

struct Scheduler::Impl {
  using PodPtr = kube::Informer<core::Pod>::Ptr;
  using NodePtr = kube::Informer<core::Node>::Ptr;

  // A pod that counts on a node: bound, or assumed while its binding is under way.
  struct Placed {
    std::string uid, node;
    PodId id = -1;
    bool assumed = false;
    PodFacts facts;
  };
  // What a binding or a report needs to know of its pod.
  struct Subject {
    std::string key, ns, name, uid, resource_version;
  };

  Executor& ex;
  kube::Client client;
  Options options;
  Log log{"scheduler"};
  kube::EventRecorder events;
  kube::Informer<core::Pod> pods;
  kube::Informer<core::Node> nodes;
  kube::Informer<core::Namespace> namespaces;
  kube::Informer<kube::policy::PodDisruptionBudget> budgets;
  DefaultSpread default_spread;
  Volumes volumes;
  Cluster cluster;
  Nominations nominations;
  Queue queue;
  Event work;
  Semaphore permits;
  TaskScope* scope = nullptr;
  bool synced = false;
  std::unordered_map<std::string, Placed> placed;
  std::vector<const PodFacts*> facts;      // by PodId, of the pods in `placed`
  std::unordered_map<std::string, std::string> exclusive;  // ReadWriteOncePod claims in use -> pod
  std::map<int32_t, size_t> priorities;    // of the pods in `placed`
  std::unordered_map<std::string, ClassId> waiting;  // classes of pods that were turned down, for hints

  Impl(Executor& e, kube::Client c, Options o)
      : ex(e), client(c), options(std::move(o)), events(e, c, options.scheduler_name), pods(e, c), nodes(e, c), namespaces(e, c), budgets(e, c),
        default_spread(e, c), volumes(e, c), cluster(e.random_u64()), nominations(cluster), work(e), permits(e, options.bindings_max) {
    pods.add_handler([this](const PodPtr& old, const PodPtr& now) { on_pod(old, now); });
    nodes.add_handler([this](const NodePtr& old, const NodePtr& now) { on_node(old, now); });
    namespaces.add_handler([this](const auto& old, const auto& now) {
      cluster.set_namespace((now ? now : old)->metadata.name, now ? now->metadata.labels : Labels{});
      wake(kNamespace, -1);
    });
    volumes.on_change([this] { wake(kVolumes, -1); });
  }

  static std::string key_of(const core::Pod& p) { return p.metadata.namespace_ + "/" + p.metadata.name; }
  static Subject subject_of(const core::Pod& p) {
    return {key_of(p), p.metadata.namespace_, p.metadata.name, p.metadata.uid, p.metadata.resource_version};
  }

  // --- what the informers say -----------------------------------------------------------------------

  void on_pod(const PodPtr& old, const PodPtr& now) {
    std::string key = key_of(now ? *now : *old);
    if (!now || (old && old->metadata.uid != now->metadata.uid)) forget(key);
    if (!now) return;
    if (is_terminal(*now)) {
      forget(key);
    } else if (is_assigned(*now)) {
      place(key, old, *now);
    } else if (now->spec.scheduler_name == options.scheduler_name) {
      enqueue(key, old, *now);
    }
  }

  void enqueue(const std::string& key, const PodPtr& old, const core::Pod& pod) {
    if (placed.count(key)) return;  // its binding is under way
    if (pod.metadata.deletion_timestamp || !pod.spec.scheduling_gates.empty()) {
      leave_queue(key);
      return;
    }
    bool known = queue.contains(key);
    if (known && old && old->spec == pod.spec && old->metadata.labels == pod.metadata.labels) return;
    queue.add(key, priority_of(pod), pod.metadata.creation_timestamp);
    // A nomination that an earlier scheduler has written.
    if (!known && !pod.status.nominated_node_name.empty() && !nominations.contains(key)) nominate(key, pod, pod.status.nominated_node_name);
    work.set();
  }

  void nominate(const std::string& key, const core::Pod& pod, const std::string& node) {
    ClassId c = cluster.intern(pod_spec_of(pod, default_spread.selector(pod)));
    nominations.set(key, c, priority_of(pod), node);
    cluster.release(c);
  }

  // --- pods on nodes --------------------------------------------------------------------------------

  static bool is_preempted(const core::Pod& pod) {
    if (!pod.metadata.deletion_timestamp) return false;
    for (const auto& c : pod.status.conditions)
      if (c.type == "DisruptionTarget" && c.status == "True" && c.reason == "PreemptionByScheduler") return true;
    return false;
  }
  PodFacts facts_of(const std::string& key, const core::Pod& pod) const {
    return {key, priority_of(pod), pod.status.start_time.value_or(ex.now()), is_preempted(pod)};
  }
  void put(const std::string& key, Placed p) {
    size_t id = static_cast<size_t>(p.id);
    ++priorities[p.facts.priority];
    if (facts.size() <= id) facts.resize(id + 1);
    facts[id] = &(placed[key] = std::move(p)).facts;
  }
  // Claims that only one pod may use and that are in use, with the pod.
  void hold_claims(const std::string& key, const core::Pod& pod) {
    for (const auto& claim : volumes.needs(pod).exclusive) exclusive[claim] = key;
  }
  // Takes it out of the cluster; answers the node.
  NodeId take(std::unordered_map<std::string, Placed>::iterator it) {
    Placed& p = it->second;
    NodeId node = cluster.nodes().find(p.node);
    cluster.remove_pod(p.id);
    facts[static_cast<size_t>(p.id)] = nullptr;
    std::erase_if(exclusive, [&](const auto& e) { return e.second == it->first; });
    if (auto n = priorities.find(p.facts.priority); --n->second == 0) priorities.erase(n);
    placed.erase(it);
    return node;
  }

  void place(const std::string& key, const PodPtr& old, const core::Pod& pod) {
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
    if (it != placed.end()) take(it);
    ClassId c = cluster.intern(pod_spec_of(pod, std::nullopt));
    put(key, {pod.metadata.uid, pod.spec.node_name, cluster.add_pod(c, pod.spec.node_name, terminating), false, facts_of(key, pod)});
    hold_claims(key, pod);
    cluster.release(c);
    wake(kPodAdded, -1);
  }

  void forget(const std::string& key) {
    leave_queue(key);
    auto it = placed.find(key);
    if (it == placed.end()) return;
    wake(kPodDeleted, take(it));
  }

  void leave_queue(const std::string& key) {
    queue.remove(key);
    nominations.clear(key);
    drop_class(key);
  }

  void drop_class(const std::string& key) {
    auto it = waiting.find(key);
    if (it == waiting.end()) return;
    cluster.release(it->second);
    waiting.erase(it);
  }

  void on_node(const NodePtr& old, const NodePtr& now) {
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

  // A pod that was turned down for what one node lacks is woken only if this node takes it now; pods with
  // spread or affinity rules may gain from a change anywhere.
  void wake(uint32_t event, NodeId node) {
    if (!synced) return;
    std::unordered_map<ClassId, bool> fits;
    constexpr uint32_t kAnywhere = kPodTopologySpread | kInterPodAffinity | kVolumeBinding;
    queue.wake(event, ex.now(), [&](const std::string& key, uint32_t plugins) {
      auto it = waiting.find(key);
      if (nominations.contains(key)) return true;  // its own nomination would stand in its way
      if (node < 0 || (plugins & kAnywhere) || it == waiting.end() || !cluster.nodes().alive[node]) return true;
      auto [known, fresh] = fits.emplace(it->second, false);
      if (fresh) known->second = !cluster.check(it->second, node);
      return known->second;
    });
    if (queue.ready()) work.set();
  }

  // --- the loop -------------------------------------------------------------------------------------

  Task<void> run() {
    co_await nodes.wait_synced();
    co_await namespaces.wait_synced();
    co_await budgets.wait_synced();
    co_await volumes.wait_synced();
    co_await default_spread.wait_synced();
    co_await pods.wait_synced();
    synced = true;
    log.info("watching", {{"nodes", cluster.node_count()}, {"pods", placed.size()}, {"pending", queue.active()}});
    size_t decided = 0;
    for (;;) {
      while (auto key = queue.pop(ex.now())) {
        std::string k = std::move(*key);
        bool bound = decide(k);
        if (bound) co_await permits.acquire();
        if (bound) start_binding(k);
        if (++decided % options.burst == 0) co_await yield(ex);
      }
      work.reset();
      std::optional<Duration> wait;
      if (auto due = queue.next_due()) wait = std::max(*due - ex.now(), Duration(0));
      co_await work.wait(wait);
    }
  }

  // Decides about one pod; true when it is assumed on a node and is to be bound.
  bool decide(const std::string& key) {
    PodPtr pod = pods.get(kube::ObjectKey::parse(key));
    if (!pod || is_assigned(*pod)) {
      leave_queue(key);
      return false;
    }
    drop_class(key);
    Volumes::Needs needs = volumes.needs(*pod);
    if (needs.problem.empty())
      for (const auto& claim : needs.exclusive)
        if (exclusive.count(claim)) needs.problem = "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode";
    PodSpec spec = pod_spec_of(*pod, default_spread.selector(*pod));
    spec.volume_nodes = std::move(needs.nodes);
    ClassId c = cluster.intern(spec);
    if (!needs.problem.empty() && cluster.node_count() != 0) {
      Failure why;
      why.nodes = cluster.node_count();
      why.prefilter = std::move(needs.problem);
      why.plugins = kVolumeBinding;
      waiting[key] = c;
      queue.failed(key, kVolumeBinding, ex.now());
      report_unschedulable(*pod, describe_failure(why), "");
      return false;
    }
    const std::string nominated = nominations.contains(key) ? nominations.node_of(key) : pod->status.nominated_node_name;
    nominations.hide(key, priority_of(*pod));
    NodeId node = nominated.empty() ? -1 : cluster.nodes().find(nominated);
    if (node >= 0 && (!cluster.nodes().alive[node] || cluster.check(c, node))) node = -1;
    if (node < 0) node = cluster.schedule(c).node;
    Failure why;
    std::string next = nominated;
    if (node < 0) {
      why = cluster.explain(c);
      if (why.nodes != 0) next = try_preempt(key, *pod, c, nominated, why);
    }
    nominations.show();
    if (node < 0) {
      if (next.empty()) nominations.clear(key);
      else nominations.set(key, c, priority_of(*pod), next);
      waiting[key] = c;
      queue.failed(key, why.plugins, ex.now());
      report_unschedulable(*pod, describe_failure(why), next);
      return false;
    }
    nominations.clear(key);
    put(key, {pod->metadata.uid, cluster.node_name(node), cluster.add_pod(c, node), true, facts_of(key, *pod)});
    hold_claims(key, *pod);
    cluster.release(c);
    wake(kPodAdded, -1);
    return true;
  }

  // --- preemption -----------------------------------------------------------------------------------

  // For a pod that fits nowhere: finds victims and starts their removal. Says in `why` what came of it and
  // answers the node that the pod is nominated to from now on, "" for none.
  std::string try_preempt(const std::string& key, const core::Pod& pod, ClassId c, const std::string& nominated, Failure& why) {
    const int32_t priority = priority_of(pod);
    if (pod.spec.preemption_policy.value_or("") == "Never") {
      why.preemption_note = "not eligible due to preemptionPolicy=Never.";
      return nominated;
    }
    auto facts_at = [this](PodId id) { return static_cast<size_t>(id) < facts.size() ? facts[static_cast<size_t>(id)] : nullptr; };
    NodeId old = nominated.empty() ? -1 : cluster.nodes().find(nominated);
    if (old >= 0 && cluster.nodes().alive[old] && cluster.preemption_may_help(c, old))
      for (PodId id : cluster.nodes().nodes[old].pods)
        if (const PodFacts* f = facts_at(id); f && f->leaving && f->priority < priority) {
          why.preemption_note = "not eligible due to a terminating pod on the nominated node.";
          return nominated;
        }
    if (priorities.empty() || priorities.begin()->first >= priority) return "";
    std::vector<Budget> all;
    for (const auto& [k, b] : budgets.all()) {
      Budget out{b->metadata.namespace_, Selector{true, {}}, b->status.disruptions_allowed, {}};
      if (b->spec.selector) out.selector = selector_of(*b->spec.selector);
      for (const auto& [name, at] : b->status.disrupted_pods) out.disrupted.insert(name);
      all.push_back(std::move(out));
    }
    NodeId start = static_cast<NodeId>(ex.random_below(cluster.nodes().size()));
    Preemption p = preempt(cluster, c, priority, facts_at, all, start);
    if (!p.best) {
      why.preemption = std::move(p.reasons);
      return "";
    }
    why.preempted = true;
    const std::string node = cluster.node_name(p.best->node);
    std::vector<Victim> victims;
    for (PodId id : p.best->pods) {
      Placed& victim = placed.at(facts_at(id)->key);
      victim.facts.leaving = true;  // at once: the next look must wait for it, not choose others
      kube::ObjectKey k = kube::ObjectKey::parse(victim.facts.key);
      if (PodPtr known = pods.get(k); !known || !known->metadata.deletion_timestamp) victims.push_back({k.ns, k.name, victim.uid});
    }
    log.info("preempting", {{"pod", key}, {"node", node}, {"victims", victims.size()}});
    // Pods of lower priority that were promised room there look for another place.
    for (const std::string& other : nominations.below(node, priority)) {
      nominations.clear(other);
      if (PodPtr o = pods.get(kube::ObjectKey::parse(other))) {
        scope->spawn(write_status(subject_of(*o), json::Value(), ""));
        queue.add(other, priority_of(*o), o->metadata.creation_timestamp);
      }
    }
    scope->spawn(evict(std::move(victims), {pod.metadata.uid, pod.spec.scheduler_name}, node));
    return node;
  }

  Task<void> evict(std::vector<Victim> victims, Preemptor by, std::string node) {
    std::vector<std::string> failed = co_await remove_victims(ex, client, &events, std::move(victims), std::move(by), node);
    for (const auto& name : failed)
      if (auto it = placed.find(name); it != placed.end()) it->second.facts.leaving = false;
    if (!failed.empty()) wake(kPodDeleted, -1);
  }

  void start_binding(const std::string& key) {
    auto it = placed.find(key);
    PodPtr pod = pods.get(kube::ObjectKey::parse(key));
    if (it == placed.end() || !it->second.assumed || !pod) {
      permits.release();
      return;
    }
    const bool delayed = volumes.needs(*pod).delayed;
    if (delayed) permits.release();  // nobody waits for a binding that waits for a volume
    scope->spawn(bind(pod, it->second.node, delayed));
  }

  // The pod's claims, then the pod. Holds a permit at the end.
  Task<Status> bind_volumes(PodPtr pod, std::string node) {
    Labels labels;
    if (NodePtr n = nodes.get("", node)) labels = n->metadata.labels;
    Status s = co_await volumes.bind(pod, node, std::move(labels));
    co_await permits.acquire();
    co_return s;
  }

  Task<void> bind(PodPtr object, std::string node, bool delayed) {
    const Subject pod = subject_of(*object);
    Status volumes_bound = ok();
    if (delayed) volumes_bound = co_await bind_volumes(object, node);
    json::Value binding;
    binding["apiVersion"] = "v1";
    binding["kind"] = "Binding";
    binding["metadata"]["name"] = pod.name;
    binding["metadata"]["namespace"] = pod.ns;
    binding["metadata"]["uid"] = pod.uid;
    binding["target"]["kind"] = "Node";
    binding["target"]["name"] = node;
    Result<json::Value> r = json::Value();
    if (volumes_bound.ok()) r = co_await client.create_subresource(core::Pod::resource(), pod.ns, pod.name, "binding", std::move(binding));
    else r = wrap(std::move(volumes_bound).error(), "running PreBind plugin \"VolumeBinding\"");
    permits.release();
    if (r.ok()) {
      queue.remove(pod.key);
      events.normal(reference(pod), "Scheduled", "Successfully assigned " + pod.key + " to " + node);
      co_return;
    }
    // Take the assumption back, unless the pod has meanwhile gone or was bound by somebody else.
    auto it = placed.find(pod.key);
    if (it == placed.end() || !it->second.assumed || it->second.uid != pod.uid) co_return;
    wake(kPodDeleted, take(it));
    if (r.error().code == Code::kNotFound) {
      queue.remove(pod.key);
      co_return;
    }
    log.warn("binding failed; it is tried again", {{"pod", pod.key}, {"node", node}, {"error", r.error().message}});
    queue.errored(pod.key, ex.now());
    events.warning(reference(pod), "FailedScheduling", (volumes_bound.ok() ? "binding rejected: " : "") + r.error().message);
    work.set();
  }

  static kube::ObjectReference reference(const Subject& pod) { return {"v1", "Pod", pod.ns, pod.name, pod.uid, pod.resource_version, ""}; }

  void report_unschedulable(const core::Pod& pod, std::string message, const std::string& nominated) {
    Subject subject = subject_of(pod);
    events.warning(reference(subject), "FailedScheduling", message);
    const core::PodCondition* now = nullptr;
    for (const auto& c : pod.status.conditions)
      if (c.type == "PodScheduled") now = &c;
    if (now && now->status == "False" && now->reason == "Unschedulable" && now->message == message && pod.status.nominated_node_name == nominated) return;
    json::Value condition;
    condition["type"] = "PodScheduled";
    condition["status"] = "False";
    condition["reason"] = "Unschedulable";
    condition["message"] = std::move(message);
    if (pod.metadata.generation != 0) condition["observedGeneration"] = pod.metadata.generation;
    if (!now || now->status != "False") condition["lastTransitionTime"] = format_rfc3339(ex.now());
    scope->spawn(write_status(std::move(subject), std::move(condition), nominated));
  }

  // The PodScheduled condition (null: as it is) and the nominated node.
  Task<void> write_status(Subject pod, json::Value condition, std::string nominated) {
    co_await permits.acquire();
    json::Value patch;
    patch["metadata"]["uid"] = pod.uid;
    if (!condition.is_null()) patch["status"]["conditions"].push_back(std::move(condition));
    patch["status"]["nominatedNodeName"] = nominated.empty() ? json::Value() : json::Value(nominated);
    kube::WriteOptions o;
    o.subresource = "status";
    auto r = co_await client.patch(core::Pod::resource(), pod.ns, pod.name, kube::PatchType::kStrategic, std::move(patch), std::move(o));
    permits.release();
    if (!r.ok() && r.error().code != Code::kNotFound)
      log.warn("cannot write the pod's status", {{"pod", pod.key}, {"error", r.error().message}});
  }
};

Scheduler::Scheduler(Executor& ex, kube::Client client, Options options) : impl_(std::make_unique<Impl>(ex, client, std::move(options))) {}
Scheduler::~Scheduler() = default;

void Scheduler::start(TaskScope& scope) {
  impl_->scope = &scope;
  impl_->nodes.start(scope);
  impl_->namespaces.start(scope);
  impl_->budgets.start(scope);
  impl_->volumes.start(scope);
  impl_->default_spread.start(scope);
  impl_->pods.start(scope);
  scope.spawn(impl_->run());
}

bool Scheduler::synced() const { return impl_->synced; }
size_t Scheduler::pending() const { return impl_->queue.active() + impl_->queue.backing_off() + impl_->queue.unschedulable(); }

}  // namespace caravel::scheduler
