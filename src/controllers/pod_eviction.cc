// Taint eviction: pods that do not tolerate a NoExecute taint of their node leave, at once or after their
// tolerationSeconds. Pod GC: pods of nodes that are gone, pods that were never bound and are deleted, and
// the oldest finished pods beyond a threshold.
#include <string_view>
#include <unordered_map>

#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/node_match.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::Pod;

namespace {

constexpr Duration kGcPeriod = 20s;
constexpr Duration kQuarantine = 40s;

Task<Status> mark_disrupted(kube::Client client, PodPtr p, std::string reason, std::string message, bool fail, Time now) {
  json::Value c = json::Value::object();
  c["type"] = "DisruptionTarget";
  c["status"] = "True";
  c["reason"] = std::move(reason);
  c["message"] = std::move(message);
  c["lastTransitionTime"] = format_rfc3339(now);
  json::Value patch = json::Value::object();
  patch["metadata"]["uid"] = p->metadata.uid;
  json::Value& s = patch["status"];
  if (fail) s["phase"] = "Failed";
  s["conditions"].push_back(std::move(c));
  kube::WriteOptions o;
  o.subresource = "status";
  Result<json::Value> r = co_await client.patch(Pod::resource(), p->metadata.namespace_, p->metadata.name, kube::PatchType::kStrategic, std::move(patch), o);
  if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return std::move(r).error();
  co_return ok();
}

class TaintEviction final : public Runner {
 public:
  explicit TaintEviction(const Context& c)
      : ex_(c.ex),
        client_(c.client("taint-eviction-controller")),
        events_(c.ex, client_, "taint-eviction-controller"),
        nodes_(c.informer<Node>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, "taint-eviction-controller", [this](std::string key) { return sync(std::move(key)); }, 8) {
    pods_.add_index("node", [](const Pod& p) { return p.spec.node_name.empty() ? std::vector<std::string>() : std::vector<std::string>(1, p.spec.node_name); });
    nodes_.add_handler([this](auto& old, auto& now) {
      if (!now || (old && old->spec.taints == now->spec.taints)) return;
      for (auto& p : pods_.by_index("node", now->metadata.name)) queue_.enqueue(kube::ObjectKey{p->metadata.namespace_, p->metadata.name});
    });
    pods_.add_handler([this](auto& old, auto& now) {
      if (!now) return void(waiting_.erase(kube::ObjectKey{old->metadata.namespace_, old->metadata.name}.text()));
      if (now->spec.node_name.empty()) return;
      if (old && old->spec.node_name == now->spec.node_name && old->spec.tolerations == now->spec.tolerations) return;
      if (auto n = nodes_.get("", now->spec.node_name); n && !n->spec.taints.empty()) queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  // When the pod must go: zero is never.
  static Time due(const Pod& p, const Node& n, Time now) {
    Time earliest;
    for (auto& t : n.spec.taints) {
      if (t.effect != "NoExecute") continue;
      std::optional<int64_t> shortest;
      bool tolerated = false, always = false;
      for (auto& tol : p.spec.tolerations) {
        if (!tolerates(std::vector<kube::core::Toleration>(1, tol), t)) continue;
        tolerated = true;
        if (!tol.toleration_seconds) always = true;
        else shortest = std::min(shortest.value_or(*tol.toleration_seconds), *tol.toleration_seconds);
      }
      Time when = now;
      if (tolerated) {
        if (always && !shortest) continue;
        when = t.time_added.value_or(now) + std::chrono::seconds(std::max<int64_t>(0, *shortest));
      }
      if (earliest.is_zero() || when < earliest) earliest = when;
    }
    return earliest;
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    PodPtr p = pods_.get(kube::ObjectKey::parse(key));
    const bool waited = waiting_.erase(key) > 0;
    if (!p || p->spec.node_name.empty() || is_terminating(p->metadata) || is_finished(*p)) co_return kube::Requeue::never();
    auto n = nodes_.get("", p->spec.node_name);
    if (!n) co_return kube::Requeue::never();
    Time now = ex_.now();
    Time when = due(*p, *n, now);
    if (when.is_zero()) {
      if (waited) events_.normal(kube::reference_to(*p), "TaintManagerEviction", "Cancelling deletion of Pod " + key);
      co_return kube::Requeue::never();
    }
    if (when > now) {
      waiting_.insert(key);
      co_return kube::Requeue::in(when - now);
    }
    events_.normal(kube::reference_to(*p), "TaintManagerEviction", "Marking for deletion Pod " + key);
    Status m = co_await mark_disrupted(client_, p, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false, now);
    if (!m.ok()) co_return std::move(m).error();
    kube::DeleteOptions o;
    o.uid = p->metadata.uid;
    Status d = co_await client_.remove<Pod>(p->metadata.namespace_, p->metadata.name, o);
    if (!d.ok() && d.error().code != Code::kNotFound && d.error().code != Code::kConflict) co_return std::move(d).error();
    co_return kube::Requeue::never();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Node>& nodes_;
  kube::Informer<Pod>& pods_;
  std::set<std::string> waiting_;  // pods that go when their time is over
  kube::Controller queue_;
};

class PodGc final : public Runner {
 public:
  explicit PodGc(const Context& c)
      : ex_(c.ex), client_(c.client("pod-garbage-collector")), threshold_(c.options.terminated_pod_threshold), nodes_(c.informer<Node>()), pods_(c.informer<Pod>()) {}
  void start(TaskScope& scope) override { scope.spawn(run(this)); }

 private:
  static Task<void> run(PodGc* self) {
    for (;;) {
      co_await sleep(self->ex_, kGcPeriod);
      co_await self->collect();
    }
  }

  Task<void> collect() {
    Time now = ex_.now();
    std::vector<PodPtr> lost, never_bound, finished, stranded;
    std::set<std::string> absent;
    std::unordered_map<std::string_view, const Node*> nodes;
    for (auto& [k, n] : nodes_.all()) nodes.emplace(n->metadata.name, n.get());
    for (auto& [k, p] : pods_.all()) {
      if (is_finished(*p) && !is_terminating(p->metadata)) finished.push_back(p);
      if (p->spec.node_name.empty()) {
        if (is_terminating(p->metadata)) never_bound.push_back(p);
        continue;
      }
      auto n = nodes.find(p->spec.node_name);
      if (n == nodes.end()) {
        absent.insert(p->spec.node_name);
        lost.push_back(p);
      } else if (is_terminating(p->metadata)) {
        bool out = false;
        for (auto& t : n->second->spec.taints) out = out || t.key == "node.kubernetes.io/out-of-service";
        if (out && !node_ready(*n->second)) stranded.push_back(p);
      }
    }
    // A node counts as gone when it was absent for a while and the API server says so too.
    for (auto it = missing_.begin(); it != missing_.end();)
      it = absent.count(it->first) ? std::next(it) : missing_.erase(it);
    std::set<std::string> gone;
    for (auto& name : absent) {
      auto [it, fresh] = missing_.try_emplace(name, now);
      if (now - it->second < kQuarantine) continue;
      Result<json::Value> live = co_await client_.get(Node::resource(), "", name);
      if (!live.ok() && live.error().code == Code::kNotFound) gone.insert(name);
    }
    for (auto& p : lost)
      if (gone.count(p->spec.node_name)) co_await force_delete(p, "PodGC: node no longer exists");
    for (auto& p : stranded) co_await force_delete(p, "PodGC: node is out of service");
    for (auto& p : never_bound) co_await force_delete(p, "");
    if (threshold_ > 0 && finished.size() > static_cast<size_t>(threshold_)) {
      std::sort(finished.begin(), finished.end(), [](auto& a, auto& b) {
        return a->metadata.creation_timestamp != b->metadata.creation_timestamp ? a->metadata.creation_timestamp < b->metadata.creation_timestamp
                                                                                : a->metadata.uid < b->metadata.uid;
      });
      finished.resize(finished.size() - threshold_);
      for (auto& p : finished) co_await force_delete(p, "");
    }
  }
  static bool node_ready(const Node& n) {
    for (auto& c : n.status.conditions)
      if (c.type == "Ready") return c.status == "True";
    return false;
  }

  Task<void> force_delete(PodPtr p, std::string why) {
    if (!why.empty() && !is_finished(*p)) {
      Status m = co_await mark_disrupted(client_, p, "DeletionByPodGC", why, true, ex_.now());
      if (!m.ok()) co_return;  // looked at again in the next round
    }
    kube::DeleteOptions o;
    o.uid = p->metadata.uid;
    o.grace_period_seconds = 0;
    Status d = co_await client_.remove<Pod>(p->metadata.namespace_, p->metadata.name, o);
    if (!d.ok() && d.error().code != Code::kNotFound) log_.warn("a pod cannot be deleted", {{"pod", p->metadata.namespace_ + "/" + p->metadata.name}, {"error", d.error().message}});
  }

  Executor& ex_;
  kube::Client client_;
  int threshold_;
  kube::Informer<Node>& nodes_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, Time> missing_;
  Log log_{"pod-garbage-collector"};
};

}  // namespace

std::unique_ptr<Runner> make_taint_eviction(const Context& c) { return std::make_unique<TaintEviction>(c); }
std::unique_ptr<Runner> make_pod_gc(const Context& c) { return std::make_unique<PodGc>(c); }

}  // namespace caravel::controllers
