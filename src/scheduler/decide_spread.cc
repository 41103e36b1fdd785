// The decision for pods whose only rules are soft spread constraints by one topology key (zones) and by host: what every
// workload gets from the cluster's defaults.
//
// Nodes of one zone without any of the pods that are counted by host get one and the same score for spread, so the best of
// them is the best by resources, which Shape keeps counted (DomainScores). The few nodes with such pods are looked at one by
// one. The scores are those of decide(), to the last bit; of equal nodes any may be taken.
#include <climits>
#include <cmath>

#include "scheduler/cluster.h"

namespace caravel::scheduler {

std::optional<Decision> Cluster::schedule_spread(Class& k) {
  int zone = -1, host = -1;
  for (const auto& s : k.soft) {
    if (!s.hostname && zone >= 0 && zone != s.key) return std::nullopt;
    (s.hostname ? host : zone) = s.key;
  }
  DomainScores* table = k.shape->by_domain(nodes_, zone, host);
  if (!table || table->unnamed > 0) return std::nullopt;
  const int32_t buckets = static_cast<int32_t>(table->total.size());
  size_t feasible = 0;
  int32_t zones = 0;
  for (int32_t b = 0; b < buckets; ++b) {
    feasible += static_cast<size_t>(table->total[b]);
    if (b > 0 && table->total[b] > 0) ++zones;
  }
  if (feasible < 2) return std::nullopt;

  special_.clear();
  int by_host = 0;
  for (const auto& s : k.soft) {
    if (!s.hostname) continue;
    ++by_host;
    for (NodeId n : counters_[s.counter]->occupied())
      if (static_cast<size_t>(n) < table->bucket.size() && table->bucket[n] >= 0) special_.push_back({n, 0});
  }
  if (special_.size() * 4 > feasible + 64) return std::nullopt;
  if (by_host > 1) {
    std::sort(special_.begin(), special_.end(), [](auto& x, auto& y) { return x.node < y.node; });
    special_.erase(std::unique(special_.begin(), special_.end(), [](auto& x, auto& y) { return x.node == y.node; }), special_.end());
  }

  // A node without the zone's label takes no part if the pod names the constraint itself.
  const bool zone_needed = zone >= 0 && std::find(k.soft_keys.begin(), k.soft_keys.end(), zone) != k.soft_keys.end();
  const size_t ignored = zone_needed && buckets > 0 ? static_cast<size_t>(table->total[0]) : 0;
  const double host_weight = std::log(static_cast<double>(feasible - ignored + 2)), zone_weight = std::log(static_cast<double>(zones + 2));
  auto raw = [&](int32_t b, NodeId n) {  // n: -1 for a node without pods
    double sum = 0;
    for (const auto& s : k.soft) {
      const Counter& c = *counters_[s.counter];
      if (!s.hostname && b == 0) continue;
      const int32_t pods = !s.hostname ? c.count(b - 1) : n < 0 ? 0
                                                                : c.per_node[n];
      sum += static_cast<double>(pods) * (s.hostname ? host_weight : zone_weight) + static_cast<double>(s.max_skew - 1);
    }
    return static_cast<int64_t>(sum + 0.5);
  };

  const std::vector<int32_t>& scores = k.shape->scores();
  int64_t least = INT64_MAX, most = INT64_MIN;
  auto see = [&](int64_t r) { least = std::min(least, r), most = std::max(most, r); };
  for (auto& x : special_) {
    const int32_t b = table->bucket[x.node];
    table->add(b, scores[x.node], -1);
    x.value = raw(b, x.node);
    if (!zone_needed || b != 0) see(x.value);
  }
  for (int32_t b = zone_needed ? 1 : 0; b < buckets; ++b)
    if (table->total[b] > 0) see(raw(b, -1));
  auto total = [&](int32_t b, int64_t spread, int32_t score) -> int64_t {
    if (most == INT64_MIN || (zone_needed && b == 0)) return score;
    const int64_t w = k.profile->weights.spread;
    return score + w * (most == 0 ? kMaxScore : kMaxScore * (most + least - spread) / most);
  };

  // The best of each bucket, then of all.
  wanted_.assign(static_cast<size_t>(buckets), -1);
  int64_t best = INT64_MIN;
  for (int32_t b = 0; b < buckets; ++b) {
    if (table->total[b] == 0) continue;
    int32_t top = static_cast<int32_t>(table->counts[b].size()) - 1;
    while (table->counts[b][top] == 0) --top;
    wanted_[b] = top;
    best = std::max(best, total(b, raw(b, -1), top));
  }
  for (auto& x : special_) {
    const int32_t b = table->bucket[x.node];
    x.value = total(b, x.value, scores[x.node]);
    best = std::max(best, x.value);
  }
  uint64_t plain = 0;
  int32_t lowest = INT_MAX;
  for (int32_t b = 0; b < buckets; ++b) {
    if (wanted_[b] >= 0 && total(b, raw(b, -1), wanted_[b]) != best) wanted_[b] = -1;
    if (wanted_[b] < 0) continue;
    plain += static_cast<uint64_t>(table->counts[b][wanted_[b]]);
    lowest = std::min(lowest, wanted_[b]);
  }
  for (auto& x : special_) table->add(table->bucket[x.node], scores[x.node], 1);
  std::erase_if(special_, [&](auto& x) { return x.value != best; });

  Decision out;
  out.score = best;
  out.feasible = static_cast<int32_t>(feasible);
  const uint64_t pick = random() % (plain + special_.size());
  if (pick < special_.size()) {
    out.node = special_[pick].node;
    return out;
  }
  auto is_plain = [&](NodeId n) { return std::none_of(k.soft.begin(), k.soft.end(), [&](const Spread& s) { return s.hostname && counters_[s.counter]->per_node[n] != 0; }); };
  out.node = k.shape->find_from(static_cast<NodeId>(random() % nodes_.size()), lowest,
                                [&](NodeId n) { return scores[n] == wanted_[table->bucket[n]] && is_plain(n); });
  return out;
}

}  // namespace caravel::scheduler
