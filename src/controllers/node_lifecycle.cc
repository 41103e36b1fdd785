// Node lifecycle: a node whose Lease falls silent becomes Unknown; what its conditions say becomes taints;
// its pods stop being ready. NoExecute taints come slowly, and not at all while a whole zone or the
// cluster is in trouble, so that a failure of the network does not empty the cluster.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/node_zones.h"
#include "kube/types/coordination.h"

namespace caravel::controllers {

using kube::coordination::Lease;
using kube::core::Node;
using kube::core::NodeCondition;
using kube::core::Pod;
using kube::core::Taint;

namespace {

constexpr const char* kNotReady = "node.kubernetes.io/not-ready";
constexpr const char* kUnreachable = "node.kubernetes.io/unreachable";

const NodeCondition* find(const Node& n, std::string_view type) {
  for (auto& c : n.status.conditions)
    if (c.type == type) return &c;
  return nullptr;
}
std::string ready_status(const Node& n) {
  const NodeCondition* c = find(n, "Ready");
  return c ? c->status : "Unknown";
}
std::string zone_of(const Node& n) {
  auto label = [&](const char* k) {
    auto it = n.metadata.labels.find(k);
    return it == n.metadata.labels.end() ? std::string() : it->second;
  };
  return label("topology.kubernetes.io/region") + ":" + label("topology.kubernetes.io/zone");
}
bool has_taint(const Node& n, const char* key, const char* effect) {
  for (auto& t : n.spec.taints)
    if (t.key == key && t.effect == effect) return true;
  return false;
}

// The NoSchedule taints that the conditions and spec ask for.
std::set<std::string> wanted_no_schedule(const Node& n) {
  std::set<std::string> out;
  auto is = [&](const char* type, const char* status) {
    const NodeCondition* c = find(n, type);
    return c && c->status == status;
  };
  std::string ready = ready_status(n);
  if (find(n, "Ready")) {
    if (ready == "False") out.insert(kNotReady);
    if (ready == "Unknown") out.insert(kUnreachable);
  } else {
    out.insert(kNotReady);
  }
  if (is("MemoryPressure", "True")) out.insert("node.kubernetes.io/memory-pressure");
  if (is("DiskPressure", "True")) out.insert("node.kubernetes.io/disk-pressure");
  if (is("PIDPressure", "True")) out.insert("node.kubernetes.io/pid-pressure");
  if (is("NetworkUnavailable", "True")) out.insert("node.kubernetes.io/network-unavailable");
  if (n.spec.unschedulable) out.insert("node.kubernetes.io/unschedulable");
  return out;
}
const char* const kOurNoSchedule[] = {kNotReady,
                                      kUnreachable,
                                      "node.kubernetes.io/memory-pressure",
                                      "node.kubernetes.io/disk-pressure",
                                      "node.kubernetes.io/pid-pressure",
                                      "node.kubernetes.io/network-unavailable",
                                      "node.kubernetes.io/unschedulable"};

class NodeLifecycle final : public Runner {
 public:
  explicit NodeLifecycle(const Context& c)
      : ex_(c.ex),
        client_(c.client("node-controller")),
        events_(c.ex, client_, "node-controller"),
        monitor_(c.options.node_monitor),
        nodes_(c.informer<Node>()),
        leases_(c.informer<Lease>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, "node-lifecycle-controller", [this](std::string key) { return sync(std::move(key)); }, 8) {
    pods_.add_index("node", [](const Pod& p) { return p.spec.node_name.empty() ? std::vector<std::string>() : std::vector<std::string>(1, p.spec.node_name); });
    nodes_.add_handler([this](auto& old, auto& now) {
      if (!now) {
        health_.erase(old->metadata.name);
        events_.normal(kube::reference_to(*old), "RemovingNode", "Node " + old->metadata.name + " event: Removing Node " + old->metadata.name + " from Controller");
        return;
      }
      if (!old) events_.normal(kube::reference_to(*now), "RegisteredNode", "Node " + now->metadata.name + " event: Registered Node " + now->metadata.name + " in Controller");
      const NodeCondition* c = find(*now, "Ready");
      Health& h = health_[now->metadata.name];
      h.node = true;
      h.created = now->metadata.creation_timestamp;
      const bool was_ready = h.ready;
      h.ready = ready_status(*now) == "True";
      h.unknown = c && c->status == "Unknown";
      h.tainted = has_taint(*now, kNotReady, "NoExecute") || has_taint(*now, kUnreachable, "NoExecute");
      h.zone = zone_of(*now);
      // Heartbeats have whole seconds: one that says "ready" again within the second of our "unknown" is news, too.
      if (c && (c->last_heartbeat_time != h.heartbeat || (h.ready && !was_ready))) {
        h.heartbeat = c->last_heartbeat_time;
        h.seen = ex_.now();
      }
      if (!old || old->spec.taints != now->spec.taints || old->spec.unschedulable != now->spec.unschedulable || conditions_differ(*old, *now))
        queue_.enqueue(now->metadata.name);
    });
    leases_.add_handler([this](auto&, auto& now) {
      if (!now || now->metadata.namespace_ != "kube-node-lease" || !now->spec.renew_time) return;
      Health& h = health_[now->metadata.name];
      if (*now->spec.renew_time == h.renewed) return;
      h.renewed = *now->spec.renew_time;
      h.seen = ex_.now();
    });
    // A pod that is bound to, or becomes ready on, a node that is already known to be down.
    pods_.add_handler([this](auto& old, auto& now) {
      if (!now || now->spec.node_name.empty() || !is_ready(*now) || (old && is_ready(*old))) return;
      auto n = nodes_.get("", now->spec.node_name);
      if (n && find(*n, "Ready") && ready_status(*n) != "True") queue_.enqueue(n->metadata.name);
    });
  }
  void start(TaskScope& scope) override {
    for (auto& [k, n] : nodes_.all()) health_[n->metadata.name].seen = ex_.now();
    queue_.start(scope);
    scope.spawn(monitor(this));
  }

