// Taint eviction: pods that do not tolerate a NoExecute taint of their node leave, at once or after their
// tolerationSeconds. Pod GC: pods of nodes that are gone, pods that were never bound and are deleted, and
// the oldest finished pods beyond a threshold.
#include <string_view>
#include <unordered_map>

#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/pod_eviction_logic.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::Pod;

namespace {

constexpr Duration kGcPeriod = 20s;
constexpr Duration kQuarantine = 40s;

Task<Status> write_pod_status(kube::Client client, PodPtr p, json::Value patch) {
  if (patch.is_null()) co_return ok();
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
      const kube::ObjectKey key{(now ? now : old)->metadata.namespace_, (now ? now : old)->metadata.name};
      if (!now) {
        if (pending_.count(key.text())) queue_.enqueue(key);
        return;
      }
      if (now->spec.node_name.empty()) return;
      if (old && old->spec.node_name == now->spec.node_name && old->spec.tolerations == now->spec.tolerations) return;
      if (auto n = nodes_.get("", now->spec.node_name); n && !n->spec.taints.empty()) queue_.enqueue(key);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    PodPtr p = pods_.get(kube::ObjectKey::parse(key));
    std::optional<PendingEviction> pending;
    if (auto it = pending_.find(key); it != pending_.end()) {
      pending = it->second;
      pending_.erase(it);
    }
    if (!p) {
      if (pending) tell(key, "Cancelling deletion of Pod ");
      co_return kube::Requeue::never();
    }
    auto n = nodes_.get("", p->spec.node_name);
    if (!n) co_return kube::Requeue::never();  // pod GC takes what was on it
    EvictionPlan plan = plan_eviction(*p, n->spec.taints, pending, ex_.now());
    if (plan.cancelled) tell(key, "Cancelling deletion of Pod ");
    if (plan.pending) {
      pending_[key] = *plan.pending;
      co_return kube::Requeue::in(plan.pending->due - ex_.now());
    }
    if (!plan.evict || is_terminating(p->metadata)) co_return kube::Requeue::never();
    tell(key, "Marking for deletion Pod ");
    json::Value patch = disruption_patch(*p, "DeletionByTaintManager", "Taint manager: deleting due to NoExecute taint", false, ex_.now());
    Status m = co_await write_pod_status(client_, p, std::move(patch));
    if (!m.ok()) co_return std::move(m).error();
    kube::DeleteOptions o;
    o.uid = p->metadata.uid;
    Status d = co_await client_.remove<Pod>(p->metadata.namespace_, p->metadata.name, o);
    if (!d.ok() && d.error().code != Code::kNotFound && d.error().code != Code::kConflict) co_return std::move(d).error();
    co_return kube::Requeue::never();
  }
  // As upstream about the name of a pod, whichever bears it.
  void tell(const std::string& key, const char* what) {
    const kube::ObjectKey k = kube::ObjectKey::parse(key);
    events_.normal(kube::ObjectReference{"v1", "Pod", k.ns, k.name, "", "", ""}, "TaintManagerEviction", what + key);
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Node>& nodes_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, PendingEviction> pending_;  // by pod
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
      co_await self->collect();
      co_await sleep(self->ex_, kGcPeriod);
    }
  }

  Task<void> collect() {
    Time now = ex_.now();
    std::vector<PodPtr> lost, never_bound, all, stranded;
    std::set<std::string> absent;
    std::unordered_map<std::string_view, const Node*> nodes;
    for (auto& [k, n] : nodes_.all()) nodes.emplace(n->metadata.name, n.get());
    for (auto& [k, p] : pods_.all()) {
      if (threshold_ > 0) all.push_back(p);
      if (p->spec.node_name.empty()) {
        if (is_terminating(p->metadata)) never_bound.push_back(p);
        continue;
      }
      auto n = nodes.find(p->spec.node_name);
      if (n == nodes.end()) {
        absent.insert(p->spec.node_name);
        lost.push_back(p);
      } else if (is_stranded(*p, *n->second)) {
        stranded.push_back(p);
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
    if (threshold_ > 0)
      for (auto& p : surplus_of_ended(std::move(all), static_cast<size_t>(threshold_))) co_await force_delete(p, "");
    for (auto& p : stranded) co_await force_delete(p, "");
    for (auto& p : lost)
      if (gone.count(p->spec.node_name)) co_await force_delete(p, "PodGC: node no longer exists");
    for (auto& p : never_bound) co_await force_delete(p, "");
  }

  Task<void> force_delete(PodPtr p, std::string why) {
    json::Value patch;
    if (!is_finished(*p)) patch = disruption_patch(*p, why.empty() ? "" : "DeletionByPodGC", why, true, ex_.now());
    Status m = co_await write_pod_status(client_, p, std::move(patch));
    if (!m.ok()) co_return;  // looked at again in the next round
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
