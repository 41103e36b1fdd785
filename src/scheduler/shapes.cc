#include "scheduler/shapes.h"

#include <algorithm>
#include <cmath>

namespace caravel::scheduler {

const VolumeNodes* unserved_volume(const NodeSpec& node, const PodSpec& pod) {
  for (const auto& v : pod.volume_nodes)
    if (std::none_of(v.any.begin(), v.any.end(), [&](const NodeTerm& t) { return matches(t, node.labels, node.name); })) return &v;
  return nullptr;
}

StaticVerdict static_verdict(const NodeSpec& node, const PodSpec& pod, const Profile& profile) {
  const auto filters = [&](Plugin p) { return (profile.filters & p) != 0; };
  static const Taint kCordon{"node.kubernetes.io/unschedulable", "", Effect::kNoSchedule};
  if (filters(kNodeUnschedulable) && node.unschedulable && !tolerates(pod.tolerations, kCordon)) return StaticVerdict::kUnschedulable;
  if (filters(kNodeName) && !pod.node_name.empty() && pod.node_name != node.name) return StaticVerdict::kNodeName;
  if (filters(kTaintToleration))
    for (const auto& t : node.taints)
      if (t.effect != Effect::kPreferNoSchedule && !tolerates(pod.tolerations, t)) return StaticVerdict::kTaint;
  if (filters(kNodeAffinity)) {
    auto admits = [&](const std::vector<NodeTerm>& terms) {
      return std::any_of(terms.begin(), terms.end(), [&](const NodeTerm& t) { return matches(t, node.labels, node.name); });
    };
    if (profile.enforced_nodes && !admits(*profile.enforced_nodes)) return StaticVerdict::kEnforced;
    for (const auto& [k, v] : pod.node_selector) {
      auto it = node.labels.find(k);
      if (it == node.labels.end() || it->second != v) return StaticVerdict::kAffinity;
    }
    if (pod.required_nodes && !admits(*pod.required_nodes)) return StaticVerdict::kAffinity;
  }
  return unserved_volume(node, pod) ? StaticVerdict::kVolume : StaticVerdict::kFits;
}

int64_t intolerable_preferences(const NodeSpec& node, const PodSpec& pod) {
  int64_t count = 0;
  for (const auto& t : node.taints)
    if (t.effect == Effect::kPreferNoSchedule && !tolerates(pod.tolerations, t)) ++count;
  return count;
}

int64_t preferred_node_weight(const NodeSpec& node, const PodSpec& pod, const Profile& profile) {
  int64_t sum = 0;
  for (const auto* terms : {&profile.enforced_preferences, &pod.preferred_nodes})
    for (const auto& p : *terms)
      if (p.weight != 0 && matches(p.term, node.labels, node.name)) sum += p.weight;
  return sum;
}

std::string StaticFilter::key(const PodSpec& pod) {
  PodSpec part;
  part.node_name = pod.node_name;
  part.node_selector = pod.node_selector;
  part.required_nodes = pod.required_nodes;
  part.preferred_nodes = pod.preferred_nodes;
  part.tolerations = pod.tolerations;
  part.volume_nodes = pod.volume_nodes;
  return describe(part);
}

void StaticFilter::compute(const NodeTable& nodes, NodeId n) {
  bool scored = taint_score_[n] != 0 || affinity_score_[n] != 0;
  const NodeSpec& node = nodes.nodes[n].spec;
  verdict_[n] = nodes.alive[n] ? static_verdict(node, pod_, *profile_) : StaticVerdict::kNodeName;
  bool fits = verdict_[n] == StaticVerdict::kFits;
  taint_score_[n] = fits && profile_->weights.taints != 0 ? static_cast<int32_t>(intolerable_preferences(node, pod_)) : 0;
  affinity_score_[n] = fits && profile_->weights.node_affinity != 0 ? static_cast<int32_t>(preferred_node_weight(node, pod_, *profile_)) : 0;
  bool now = taint_score_[n] != 0 || affinity_score_[n] != 0;
  scored_nodes_ += now - scored;
}

void StaticFilter::refresh(const NodeTable& nodes) {
  if (position_ == nodes.statics.end() && verdict_.size() == nodes.size()) return;
  size_t known = verdict_.size();
  verdict_.resize(nodes.size(), StaticVerdict::kNodeName);
  taint_score_.resize(nodes.size());
  affinity_score_.resize(nodes.size());
  if (known != 0 && nodes.statics.replay(position_, nodes.size(), [&](NodeId n) { compute(nodes, n); })) return;
  for (size_t n = 0; n < nodes.size(); ++n) compute(nodes, static_cast<NodeId>(n));
  position_ = nodes.statics.end();
}

Needs needs_of(const PodSpec& pod, NodeTable& nodes, const Profile& profile) {
  Needs out{pod.request.cpu, pod.request.memory, pod.request.ephemeral, pod.nonzero_cpu, pod.nonzero_memory, {}, {}, {}, true};
  out.checked = (profile.filters & kNodeResourcesFit) != 0;
  if (profile.filters & kNodePorts) out.ports = pod.ports;
  for (const auto& [name, amount] : pod.request.other) {
    if (amount == 0) continue;
    out.other.emplace_back(nodes.resource(name), amount);
    if (!profile.ignored_resources.count(name) && !profile.ignored_groups.count(name.substr(0, name.find('/')))) out.required.push_back(out.other.back());
  }
  return out;
}

bool ports_free(const NodeTable& nodes, NodeId n, const Needs& needs) {
  for (const auto& want : needs.ports)
    for (const auto& used : nodes.nodes[n].ports)
      if (conflict(want, used)) return false;
  return true;
}

bool resources_fit(const NodeTable& t, NodeId n, const Needs& needs) {
  if (!needs.checked) return true;
  if (t.used_pods[n] + 1 > t.alloc_pods[n]) return false;
  if (needs.cpu > 0 && needs.cpu > t.alloc_cpu[n] - t.used_cpu[n]) return false;
  if (needs.memory > 0 && needs.memory > t.alloc_memory[n] - t.used_memory[n]) return false;
  if (needs.ephemeral > 0 && needs.ephemeral > t.alloc_ephemeral[n] - t.used_ephemeral[n]) return false;
  for (auto [r, amount] : needs.required)
    if (amount > t.alloc_other[r][n] - t.used_other[r][n]) return false;
  return true;
}

bool could_ever_fit(const NodeTable& t, NodeId n, const Needs& needs) {
  if (!needs.checked) return true;
  if (needs.cpu > t.alloc_cpu[n] || needs.memory > t.alloc_memory[n] || needs.ephemeral > t.alloc_ephemeral[n]) return false;
  for (auto [r, amount] : needs.required)
    if (amount > t.alloc_other[r][n]) return false;
  return true;
}

std::vector<std::string> resource_reasons(const NodeTable& t, NodeId n, const Needs& needs, bool& hopeless) {
  std::vector<std::string> out;
  if (!needs.checked) return out;
  auto check = [&](const std::string& name, int64_t want, int64_t allocatable, int64_t used) {
    if (want <= 0 || want <= allocatable - used) return;
    out.push_back("Insufficient " + name);
    if (want > allocatable) hopeless = true;
  };
  if (t.used_pods[n] + 1 > t.alloc_pods[n]) out.push_back("Too many pods");
  check("cpu", needs.cpu, t.alloc_cpu[n], t.used_cpu[n]);
  check("memory", needs.memory, t.alloc_memory[n], t.used_memory[n]);
  check("ephemeral-storage", needs.ephemeral, t.alloc_ephemeral[n], t.used_ephemeral[n]);
  for (auto [r, amount] : needs.required) check(t.other_names[r], amount, t.alloc_other[r][n], t.used_other[r][n]);
  return out;
}

std::string Shape::key(const PodSpec& pod) {
  PodSpec part;
  part.request = pod.request;
  part.nonzero_cpu = pod.nonzero_cpu;
  part.nonzero_memory = pod.nonzero_memory;
  part.ports = pod.ports;
  part.images = pod.images;
  return describe(part) + StaticFilter::key(pod);
}

void Shape::recompute_block(size_t block) {
  size_t begin = block * kBlock, end = std::min(scores_.size(), begin + kBlock);
  int32_t best = kRuledOut;
  for (size_t i = begin; i < end; ++i) best = std::max(best, scores_[i]);
  block_max_[block] = best;
}

void Shape::compute(const NodeTable& nodes, NodeId n) {
  bool fits = filter_->verdict(n) == StaticVerdict::kFits && resources_fit(nodes, n, needs_) && (needs_.ports.empty() || ports_free(nodes, n, needs_));
  int32_t now = kRuledOut;
  if (fits) {
    now = resource_score(nodes, n, needs_, *scoring_);
    if (images_) now += static_cast<int32_t>(image_weight_ * images_->score(n));
  }
  int32_t old = scores_[n];
  for (auto& d : domains_) d->change(nodes, n, old, now);
  if (now == old) return;
  scores_[n] = now;
  int32_t& best = block_max_[n / kBlock];
  if (now > best) best = now;
  else if (old == best) recompute_block(n / kBlock);
}

void Shape::refresh(const NodeTable& nodes) {
  filter_->refresh(nodes);
  if (images_) images_->refresh(nodes.images, nodes.alive_count());
  const uint64_t images = images_ ? images_->version() : 0;
  const bool same = images_version_ == images && scores_.size() == nodes.size();
  if (position_ == nodes.dynamics.end() && static_position_ == nodes.statics.end() && same) return;
  scores_.resize(nodes.size(), kRuledOut);
  block_max_.resize((nodes.size() + kBlock - 1) / kBlock, kRuledOut);
  // What the filter has learnt, it has learnt from the same log.
  auto recompute = [&](NodeId n) { compute(nodes, n); };
  const uint64_t most = nodes.size() / 2 + 64;
  if (same && nodes.statics.replay(static_position_, most, recompute) && nodes.dynamics.replay(position_, most, recompute)) return;
  for (size_t n = 0; n < nodes.size(); ++n) compute(nodes, static_cast<NodeId>(n));
  position_ = nodes.dynamics.end();
  static_position_ = nodes.statics.end();
  images_version_ = images;
}

void DomainScores::change(const NodeTable& nodes, NodeId n, int32_t from, int32_t to) {
  if (bucket.size() <= static_cast<size_t>(n)) bucket.resize(nodes.size(), kNone);
  int32_t& b = bucket[n];
  const bool named = host < 0 || nodes.keys[host]->domain[n] >= 0;
  const int32_t now = to == Shape::kRuledOut ? kNone : named ? (zone < 0 ? 0 : nodes.keys[zone]->domain[n] + 1)
                                                             : kUnnamed;
  if (b == now && (b < 0 || from == to)) return;
  if (to > kScoreMax) usable = false;
  if (!usable) return;
  if (b >= 0) add(b, from, -1);
  if (b == kUnnamed) --unnamed;
  b = now;
  if (b == kUnnamed) ++unnamed;
  if (b < 0) return;
  if (counts.size() <= static_cast<size_t>(b)) counts.resize(b + 1), total.resize(b + 1);
  if (counts[b].size() <= static_cast<size_t>(to)) counts[b].resize(to + 1);
  add(b, to, 1);
}

DomainScores* Shape::by_domain(const NodeTable& nodes, int zone, int host) {
  constexpr size_t kTables = 4;  // each costs four bytes a node, and time with each change
  for (auto& d : domains_)
    if (d->zone == zone && d->host == host) return d->usable ? d.get() : nullptr;
  if (domains_.size() >= kTables) return nullptr;
  auto made = std::make_unique<DomainScores>();
  made->zone = zone;
  made->host = host;
  for (size_t n = 0; n < scores_.size(); ++n) made->change(nodes, static_cast<NodeId>(n), kRuledOut, scores_[n]);
  domains_.push_back(std::move(made));
  return domains_.back()->usable ? domains_.back().get() : nullptr;
}

int32_t Shape::maximum() const {
  int32_t best = kRuledOut;
  for (int32_t b : block_max_) best = std::max(best, b);
  return best;
}

NodeId Shape::pick(int32_t score, NodeId start) const {
  size_t blocks = block_max_.size(), first = static_cast<size_t>(start) / kBlock;
  for (size_t k = 0; k <= blocks; ++k) {
    size_t block = (first + k) % blocks;
    if (block_max_[block] != score) continue;
    size_t begin = block * kBlock, end = std::min(scores_.size(), begin + kBlock);
    size_t from = k == 0 ? static_cast<size_t>(start) : begin;
    for (size_t i = from; i < end; ++i)
      if (scores_[i] == score) return static_cast<NodeId>(i);
  }
  return -1;
}

}  // namespace caravel::scheduler