 private:
  // What the look at all nodes each few seconds needs of one, kept when the node or its Lease changes.
  struct Health {
    Time heartbeat, renewed;
    Time seen;  // when either last changed, by our clock
    Time created;
    bool node = false;                                     // there is one; Leases may come first
    bool ready = false, unknown = false, tainted = false;  // the Ready condition is True, is Unknown; NoExecute
    std::string zone;
    bool silent(Time now, const NodeMonitor& o) const { return now - seen > o.grace && now - created > o.startup_grace; }
  };
  static bool conditions_differ(const Node& a, const Node& b) {
    if (a.status.conditions.size() != b.status.conditions.size()) return true;
    for (size_t i = 0; i < a.status.conditions.size(); ++i)
      if (a.status.conditions[i].type != b.status.conditions[i].type || a.status.conditions[i].status != b.status.conditions[i].status) return true;
    return false;
  }

  static Task<void> monitor(NodeLifecycle* self) {
    for (;;) {
      co_await sleep(self->ex_, self->monitor_.period);
      Time now = self->ex_.now();
      self->look_at_zones();
      for (auto& [name, h] : self->health_)
        if (h.node && ((!h.unknown && h.silent(now, self->monitor_)) || h.ready == h.tainted)) self->queue_.enqueue(name);
    }
  }

  struct Zone {
    size_t nodes = 0, bad = 0;
    ZoneState state = ZoneState::kNormal;
    Time next;  // when the next node may be tainted
  };
  void look_at_zones() {
    for (auto& [name, z] : zones_) z.nodes = z.bad = 0;
    for (auto& [name, h] : health_) {
      if (!h.node) continue;
      Zone& z = zones_[h.zone];
      ++z.nodes;
      if (!h.ready) ++z.bad;
    }
    bool any = false, all_down = true;
    for (auto& [name, z] : zones_) {
      if (z.nodes == 0) continue;
      any = true;
      z.state = zone_state(z.nodes, z.bad, monitor_);
      if (z.state != ZoneState::kFull) all_down = false;
    }
    all_down = all_down && any;
    if (all_down == all_down_) return;
    all_down_ = all_down;
    // Cut off from all: what was begun is taken back. In touch again: each node gets the time to report itself.
    for (auto& [name, h] : health_) {
      if (!all_down) h.seen = ex_.now();
      else if (h.tainted) queue_.enqueue(name);
    }
  }
  // True when a node of this zone may get its NoExecute taint now.
  bool may_evict(const Node& n) {
    if (all_down_) return false;
    Zone& z = zones_[zone_of(n)];
    Time now = ex_.now();
    std::optional<Duration> every = eviction_interval(z.state, z.nodes, monitor_);
    if (!every || now < z.next) return false;
    z.next = now + *every;
    return true;
  }

  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const Node> n = nodes_.get("", name);
    if (!n) co_return kube::Requeue::never();
    Time now = ex_.now();
    Health& h = health_[name];
    if (h.seen.is_zero()) h.seen = now;
    bool silent = h.silent(now, monitor_) && !(find(*n, "Ready") && ready_status(*n) == "Unknown");
    if (silent) {
      Result<bool> renewed = co_await renewed_meanwhile(name);
      if (!renewed.ok()) co_return std::move(renewed).error();
      silent = !*renewed;
    }
    if (silent) {
      Result<std::shared_ptr<const Node>> r = co_await mark_unknown(n);
      if (!r.ok()) co_return std::move(r).error();
      n = *r;
      events_.normal(kube::reference_to(*n), "NodeNotReady", "Node " + name + " status is now: NodeNotReady");
    }
    Status t = co_await write_taints(n);
    if (!t.ok()) co_return std::move(t).error();
    if (find(*n, "Ready") && ready_status(*n) != "True") {
      Status p = co_await mark_pods(n);
      if (!p.ok()) co_return std::move(p).error();
    }
    co_return kube::Requeue::never();
  }

