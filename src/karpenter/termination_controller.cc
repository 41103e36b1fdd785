// The end of a node: no new pods (taint), pods out by the eviction API in tiers, then the instance, then
// the node object.
#include "karpenter/controllers.h"
#include "karpenter/state.h"
#include "kube/scheduling_translate.h"

namespace caravel::karpenter {

namespace {

constexpr Duration kPoll = 1s;

bool tolerates_disruption(const core::Pod& pod) {
  Taint t{kDisruptedTaint, "", kube::scheduling::Effect::kNoSchedule};
  for (const auto& x : pod.spec.tolerations) {
    if (!x.effect.empty() && x.effect != "NoSchedule") continue;
    if (!x.key.empty() && x.key != t.key) continue;
    if (x.operator_ == "Exists" || x.value.empty()) return x.key == t.key || x.operator_ == "Exists";
  }
  return false;
}

bool is_critical(const core::Pod& p) { return p.spec.priority_class_name == "system-cluster-critical" || p.spec.priority_class_name == "system-node-critical"; }

}  // namespace

TerminationController::TerminationController(Context& c)
    : c_(c), queue_(
                 c.ex, "node.termination", [this](std::string name) { return reconcile(std::move(name)); }, 10) {
  c.nodes.add_handler([this](const auto&, const auto& now) {
    if (now && now->metadata.deletion_timestamp) queue_.enqueue(now->metadata.name);
  });
  c.pods.add_handler([this](const auto& old, const auto& now) {
    const core::Pod& p = now ? *now : *old;
    if (p.spec.node_name.empty()) return;
    auto node = c_.nodes.get("", p.spec.node_name);
    if (node && node->metadata.deletion_timestamp) queue_.enqueue(p.spec.node_name);
  });
}

Task<Result<size_t>> TerminationController::drain(Context::NodePtr node, std::optional<Time> deadline) {
  // Normal pods first, daemons after them, critical ones last.
  std::vector<Context::PodPtr> tiers[4];
  size_t left = 0;
  for (const auto& pod : c_.pods_on(node->metadata.name)) {
    if (pod->status.phase == "Succeeded" || pod->status.phase == "Failed" || is_mirror(*pod) || tolerates_disruption(*pod)) continue;
    ++left;
    tiers[(is_critical(*pod) ? 2 : 0) + (is_daemon(*pod) ? 1 : 0)].push_back(pod);
  }
  for (const auto& tier : tiers) {
    if (tier.empty()) continue;
    for (const auto& pod : tier) {
      Duration grace = std::chrono::seconds(pod->spec.termination_grace_period_seconds.value_or(30));
      bool must_go = deadline && c_.ex.now() >= *deadline - grace;
      if (pod->metadata.deletion_timestamp && !must_go) continue;  // on its way
      if (must_go) {
        if (pod->metadata.deletion_timestamp) continue;
        kube::DeleteOptions o;
        o.uid = pod->metadata.uid;
        auto r = co_await c_.client.remove(core::Pod::resource(), pod->metadata.namespace_, pod->metadata.name, std::move(o));
        (void)r;
        continue;
      }
      if (!deadline && pod->metadata.annotations.count("karpenter.sh/do-not-disrupt") && pod->metadata.annotations.at("karpenter.sh/do-not-disrupt") == "true") continue;
      json::Value eviction;
      eviction["apiVersion"] = "policy/v1";
      eviction["kind"] = "Eviction";
      eviction["metadata"]["name"] = pod->metadata.name;
      eviction["metadata"]["namespace"] = pod->metadata.namespace_;
      eviction["deleteOptions"]["preconditions"]["uid"] = pod->metadata.uid;
      auto r = co_await c_.client.create_subresource(core::Pod::resource(), pod->metadata.namespace_, pod->metadata.name, "eviction", std::move(eviction));
      if (r.ok()) {
        c_.events.normal(kube::reference_to(*pod), "Evicted", "Evicted pod: Node is being terminated");
      } else if (r.error().code == Code::kTooMany) {
        c_.events.warning(kube::reference_to(*node), "FailedDraining", "Failed to drain node, " + std::to_string(left) + " pods are waiting to be evicted");
      } else if (r.error().code != Code::kNotFound && r.error().code != Code::kConflict) {
        co_return std::move(r).error();
      }
    }
    break;  // the next tier when this one is empty
  }
  co_return left;
}

Task<Result<Requeue>> TerminationController::reconcile(std::string name) {
  auto node = c_.nodes.get("", name);
  if (!node || !node->metadata.deletion_timestamp) co_return Requeue::never();
  bool ours = false;
  for (const auto& f : node->metadata.finalizers) ours = ours || f == kTerminationFinalizer;
  if (!ours) co_return Requeue::never();
  auto claim = c_.claim_of(*node);
  if (claim && !kube::is_deleting(*claim)) {
    auto r = co_await c_.client.remove(kNodeClaims, "", kube::name_of(*claim));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  }
  bool tainted = false;
  for (const auto& t : node->spec.taints) tainted = tainted || (t.key == kDisruptedTaint && t.effect == "NoSchedule");
  if (!tainted) {
    json::Value patch;
    patch["metadata"]["resourceVersion"] = node->metadata.resource_version;
    patch["metadata"]["labels"]["node.kubernetes.io/exclude-from-external-load-balancers"] = "karpenter";
    json::Value full = kube::to_json(*node);
    json::Value taints = full.path({"spec", "taints"}).is_array() ? full.path({"spec", "taints"}) : json::Value::array();
    json::Value taint;
    taint["key"] = kDisruptedTaint;
    taint["effect"] = "NoSchedule";
    taints.push_back(std::move(taint));
    patch["spec"]["taints"] = std::move(taints);
    auto w = co_await c_.client.patch(core::Node::resource(), "", name, kube::PatchType::kMerge, std::move(patch));
    if (!w.ok() && w.error().code != Code::kNotFound) co_return std::move(w).error();
    c_.log.info("tainted node", {{"node", name}});
    co_return Requeue::in(kPoll);
  }

  // An instance that is gone cannot be drained.
  bool instance_gone = false;
  const std::string id = instance_id(node->spec.provider_id);
  bool ready = false;
  for (const auto& c : node->status.conditions) ready = ready || (c.type == "Ready" && c.status == "True");
  if (!ready && !id.empty()) {
    auto instance = co_await c_.cloud.get(id);
    instance_gone = !instance.ok() && instance.error().code == Code::kNotFound;
  }
  if (!instance_gone) {
    std::optional<Time> deadline;
    if (claim) {
      const std::string& at = kube::annotation(*claim, "karpenter.sh/nodeclaim-termination-timestamp");
      if (!at.empty()) {
        auto t = parse_rfc3339(at);
        if (t.ok()) deadline = *t;
      } else if (auto grace = duration_from(claim->path({"spec", "terminationGracePeriod"}))) {
        deadline = parse_rfc3339(claim->path({"metadata", "deletionTimestamp"}).as_string()).value_or(c_.ex.now()) + *grace;
      }
    }
    auto left = co_await drain(node, deadline);
    if (!left.ok()) co_return std::move(left).error();
    if (*left > 0) co_return Requeue::in(kPoll);
    if (claim && !condition_true(*claim, "Drained")) {
      json::Value status = json::Value::object();
      status["conditions"] = claim->path({"status", "conditions"});
      int64_t generation = claim->path({"metadata", "generation"}).as_int();
      for (const char* type : {"Drained", "VolumesDetached"}) kube::set_condition(status["conditions"], type, "True", type, "", c_.ex.now(), generation);
      auto w = co_await c_.write_status(kNodeClaims, *claim, std::move(status));
      (void)w;  // a summary for people; the next step does not depend on it
    }
    if (!id.empty()) {
      Status ended = co_await c_.cloud.terminate(id);
      if (ended.ok()) co_return Requeue::in(kPoll);  // until it is gone
      if (ended.error().code != Code::kNotFound) co_return std::move(ended).error();
    }
  }
  json::Value document = kube::to_json(*node);
  CO_TRY_VOID(co_await c_.remove_finalizer(core::Node::resource(), std::move(document), kTerminationFinalizer));
  auto pool = node->metadata.labels.find(label::kNodePool);
  c_.metrics.nodes_terminated.inc({pool == node->metadata.labels.end() ? "" : pool->second});
  c_.log.info("deleted node", {{"node", name}});
  co_return Requeue::never();
}

}  // namespace caravel::karpenter
