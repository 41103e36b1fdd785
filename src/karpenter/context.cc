#include "karpenter/context.h"

#include "kube/quantity.h"
#include "kube/scheduling_translate.h"

namespace caravel::karpenter {

Metrics::Metrics(MetricRegistry& r)
    : claims_created(r.counter("karpenter_nodeclaims_created_total", "NodeClaims created.", {"reason", "nodepool"})),
      claims_terminated(r.counter("karpenter_nodeclaims_terminated_total", "NodeClaims terminated.", {"nodepool"})),
      claims_disrupted(r.counter("karpenter_nodeclaims_disrupted_total", "NodeClaims disrupted.", {"reason", "nodepool"})),
      nodes_created(r.counter("karpenter_nodes_created_total", "Nodes that registered.", {"nodepool"})),
      nodes_terminated(r.counter("karpenter_nodes_terminated_total", "Nodes terminated.", {"nodepool"})),
      scheduling_duration(r.histogram("karpenter_scheduler_scheduling_duration_seconds", "Time of one provisioning simulation.", {}, {0.001, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30, 60})),
      unschedulable_pods(r.gauge("karpenter_scheduler_unschedulable_pods_count", "Pods that no planned node can take.")),
      queue_depth(r.gauge("karpenter_scheduler_queue_depth", "Pods waiting for provisioning.")),
      decisions(r.counter("karpenter_voluntary_disruption_decisions_total", "Disruption decisions.", {"decision", "reason"})),
      cloud_duration(r.histogram("karpenter_cloudprovider_duration_seconds", "Time of cloud provider calls.", {"method"}, {0.01, 0.05, 0.1, 0.5, 1, 5, 10, 30})),
      cloud_errors(r.counter("karpenter_cloudprovider_errors_total", "Failed cloud provider calls.", {"method", "error"})) {}

Context::Context(Executor& e, kube::Client c, aws::Client& aws, Settings s)
    : ex(e), client(c), settings(std::move(s)), metrics(registry), cloud(e, aws, settings.cloud), events(e, c, "karpenter"), pods(e, c), nodes(e, c), namespaces(e, c), daemon_sets(e, c), pools(e, c, kNodePools), claims(e, c, kNodeClaims), node_classes(e, c, kNodeClasses) {
  pods.add_index("node", [](const core::Pod& p) { return p.spec.node_name.empty() ? std::vector<std::string>{} : std::vector<std::string>{p.spec.node_name}; });
  nodes.add_index("provider", [](const core::Node& n) { return n.spec.provider_id.empty() ? std::vector<std::string>{} : std::vector<std::string>{n.spec.provider_id}; });
}

void Context::start(TaskScope& scope) {
  pods.start(scope);
  nodes.start(scope);
  namespaces.start(scope);
  daemon_sets.start(scope);
  pools.start(scope);
  claims.start(scope);
  node_classes.start(scope);
}

Task<void> Context::wait_synced() {
  co_await pods.wait_synced();
  co_await nodes.wait_synced();
  co_await namespaces.wait_synced();
  co_await daemon_sets.wait_synced();
  co_await pools.wait_synced();
  co_await claims.wait_synced();
  co_await node_classes.wait_synced();
}

Context::NodePtr Context::node_of(const json::Value& claim) const {
  const std::string& id = provider_id(claim);
  if (id.empty()) return nullptr;
  auto found = nodes.by_index("provider", id);
  return found.empty() ? nullptr : found.front();
}

Context::Doc Context::claim_of(const core::Node& node) const {
  if (node.spec.provider_id.empty()) return nullptr;
  for (const auto& [key, claim] : claims.all())
    if (provider_id(*claim) == node.spec.provider_id) return claim;
  return nullptr;
}

Task<Result<json::Value>> Context::write_status(kube::Resource r, json::Value object, json::Value status) {
  json::Value patch;
  patch["status"] = std::move(status);
  kube::WriteOptions o;
  o.subresource = "status";
  auto written = co_await client.patch(std::move(r), "", kube::name_of(object), kube::PatchType::kMerge, std::move(patch), std::move(o));
  co_return written;
}

namespace {
json::Value finalizer_patch(const json::Value& object, const std::string& finalizer, bool add) {
  json::Value list = json::Value::array();
  for (const auto& f : object.path({"metadata", "finalizers"}).as_array())
    if (f.as_string() != finalizer) list.push_back(f);
  if (add) list.push_back(finalizer);
  json::Value patch;
  patch["metadata"]["resourceVersion"] = object.path({"metadata", "resourceVersion"});  // the list is replaced as a whole
  patch["metadata"]["finalizers"] = std::move(list);
  return patch;
}
}  // namespace

Task<Status> Context::add_finalizer(kube::Resource r, json::Value object, std::string finalizer) {
  if (kube::has_finalizer(object, finalizer)) co_return ok();
  json::Value patch = finalizer_patch(object, finalizer, true);
  auto w = co_await client.patch(std::move(r), "", kube::name_of(object), kube::PatchType::kMerge, std::move(patch));
  if (!w.ok()) co_return std::move(w).error();
  co_return ok();
}

Task<Status> Context::remove_finalizer(kube::Resource r, json::Value object, std::string finalizer) {
  if (!kube::has_finalizer(object, finalizer)) co_return ok();
  json::Value patch = finalizer_patch(object, finalizer, false);
  auto w = co_await client.patch(std::move(r), "", kube::name_of(object), kube::PatchType::kMerge, std::move(patch));
  if (!w.ok() && w.error().code != Code::kNotFound) co_return std::move(w).error();
  co_return ok();
}

std::string instance_id(const std::string& provider_id) {
  size_t slash = provider_id.rfind('/');
  return slash == provider_id.npos ? provider_id : provider_id.substr(slash + 1);
}

bool condition_true(const json::Value& object, std::string_view type) { return kube::condition_is(object.path({"status", "conditions"}), type, "True"); }

Time creation_time(const json::Value& object) {
  return parse_rfc3339(object.path({"metadata", "creationTimestamp"}).as_string()).value_or(Time{});
}

Time condition_time(const json::Value& object, std::string_view type) {
  const json::Value* c = kube::find_condition(object.path({"status", "conditions"}), type);
  return c ? parse_rfc3339((*c)["lastTransitionTime"].as_string()).value_or(Time{}) : Time{};
}

Requirements requirements_from(const json::Value& list) {
  Requirements out;
  for (const auto& r : list.as_array()) {
    std::vector<std::string> values;
    for (const auto& v : r["values"].as_array()) values.push_back(v.as_string());
    std::optional<int> min;
    if (r["minValues"].is_int()) min = static_cast<int>(r["minValues"].as_int());
    out.add(normalize_label(r["key"].as_string()), Requirement::of(r["operator"].as_string(), values, min));
  }
  return out;
}

json::Value requirements_to(const Requirements& requirements) {
  json::Value out = json::Value::array();
  for (const auto& [key, r] : requirements.all()) {
    json::Value v;
    v["key"] = key;
    v["operator"] = r.op();
    if (r.greater_than() || r.less_than()) {
      // Bounds from both sides are two entries.
      if (r.greater_than()) {
        json::Value gt = v;
        gt["operator"] = "Gt";
        gt["values"].push_back(std::to_string(*r.greater_than()));
        out.push_back(std::move(gt));
      }
      if (r.less_than()) {
        v["operator"] = "Lt";
        v["values"].push_back(std::to_string(*r.less_than()));
        out.push_back(std::move(v));
      }
      continue;
    }
    for (const auto& x : r.values()) v["values"].push_back(x);
    if (r.min_values) v["minValues"] = *r.min_values;
    out.push_back(std::move(v));
  }
  return out;
}

namespace {
kube::scheduling::Effect effect_of(const std::string& s) {
  using kube::scheduling::Effect;
  return s == "NoSchedule" ? Effect::kNoSchedule : s == "PreferNoSchedule" ? Effect::kPreferNoSchedule
                                                                           : Effect::kNoExecute;
}
}  // namespace

std::vector<Taint> taints_from(const json::Value& list) {
  std::vector<Taint> out;
  for (const auto& t : list.as_array()) out.push_back({t["key"].as_string(), t["value"].as_string(), effect_of(t["effect"].as_string())});
  return out;
}

std::vector<Taint> taints_from(const std::vector<core::Taint>& list) {
  std::vector<Taint> out;
  for (const auto& t : list) out.push_back({t.key, t.value, effect_of(t.effect)});
  return out;
}

Labels labels_from(const json::Value& map) {
  Labels out;
  for (const auto& [k, v] : map.as_object()) out[k] = v.as_string();
  return out;
}

std::optional<Duration> duration_from(const json::Value& text) {
  if (!text.is_string() || text.as_string() == "Never" || text.as_string().empty()) return std::nullopt;
  auto d = parse_duration(text.as_string());
  return d.ok() ? std::optional(*d) : std::nullopt;
}

kube::ObjectReference about(const json::Value& object) { return kube::reference_to(object); }

json::Value quantities_json(const Amounts& a) {
  json::Value out = json::Value::object();
  for (const auto& [k, v] : a.quantities()) out[k] = v;
  return out;
}

Amounts amounts_from(const std::map<std::string, kube::Quantity>& m) {
  Amounts out;
  for (const auto& [k, q] : m) {
    if (k == "cpu") out.cpu = q.milli_value();
    else if (k == "memory") out.memory = q.value();
    else if (k == "ephemeral-storage") out.ephemeral = q.value();
    else if (k == "pods") out.pods = q.value();
    else out.other[k] = q.value();
  }
  return out;
}

Amounts amounts_from(const json::Value& m) {
  std::map<std::string, kube::Quantity> parsed;
  for (const auto& [k, v] : m.as_object()) parsed[k] = kube::Quantity::of(v.is_string() ? v.as_string() : std::to_string(v.as_int()));
  return amounts_from(parsed);
}

}  // namespace caravel::karpenter
