// The decision half of the core: filter, score, choose; and the explanation of a failure.
#include <algorithm>
#include <climits>
#include <cmath>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

namespace {

// f(raw) for raw in [low, high], looked up where that range is small.
template <class F>
class Table {
 public:
  Table(std::vector<int64_t>& storage, int64_t low, int64_t high, F f) : values_(storage), low_(low), f_(std::move(f)) {
    constexpr int64_t kRangeMax = 512;
    known_ = high >= low && high - low < kRangeMax;
    values_.clear();
    if (known_)
      for (int64_t raw = low; raw <= high; ++raw) values_.push_back(f_(raw));
  }
  int64_t operator()(int64_t raw) const { return known_ ? values_[static_cast<size_t>(raw - low_)] : f_(raw); }

 private:
  std::vector<int64_t>& values_;
  int64_t low_;
  bool known_;
  F f_;
};

}  // namespace

// PodTopologySpread's and InterPodAffinity's filters.
bool Cluster::walk_admits(const Class& k, NodeId n) const {
  for (const auto& h : k.hard) {
    const Counter& c = *counters_[h.counter];
    int32_t d = nodes_.keys[h.key]->domain[n];
    if (d < 0 || c.count(d) > spread_limit(c, h.max_skew, h.min_domains, h.self)) return false;
  }
  if (!k.affinity.empty()) {
    bool all = true, any_anywhere = false;
    for (int i : k.affinity) {
      CounterView v = view(nodes_, *counters_[i]);
      if (!v.has_key(n)) return false;
      if (v.at(n) <= 0) all = false;
      if (counters_[i]->total > 0) any_anywhere = true;
    }
    // The first pod of a group that wants to be together may go anywhere.
    if (!all && (any_anywhere || !k.affinity_self)) return false;
  }
  for (int i : k.anti_affinity)
    if (view(nodes_, *counters_[i]).at(n) > 0) return false;
  for (int i : k.blocked_by)
    if (counters_[i]->total > 0 && view(nodes_, *counters_[i]).at(n) > 0) return false;
  return true;
}

// The feasible nodes, into feasible_: of a class that is pinned to nodes by name, and of any other.
void Cluster::collect_pinned(const Class& k) {
  feasible_.clear();
  for (const auto& name : k.pinned) {
    NodeId n = nodes_.find(name);
    if (n < 0 || !nodes_.alive[n] || std::find(feasible_.begin(), feasible_.end(), n) != feasible_.end()) continue;
    if (verdict(k, n) != StaticVerdict::kFits || !ports_free(nodes_, n, k.needs)) continue;
    if (resources_fit(nodes_, n, k.needs) && attachable(k, n) && walk_admits(k, n)) feasible_.push_back(n);
  }
}

std::vector<NodeId> Cluster::feasible(ClassId c) {
  Class& k = *classes_[c];
  if (k.shape) k.shape->refresh(nodes_);
  if (k.is_pinned) collect_pinned(k);
  else collect(k);
  return feasible_;
}

std::vector<int64_t> Cluster::scores(ClassId c, const std::vector<NodeId>& nodes) {
  if (nodes.size() < 2) return std::vector<int64_t>(nodes.size());
  Class& k = *classes_[c];
  if (k.shape) k.shape->refresh(nodes_);
  decide(k, nodes);
  return totals_;
}

Decision Cluster::schedule(ClassId c) {
  Class& k = *classes_[c];
  if (k.is_pinned) {
    collect_pinned(k);
    return decide(k, feasible_);
  }
  k.shape->refresh(nodes_);
  auto at_work = [&](int i) { return counters_[i]->total > 0; };
  bool blocked = std::any_of(k.blocked_by.begin(), k.blocked_by.end(), at_work);
  bool attracted = std::any_of(k.attracted.begin(), k.attracted.end(), [&](const Weighted& w) { return at_work(w.counter); });
  if (!k.needs_walk() && !blocked && !attracted && k.shape->filter().scores_uniform()) {
    int32_t best = k.shape->maximum();
    if (best == Shape::kRuledOut) return {};
    // A node without room for the pod's volumes is rare: a few of the best are asked before all are.
    constexpr int kTries = 8;
    for (int i = 0; i < kTries; ++i) {
      NodeId start = static_cast<NodeId>(random() % nodes_.size());
      NodeId n = k.shape->pick(best, start);
      if (k.attached.empty() || attachable(k, n)) return {n, best, 0};
    }
  }

  const bool only_spread = !k.soft.empty() && k.hard.empty() && k.affinity.empty() && k.anti_affinity.empty() && k.attached.empty();
  if (only_spread && !blocked && !attracted && k.shape->filter().scores_uniform())
    if (std::optional<Decision> d = schedule_spread(k)) return *d;
  collect(k);
  return decide(k, feasible_);
}

