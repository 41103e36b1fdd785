#include "scheduler/counters.h"

#include <algorithm>

namespace caravel::scheduler {

bool Eligibility::admits(const NodeTable& nodes, NodeId n) const {
  if (!nodes.alive[n]) return false;
  for (int k : keys)
    if (nodes.keys[k]->domain[n] < 0) return false;
  const NodeSpec& node = nodes.nodes[n].spec;
  if (by_affinity) {
    for (const auto& [k, v] : node_selector) {
      auto it = node.labels.find(k);
      if (it == node.labels.end() || it->second != v) return false;
    }
    if (required_nodes && std::none_of(required_nodes->begin(), required_nodes->end(), [&](const NodeTerm& t) { return matches(t, node.labels, node.name); }))
      return false;
  }
  if (by_taints)
    for (const auto& t : node.taints)
      if (t.effect != Effect::kPreferNoSchedule && !tolerates(tolerations, t)) return false;
  return true;
}

void Counter::move(int32_t domain, int32_t from, int32_t to) {
  per_domain[domain] = to;
  total += to - from;
  if (domain_nodes[domain] == 0) return;
  if (to >= static_cast<int32_t>(histogram_.size())) histogram_.resize(to + 1);
  --histogram_[from];
  ++histogram_[to];
  if (to < min_) min_ = to;
  while (histogram_[min_] == 0) ++min_;
}

void Counter::enter(int32_t domain) {
  if (domain_nodes[domain]++ != 0) return;
  int32_t c = per_domain[domain];
  if (c >= static_cast<int32_t>(histogram_.size())) histogram_.resize(c + 1);
  ++histogram_[c];
  min_ = live_domains++ == 0 ? c : std::min(min_, c);
}

void Counter::leave(int32_t domain) {
  if (--domain_nodes[domain] != 0) return;
  --histogram_[per_domain[domain]];
  if (--live_domains == 0) return;
  while (histogram_[min_] == 0) ++min_;
}

void Counter::bump(NodeId n, int32_t by) {
  if (per_node[n] == 0) occupied_.push_back(n);
  per_node[n] += by;
  if (per_node[n] == 0) occupied_stale_ = true;
  int32_t d = placed[n];
  if (d >= 0) move(d, per_domain[d], per_domain[d] + by);
}

const std::vector<NodeId>& Counter::occupied() {
  if (!occupied_stale_) return occupied_;
  std::sort(occupied_.begin(), occupied_.end());
  occupied_.erase(std::unique(occupied_.begin(), occupied_.end()), occupied_.end());
  std::erase_if(occupied_, [&](NodeId n) { return per_node[n] == 0; });
  occupied_stale_ = false;
  return occupied_;
}

void Counter::set_pods(NodeId n, int32_t pods) {
  if (per_node[n] == 0 && pods != 0) occupied_.push_back(n);
  per_node[n] = pods;
}

void Counter::place(NodeId n, int32_t domain) {
  if (n >= static_cast<NodeId>(placed.size())) {
    placed.resize(n + 1, -1);
    per_node.resize(n + 1, 0);
  }
  int32_t old = placed[n];
  if (old == domain) return;
  if (domain >= static_cast<int32_t>(per_domain.size())) {
    per_domain.resize(domain + 1);
    domain_nodes.resize(domain + 1);
  }
  if (old >= 0) {
    move(old, per_domain[old], per_domain[old] - per_node[n]);
    leave(old);
  }
  placed[n] = domain;
  if (domain >= 0) {
    enter(domain);
    move(domain, per_domain[domain], per_domain[domain] + per_node[n]);
  }
}

}  // namespace caravel::scheduler
