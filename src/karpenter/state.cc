#include "karpenter/state.h"

#include <algorithm>

#include "base/hash.h"
#include "kube/quantity.h"
#include "kube/scheduling_translate.h"

namespace caravel::karpenter {

namespace {

bool owned_by(const core::Pod& pod, std::string_view kind) {
  return std::any_of(pod.metadata.owner_references.begin(), pod.metadata.owner_references.end(), [&](const auto& o) { return o.kind == kind; });
}

bool is_terminal(const core::Pod& p) { return p.status.phase == "Succeeded" || p.status.phase == "Failed"; }

// Taints that a node loses by itself while it starts.
bool is_ephemeral(const Taint& t) {
  return t.key == "node.kubernetes.io/not-ready" || t.key == "node.kubernetes.io/unreachable" || t.key == "node.cloudprovider.kubernetes.io/uninitialized" ||
         t.key == "node.kubernetes.io/unschedulable" || t.key == kUnregisteredTaint;
}

std::shared_ptr<const PodSpec> spec_of(const core::Pod& pod) { return std::make_shared<const PodSpec>(kube::scheduling::pod_spec_of(pod, std::nullopt)); }

}  // namespace

bool is_daemon(const core::Pod& pod) { return owned_by(pod, "DaemonSet"); }
bool is_mirror(const core::Pod& pod) { return owned_by(pod, "Node") || pod.metadata.annotations.count("kubernetes.io/config.mirror"); }

bool is_provisionable(const core::Pod& pod) {
  if (!pod.spec.node_name.empty() || is_terminal(pod) || pod.metadata.deletion_timestamp || is_daemon(pod) || is_mirror(pod)) return false;
  if (!pod.status.nominated_node_name.empty()) return false;
  return std::any_of(pod.status.conditions.begin(), pod.status.conditions.end(),
                     [](const auto& c) { return c.type == "PodScheduled" && c.status == "False" && c.reason == "Unschedulable"; });
}

bool is_reschedulable(const core::Pod& pod) { return !is_terminal(pod) && !pod.metadata.deletion_timestamp && !is_daemon(pod) && !is_mirror(pod); }

std::string unsynced_reason(const Context& c) {
  for (const auto& [key, claim] : c.claims.all())
    if (!kube::is_deleting(*claim) && provider_id(*claim).empty()) return "nodeclaim " + key.name + " is being launched";
  return "";
}

Amounts pool_usage(const Context& c, const std::string& pool, int64_t* nodes) {
  Amounts out;
  int64_t count = 0;
  for (const auto& [key, claim] : c.claims.all()) {
    if (kube::label(*claim, label::kNodePool) != pool) continue;
    auto node = c.node_of(*claim);
    Amounts capacity = node && !node->status.capacity.empty() ? amounts_from(node->status.capacity) : amounts_from(claim->path({"status", "capacity"}));
    out += capacity;
    ++count;
  }
  if (nodes) *nodes = count;
  return out;
}

std::optional<Pool> pool_of(const Context& c, const json::Value& np, std::string* why) {
  auto refuse = [&](std::string reason) -> std::optional<Pool> {
    if (why) *why = std::move(reason);
    return std::nullopt;
  };
  Pool p;
  p.name = kube::name_of(np);
  if (kube::is_deleting(np)) return refuse("it is being deleted");
  if (np.path({"spec", "replicas"}).is_int()) return refuse("it has a fixed number of nodes");
  if (!condition_true(np, "Ready")) return refuse("it is not ready");
  p.uid = kube::uid_of(np);
  const json::Value& spec = np["spec"];
  const json::Value& t = spec["template"];
  p.weight = static_cast<int>(spec["weight"].as_int());
  p.labels = labels_from(t.path({"metadata", "labels"}));
  p.annotations = labels_from(t.path({"metadata", "annotations"}));
  p.requirements = requirements_from(t.path({"spec", "requirements"}));
  p.requirements.add(Requirements::from_labels(p.labels));
  p.taints = taints_from(t.path({"spec", "taints"}));
  p.startup_taints = taints_from(t.path({"spec", "startupTaints"}));
  const json::Value& ref = t.path({"spec", "nodeClassRef"});
  p.node_class = ref["name"].as_string();
  p.node_class_group = ref["group"].as_string();
  p.node_class_kind = ref["kind"].as_string();
  p.expire_after = t.path({"spec", "expireAfter"}).as_string();
  p.termination_grace_period = t.path({"spec", "terminationGracePeriod"}).as_string();
  p.hash = kube::annotation(np, "karpenter.sh/nodepool-hash");
  p.hash_version = kube::annotation(np, "karpenter.sh/nodepool-hash-version");
  auto node_class = c.node_classes.get("", p.node_class);
  if (!node_class) return refuse("its EC2NodeClass \"" + p.node_class + "\" does not exist");
  if (!condition_true(*node_class, "Ready")) return refuse("its EC2NodeClass \"" + p.node_class + "\" is not ready");
  for (const auto& type : c.cloud.instance_types(*node_class)) {
    if (type->requirements.intersection_conflict(p.requirements)) continue;
    if (has_offering(*type, p.requirements)) p.instance_types.push_back(type);
  }
  int64_t nodes = 0;
  Amounts used = pool_usage(c, p.name, &nodes);
  for (const auto& [name, quantity] : spec["limits"].as_object()) {
    kube::Quantity q = kube::Quantity::of(quantity.is_string() ? quantity.as_string() : std::to_string(quantity.as_int()));
    if (name == "cpu") p.limits[name] = q.milli_value() - used.cpu;
    else if (name == "memory") p.limits[name] = q.value() - used.memory;
    else if (name == "nodes") p.limits[name] = q.value() - nodes;
    else if (name == "ephemeral-storage") p.limits[name] = q.value() - used.ephemeral;
    else p.limits[name] = q.value() - (used.other.count(name) ? used.other.at(name) : 0);
  }
  return p;
}

SolverInput snapshot(const Context& c, const std::set<std::string>& leaving) {
  SolverInput in;
  in.respect_preferences = c.settings.respect_preferences;
  for (const auto& [key, np] : c.pools.all())
    if (auto p = pool_of(c, *np)) in.pools.push_back(std::move(*p));
  for (const auto& [key, ds] : c.daemon_sets.all()) {
    core::Pod pod;
    pod.metadata.namespace_ = ds->metadata.namespace_;
    pod.metadata.labels = ds->spec.template_.metadata.labels;
    pod.spec = ds->spec.template_.spec;
    PodSpec spec = kube::scheduling::pod_spec_of(pod, std::nullopt);
    // What the DaemonSet controller adds to its pods.
    for (const char* k : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable", "node.kubernetes.io/unschedulable"})
      spec.tolerations.push_back({k, true, "", kube::scheduling::Effect::kAny});
    in.daemons.push_back(std::make_shared<const PodSpec>(std::move(spec)));
  }
  for (const auto& [key, ns] : c.namespaces.all()) in.namespaces[key.name] = ns->metadata.labels;

  std::set<std::string> gone = leaving;  // node names whose pods must go elsewhere
  std::set<std::string> with_node;       // claims that have a node
  for (const auto& [key, node] : c.nodes.all()) {
    const std::string& name = key.name;
    in.node_labels[name] = node->metadata.labels;
    auto claim = c.claim_of(*node);
    if (claim) with_node.insert(kube::name_of(*claim));
    bool managed = claim != nullptr;
    if (node->metadata.deletion_timestamp || (claim && kube::is_deleting(*claim)) || gone.count(name)) {
      gone.insert(name);
      continue;
    }
    StateNode s;
    s.name = name;
    s.claim = claim ? kube::name_of(*claim) : "";
    s.provider_id = node->spec.provider_id;
    s.labels = node->metadata.labels;
    s.initialized = !managed || condition_true(*claim, "Initialized");
    s.taints = taints_from(node->spec.taints);
    if (node->spec.unschedulable) s.taints.push_back({"node.kubernetes.io/unschedulable", "", kube::scheduling::Effect::kNoSchedule});
    s.capacity = amounts_from(node->status.capacity);
    s.available = amounts_from(node->status.allocatable);
    if (managed && !s.initialized) {
      // It is still starting: what it will be counts, not what it is.
      auto startup = taints_from(claim->path({"spec", "startupTaints"}));
      std::erase_if(s.taints, [&](const Taint& t) { return is_ephemeral(t) || std::find(startup.begin(), startup.end(), t) != startup.end(); });
      for (const auto& [k, v] : labels_from(claim->path({"metadata", "labels"}))) s.labels[k] = v;
      Amounts expected = amounts_from(claim->path({"status", "allocatable"}));
      s.available.cpu = std::max(s.available.cpu, expected.cpu);
      s.available.memory = std::max(s.available.memory, expected.memory);
      s.available.ephemeral = std::max(s.available.ephemeral, expected.ephemeral);
      s.available.pods = s.available.pods > 0 ? s.available.pods : expected.pods;
      for (const auto& [k, v] : expected.other) s.available.other[k] = std::max(s.available.other[k], v);
    }
    s.pool = node->metadata.labels.count(label::kNodePool) ? node->metadata.labels.at(label::kNodePool) : "";
    in.nodes.push_back(std::move(s));
  }
  for (const auto& [key, claim] : c.claims.all()) {
    if (with_node.count(key.name) || kube::is_deleting(*claim) || provider_id(*claim).empty()) continue;
    StateNode s;
    s.name = s.claim = key.name;
    s.provider_id = provider_id(*claim);
    s.labels = labels_from(claim->path({"metadata", "labels"}));
    s.taints = taints_from(claim->path({"spec", "taints"}));
    s.capacity = amounts_from(claim->path({"status", "capacity"}));
    s.available = amounts_from(claim->path({"status", "allocatable"}));
    s.pool = kube::label(*claim, label::kNodePool);
    in.nodes.push_back(std::move(s));
  }

  std::map<std::string, size_t> index;
  for (size_t i = 0; i < in.nodes.size(); ++i) index[in.nodes[i].name] = i;
  std::map<std::string, Amounts> daemons_there;
  for (const auto& [key, pod] : c.pods.all()) {
    if (is_terminal(*pod)) continue;
    if (pod->spec.node_name.empty()) {
      if (is_provisionable(*pod)) in.pending.push_back({key.text(), pod->metadata.uid, spec_of(*pod), pod->metadata.creation_timestamp});
      continue;
    }
    auto spec = spec_of(*pod);
    auto it = index.find(pod->spec.node_name);
    if (it != index.end()) {
      StateNode& node = in.nodes[it->second];
      Amounts used = Amounts::of(spec->request, 1);
      node.available -= used;
      if (is_daemon(*pod)) daemons_there[node.name] += used;
      node.ports.insert(node.ports.end(), spec->ports.begin(), spec->ports.end());
    }
    if (gone.count(pod->spec.node_name)) {
      if (is_reschedulable(*pod)) in.pending.push_back({key.text(), pod->metadata.uid, spec, pod->metadata.creation_timestamp});
      continue;
    }
    if (!pod->metadata.deletion_timestamp) in.running.push_back({std::move(spec), pod->spec.node_name});
  }
  // Room for the daemons that a starting node will still get.
  for (auto& node : in.nodes) {
    if (node.initialized) continue;
    Amounts expected;
    Requirements r = Requirements::from_labels(node.labels);
    for (const auto& d : in.daemons) {
      bool tolerated = std::all_of(node.taints.begin(), node.taints.end(), [&](const Taint& t) { return kube::scheduling::tolerates(d->tolerations, t); });
      if (tolerated && !r.conflict(requirements_of(*d, false))) expected += Amounts::of(d->request, 1);
    }
    Amounts& there = daemons_there[node.name];
    node.available.cpu -= std::max<int64_t>(0, expected.cpu - there.cpu);
    node.available.memory -= std::max<int64_t>(0, expected.memory - there.memory);
    node.available.pods -= std::max<int64_t>(0, expected.pods - there.pods);
  }
  return in;
}

}  // namespace caravel::karpenter