void Cluster::collect(const Class& k) {
  feasible_.clear();
  const auto& scores = k.shape->scores();
  NodeId count = static_cast<NodeId>(scores.size());
  for (NodeId n = 0; n < count; ++n)
    if (scores[n] != Shape::kRuledOut) feasible_.push_back(n);
  if (feasible_.empty()) return;
  // The filters one after the other over the survivors: each is a short loop over arrays.
  auto keep = [&](auto admits) { feasible_.erase(std::remove_if(feasible_.begin(), feasible_.end(), [&](NodeId n) { return !admits(n); }), feasible_.end()); };
  if (!k.attached.empty()) keep([&](NodeId n) { return attachable(k, n); });
  for (const auto& h : k.hard) {
    const Counter& counter = *counters_[h.counter];
    const int32_t* domain = nodes_.keys[h.key]->domain.data();
    const int32_t* per_domain = counter.per_domain.data();
    const int32_t known = static_cast<int32_t>(counter.per_domain.size());
    const int64_t limit = spread_limit(counter, h.max_skew, h.min_domains, h.self);
    keep([=](NodeId n) {
      int32_t d = domain[n];
      return d >= 0 && (d < known ? per_domain[d] : 0) <= limit;
    });
  }
  auto keep_empty_domains = [&](int i) {
    const Counter& counter = *counters_[i];
    if (counter.total == 0) return;
    const int32_t* domain = nodes_.keys[counter.key]->domain.data();
    const int32_t* per_domain = counter.per_domain.data();
    const int32_t known = static_cast<int32_t>(counter.per_domain.size());
    keep([=](NodeId n) {
      int32_t d = domain[n];
      return d < 0 || d >= known || per_domain[d] == 0;
    });
  };
  for (int i : k.anti_affinity) keep_empty_domains(i);
  for (int i : k.blocked_by) keep_empty_domains(i);
  if (!k.affinity.empty()) keep([&](NodeId n) { return walk_admits(k, n); });
}

