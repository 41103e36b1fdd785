#include <cmath>

#include "base/strings.h"
#include "karpenter/controllers.h"
#include "karpenter/disruption.h"
#include "karpenter/state.h"

namespace caravel::karpenter {

namespace {

constexpr Duration kReplacementMax = 10min;

double eviction_cost(const core::Pod& pod) {
  double cost = 1;
  auto it = pod.metadata.annotations.find("controller.kubernetes.io/pod-deletion-cost");
  if (it != pod.metadata.annotations.end()) cost += parse_double(it->second).value_or(0) / std::pow(2.0, 27);
  cost += static_cast<double>(pod.spec.priority.value_or(0)) / std::pow(2.0, 25);
  return std::min(10.0, std::max(-10.0, cost));
}

// Why a node has drifted from its pool or node class; "" when it has not.
std::string drift_of(const Context& c, const json::Value& claim) {
  auto np = c.pools.get("", kube::label(claim, label::kNodePool));
  if (!np) return "";
  if (kube::annotation(claim, "karpenter.sh/nodepool-hash-version") == kNodePoolHashVersion && kube::annotation(claim, "karpenter.sh/nodepool-hash") != node_pool_hash(*np))
    return "NodePoolDrifted";
  Requirements wanted = requirements_from(np->path({"spec", "template", "spec", "requirements"}));
  if (Requirements::from_labels(labels_from(claim.path({"metadata", "labels"}))).intersection_conflict(wanted)) return "RequirementsDrifted";
  auto nc = c.node_classes.get("", claim.path({"spec", "nodeClassRef", "name"}).as_string());
  if (!nc || !condition_true(*nc, "Ready")) return "";
  if (kube::annotation(claim, "karpenter.k8s.aws/ec2nodeclass-hash-version") == kNodeClassHashVersion &&
      kube::annotation(claim, "karpenter.k8s.aws/ec2nodeclass-hash") != node_class_hash(*nc))
    return "NodeClassDrift";
  const std::string& image = claim.path({"status", "imageID"}).as_string();
  bool known = image.empty();
  for (const auto& a : nc->path({"status", "amis"}).as_array()) known = known || a["id"].as_string() == image;
  return known ? "" : "AMIDrift";
}

}  // namespace

Task<void> DisruptionController::run() {
  for (;;) {
    co_await sleep(c_.ex, c_.settings.disruption_poll);
    bool again = true;
    while (again) again = co_await pass();
  }
}

namespace {

struct View {
  std::vector<Candidate> candidates;
  std::map<std::string, PoolPolicy> pools;
};

View look(const Context& c, const std::set<std::string>& busy) {
  View out;
  for (const auto& [key, np] : c.pools.all()) {
    PoolPolicy& p = out.pools[key.name];
    const json::Value& d = np->path({"spec", "disruption"});
    if (d["consolidationPolicy"].is_string()) p.consolidation = d["consolidationPolicy"].as_string();
    p.budgets = d["budgets"];
  }
  for (const auto& [key, claim] : c.claims.all()) {
    auto pool = out.pools.find(kube::label(*claim, label::kNodePool));
    if (pool == out.pools.end()) continue;
    auto node = c.node_of(*claim);
    bool initialized = condition_true(*claim, "Initialized");
    bool going = kube::is_deleting(*claim) || busy.count(key.name) || (node && node->metadata.deletion_timestamp);
    bool ready = false;
    if (node)
      for (const auto& x : node->status.conditions) ready = ready || (x.type == "Ready" && x.status == "True");
    if (initialized) ++pool->second.nodes;
    if (initialized && (going || !ready)) ++pool->second.disrupting;
    if (!node || !initialized || going) continue;
    Candidate k;
    k.claim = key.name;
    k.node = node->metadata.name;
    k.pool = pool->first;
    k.type = kube::label(*claim, label::kInstanceType);
    k.zone = kube::label(*claim, label::kZone);
    k.capacity_type = kube::label(*claim, label::kCapacityType);
    if (k.capacity_type == "spot") {
      auto p = c.cloud.catalog().spot.find({k.type, k.zone});
      if (p != c.cloud.catalog().spot.end()) k.price = p->second;
    } else if (auto p = c.cloud.catalog().on_demand.find(k.type); p != c.cloud.catalog().on_demand.end()) {
      k.price = p->second;
    }
    k.consolidatable = condition_true(*claim, "Consolidatable");
    k.drifted = condition_true(*claim, "Drifted");
    k.drifted_at = condition_time(*claim, "Drifted");
    for (const auto* name : {&k.claim, &k.node}) {
      auto promised = c.nominated_nodes.find(*name);
      if (promised != c.nominated_nodes.end() && promised->second > c.ex.now()) k.blocked = "pods are promised to it";
    }
    if (node->metadata.annotations.count("karpenter.sh/do-not-disrupt")) k.blocked = "disruption is blocked through the \"karpenter.sh/do-not-disrupt\" annotation";
    for (const auto& pod : c.pods_on(k.node)) {
      if (!is_reschedulable(*pod)) continue;
      ++k.pods;
      k.disruption_cost += std::max(0.0, eviction_cost(*pod));
      auto block = pod->metadata.annotations.find("karpenter.sh/do-not-disrupt");
      if (block != pod->metadata.annotations.end() && block->second == "true")
        k.blocked = "pod " + pod->metadata.namespace_ + "/" + pod->metadata.name + " has the \"karpenter.sh/do-not-disrupt\" annotation";
    }
    out.candidates.push_back(std::move(k));
  }
  return out;
}

Simulation simulate(const Context& c, const std::vector<Candidate>& gone) {
  std::set<std::string> leaving;
  for (const auto& k : gone) leaving.insert(k.node);
  SolverInput in = snapshot(c, leaving);
  SolverResult r = solve(in);
  Simulation out;
  out.all_placed = true;
  std::set<std::string> starting;
  for (const auto& n : in.nodes)
    if (!n.initialized) starting.insert(n.name);
  // Pods that are pending anyway do not count against it; those that would lose their node do.
  for (const auto& [key, why] : r.errors) {
    auto pod = c.pods.get(kube::ObjectKey::parse(key));
    if (pod && leaving.count(pod->spec.node_name)) out.all_placed = false;
  }
  for (const auto& [node, pods] : r.existing)
    if (starting.count(node)) out.all_placed = false;  // wait for that node first
  out.claims = std::move(r.claims);
  for (const auto& p : in.pools) out.types.insert(out.types.end(), p.instance_types.begin(), p.instance_types.end());
  return out;
}

}  // namespace

Task<bool> DisruptionController::pass() {
  if (!unsynced_reason(c_).empty() || !c_.cloud.catalog_known()) co_return false;
  // Drift is a condition that people see.
  std::vector<std::pair<Context::Doc, std::string>> drift;
  for (const auto& [key, claim] : c_.claims.all()) {
    if (kube::is_deleting(*claim) || !condition_true(*claim, "Launched")) continue;
    std::string why = drift_of(c_, *claim);
    if (why.empty() == !condition_true(*claim, "Drifted")) continue;
    drift.emplace_back(claim, std::move(why));
  }
  for (const auto& [claim, why] : drift) {
    json::Value status = json::Value::object();
    status["conditions"] = claim->path({"status", "conditions"});
    if (why.empty()) kube::remove_condition(status["conditions"], "Drifted");
    else kube::set_condition(status["conditions"], "Drifted", "True", why, why, c_.ex.now(), claim->path({"metadata", "generation"}).as_int());
    auto w = co_await c_.write_status(kNodeClaims, *claim, std::move(status));
    (void)w;  // looked at again in the next pass
  }

  Context* c = &c_;
  auto decide = [c] {
    View v = look(*c, {});
    return choose(std::move(v.candidates), v.pools, c->ex.now(), [c](const std::vector<Candidate>& gone) { return simulate(*c, gone); });
  };
  std::optional<Command> first = decide();
  if (!first) co_return false;
  // Things change: the same must still be true a little later.
  co_await sleep(c_.ex, c_.settings.disruption_validation);
  std::optional<Command> command = decide();
  if (!command || command->reason != first->reason) co_return false;
  std::erase_if(command->claims, [&](const std::string& n) { return std::find(first->claims.begin(), first->claims.end(), n) == first->claims.end(); });
  if (command->claims.empty()) co_return false;
  c_.metrics.decisions.inc({command->replacements.empty() ? "delete" : "replace", to_lower(command->reason)});
  c_.log.info("disrupting node(s)", {{"reason", command->reason}, {"nodeclaims", join(command->claims, ",")}, {"replacements", command->replacements.size()}});

  std::vector<std::string> replacements;
  bool failed = false;
  for (auto& plan : command->replacements) {
    auto made = co_await Provisioner::create_claim(c_, std::move(plan), to_lower(command->reason));
    if (!made.ok()) {
      failed = true;
      break;
    }
    replacements.push_back(kube::name_of(*made));
    c_.nominated_nodes[replacements.back()] = c_.ex.now() + kReplacementMax;
  }
  Time began = c_.ex.now();
  while (!failed && !replacements.empty()) {
    bool all = true;
    for (const auto& name : replacements) {
      auto claim = c_.claims.get("", name);
      if (claim && kube::is_deleting(*claim)) failed = true;
      if (!claim && c_.ex.now() - began > 30s) failed = true;  // it was given up
      all = all && claim && condition_true(*claim, "Initialized");
    }
    if (all) break;
    if (c_.ex.now() - began > kReplacementMax) failed = true;
    if (!failed) co_await sleep(c_.ex, 1s);
  }
  if (failed) {
    c_.log.warn("a replacement did not come up; nothing is removed", {{"reason", command->reason}});
    co_return false;
  }
  for (const auto& name : command->claims) {
    auto claim = c_.claims.get("", name);
    if (!claim) continue;
    auto node = c_.node_of(*claim);
    std::string what = "Disrupting NodeClaim: " + command->reason;
    c_.events.normal(about(*claim), "DisruptionTerminating", what);
    if (node) c_.events.normal(kube::reference_to(*node), "DisruptionTerminating", "Disrupting Node: " + command->reason);
    c_.metrics.claims_disrupted.inc({to_lower(command->reason), kube::label(*claim, label::kNodePool)});
    auto r = co_await c_.client.remove(kNodeClaims, "", name);
    if (!r.ok() && r.error().code != Code::kNotFound) c_.log.warn("cannot delete the nodeclaim", {{"nodeclaim", name}, {"error", r.error().message}});
  }
  co_return true;
}

}  // namespace caravel::karpenter
