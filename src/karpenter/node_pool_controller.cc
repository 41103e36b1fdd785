#include "karpenter/controllers.h"
#include "karpenter/state.h"

namespace caravel::karpenter {

NodePoolController::NodePoolController(Context& c)
    : c_(c), queue_(c.ex, "nodepool", [this](std::string name) { return reconcile(std::move(name)); }) {
  c.pools.add_handler([this](const auto&, const auto& now) {
    if (now) queue_.enqueue(kube::name_of(*now));
  });
  c.node_classes.add_handler([this](const auto& old, const auto& now) {
    const std::string& name = kube::name_of(now ? *now : *old);
    for (const auto& [key, np] : c_.pools.all())
      if (np->path({"spec", "template", "spec", "nodeClassRef", "name"}).as_string() == name) queue_.enqueue(key.name);
  });
  c.claims.add_handler([this](const auto& old, const auto& now) { queue_.enqueue(kube::label(now ? *now : *old, label::kNodePool)); });
}

Task<Result<Requeue>> NodePoolController::reconcile(std::string name) {
  auto current = c_.pools.get("", name);
  if (!current || kube::is_deleting(*current)) co_return Requeue::never();
  json::Value np = *current;
  std::string hash = node_pool_hash(np);
  if (kube::annotation(np, "karpenter.sh/nodepool-hash") != hash || kube::annotation(np, "karpenter.sh/nodepool-hash-version") != kNodePoolHashVersion) {
    json::Value patch;
    patch["metadata"]["annotations"]["karpenter.sh/nodepool-hash"] = hash;
    patch["metadata"]["annotations"]["karpenter.sh/nodepool-hash-version"] = kNodePoolHashVersion;
    auto w = co_await c_.client.patch(kNodePools, "", name, kube::PatchType::kMerge, std::move(patch));
    if (!w.ok()) co_return std::move(w).error();
    np = std::move(*w);
  }
  json::Value status = json::Value::object();
  json::Value conditions = np.path({"status", "conditions"}).is_array() ? np.path({"status", "conditions"}) : json::Value::array();
  int64_t generation = np.path({"metadata", "generation"}).as_int();
  Time now = c_.ex.now();
  std::string class_name = np.path({"spec", "template", "spec", "nodeClassRef", "name"}).as_string();
  auto node_class = c_.node_classes.get("", class_name);
  bool class_ready = false;
  if (!node_class) {
    kube::set_condition(conditions, "NodeClassReady", "False", "NodeClassNotFound", "NodeClass not found on cluster", now, generation);
  } else if (kube::is_deleting(*node_class)) {
    kube::set_condition(conditions, "NodeClassReady", "False", "NodeClassTerminating", "NodeClass is Terminating", now, generation);
  } else if (!condition_true(*node_class, "Ready")) {
    const json::Value* c = kube::find_condition(node_class->path({"status", "conditions"}), "Ready");
    kube::set_condition(conditions, "NodeClassReady", "False", "NodeClassNotReady", c ? (*c)["message"].as_string() : "Node Class Readiness Unknown", now, generation);
  } else {
    class_ready = true;
    kube::set_condition(conditions, "NodeClassReady", "True", "NodeClassReady", "", now, generation);
  }
  kube::set_condition(conditions, "ValidationSucceeded", "True", "ValidationSucceeded", "", now, generation);
  kube::set_condition(conditions, "Ready", class_ready ? "True" : "False", class_ready ? "Ready" : "UnhealthyDependents", class_ready ? "" : "NodeClassReady=False", now,
                      generation);
  status["conditions"] = std::move(conditions);
  int64_t nodes = 0;
  json::Value resources = quantities_json(pool_usage(c_, name, &nodes));
  resources["nodes"] = std::to_string(nodes);
  status["resources"] = std::move(resources);
  status["nodes"] = nodes;
  if (node_class) status["nodeClassObservedGeneration"] = node_class->path({"metadata", "generation"});
  bool changed = false;
  for (const auto& [k, v] : status.as_object()) changed = changed || !(np.path({"status", k}) == v);
  if (changed) {
    auto w = co_await c_.write_status(kNodePools, np, std::move(status));
    if (!w.ok()) co_return std::move(w).error();
  }
  co_return Requeue::never();
}

}  // namespace caravel::karpenter
