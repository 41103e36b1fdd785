// DaemonSet: one pod on every node that suits the template. Pods are bound by the scheduler; each names
// its node in a required node affinity. Rolling updates replace pods within maxUnavailable, or start the
// new pod first within maxSurge.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/daemonset_logic.h"
#include "controllers/history.h"
#include "controllers/node_match.h"

namespace caravel::controllers {

using kube::apps::ControllerRevision;
using kube::apps::DaemonSet;
using kube::core::Node;
using kube::core::Pod;

namespace {

constexpr size_t kBurst = 250;

void add_toleration(std::vector<kube::core::Toleration>& list, const char* key, const char* effect) {
  kube::core::Toleration t;
  t.key = key;
  t.operator_ = "Exists";
  t.effect = effect;
  for (auto& o : list)
    if (o.key == t.key && o.operator_ == t.operator_ && o.effect == t.effect) return;
  list.push_back(std::move(t));
}

// Daemon pods stay on nodes in trouble.
std::vector<kube::core::Toleration> daemon_tolerations(const kube::core::PodSpec& p) {
  std::vector<kube::core::Toleration> out = p.tolerations;
  add_toleration(out, "node.kubernetes.io/not-ready", "NoExecute");
  add_toleration(out, "node.kubernetes.io/unreachable", "NoExecute");
  add_toleration(out, "node.kubernetes.io/disk-pressure", "NoSchedule");
  add_toleration(out, "node.kubernetes.io/memory-pressure", "NoSchedule");
  add_toleration(out, "node.kubernetes.io/pid-pressure", "NoSchedule");
  add_toleration(out, "node.kubernetes.io/unschedulable", "NoSchedule");
  if (p.host_network) add_toleration(out, "node.kubernetes.io/network-unavailable", "NoSchedule");
  return out;
}

struct Fit {
  bool run = false;   // a pod belongs there
  bool stay = false;  // one that is there may stay
};
using Tolerations = std::vector<kube::core::Toleration>;
Fit fit(const DaemonSet& ds, const Tolerations& tolerations, const Node& n) {
  const kube::core::PodSpec& spec = ds.spec.template_.spec;
  Fit f;
  if (!spec.node_name.empty() && spec.node_name != n.metadata.name) return f;
  if (!node_affinity_matches(spec, n)) return f;
  f.run = f.stay = true;
  for (auto& t : n.spec.taints) {
    if (t.effect == "PreferNoSchedule" || tolerates(tolerations, t)) continue;
    f.run = false;
    if (t.effect == "NoExecute") f.stay = false;
  }
  return f;
}

// The nodes as one DaemonSet sees them in one sync, and what follows for its update strategy.
struct Fleet {
  std::vector<std::pair<std::shared_ptr<const Node>, Fit>> nodes;
  int desired = 0, max_surge = 0, max_unavailable = 1;
};
template <class Nodes>  // of the informer: key -> Node
Fleet fleet_of(const DaemonSet& ds, const Nodes& nodes) {
  Fleet out;
  const Tolerations tolerations = daemon_tolerations(ds.spec.template_.spec);
  for (auto& [key, node] : nodes) {
    out.nodes.emplace_back(node, fit(ds, tolerations, *node));
    out.desired += out.nodes.back().second.run;
  }
  auto& r = ds.spec.update_strategy.rolling_update;
  if (r && r->max_surge) out.max_surge = r->max_surge->scaled(out.desired, true).value_or(0);
  if (r && r->max_unavailable) out.max_unavailable = r->max_unavailable->scaled(out.desired, true).value_or(1);
  if (out.max_unavailable == 0 && out.max_surge == 0) out.max_unavailable = 1;
  return out;
}

// The node that a daemon pod is for, bound or not.
std::string target_node(const Pod& p) {
  if (!p.spec.node_name.empty()) return p.spec.node_name;
  if (!p.spec.affinity || !p.spec.affinity->node_affinity || !p.spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution) return "";
  for (auto& t : p.spec.affinity->node_affinity->required_during_scheduling_ignored_during_execution->node_selector_terms)
    for (auto& r : t.match_fields)
      if (r.key == "metadata.name" && r.operator_ == "In" && r.values.size() == 1) return r.values[0];
  return "";
}

void pin_to_node(kube::core::PodSpec& p, const std::string& node) {
  kube::core::NodeSelectorRequirement r;
  r.key = "metadata.name";
  r.operator_ = "In";
  r.values.push_back(node);
  if (!p.affinity) p.affinity.emplace();
  if (!p.affinity->node_affinity) p.affinity->node_affinity.emplace();
  auto& required = p.affinity->node_affinity->required_during_scheduling_ignored_during_execution;
  if (!required) required.emplace();
  if (required->node_selector_terms.empty()) required->node_selector_terms.emplace_back();
  for (auto& t : required->node_selector_terms) t.match_fields.assign(1, r);
}

class DaemonSetController final : public Runner {
 public:
  explicit DaemonSetController(const Context& c)
      : ex_(c.ex),
        client_(c.client("daemon-set-controller")),
        events_(c.ex, client_, "daemonset-controller"),
        sets_(c.informer<DaemonSet>()),
        pods_(c.informer<Pod>()),
        nodes_(c.informer<Node>()),
        revisions_(c.informer<ControllerRevision>()),
        queue_(
            c.ex, "daemonset-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(pods_);
    add_orphan_index(pods_);
    add_owner_index(revisions_);
    sets_.add_handler([this](auto& old, auto& now) { queue_.enqueue(key_of(now ? *now : *old)); });
    pods_.add_handler([this](auto& old, auto& now) {
      if (!now) expect_.gone(old->metadata.uid);
      const Pod& p = now ? *now : *old;
      const kube::meta::OwnerReference* o = controller_of(p.metadata);
      if (o && o->kind == "DaemonSet") queue_.enqueue_paced(kube::ObjectKey{p.metadata.namespace_, o->name}, kPace);
      if (!o && now)
        for (auto& ds : sets_.in_namespace(p.metadata.namespace_))
          if (matches(ds->spec.selector, p.metadata.labels)) queue_.enqueue(key_of(*ds));
    });
    nodes_.add_handler([this](auto& old, auto& now) {
      if (old && now && old->metadata.labels == now->metadata.labels && old->spec.taints == now->spec.taints) return;
      for (auto& [key, ds] : sets_.all()) {
        const Tolerations tolerations = daemon_tolerations(ds->spec.template_.spec);
        Fit a = old ? fit(*ds, tolerations, *old) : Fit(), b = now ? fit(*ds, tolerations, *now) : Fit();
        if (a.run != b.run || a.stay != b.stay) queue_.enqueue_paced(key, kPace);
      }
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  using SetPtr = std::shared_ptr<const DaemonSet>;
  static kube::ObjectKey key_of(const DaemonSet& d) { return {d.metadata.namespace_, d.metadata.name}; }

  Task<Result<kube::Requeue>> sync(std::string key) {
    SetPtr ds = sets_.get(kube::ObjectKey::parse(key));
    if (!ds || is_terminating(ds->metadata)) co_return kube::Requeue::never();
    if (!expect_.met(key, pods_)) co_return kube::Requeue::in(kExpectationRetry);
    std::optional<int32_t> collisions = ds->status.collision_count;
    Result<History> h = co_await sync_history(client_, revisions_.by_index(kOwnerIndex, ds->metadata.uid), owner_reference(*ds), ds->metadata.namespace_,
                                              ds->spec.template_.metadata.labels, ds->spec.template_, &collisions);
    if (!h.ok()) {
      if (collisions != ds->status.collision_count) {
        DaemonSet next = *ds;
        next.status.collision_count = collisions;
        Result<DaemonSet> r = co_await client_.update_status<DaemonSet>(std::move(next));
        (void)r;
      }
      co_return std::move(h).error();
    }
    std::string hash = revision_hash(*h->update);
    std::vector<PodPtr> claimed = co_await claim<Pod, DaemonSet>(client_, &pods_, ds, ds->spec.selector);
    std::map<std::string, std::vector<PodPtr>> by_node;
    // A pod that we have deleted and not yet seen going holds its node as one that is seen to: no successor starts
    // beside it. As upstream, nothing is made or deleted until the news has come.
    bool unseen = false;
    for (auto& p : claimed) {
      if (expect_.is_deleted(p->metadata.uid) && !is_terminating(p->metadata)) unseen = true;
      if (is_finished(*p) && is_terminating(p->metadata)) continue;
      by_node[target_node(*p)].push_back(p);
    }
    const Fleet fleet = fleet_of(*ds, nodes_.all());
    DaemonPlan plan;
    if (!unseen) {
      const std::vector<DaemonNode> nodes = nodes_with(fleet, by_node);
      const DaemonRules rules{hash, fleet.max_surge, fleet.max_unavailable, ds->spec.min_ready_seconds};
      const std::string backoff_key = ds->metadata.uid + "/" + std::to_string(ds->status.observed_generation) + "/";
      plan = plan_daemons(nodes, rules, backoff_key, failed_, ex_.now());
      // One after the other, as upstream: an update goes on when what should be there is there.
      if (plan.create_on.empty() && plan.remove.empty() && ds->spec.update_strategy.type != "OnDelete") {
        const std::optional<Duration> again = plan.again;
        plan = roll_daemons(nodes, rules, ex_.now());
        if (again) plan.again = plan.again ? std::min(*plan.again, *again) : *again;
      }
      for (auto& e : plan.events) {
        if (e.warning) events_.warning(kube::reference_to(*ds), e.reason, e.message);
        else events_.normal(kube::reference_to(*ds), e.reason, e.message);
      }
    } else {
      plan.again = kExpectationRetry;
    }
    Status s = co_await carry_out(ds, plan, hash, key);
    if (!s.ok()) co_return std::move(s).error();
    Status st = co_await write_status(ds, by_node, hash);
    if (!st.ok()) co_return std::move(st).error();
    std::set<std::string> live;
    live.insert(h->update->metadata.name);
    for (auto& p : claimed)
      if (auto it = p->metadata.labels.find(kRevisionHash); it != p->metadata.labels.end()) live.insert(ds->metadata.name + "-" + it->second);
    Status trimmed = co_await trim_history(client_, h->all, live, ds->spec.revision_history_limit.value_or(10));
    if (!trimmed.ok()) co_return std::move(trimmed).error();
    if (plan.again) co_return kube::Requeue::in(*plan.again);
    co_return kube::Requeue::never();
  }

  // The nodes with their pods, and nodes that are gone but named by a pod. Finished pods that are on their way out are
  // nobody's any more.
  static std::vector<DaemonNode> nodes_with(const Fleet& fleet, std::map<std::string, std::vector<PodPtr>> by_node) {
    std::vector<DaemonNode> out;
    for (auto& [node, f] : fleet.nodes) {
      DaemonNode n;
      n.name = node->metadata.name;
      n.run = f.run;
      n.stay = f.stay;
      if (auto it = by_node.find(n.name); it != by_node.end()) {
        n.pods = std::move(it->second);
        by_node.erase(it);
      }
      out.push_back(std::move(n));
    }
    for (auto& [name, pods] : by_node) {
      DaemonNode n;
      n.name = name;
      n.exists = false;
      n.pods = std::move(pods);
      out.push_back(std::move(n));
    }
    return out;
  }

  Task<Status> carry_out(SetPtr ds, DaemonPlan plan, std::string hash, std::string key) {
    if (!plan.create_on.empty()) {
      Result<bool> stays = co_await still_there<DaemonSet>(client_, ds);
      if (!stays.ok()) co_return std::move(stays).error();
      if (!*stays) plan.create_on.clear();  // the watch will tell
    }
    if (plan.create_on.size() > kBurst) plan.create_on.resize(kBurst);
    std::vector<Pod> fresh;
    for (auto& node : plan.create_on) {
      Pod p = pod_from_template(ds->spec.template_, ds->metadata.namespace_, ds->metadata.name + "-");
      p.metadata.labels[kRevisionHash] = hash;
      p.metadata.owner_references.push_back(owner_reference(*ds));
      p.spec.tolerations = daemon_tolerations(p.spec);
      pin_to_node(p.spec, node);
      fresh.push_back(std::move(p));
    }
    Created made = co_await create_pods(ex_, client_, std::move(fresh));
    for (auto& p : made.pods) {
      expect_.wrote(key, p.metadata.resource_version);
      events_.normal(kube::reference_to(*ds), "SuccessfulCreate", "Created pod: " + p.metadata.name);
    }
    if (made.error && made.error->message.find("is being terminated") == std::string::npos) {
      events_.warning(kube::reference_to(*ds), "FailedCreate", "Error creating: " + made.error->message);
      co_return *made.error;
    }
    if (plan.create_on.size() == kBurst) queue_.enqueue_after(key, 10ms);
    for (auto& p : plan.remove) expect_.deleted(p->metadata.uid);
    Status s = co_await delete_pods(ex_, client_, plan.remove);
    if (!s.ok()) {
      for (auto& p : plan.remove) expect_.gone(p->metadata.uid);
      events_.warning(kube::reference_to(*ds), "FailedDelete", "Error deleting: " + s.error().message);
      co_return wrap(std::move(s).error(), "unable to delete pods");
    }
    for (auto& p : plan.remove) events_.normal(kube::reference_to(*ds), "SuccessfulDelete", "Deleted pod: " + p->metadata.name);
    co_return ok();
  }

  Task<Status> write_status(SetPtr ds, std::map<std::string, std::vector<PodPtr>> by_node, std::string hash) {
    kube::apps::DaemonSetStatus s = ds->status;
    s.current_number_scheduled = s.number_misscheduled = s.desired_number_scheduled = s.number_ready = 0;
    s.updated_number_scheduled = s.number_available = 0;
    Time now = ex_.now();
    const Fleet fleet = fleet_of(*ds, nodes_.all());  // they may have changed meanwhile
    for (auto& [node, f] : fleet.nodes) {
      auto it = by_node.find(node->metadata.name);
      PodPtr oldest;
      if (it != by_node.end())
        for (auto& p : it->second)
          if (!oldest || daemon_pod_before(p, oldest)) oldest = p;
      if (!f.run) {
        if (oldest) ++s.number_misscheduled;
        continue;
      }
      ++s.desired_number_scheduled;
      if (!oldest) continue;
      ++s.current_number_scheduled;
      if (is_ready(*oldest)) ++s.number_ready;
      if (is_available(*oldest, ds->spec.min_ready_seconds, now)) ++s.number_available;
      if (is_current_daemon(*oldest, hash)) ++s.updated_number_scheduled;
    }
    s.number_unavailable = s.desired_number_scheduled - s.number_available;
    s.observed_generation = ds->metadata.generation;
    if (s == ds->status) co_return ok();
    DaemonSet next = *ds;
    next.status = s;
    Result<DaemonSet> r = co_await client_.update_status<DaemonSet>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<DaemonSet>& sets_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Node>& nodes_;
  kube::Informer<ControllerRevision>& revisions_;
  Expectations expect_;
  FailedPodBackoff failed_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_daemonset(const Context& c) { return std::make_unique<DaemonSetController>(c); }

}  // namespace caravel::controllers