  // What we have heard may be late: before a node is given up, its Lease is read from the server. (Upstream trusts its
  // informers, and takes all nodes for lost when only its own watch hangs.)
  Task<Result<bool>> renewed_meanwhile(std::string name) {
    Result<Lease> lease = co_await client_.get<Lease>("kube-node-lease", name);
    if (!lease.ok()) {
      if (lease.error().code == Code::kNotFound) co_return false;
      co_return std::move(lease).error();
    }
    auto h = health_.find(name);
    if (h == health_.end() || !lease->spec.renew_time || *lease->spec.renew_time == h->second.renewed) co_return false;
    h->second.renewed = *lease->spec.renew_time;
    h->second.seen = ex_.now();
    co_return true;
  }

  Task<Result<std::shared_ptr<const Node>>> mark_unknown(std::shared_ptr<const Node> n) {
    Node next = *n;
    Time now = Time::from_seconds(ex_.now().seconds());
    for (const char* type : {"Ready", "MemoryPressure", "DiskPressure", "PIDPressure"}) {
      NodeCondition* c = nullptr;
      for (auto& x : next.status.conditions)
        if (x.type == type) c = &x;
      if (!c) {
        next.status.conditions.emplace_back();
        c = &next.status.conditions.back();
        c->type = type;
        c->status = "Unknown";
        c->reason = "NodeStatusNeverUpdated";
        c->message = "Kubelet never posted node status.";
        c->last_heartbeat_time = n->metadata.creation_timestamp;
        c->last_transition_time = now;
      } else if (c->status != "Unknown") {
        c->status = "Unknown";
        c->reason = "NodeStatusUnknown";
        c->message = "Kubelet stopped posting node status.";
        c->last_transition_time = now;
      }
    }
    Result<Node> r = co_await client_.update_status<Node>(std::move(next));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::make_shared<const Node>(std::move(*r));
  }

  Task<Status> write_taints(std::shared_ptr<const Node> n) {
    Time now = Time::from_seconds(ex_.now().seconds());
    std::set<std::string> want = wanted_no_schedule(*n);
    std::vector<Taint> next;
    std::set<std::string> have;
    std::string ready = ready_status(*n);
    const char* execute = !find(*n, "Ready") ? nullptr : ready == "False" ? kNotReady
                                                     : ready == "Unknown" ? kUnreachable
                                                                          : nullptr;
    bool had_execute = false;
    for (auto& t : n->spec.taints) {
      if (t.effect == "NoSchedule") {
        bool ours = std::find_if(std::begin(kOurNoSchedule), std::end(kOurNoSchedule), [&](const char* k) { return t.key == k; }) != std::end(kOurNoSchedule);
        if (ours && !want.count(t.key)) continue;
        have.insert(t.key);
      }
      if (t.effect == "NoExecute" && (t.key == kNotReady || t.key == kUnreachable)) {
        if (!execute || all_down_) continue;
        if (t.key != execute) {  // not-ready becomes unreachable: the time goes on
          Taint moved = t;
          moved.key = execute;
          next.push_back(std::move(moved));
          had_execute = true;
          continue;
        }
        had_execute = true;
      }
      next.push_back(t);
    }
    for (auto& k : want)
      if (!have.count(k)) {
        Taint t;
        t.key = k;
        t.effect = "NoSchedule";
        t.time_added = now;
        next.push_back(std::move(t));
      }
    if (execute && !had_execute && may_evict(*n)) {
      Taint t;
      t.key = execute;
      t.effect = "NoExecute";
      t.time_added = now;
      next.push_back(std::move(t));
    }
    if (next == n->spec.taints) co_return ok();
    Node changed = *n;
    changed.spec.taints = std::move(next);
    Result<Node> r = co_await client_.update<Node>(std::move(changed));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Task<Status> mark_pods(std::shared_ptr<const Node> n) {
    std::vector<PodPtr> on_node = pods_.by_index("node", n->metadata.name);
    for (auto& p : on_node) {
      if (!is_ready(*p)) continue;
      json::Value c = json::Value::object();
      c["type"] = "Ready";
      c["status"] = "False";
      c["reason"] = "NodeNotReady";
      c["message"] = "Node is not ready";
      c["lastTransitionTime"] = format_rfc3339(ex_.now());
      json::Value patch = json::Value::object();
      patch["metadata"]["uid"] = p->metadata.uid;
      patch["status"]["conditions"].push_back(std::move(c));
      kube::WriteOptions o;
      o.subresource = "status";
      Result<json::Value> r = co_await client_.patch(Pod::resource(), p->metadata.namespace_, p->metadata.name, kube::PatchType::kStrategic, std::move(patch), o);
      if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return std::move(r).error();
      events_.warning(kube::reference_to(*p), "NodeNotReady", "Node is not ready");
    }
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  NodeMonitor monitor_;
  kube::Informer<Node>& nodes_;
  kube::Informer<Lease>& leases_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, Health> health_;
  std::map<std::string, Zone> zones_;
  bool all_down_ = false;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_node_lifecycle(const Context& c) { return std::make_unique<NodeLifecycle>(c); }

}  // namespace caravel::controllers
