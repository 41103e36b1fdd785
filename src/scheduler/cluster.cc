// The state of the core: nodes and pods. classes.cc has the tables derived from them.
#include "scheduler/cluster.h"

#include <algorithm>

namespace caravel::scheduler {

uint64_t Cluster::random() {
  random_ ^= random_ >> 12;
  random_ ^= random_ << 25;
  random_ ^= random_ >> 27;
  return random_ * 0x2545F4914F6CDD1Dull;
}

Cluster::Cluster(uint64_t seed, std::vector<Profile> profiles) : profiles_(std::move(profiles)), random_(seed * 2 + 1) {
  for (const Profile& p : profiles_) scorings_.emplace_back(p, nodes_);
}

// --- nodes and namespaces ---------------------------------------------------------------------------

NodeId Cluster::set_node(const NodeSpec& spec) {
  NodeId n = nodes_.slot(spec.name);
  const bool fresh = !nodes_.alive[n];
  if (nodes_.set(n, spec)) place_everywhere(n);
  if (!fresh) return n;
  auto limits = attach_limits_.find(spec.name);
  attachments_.set_limits(n, limits == attach_limits_.end() ? AttachLimits{} : limits->second);
  return n;
}

void Cluster::set_attach_limits(const std::string& node, const AttachLimits& limits) {
  if (limits.empty()) attach_limits_.erase(node);
  else attach_limits_[node] = limits;
  NodeId n = nodes_.find(node);
  if (n >= 0 && nodes_.alive[n]) attachments_.set_limits(n, limits);
}

void Cluster::remove_node(const std::string& name) {
  NodeId n = nodes_.find(name);
  if (n < 0 || !nodes_.alive[n]) return;
  nodes_.clear(n);
  place_everywhere(n);
  nodes_.free_if_unused(n);
}

void Cluster::set_namespace(const std::string& name, const Labels& labels) {
  Labels& now = namespaces_[name];
  if (now == labels) return;
  now = labels;
  // Only terms with a namespace selector look at these labels.
  for (const auto& c : counters_)
    for (const auto& t : c->terms)
      if (t.namespace_selector) return rebuild();
}

void Cluster::place(Counter& c, NodeId n) {
  bool admitted = c.eligibility < 0;
  if (!admitted) {
    const auto& ok = eligibilities_[c.eligibility]->ok;  // may not reach to a ghost's slot
    admitted = static_cast<size_t>(n) < ok.size() && ok[n];
  }
  c.place(n, admitted ? nodes_.keys[c.key]->domain[n] : -1);
}

void Cluster::place_everywhere(NodeId n) {
  for (auto& e : eligibilities_) {
    if (e->ok.size() < nodes_.size()) e->ok.resize(nodes_.size());
    e->ok[n] = e->admits(nodes_, n);
  }
  for (auto& c : counters_) place(*c, n);
}

// --- pods -------------------------------------------------------------------------------------------

PodId Cluster::add_pod(ClassId c, const std::string& node, bool terminating) { return add_pod(c, nodes_.slot(node), terminating); }

PodId Cluster::add_pod(ClassId c, NodeId n, bool terminating) {
  PodId id;
  if (!free_pods_.empty()) {
    id = free_pods_.back();
    free_pods_.pop_back();
  } else {
    id = static_cast<PodId>(pods_.size());
    pods_.emplace_back();
  }
  Class& k = *classes_[c];
  if (k.refs++ == 0) --unused_classes_;
  auto& list = nodes_.nodes[n].pods;
  pods_[id] = Pod{c, n, static_cast<int32_t>(list.size()), terminating};
  list.push_back(id);
  nodes_.occupy(n, k.spec, k.needs.other, 1);
  attachments_.occupy(n, k.attached, 1);
  // A slot that this call has made is not known to the counters yet.
  for (auto* lists : {&k.counted, &k.counted_live, &k.owned})
    for (int i : *lists)
      if (counters_[i]->per_node.size() <= static_cast<size_t>(n)) counters_[i]->place(n, -1);
  count_pod(pods_[id], 1);
  return id;
}

void Cluster::set_terminating(PodId id) {
  Pod& p = pods_[id];
  if (p.terminating) return;
  p.terminating = true;
  for (int i : classes_[p.klass]->counted_live) counters_[i]->bump(p.node, -1);
}

void Cluster::lift(PodId id) {
  Pod& p = pods_[id];
  count_pod(p, -1);
  const Class& k = *classes_[p.klass];
  nodes_.occupy(p.node, k.spec, k.needs.other, -1);
  attachments_.occupy(p.node, k.attached, -1);
  auto& list = nodes_.nodes[p.node].pods;
  list[p.index] = list.back();
  pods_[list[p.index]].index = p.index;
  list.pop_back();
}

void Cluster::put_back(PodId id) {
  Pod& p = pods_[id];
  const Class& k = *classes_[p.klass];
  auto& list = nodes_.nodes[p.node].pods;
  p.index = static_cast<int32_t>(list.size());
  list.push_back(id);
  nodes_.occupy(p.node, k.spec, k.needs.other, 1);
  attachments_.occupy(p.node, k.attached, 1);
  count_pod(p, 1);
}

void Cluster::remove_pod(PodId id) {
  Pod& p = pods_[id];
  count_pod(p, -1);
  Class& k = *classes_[p.klass];
  nodes_.occupy(p.node, k.spec, k.needs.other, -1);
  attachments_.occupy(p.node, k.attached, -1);
  auto& list = nodes_.nodes[p.node].pods;
  list[p.index] = list.back();
  pods_[list[p.index]].index = p.index;
  list.pop_back();
  nodes_.free_if_unused(p.node);
  release(p.klass);
  p = Pod{};
  free_pods_.push_back(id);
}

}  // namespace caravel::scheduler