// Scores the feasible nodes with every plugin, normalises as upstream does, and takes one of the best.
Decision Cluster::decide(Class& k, const std::vector<NodeId>& feasible) {
  Decision out;
  out.feasible = static_cast<int32_t>(feasible.size());
  if (feasible.empty()) return out;
  if (feasible.size() == 1) {
    out.node = feasible[0];
    return out;
  }
  const size_t count = feasible.size();
  const Weights& weights = k.profile->weights;
  constexpr int64_t kIgnored = -1;

  // PodTopologySpread.
  int64_t spread_min = INT64_MAX, spread_max = INT64_MIN;
  if (!k.soft.empty()) {
    spread_.assign(count, 0);
    size_t ignored = 0;
    for (size_t i = 0; i < count; ++i)
      for (int key : k.soft_keys)
        if (nodes_.keys[key]->domain[feasible[i]] < 0 && spread_[i] != kIgnored) spread_[i] = kIgnored, ++ignored;
    sums_.assign(count, 0.0);
    double* sums = sums_.data();
    for (const auto& s : k.soft) {
      const Counter& c = *counters_[s.counter];
      const int32_t* domain = nodes_.keys[s.key]->domain.data();
      size_t size = count - ignored;
      if (!s.hostname) {
        seen_.resize(std::max<size_t>(seen_.size(), static_cast<size_t>(nodes_.keys[s.key]->domains())));
        ++epoch_;
        size = 0;
        for (size_t i = 0; i < count; ++i) {
          int32_t d = domain[feasible[i]];
          if (spread_[i] == kIgnored || d < 0 || seen_[d] == epoch_) continue;
          seen_[d] = epoch_;
          ++size;
        }
      }
      const double weight = std::log(static_cast<double>(size + 2));
      for (size_t i = 0; i < count; ++i) {
        NodeId n = feasible[i];
        if (spread_[i] == kIgnored || domain[n] < 0) continue;
        int32_t pods = s.hostname ? c.per_node[n] : c.count(domain[n]);
        sums[i] += static_cast<double>(pods) * weight + static_cast<double>(s.max_skew - 1);
      }
    }
    for (size_t i = 0; i < count; ++i) {
      if (spread_[i] == kIgnored) continue;
      spread_[i] = static_cast<int64_t>(sums[i] + 0.5);  // sums are never negative
      spread_min = std::min(spread_min, spread_[i]);
      spread_max = std::max(spread_max, spread_[i]);
    }
  }

  // InterPodAffinity.
  bool attracted = false;
  int64_t affinity_min = INT64_MAX, affinity_max = INT64_MIN;
  for (const auto& w : k.attracted) {
    const Counter& c = *counters_[w.counter];
    if (c.total == 0) continue;
    if (!attracted) affinity_.assign(count, 0);
    attracted = true;
    const int32_t* domain = nodes_.keys[c.key]->domain.data();
    for (size_t i = 0; i < count; ++i) affinity_[i] += w.weight * c.count(domain[feasible[i]]);
  }
  if (attracted)
    for (size_t i = 0; i < count; ++i) affinity_min = std::min(affinity_min, affinity_[i]), affinity_max = std::max(affinity_max, affinity_[i]);

  // TaintToleration and NodeAffinity.
  const StaticFilter* filter = k.shape ? &k.shape->filter() : nullptr;
  bool statics = filter ? !filter->scores_uniform() : true;
  auto taint_raw = [&](NodeId n) -> int64_t { return filter ? filter->taint_score(n) : intolerable_preferences(nodes_.nodes[n].spec, k.spec); };
  auto node_raw = [&](NodeId n) -> int64_t { return filter ? filter->affinity_score(n) : preferred_node_weight(nodes_.nodes[n].spec, k.spec, *k.profile); };
  int64_t taint_max = 0, node_max = 0;
  if (statics)
    for (NodeId n : feasible) taint_max = std::max(taint_max, taint_raw(n)), node_max = std::max(node_max, node_raw(n));

  // The normalised scores take few different values: a division for each of them, not for each node.
  const bool spread = !k.soft.empty() && spread_max != INT64_MIN;
  Table spread_table(spread_values_, spread ? spread_min : 0, spread ? spread_max : -1, [&](int64_t raw) {
    return weights.spread * (spread_max == 0 ? kMaxScore : kMaxScore * (spread_max + spread_min - raw) / spread_max);
  });
  const bool affine = attracted && affinity_max > affinity_min;
  Table affinity_table(affinity_values_, affine ? affinity_min : 0, affine ? affinity_max : -1, [&](int64_t raw) {
    double fraction = static_cast<double>(raw - affinity_min) / static_cast<double>(affinity_max - affinity_min);
    return weights.pod_affinity * static_cast<int64_t>(static_cast<double>(kMaxScore) * fraction);
  });
  const int32_t* resource = k.shape ? k.shape->scores().data() : nullptr;
  totals_.resize(count);
  if (resource) {
    for (size_t i = 0; i < count; ++i) totals_[i] = resource[feasible[i]];
  } else {
    if (k.images) k.images->refresh(nodes_.images, nodes_.alive_count());
    for (size_t i = 0; i < count; ++i)
      totals_[i] = resource_score(nodes_, feasible[i], k.needs, *k.scoring) + (k.images ? weights.images * k.images->score(feasible[i]) : 0);
  }
  if (statics && taint_max > 0)
    for (size_t i = 0; i < count; ++i) totals_[i] += weights.taints * (kMaxScore - kMaxScore * taint_raw(feasible[i]) / taint_max);
  if (statics && node_max > 0)
    for (size_t i = 0; i < count; ++i) totals_[i] += weights.node_affinity * (kMaxScore * node_raw(feasible[i]) / node_max);
  if (spread)
    for (size_t i = 0; i < count; ++i)
      if (spread_[i] != kIgnored) totals_[i] += spread_table(spread_[i]);
  if (affine)
    for (size_t i = 0; i < count; ++i) totals_[i] += affinity_table(affinity_[i]);
  int64_t best = INT64_MIN;
  for (size_t i = 0; i < count; ++i) best = std::max(best, totals_[i]);
  uint64_t ties = 0;
  for (size_t i = 0; i < count; ++i) ties += totals_[i] == best;
  uint64_t pick = random() % ties;
  for (size_t i = 0; i < count; ++i) {
    if (totals_[i] != best || pick-- != 0) continue;
    out.node = feasible[i];
    out.score = best;
    break;
  }
  return out;
}

}  // namespace caravel::scheduler
