#include "karpenter/controllers.h"

namespace caravel::karpenter {

namespace {

constexpr Duration kRefresh = 1min;

struct Part {
  const char* condition;
  const char* field;        // of status
  const char* none_reason;  // when nothing matches
  const char* none_message;
};

}  // namespace

NodeClassController::NodeClassController(Context& c)
    : c_(c), queue_(c.ex, "ec2nodeclass", [this](std::string name) { return reconcile(std::move(name)); }) {
  c.node_classes.add_handler([this](const auto&, const auto& now) {
    if (now) queue_.enqueue(kube::name_of(*now));
  });
  c.claims.add_handler([this](const auto& old, const auto& now) {  // a class that is being deleted waits for its claims
    if (!now) queue_.enqueue(old->path({"spec", "nodeClassRef", "name"}).as_string());
  });
}

Task<Result<Requeue>> NodeClassController::finalize(json::Value nc) {
  if (!kube::has_finalizer(nc, kNodeClassFinalizer)) co_return Requeue::never();
  std::string name = kube::name_of(nc);
  for (const auto& [key, claim] : c_.claims.all()) {
    if (claim->path({"spec", "nodeClassRef", "name"}).as_string() != name) continue;
    c_.events.normal(about(nc), "WaitingOnNodeClaimTermination", "Waiting on NodeClaim termination for " + key.name);
    co_return Requeue::in(10s);
  }
  CO_TRY_VOID(co_await c_.cloud.delete_instance_profile(nc));
  CO_TRY_VOID(co_await c_.cloud.delete_launch_templates(name));
  CO_TRY_VOID(co_await c_.remove_finalizer(kNodeClasses, nc, kNodeClassFinalizer));
  co_return Requeue::never();
}

Task<Result<Requeue>> NodeClassController::reconcile(std::string name) {
  auto current = c_.node_classes.get("", name);
  if (!current) co_return Requeue::never();
  json::Value nc = *current;
  if (kube::is_deleting(nc)) {
    auto r = co_await finalize(std::move(nc));
    co_return r;
  }
  bool hash_current = kube::annotation(nc, "karpenter.k8s.aws/ec2nodeclass-hash") == node_class_hash(nc);
  if (!kube::has_finalizer(nc, kNodeClassFinalizer) || !hash_current) {
    json::Value patch;
    json::Value list = nc.path({"metadata", "finalizers"}).is_array() ? nc.path({"metadata", "finalizers"}) : json::Value::array();
    if (!kube::has_finalizer(nc, kNodeClassFinalizer)) list.push_back(kNodeClassFinalizer);
    patch["metadata"]["finalizers"] = std::move(list);
    patch["metadata"]["annotations"]["karpenter.k8s.aws/ec2nodeclass-hash"] = node_class_hash(nc);
    patch["metadata"]["annotations"]["karpenter.k8s.aws/ec2nodeclass-hash-version"] = kNodeClassHashVersion;
    auto w = co_await c_.client.patch(kNodeClasses, "", name, kube::PatchType::kMerge, std::move(patch));
    if (!w.ok()) co_return std::move(w).error();
    nc = std::move(*w);
  }

  json::Value status = json::Value::object();
  json::Value conditions = nc.path({"status", "conditions"}).is_array() ? nc.path({"status", "conditions"}) : json::Value::array();
  int64_t generation = nc.path({"metadata", "generation"}).as_int();
  Time now = c_.ex.now();
  bool ready = true;
  std::string not_ready;
  auto set = [&](const char* type, bool good, const std::string& reason, const std::string& message) {
    kube::set_condition(conditions, type, good ? "True" : "False", good ? type : reason, good ? "" : message, now, generation);
    if (good) return;
    ready = false;
    not_ready += (not_ready.empty() ? "" : ", ") + std::string(type) + "=False";
  };
  auto take = [&](Result<json::Value> found, const Part& part) {
    if (!found.ok()) {
      set(part.condition, false, "AWSError", found.error().message);
      return;
    }
    bool any = found->size() > 0;
    status[part.field] = std::move(*found);
    set(part.condition, any, part.none_reason, part.none_message);
  };
  const json::Value spec = nc["spec"];
  if (c_.cloud.cluster().version.empty()) {
    auto known = co_await c_.cloud.refresh_cluster();
    if (!known.ok()) c_.log.warn("cannot describe the cluster", {{"error", known.error().message}});
  }
  auto subnets = co_await c_.cloud.find_subnets(spec["subnetSelectorTerms"]);
  take(std::move(subnets), {"SubnetsReady", "subnets", "SubnetsNotFound", "SubnetSelector did not match any Subnets"});
  auto groups = co_await c_.cloud.find_security_groups(spec["securityGroupSelectorTerms"]);
  take(std::move(groups), {"SecurityGroupsReady", "securityGroups", "SecurityGroupsNotFound", "SecurityGroupSelector did not match any SecurityGroups"});
  auto images = co_await c_.cloud.find_images(spec);
  take(std::move(images), {"AMIsReady", "amis", "AMINotFound", "AMISelector did not match any AMIs"});
  auto profile = co_await c_.cloud.ensure_instance_profile(nc);
  if (profile.ok()) status["instanceProfile"] = *profile;
  set("InstanceProfileReady", profile.ok(), "InstanceProfileNotFound", profile.ok() ? "" : profile.error().message);
  set("ValidationSucceeded", ready, "DependenciesNotReady", "Awaiting AMI, Instance Profile, Security Group, and Subnet resolution");
  kube::set_condition(conditions, "Ready", ready ? "True" : "False", ready ? "Ready" : "UnhealthyDependents", not_ready, now, generation);
  status["conditions"] = std::move(conditions);

  bool changed = false;
  for (const auto& [k, v] : status.as_object()) changed = changed || !(nc.path({"status", k}) == v);
  if (changed) {
    auto w = co_await c_.write_status(kNodeClasses, nc, std::move(status));
    if (!w.ok()) co_return std::move(w).error();
  }
  co_return Requeue::in(ready ? kRefresh : Duration(10s));
}

}  // namespace caravel::karpenter
