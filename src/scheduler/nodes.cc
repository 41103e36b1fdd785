#include "scheduler/nodes.h"

#include <algorithm>

namespace caravel::scheduler {

NodeId NodeTable::find(const std::string& name) const {
  auto it = by_name_.find(name);
  return it == by_name_.end() ? -1 : it->second;
}

NodeId NodeTable::slot(const std::string& name) {
  auto [it, fresh] = by_name_.emplace(name, -1);
  if (!fresh) return it->second;
  NodeId n;
  if (!free_.empty()) {
    n = free_.back();
    free_.pop_back();
  } else {
    n = static_cast<NodeId>(nodes.size());
    nodes.emplace_back();
    alive.push_back(0);
    for (auto* column : {&alloc_cpu, &alloc_memory, &alloc_ephemeral, &alloc_pods, &used_cpu, &used_memory, &used_ephemeral, &used_pods,
                         &used_nonzero_cpu, &used_nonzero_memory})
      column->push_back(0);
    for (auto& c : alloc_other) c.push_back(0);
    for (auto& c : used_other) c.push_back(0);
    for (auto& k : keys) k->domain.push_back(-1);
  }
  it->second = n;
  nodes[n].spec = NodeSpec{};
  nodes[n].spec.name = name;
  return n;
}

bool NodeTable::set(NodeId n, const NodeSpec& spec) {
  Node& node = nodes[n];
  bool was_alive = alive[n];
  bool statics_changed = !was_alive || node.spec.labels != spec.labels || node.spec.taints != spec.taints || node.spec.unschedulable != spec.unschedulable;
  bool capacity_changed = !was_alive || !(node.spec.allocatable == spec.allocatable) || node.spec.max_pods != spec.max_pods;
  images.set(n, node.spec.images, spec.images);
  node.spec = spec;
  if (!was_alive) {
    alive[n] = 1;
    ++alive_count_;
  }
  if (capacity_changed) {
    alloc_cpu[n] = spec.allocatable.cpu;
    alloc_memory[n] = spec.allocatable.memory;
    alloc_ephemeral[n] = spec.allocatable.ephemeral;
    alloc_pods[n] = spec.max_pods;
    for (auto& column : alloc_other) column[n] = 0;
    for (const auto& [name, amount] : spec.allocatable.other) alloc_other[resource(name)][n] = amount;
    dynamics.add(n);
  }
  if (statics_changed) {
    place_in_topologies(n);
    statics.add(n);
  }
  return statics_changed;
}

void NodeTable::clear(NodeId n) {
  if (!alive[n]) return;
  alive[n] = 0;
  --alive_count_;
  std::string name = nodes[n].spec.name;
  images.set(n, nodes[n].spec.images, {});
  nodes[n].spec = NodeSpec{};
  nodes[n].spec.name = name;
  place_in_topologies(n);
  statics.add(n);
  dynamics.add(n);
}

void NodeTable::free_if_unused(NodeId n) {
  if (alive[n] || !nodes[n].pods.empty()) return;
  by_name_.erase(nodes[n].spec.name);
  free_.push_back(n);
}

void NodeTable::occupy(NodeId n, const PodSpec& pod, const std::vector<std::pair<int, int64_t>>& other, int sign) {
  used_cpu[n] += sign * pod.request.cpu;
  used_memory[n] += sign * pod.request.memory;
  used_ephemeral[n] += sign * pod.request.ephemeral;
  used_nonzero_cpu[n] += sign * pod.nonzero_cpu;
  used_nonzero_memory[n] += sign * pod.nonzero_memory;
  used_pods[n] += sign;
  for (auto [r, amount] : other) used_other[r][n] += sign * amount;
  auto& ports = nodes[n].ports;
  for (const auto& p : pod.ports) {
    if (sign > 0) {
      ports.push_back(p);
    } else if (auto it = std::find(ports.begin(), ports.end(), p); it != ports.end()) {
      ports.erase(it);
    }
  }
  dynamics.add(n);
}

void NodeTable::place_in_topologies(NodeId n) {
  const Labels& labels = nodes[n].spec.labels;
  for (auto& k : keys) {
    auto it = labels.find(k->key);
    k->domain[n] = -1;
    if (alive[n] && it != labels.end()) k->domain[n] = k->ids.emplace(it->second, k->domains()).first->second;
  }
}

int NodeTable::topology(const std::string& key) {
  auto [it, fresh] = key_ids_.emplace(key, static_cast<int>(keys.size()));
  if (!fresh) return it->second;
  auto k = std::make_unique<TopologyKey>();
  k->key = key;
  k->domain.assign(nodes.size(), -1);
  for (size_t n = 0; n < nodes.size(); ++n) {
    auto label = nodes[n].spec.labels.find(key);
    if (alive[n] && label != nodes[n].spec.labels.end()) k->domain[n] = k->ids.emplace(label->second, k->domains()).first->second;
  }
  keys.push_back(std::move(k));
  return it->second;
}

int NodeTable::resource(const std::string& name) {
  auto [it, fresh] = other_ids_.emplace(name, static_cast<int>(other_names.size()));
  if (!fresh) return it->second;
  other_names.push_back(name);
  alloc_other.emplace_back(nodes.size());
  used_other.emplace_back(nodes.size());
  return it->second;
}

}  // namespace caravel::scheduler
