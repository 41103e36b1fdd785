#include "kube/scheduling_translate.h"

#include <algorithm>

#include "kube/types/core.h"

namespace caravel::kube::scheduling {

namespace {

constexpr int64_t kDefaultCpu = 100;                     // millicores, for scoring pods that ask for none
constexpr int64_t kDefaultMemory = 200ll * 1024 * 1024;  // bytes

using QuantityMap = std::map<std::string, Quantity>;

bool counts_as_resource(const std::string& name) {
  return name.find('/') != name.npos || name.starts_with("hugepages-") || name.starts_with("attachable-volumes-");
}

Resources resources_of(const QuantityMap& m) {
  Resources out;
  for (const auto& [name, q] : m) {
    if (name == "cpu") out.cpu = q.milli_value();
    else if (name == "memory") out.memory = q.value();
    else if (name == "ephemeral-storage") out.ephemeral = q.value();
    else if (counts_as_resource(name)) out.other[name] = q.value();
  }
  return out;
}

void add(Resources& to, const Resources& more) {
  to.cpu += more.cpu;
  to.memory += more.memory;
  to.ephemeral += more.ephemeral;
  for (const auto& [k, v] : more.other) to.other[k] += v;
}

void raise(Resources& to, const Resources& other) {
  to.cpu = std::max(to.cpu, other.cpu);
  to.memory = std::max(to.memory, other.memory);
  to.ephemeral = std::max(to.ephemeral, other.ephemeral);
  for (const auto& [k, v] : other.other) to.other[k] = std::max(to.other[k], v);
}

Resources container_request(const core::Container& c, bool defaults) {
  const QuantityMap& requests = c.resources.requests;
  Resources r = resources_of(requests);
  if (defaults && !requests.count("cpu")) r.cpu = kDefaultCpu;
  if (defaults && !requests.count("memory")) r.memory = kDefaultMemory;
  return r;
}

bool is_sidecar(const core::Container& c) { return c.restart_policy && *c.restart_policy == "Always"; }

Resources pod_request(const core::Pod& pod, bool defaults) {
  Resources sum, sidecars, init;
  for (const auto& c : pod.spec.containers) add(sum, container_request(c, defaults));
  for (const auto& c : pod.spec.init_containers) {
    Resources r = container_request(c, defaults);
    if (is_sidecar(c)) {
      add(sum, r);
      add(sidecars, r);
      raise(init, sidecars);
    } else {
      add(r, sidecars);
      raise(init, r);
    }
  }
  raise(sum, init);
  if (pod.spec.resources) {
    const QuantityMap& whole = pod.spec.resources->requests;
    Resources r = resources_of(whole);
    if (whole.count("cpu")) sum.cpu = r.cpu;
    if (whole.count("memory")) sum.memory = r.memory;
    for (const auto& [name, amount] : r.other) sum.other[name] = amount;
  }
  add(sum, resources_of(pod.spec.overhead));
  return sum;
}

Op op_of(const std::string& s) {
  if (s == "In") return Op::kIn;
  if (s == "NotIn") return Op::kNotIn;
  if (s == "Exists") return Op::kExists;
  if (s == "DoesNotExist") return Op::kDoesNotExist;
  if (s == "Gt") return Op::kGt;
  return Op::kLt;
}

Effect effect_of(const std::string& s) {
  if (s == "NoSchedule") return Effect::kNoSchedule;
  if (s == "PreferNoSchedule") return Effect::kPreferNoSchedule;
  if (s == "NoExecute") return Effect::kNoExecute;
  return Effect::kAny;
}

NodeTerm node_term_of(const core::NodeSelectorTerm& t) {
  NodeTerm out;
  for (const auto& r : t.match_expressions) out.expressions.push_back({r.key, op_of(r.operator_), r.values});
  for (const auto& r : t.match_fields) out.fields.push_back({r.key, op_of(r.operator_), r.values});
  return out;
}

// The API server wrote matchLabelKeys into the selectors of affinity terms; of spread constraints it does so since
// v1.34, and pods that are older wait for it here.
void add_label_keys(Selector& s, const std::vector<std::string>& keys, Op op, const Labels& labels) {
  for (const auto& key : keys) {
    auto it = labels.find(key);
    if (it == labels.end() || s.nothing) continue;
    const bool there = std::any_of(s.all.begin(), s.all.end(), [&](auto& r) { return r.key == key && r.op == op && r.values == std::vector<std::string>{it->second}; });
    if (!there) s.all.push_back({key, op, {it->second}});
  }
}

Selector optional_selector(const std::optional<meta::LabelSelector>& s) {
  if (s) return selector_of(*s);
  Selector none;
  none.nothing = true;
  return none;
}

PodTerm pod_term_of(const core::PodAffinityTerm& t, const core::Pod& pod) {
  PodTerm out;
  out.selector = optional_selector(t.label_selector);
  out.namespaces = t.namespaces;
  if (t.namespace_selector) out.namespace_selector = selector_of(*t.namespace_selector);
  if (t.namespaces.empty() && !t.namespace_selector) out.namespaces = {pod.metadata.namespace_};
  out.topology_key = t.topology_key;
  return out;
}

void add_pod_affinity(const core::Pod& pod, PodSpec& out) {
  if (!pod.spec.affinity) return;
  if (const auto& a = pod.spec.affinity->pod_affinity) {
    for (const auto& t : a->required_during_scheduling_ignored_during_execution) out.affinity.push_back(pod_term_of(t, pod));
    for (const auto& t : a->preferred_during_scheduling_ignored_during_execution) out.preferred_affinity.push_back({t.weight, pod_term_of(t.pod_affinity_term, pod)});
  }
  if (const auto& a = pod.spec.affinity->pod_anti_affinity) {
    for (const auto& t : a->required_during_scheduling_ignored_during_execution) out.anti_affinity.push_back(pod_term_of(t, pod));
    for (const auto& t : a->preferred_during_scheduling_ignored_during_execution) out.preferred_anti_affinity.push_back({t.weight, pod_term_of(t.pod_affinity_term, pod)});
  }
}

void add_node_affinity(const core::Pod& pod, PodSpec& out) {
  if (!pod.spec.affinity || !pod.spec.affinity->node_affinity) return;
  const auto& a = *pod.spec.affinity->node_affinity;
  if (a.required_during_scheduling_ignored_during_execution) {
    out.required_nodes.emplace();
    for (const auto& t : a.required_during_scheduling_ignored_during_execution->node_selector_terms) out.required_nodes->push_back(node_term_of(t));
  }
  for (const auto& t : a.preferred_during_scheduling_ignored_during_execution) out.preferred_nodes.push_back({t.weight, node_term_of(t.preference)});
}

void add_spread(const core::Pod& pod, const std::optional<Selector>& default_selector, PodSpec& out) {
  for (const auto& c : pod.spec.topology_spread_constraints) {
    SpreadConstraint s;
    s.max_skew = c.max_skew;
    s.topology_key = c.topology_key;
    s.selector = optional_selector(c.label_selector);
    add_label_keys(s.selector, c.match_label_keys, Op::kIn, pod.metadata.labels);
    s.min_domains = c.min_domains.value_or(1);
    s.honor_affinity = c.node_affinity_policy.value_or("Honor") == "Honor";
    s.honor_taints = c.node_taints_policy.value_or("Ignore") == "Honor";
    (c.when_unsatisfiable == "DoNotSchedule" ? out.hard_spread : out.soft_spread).push_back(std::move(s));
  }
  if (!pod.spec.topology_spread_constraints.empty() || !default_selector || default_selector->all.empty()) return;
  out.soft_spread_defaulted = true;
  for (auto [key, skew] : {std::pair("kubernetes.io/hostname", 3), std::pair("topology.kubernetes.io/zone", 5)}) {
    SpreadConstraint s;
    s.max_skew = skew;
    s.topology_key = key;
    s.selector = *default_selector;
    out.soft_spread.push_back(std::move(s));
  }
}

void add_ports(const std::vector<core::Container>& containers, bool sidecars_only, PodSpec& out) {
  for (const auto& c : containers) {
    if (sidecars_only && !is_sidecar(c)) continue;
    for (const auto& p : c.ports) {
      if (p.host_port <= 0) continue;
      out.ports.push_back({p.host_ip.empty() ? "0.0.0.0" : p.host_ip, p.protocol.empty() ? "TCP" : p.protocol, p.host_port});
    }
  }
}

}  // namespace

Selector selector_of(const meta::LabelSelector& s) {
  Selector out;
  for (const auto& [k, v] : s.match_labels) out.all.push_back({k, Op::kIn, {v}});
  for (const auto& r : s.match_expressions) out.all.push_back({r.key, op_of(r.operator_), r.values});
  return out;
}

NodeTerm term_of(const core::NodeSelectorTerm& t) { return node_term_of(t); }

Resources requests_of(const core::Pod& pod) { return pod_request(pod, false); }

PodSpec pod_spec_of(const core::Pod& pod, const std::optional<Selector>& default_selector) {
  PodSpec out;
  out.ns = pod.metadata.namespace_;
  out.labels = pod.metadata.labels;
  out.request = pod_request(pod, false);
  Resources nonzero = pod_request(pod, true);
  out.nonzero_cpu = nonzero.cpu;
  out.nonzero_memory = nonzero.memory;
  out.node_selector = pod.spec.node_selector;
  for (const auto& t : pod.spec.tolerations) out.tolerations.push_back({t.key, t.operator_ == "Exists", t.value, effect_of(t.effect)});
  add_ports(pod.spec.containers, false, out);
  add_ports(pod.spec.init_containers, true, out);
  add_node_affinity(pod, out);
  add_pod_affinity(pod, out);
  add_spread(pod, default_selector, out);
  return out;
}

NodeSpec node_spec_of(const core::Node& node) {
  NodeSpec out;
  out.name = node.metadata.name;
  out.labels = node.metadata.labels;
  for (const auto& t : node.spec.taints) out.taints.push_back({t.key, t.value, effect_of(t.effect)});
  out.unschedulable = node.spec.unschedulable;
  out.allocatable = resources_of(node.status.allocatable);
  auto pods = node.status.allocatable.find("pods");
  out.max_pods = pods == node.status.allocatable.end() ? 0 : pods->second.value();
  for (const auto& image : node.status.images)
    for (const auto& name : image.names) out.images[name] = image.size_bytes;
  return out;
}

bool is_assigned(const core::Pod& pod) { return !pod.spec.node_name.empty(); }
bool is_terminal(const core::Pod& pod) { return pod.status.phase == "Succeeded" || pod.status.phase == "Failed"; }
int32_t priority_of(const core::Pod& pod) { return pod.spec.priority.value_or(0); }

}  // namespace caravel::kube::scheduling
