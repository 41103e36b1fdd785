#include <algorithm>

#include "base/strings.h"
#include "karpenter/controllers.h"
#include "karpenter/state.h"

namespace caravel::karpenter {

namespace {
constexpr Duration kSolveMax = 60s, kRetry = 10s;
}

Provisioner::Provisioner(Context& c) : c_(c), wake_(c.ex) {
  c.pods.add_handler([this](const auto&, const auto& now) {
    if (now && is_provisionable(*now)) trigger();
  });
  c.nodes.add_handler([this](const auto& old, const auto& now) {  // pods of a node that goes need another
    if (now && now->metadata.deletion_timestamp && !(old && old->metadata.deletion_timestamp)) trigger();
  });
}

void Provisioner::trigger() { wake_.set(); }

Task<void> Provisioner::run() {
  for (;;) {
    co_await wake_.wait(kRetry);  // also without a hint: pods may wait for a pool or a price
    bool hinted = wake_.is_set();
    if (hinted) {
      // Batch: until nothing new has come for a second, at most ten.
      Time began = c_.ex.now();
      while (c_.ex.now() - began < c_.settings.batch_max) {
        wake_.reset();
        bool more = co_await wake_.wait(c_.settings.batch_idle);
        if (!more) break;
      }
      wake_.reset();
    }
    co_await provision();
  }
}

Task<void> Provisioner::provision() {
  std::string unsynced = unsynced_reason(c_);
  if (!unsynced.empty()) {
    c_.log.debug("waiting before provisioning", {{"reason", unsynced}});
    co_await sleep(c_.ex, 200ms);
    wake_.set();
    co_return;
  }
  // Most of the time there is nothing to do; that must cost nothing.
  bool wanted = std::any_of(c_.pods.all().begin(), c_.pods.all().end(), [](const auto& e) { return is_provisionable(*e.second); }) ||
                std::any_of(c_.nodes.all().begin(), c_.nodes.all().end(), [](const auto& e) { return e.second->metadata.deletion_timestamp.has_value(); });
  if (!wanted) {
    c_.metrics.queue_depth.set(0);
    c_.metrics.unschedulable_pods.set(0);
    co_return;
  }
  SolverInput in = snapshot(c_, {});
  c_.metrics.queue_depth.set(static_cast<double>(in.pending.size()));
  if (in.pending.empty()) {
    c_.metrics.unschedulable_pods.set(0);
    co_return;
  }
  Time began = c_.ex.now();
  in.out_of_time = [this, began] { return c_.ex.now() - began > kSolveMax; };
  SolverResult result = solve(in);
  c_.metrics.scheduling_duration.observe({}, static_cast<double>((c_.ex.now() - began).count()) / 1e9);
  c_.metrics.unschedulable_pods.set(static_cast<double>(result.errors.size()));
  auto tell = [&](const std::string& pod_key, const std::string& where) {
    auto pod = c_.pods.get(kube::ObjectKey::parse(pod_key));
    if (pod) c_.events.normal(kube::reference_to(*pod), "Nominated", "Pod should schedule on: " + where);
  };
  Duration nomination = std::max<Duration>(2 * c_.settings.batch_max, 10s);
  for (const auto& [node, pods] : result.existing) {
    c_.nominated_nodes[node] = c_.ex.now() + nomination;
    bool is_node = c_.nodes.get("", node) != nullptr;
    for (const auto& p : pods) tell(p, (is_node ? "node/" : "nodeclaim/") + node);
  }
  for (const auto& [key, why] : result.errors) {
    auto pod = c_.pods.get(kube::ObjectKey::parse(key));
    if (pod && is_provisionable(*pod)) c_.events.warning(kube::reference_to(*pod), "FailedScheduling", "Failed to schedule pod, " + why);
  }
  if (!result.claims.empty())
    c_.log.info("found provisionable pod(s)", {{"pods", in.pending.size()}, {"new-nodeclaims", result.claims.size()}, {"unschedulable", result.errors.size()}});
  for (auto& plan : result.claims) {
    std::vector<std::string> pods = plan.pods;
    auto made = co_await create_claim(c_, std::move(plan), "provisioned");
    if (!made.ok()) {
      c_.log.error("cannot create a nodeclaim", {{"error", made.error().message}});
      wake_.set();
      continue;
    }
    c_.nominated_nodes[kube::name_of(*made)] = c_.ex.now() + nomination;
    for (const auto& p : pods) tell(p, "nodeclaim/" + kube::name_of(*made));
  }
}

Task<Result<json::Value>> Provisioner::create_claim(Context& c, PlannedClaim plan, std::string reason) {
  auto np = c.pools.get("", plan.pool);
  if (!np) co_return not_found("NodePool \"" + plan.pool + "\" is gone");
  auto pool = pool_of(c, *np);
  if (!pool) co_return unavailable("NodePool \"" + plan.pool + "\" cannot be used any more");
  for (const auto& [name, left] : pool->limits)
    if (left <= 0) co_return invalid(name + " resource usage exceeds limit of NodePool \"" + plan.pool + "\"");
  json::Value claim;
  claim["apiVersion"] = "karpenter.sh/v1";
  claim["kind"] = "NodeClaim";
  json::Value& meta = claim["metadata"];
  meta["generateName"] = plan.pool + "-";
  meta["labels"] = json::Value::object();
  Requirements requirements = plan.requirements;
  requirements.set(label::kInstanceType, Requirement::in(plan.types));
  if (const Requirement* wanted = plan.requirements.find(label::kInstanceType)) {
    Requirement r = requirements.get(label::kInstanceType);
    r.min_values = wanted->min_values;
    requirements.set(label::kInstanceType, r);
  }
  for (const auto& [k, v] : plan.requirements.labels()) meta["labels"][k] = v;
  for (const auto& [k, v] : pool->labels) meta["labels"][k] = v;
  meta["labels"][label::kNodePool] = plan.pool;
  meta["labels"][pool->node_class_group + "/" + to_lower(pool->node_class_kind)] = pool->node_class;
  for (const auto& [k, v] : pool->annotations) meta["annotations"][k] = v;
  meta["annotations"]["karpenter.sh/nodepool-hash"] = pool->hash;
  meta["annotations"]["karpenter.sh/nodepool-hash-version"] = pool->hash_version;
  if (auto nc = c.node_classes.get("", pool->node_class)) {
    for (const char* k : {"karpenter.k8s.aws/ec2nodeclass-hash", "karpenter.k8s.aws/ec2nodeclass-hash-version"})
      if (!kube::annotation(*nc, k).empty()) meta["annotations"][k] = kube::annotation(*nc, k);
  }
  json::Value owner;
  owner["apiVersion"] = "karpenter.sh/v1";
  owner["kind"] = "NodePool";
  owner["name"] = pool->name;
  owner["uid"] = pool->uid;
  owner["blockOwnerDeletion"] = true;
  meta["ownerReferences"].push_back(std::move(owner));
  meta["finalizers"].push_back(kTerminationFinalizer);
  json::Value& spec = claim["spec"];
  const json::Value& t = np->path({"spec", "template", "spec"});
  spec["nodeClassRef"] = t["nodeClassRef"];
  for (const char* k : {"taints", "startupTaints", "expireAfter", "terminationGracePeriod"})
    if (!t[k].is_null()) spec[k] = t[k];
  spec["requirements"] = requirements_to(requirements);
  spec["resources"]["requests"] = quantities_json(plan.requests);
  auto made = co_await c.client.create(kNodeClaims, "", std::move(claim));
  if (!made.ok()) co_return std::move(made).error();
  c.metrics.claims_created.inc({reason, plan.pool});
  std::string types;
  for (size_t i = 0; i < plan.types.size() && i < 5; ++i) types += (i ? ", " : "") + plan.types[i];
  if (plan.types.size() > 5) types += " and " + std::to_string(plan.types.size() - 5) + " other(s)";
  c.log.info("created nodeclaim", {{"nodeclaim", kube::name_of(*made)}, {"nodepool", plan.pool}, {"pods", plan.pods.size()}, {"requests", plan.requests.text()}, {"instance-types", types}});
  co_return std::move(made);
}

}  // namespace caravel::karpenter
