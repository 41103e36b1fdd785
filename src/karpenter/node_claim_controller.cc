// The life of a NodeClaim: launched at the cloud, registered as a node, initialized (usable), and in the end
// its instance terminated. A claim that does not get there in time is deleted, and planned anew.
#include "karpenter/controllers.h"
#include "karpenter/state.h"
#include "kube/quantity.h"

namespace caravel::karpenter {

namespace {

constexpr Duration kLaunchTimeout = 5min, kRegistrationTimeout = 15min;

bool node_ready(const core::Node& n) {
  for (const auto& c : n.status.conditions)
    if (c.type == "Ready") return c.status == "True";
  return false;
}

bool has_taint(const core::Node& n, const std::string& key) {
  for (const auto& t : n.spec.taints)
    if (t.key == key) return true;
  return false;
}

json::Value conditions_of(const json::Value& claim) {
  return claim.path({"status", "conditions"}).is_array() ? claim.path({"status", "conditions"}) : json::Value::array();
}

json::Value taint_json(const Taint& t) {
  using kube::scheduling::Effect;
  json::Value v;
  v["key"] = t.key;
  if (!t.value.empty()) v["value"] = t.value;
  v["effect"] = t.effect == Effect::kNoSchedule ? "NoSchedule" : t.effect == Effect::kPreferNoSchedule ? "PreferNoSchedule"
                                                                                                       : "NoExecute";
  return v;
}

// Why the node cannot be used yet; "" when it can.
std::pair<std::string, std::string> not_initialized(const json::Value& claim, const core::Node& node) {
  if (!node_ready(node)) return {"NodeNotReady", "Node status is NotReady"};
  for (const auto& t : claim.path({"spec", "startupTaints"}).as_array())
    for (const auto& have : node.spec.taints)
      if (have.key == t["key"].as_string() && have.effect == t["effect"].as_string()) return {"StartupTaintsExist", "StartupTaint \"" + have.key + ":" + have.effect + "\" still exists"};
  for (const char* key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.cloudprovider.kubernetes.io/uninitialized"})
    if (has_taint(node, key)) return {"KnownEphemeralTaintsExist", "KnownEphemeralTaint \"" + std::string(key) + "\" still exists"};
  for (const auto& [name, q] : claim.path({"spec", "resources", "requests"}).as_object()) {
    if (name.find('/') == name.npos) continue;
    auto it = node.status.allocatable.find(name);
    if (it == node.status.allocatable.end() || it->second.is_zero()) return {"ResourceNotRegistered", "Resource \"" + name + "\" was requested but not registered"};
  }
  return {};
}

}  // namespace

NodeClaimController::NodeClaimController(Context& c)
    : c_(c), queue_(
                 c.ex, "nodeclaim", [this](std::string name) { return reconcile(std::move(name)); }, 10) {
  c.claims.add_handler([this](const auto&, const auto& now) {
    if (now) queue_.enqueue(kube::name_of(*now));
  });
  c.nodes.add_handler([this](const auto& old, const auto& now) {
    const core::Node& n = now ? *now : *old;
    if (auto claim = c_.claim_of(n)) queue_.enqueue(kube::name_of(*claim));
  });
  c.pods.add_handler([this](const auto& old, const auto& now) {  // consolidatable follows pods coming and going
    const core::Pod& p = now ? *now : *old;
    bool moved = !old || !now || old->spec.node_name != now->spec.node_name || old->status.phase != now->status.phase;
    if (p.spec.node_name.empty() || is_daemon(p) || !moved) return;
    auto node = c_.nodes.get("", p.spec.node_name);
    if (!node) return;
    if (auto claim = c_.claim_of(*node)) {
      c_.last_pod_event[kube::name_of(*claim)] = c_.ex.now();
      queue_.enqueue(kube::name_of(*claim));
    }
  });
}

Task<Status> NodeClaimController::write_conditions(json::Value claim, json::Value status) {
  json::Value& conditions = status["conditions"];
  int64_t generation = claim.path({"metadata", "generation"}).as_int();
  std::string waiting;
  bool all = true;
  for (const char* type : {"Launched", "Registered", "Initialized"}) {
    const json::Value* c = kube::find_condition(conditions, type);
    if (c && (*c)["status"].as_string() == "True") continue;
    all = false;
    waiting += (waiting.empty() ? "" : ", ") + std::string(type) + "=" + (c ? (*c)["status"].as_string() : "Unknown");
  }
  kube::set_condition(conditions, "Ready", all ? "True" : "Unknown", all ? "Ready" : "ReconcilingDependents", waiting, c_.ex.now(), generation);
  bool changed = false;
  for (const auto& [k, v] : status.as_object()) changed = changed || !(claim.path({"status", k}) == v);
  if (!changed) co_return ok();
  auto w = co_await c_.write_status(kNodeClaims, std::move(claim), std::move(status));
  if (!w.ok() && w.error().code != Code::kNotFound) co_return std::move(w).error();
  co_return ok();
}

Task<Status> NodeClaimController::remove_claim(json::Value claim) {
  auto r = co_await c_.client.remove(kNodeClaims, "", kube::name_of(claim));
  if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  co_return ok();
}

Task<Result<Requeue>> NodeClaimController::launch(json::Value claim) {
  std::string name = kube::name_of(claim);
  std::string class_name = claim.path({"spec", "nodeClassRef", "name"}).as_string();
  json::Value status = json::Value::object();
  status["conditions"] = conditions_of(claim);
  int64_t generation = claim.path({"metadata", "generation"}).as_int();
  if (kube::find_condition(status["conditions"], "Launched") && c_.ex.now() - creation_time(claim) > kLaunchTimeout) {
    c_.log.info("deleting a claim that was not launched in time", {{"nodeclaim", name}});
    CO_TRY_VOID(co_await remove_claim(std::move(claim)));
    co_return Requeue::never();
  }
  auto node_class = c_.node_classes.get("", class_name);
  if (!node_class || !condition_true(*node_class, "Ready")) {
    kube::set_condition(status["conditions"], "Launched", "Unknown", "NodeClassNotReady", "EC2NodeClass \"" + class_name + "\" is not ready", c_.ex.now(), generation);
    CO_TRY_VOID(co_await write_conditions(std::move(claim), std::move(status)));
    co_return Requeue::in(5s);
  }
  LaunchRequest q;
  q.claim_name = name;
  q.pool = kube::label(claim, label::kNodePool);
  q.node_class = class_name;
  q.node_class_object = *node_class;
  q.requirements = requirements_from(claim.path({"spec", "requirements"}));
  Amounts requests = amounts_from(claim.path({"spec", "resources", "requests"}));
  for (const auto& t : c_.cloud.instance_types(*node_class))
    if (!q.requirements.intersection_conflict(t->requirements) && requests.fits_in(t->allocatable)) q.types.push_back(t);
  InstanceTypes types = q.types;
  q.labels = labels_from(claim.path({"metadata", "labels"}));
  q.taints = taints_from(claim.path({"spec", "taints"}));
  q.startup_taints = taints_from(claim.path({"spec", "startupTaints"}));

  Time began = c_.ex.now();
  auto launched = co_await c_.cloud.launch(std::move(q));
  c_.metrics.cloud_duration.observe({"Create"}, static_cast<double>((c_.ex.now() - began).count()) / 1e9);
  if (!launched.ok()) {
    const Error& e = launched.error();
    c_.metrics.cloud_errors.inc({"Create", e.details.empty() ? std::string(code_name(e.code)) : e.details});
    c_.log.warn("launch failed", {{"nodeclaim", name}, {"error", e.message}});
    if (e.details == "InsufficientCapacity") {
      // Another plan, without what could not be had, is better than trying the same again.
      c_.events.warning(about(claim), "InsufficientCapacityError", "NodeClaim " + name + " event: " + e.message);
      CO_TRY_VOID(co_await remove_claim(std::move(claim)));
      co_return Requeue::never();
    }
    kube::set_condition(status["conditions"], "Launched", "Unknown", "LaunchFailed", e.message, c_.ex.now(), generation);
    CO_TRY_VOID(co_await write_conditions(std::move(claim), std::move(status)));
    co_return launched.error();
  }

  json::Value labels = json::Value::object();
  labels[label::kInstanceType] = launched->type;
  labels[label::kZone] = launched->zone;
  labels[label::kCapacityType] = launched->capacity_type;
  for (const auto& t : types) {
    if (t->name != launched->type) continue;
    for (const auto& [k, r] : t->requirements.all())
      if (auto v = r.only(); v && k != label::kHostname && !labels.find(k)) labels[k] = *v;
    for (const auto& o : t->offerings)
      if (o.zone == launched->zone && !o.zone_id.empty()) labels[label::kZoneId] = o.zone_id;
    status["capacity"] = quantities_json(t->capacity);
    status["allocatable"] = quantities_json(t->allocatable);
  }
  status["providerID"] = launched->provider_id();
  status["imageID"] = launched->image_id;
  kube::set_condition(status["conditions"], "Launched", "True", "Launched", "", c_.ex.now(), generation);
  for (const char* next : {"Registered", "Initialized"})
    kube::set_condition(status["conditions"], next, "Unknown", next == std::string("Registered") ? "NodeNotFound" : "AwaitingReconciliation",
                        next == std::string("Registered") ? "Node not registered with cluster" : "object is awaiting reconciliation", c_.ex.now(), generation);
  c_.log.info("launched nodeclaim", {{"nodeclaim", name}, {"provider-id", launched->provider_id()}, {"instance-type", launched->type}, {"zone", launched->zone}, {"capacity-type", launched->capacity_type}});
  // The status first: it is what says that the instance is ours.
  Status written = co_await write_conditions(claim, std::move(status));
  if (!written.ok()) co_return std::move(written).error();
  json::Value patch;
  patch["metadata"]["labels"] = std::move(labels);
  auto w = co_await c_.client.patch(kNodeClaims, "", name, kube::PatchType::kMerge, std::move(patch));
  if (!w.ok()) co_return std::move(w).error();
  Labels tags{{"Name", kube::label(claim, label::kNodePool) + "/" + name}, {"karpenter.sh/nodeclaim", name}};
  Status tagged = co_await c_.cloud.tag(launched->id, std::move(tags));
  if (!tagged.ok()) c_.log.warn("cannot tag the instance", {{"instance", launched->id}, {"error", tagged.error().message}});
  co_return Requeue::in(kRegistrationTimeout);
}

// Makes the node ours: labels, taints, finalizer, owner; then waits until it can be used.
Task<Result<Requeue>> NodeClaimController::adopt(json::Value claim, Context::NodePtr node) {
  json::Value status = json::Value::object();
  status["conditions"] = conditions_of(claim);
  int64_t generation = claim.path({"metadata", "generation"}).as_int();
  const std::string node_name = node->metadata.name;
  bool registered = condition_true(claim, "Registered");
  bool finalizer = false;
  for (const auto& f : node->metadata.finalizers) finalizer = finalizer || f == kTerminationFinalizer;
  if (!registered || has_taint(*node, kUnregisteredTaint) || !finalizer) {
    json::Value patch;
    patch["metadata"]["resourceVersion"] = node->metadata.resource_version;
    json::Value& finalizers = patch["metadata"]["finalizers"];
    finalizers = json::Value::array();
    for (const auto& f : node->metadata.finalizers)
      if (f != kTerminationFinalizer) finalizers.push_back(f);
    finalizers.push_back(kTerminationFinalizer);
    json::Value& owners = patch["metadata"]["ownerReferences"];
    owners = json::Value::array();
    json::Value owner;
    owner["apiVersion"] = "karpenter.sh/v1";
    owner["kind"] = "NodeClaim";
    owner["name"] = kube::name_of(claim);
    owner["uid"] = kube::uid_of(claim);
    owner["blockOwnerDeletion"] = true;
    owners.push_back(std::move(owner));
    json::Value& labels = patch["metadata"]["labels"];
    for (const auto& [k, v] : claim.path({"metadata", "labels"}).as_object()) labels[k] = v;
    labels[label::kRegistered] = "true";
    for (const auto& [k, v] : claim.path({"metadata", "annotations"}).as_object())
      if (k.starts_with("karpenter.")) patch["metadata"]["annotations"][k] = v;
    std::vector<Taint> taints = taints_from(node->spec.taints);
    std::erase_if(taints, [](const Taint& t) { return t.key == kUnregisteredTaint; });
    auto add_missing = [&](const json::Value& list) {
      for (const auto& t : taints_from(list))
        if (std::find(taints.begin(), taints.end(), t) == taints.end()) taints.push_back(t);
    };
    if (!registered && !node->metadata.labels.count(label::kDoNotSyncTaints)) {
      add_missing(claim.path({"spec", "taints"}));
      add_missing(claim.path({"spec", "startupTaints"}));
    }
    json::Value list = json::Value::array();
    for (const auto& t : taints) list.push_back(taint_json(t));
    patch["spec"]["taints"] = std::move(list);
    auto w = co_await c_.client.patch(core::Node::resource(), "", node_name, kube::PatchType::kMerge, std::move(patch));
    if (!w.ok()) co_return std::move(w).error();
    if (!registered) {
      c_.log.info("registered nodeclaim", {{"nodeclaim", kube::name_of(claim)}, {"node", node_name}});
      c_.metrics.nodes_created.inc({kube::label(claim, label::kNodePool)});
    }
  }
  kube::set_condition(status["conditions"], "Registered", "True", "Registered", "", c_.ex.now(), generation);
  status["nodeName"] = node_name;
  auto [reason, message] = not_initialized(claim, *node);
  bool initialized = condition_true(claim, "Initialized");
  if (!initialized) {
    if (reason.empty()) {
      json::Value patch;
      patch["metadata"]["labels"][label::kInitialized] = "true";
      auto w = co_await c_.client.patch(core::Node::resource(), "", node_name, kube::PatchType::kMerge, std::move(patch));
      if (!w.ok()) co_return std::move(w).error();
      status["capacity"] = w->path({"status", "capacity"});
      status["allocatable"] = w->path({"status", "allocatable"});
      kube::set_condition(status["conditions"], "Initialized", "True", "Initialized", "", c_.ex.now(), generation);
      c_.log.info("initialized nodeclaim", {{"nodeclaim", kube::name_of(claim)}, {"node", node_name}});
    } else {
      kube::set_condition(status["conditions"], "Initialized", "Unknown", reason, message, c_.ex.now(), generation);
    }
  }

  // Consolidatable: nothing has come or gone for consolidateAfter.
  Duration again = Duration(-1);
  auto pool = c_.pools.get("", kube::label(claim, label::kNodePool));
  std::string after_text = pool ? pool->path({"spec", "disruption", "consolidateAfter"}).as_string() : "";
  auto event = c_.last_pod_event.find(kube::name_of(claim));
  Time since = parse_rfc3339(claim.path({"status", "lastPodEventTime"}).as_string()).value_or(Time{});
  if (event != c_.last_pod_event.end() && event->second > since) {
    since = event->second;
    status["lastPodEventTime"] = format_rfc3339(since);
  }
  if (since.is_zero()) since = condition_time(claim, "Initialized");
  if (!initialized || !pool || after_text == "Never") {
    kube::remove_condition(status["conditions"], "Consolidatable");
  } else {
    Duration after = parse_duration(after_text).value_or(Duration(0));
    Duration left = since + after - c_.ex.now();
    if (left <= Duration(0)) {
      kube::set_condition(status["conditions"], "Consolidatable", "True", "Consolidatable", "", c_.ex.now(), generation);
    } else {
      kube::remove_condition(status["conditions"], "Consolidatable");
      again = left;
    }
  }
  CO_TRY_VOID(co_await write_conditions(std::move(claim), std::move(status)));
  if (!initialized && !reason.empty() && again < Duration(0)) again = 10s;
  if (!initialized && reason.empty()) again = 100ms;
  co_return again < Duration(0) ? Requeue::never() : Requeue::in(again);
}

Task<Result<Requeue>> NodeClaimController::reconcile(std::string name) {
  auto current = c_.claims.get("", name);
  if (!current) {
    c_.last_pod_event.erase(name);
    co_return Requeue::never();
  }
  json::Value claim = *current;
  if (kube::is_deleting(claim)) {
    auto r = co_await finalize(std::move(claim));
    co_return r;
  }
  if (!kube::has_finalizer(claim, kTerminationFinalizer)) {
    CO_TRY_VOID(co_await c_.add_finalizer(kNodeClaims, claim, kTerminationFinalizer));
    co_return Requeue::never();  // its own change brings us back
  }
  if (auto expire = duration_from(claim.path({"spec", "expireAfter"})); expire && creation_time(claim) + *expire <= c_.ex.now()) {
    c_.log.info("deleting an expired claim", {{"nodeclaim", name}});
    c_.metrics.claims_disrupted.inc({"expired", kube::label(claim, label::kNodePool)});
    CO_TRY_VOID(co_await remove_claim(std::move(claim)));
    co_return Requeue::never();
  }
  if (provider_id(claim).empty()) {
    auto r = co_await launch(std::move(claim));
    co_return r;
  }
  auto node = c_.node_of(claim);
  if (node) {
    std::optional<Duration> expire = duration_from(claim.path({"spec", "expireAfter"}));
    Duration until_expiry = expire ? creation_time(claim) + *expire - c_.ex.now() : Duration(-1);
    auto r = co_await adopt(std::move(claim), node);
    if (!r.ok()) co_return r;
    if (r->after < Duration(0) && until_expiry > Duration(0)) co_return Requeue::in(until_expiry);
    co_return r;
  }
  if (condition_true(claim, "Registered")) co_return Requeue::never();  // the node is gone: the collector ends it
  Duration left = condition_time(claim, "Launched") + kRegistrationTimeout - c_.ex.now();
  if (left > Duration(0)) co_return Requeue::in(left);
  c_.log.info("deleting a claim whose node did not register in time", {{"nodeclaim", name}});
  CO_TRY_VOID(co_await remove_claim(std::move(claim)));
  co_return Requeue::never();
}

// The node goes first (its own controller drains it), then the instance, then the claim.
Task<Result<Requeue>> NodeClaimController::finalize(json::Value claim) {
  if (!kube::has_finalizer(claim, kTerminationFinalizer)) co_return Requeue::never();
  if (auto node = c_.node_of(claim)) {
    if (!node->metadata.deletion_timestamp) {
      auto r = co_await c_.client.remove(core::Node::resource(), "", node->metadata.name);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    co_return Requeue::in(5s);
  }
  if (const std::string id = instance_id(provider_id(claim)); !id.empty()) {
    Status ended = co_await c_.cloud.terminate(id);
    if (ended.ok()) {
      json::Value status = json::Value::object();
      status["conditions"] = conditions_of(claim);
      kube::set_condition(status["conditions"], "InstanceTerminating", "True", "InstanceTerminating", "", c_.ex.now(), claim.path({"metadata", "generation"}).as_int());
      CO_TRY_VOID(co_await write_conditions(std::move(claim), std::move(status)));
      co_return Requeue::in(2s);  // until it is gone
    }
    if (ended.error().code != Code::kNotFound) co_return std::move(ended).error();
  }
  CO_TRY_VOID(co_await c_.remove_finalizer(kNodeClaims, claim, kTerminationFinalizer));
  c_.metrics.claims_terminated.inc({kube::label(claim, label::kNodePool)});
  c_.log.info("deleted nodeclaim", {{"nodeclaim", kube::name_of(claim)}, {"provider-id", provider_id(claim)}});
  co_return Requeue::never();
}

}  // namespace caravel::karpenter
