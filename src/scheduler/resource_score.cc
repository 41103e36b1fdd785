#include "scheduler/resource_score.h"

#include <algorithm>
#include <cmath>

#include "scheduler/shapes.h"

namespace caravel::scheduler {

namespace {

int64_t least_requested(int64_t requested, int64_t capacity) {
  if (capacity == 0 || requested > capacity) return 0;
  return (capacity - requested) * kMaxScore / capacity;
}

int64_t most_requested(int64_t requested, int64_t capacity) {
  return capacity == 0 ? 0 : std::min(requested, capacity) * kMaxScore / capacity;
}

// The broken line through the points, level beyond its ends.
int64_t along(const std::vector<UtilizationPoint>& shape, int64_t x) {
  for (size_t i = 0; i < shape.size(); ++i) {
    if (x > shape[i].utilization) continue;
    if (i == 0) return shape[0].score;
    const auto &a = shape[i - 1], &b = shape[i];
    return a.score + (b.score - a.score) * (x - a.utilization) / (b.utilization - a.utilization);
  }
  return shape.empty() ? 0 : shape.back().score;
}

struct Amounts {
  int64_t allocatable = 0, requested = 0, without = 0;  // without: before this pod
};

// allocatable 0: the resource takes no part.
Amounts amounts(const NodeTable& t, NodeId n, const Needs& needs, int column, bool defaults) {
  switch (column) {
    case ResourceScoring::kCpu: {
      int64_t used = defaults ? t.used_nonzero_cpu[n] : t.used_cpu[n];
      return {t.alloc_cpu[n], used + (defaults ? needs.nonzero_cpu : needs.cpu), used};
    }
    case ResourceScoring::kMemory: {
      int64_t used = defaults ? t.used_nonzero_memory[n] : t.used_memory[n];
      return {t.alloc_memory[n], used + (defaults ? needs.nonzero_memory : needs.memory), used};
    }
    case ResourceScoring::kEphemeral: return {t.alloc_ephemeral[n], t.used_ephemeral[n] + needs.ephemeral, t.used_ephemeral[n]};
    default: break;
  }
  for (auto [r, amount] : needs.other)
    if (r == column) return {t.alloc_other[r][n], t.used_other[r][n] + amount, t.used_other[r][n]};
  return {};
}

int64_t fit_score(const NodeTable& t, NodeId n, const Needs& needs, const ResourceScoring& s) {
  if (s.plain_fit) {
    int64_t sum = 0, weights = 0;
    if (t.alloc_cpu[n] != 0) sum += least_requested(t.used_nonzero_cpu[n] + needs.nonzero_cpu, t.alloc_cpu[n]), ++weights;
    if (t.alloc_memory[n] != 0) sum += least_requested(t.used_nonzero_memory[n] + needs.nonzero_memory, t.alloc_memory[n]), ++weights;
    return weights == 0 ? 0 : sum / weights;
  }
  int64_t sum = 0, weights = 0;
  for (const auto& term : s.fit) {
    Amounts a = amounts(t, n, needs, term.column, true);
    if (a.allocatable == 0) continue;
    int64_t score = 0;
    if (s.strategy == FitStrategy::kLeastAllocated) score = least_requested(a.requested, a.allocatable);
    else if (s.strategy == FitStrategy::kMostAllocated) score = most_requested(a.requested, a.allocatable);
    else score = along(s.shape, a.requested > a.allocatable ? 100 : a.requested * 100 / a.allocatable);
    // By the ratio, a resource without a score has no say.
    if (s.strategy == FitStrategy::kRequestedToCapacityRatio && score <= 0) continue;
    sum += score * term.weight;
    weights += term.weight;
  }
  if (weights == 0) return 0;
  if (s.strategy == FitStrategy::kRequestedToCapacityRatio) return std::llround(static_cast<double>(sum) / static_cast<double>(weights));
  return sum / weights;
}

double fraction(int64_t requested, int64_t capacity) { return std::min(1.0, static_cast<double>(requested) / static_cast<double>(capacity)); }

// 100 when all resources are used to the same degree; one that the node has none of does not count.
int64_t balance(const std::vector<double>& fractions) {
  double deviation = 0;
  if (fractions.size() == 2) {
    deviation = std::abs((fractions[0] - fractions[1]) / 2);
  } else if (fractions.size() > 2) {
    double mean = 0, sum = 0;
    for (double f : fractions) mean += f;
    mean /= static_cast<double>(fractions.size());
    for (double f : fractions) sum += (f - mean) * (f - mean);
    deviation = std::sqrt(sum / static_cast<double>(fractions.size()));
  }
  return static_cast<int64_t>((1 - deviation) * static_cast<double>(kMaxScore));
}

int64_t plain_balance(int64_t cpu, int64_t cpu_capacity, int64_t memory, int64_t memory_capacity) {
  if (cpu_capacity == 0 || memory_capacity == 0) return kMaxScore;
  double a = fraction(cpu, cpu_capacity), b = fraction(memory, memory_capacity);
  return static_cast<int64_t>((1 - std::abs((a - b) / 2)) * static_cast<double>(kMaxScore));
}

// Has no opinion on pods that ask for none of the resources; for others it rewards a placement that makes the
// node more balanced than it is.
int64_t balanced_score(const NodeTable& t, NodeId n, const Needs& needs, const ResourceScoring& s) {
  int64_t with = 0, without = 0;
  if (s.plain_balanced) {
    if (needs.cpu == 0 && needs.memory == 0) return 0;
    with = plain_balance(t.used_cpu[n] + needs.cpu, t.alloc_cpu[n], t.used_memory[n] + needs.memory, t.alloc_memory[n]);
    without = plain_balance(t.used_cpu[n], t.alloc_cpu[n], t.used_memory[n], t.alloc_memory[n]);
  } else {
    std::vector<double> now, before;
    bool asks = false;
    for (const auto& term : s.balanced) {
      Amounts a = amounts(t, n, needs, term.column, false);
      asks = asks || a.requested != a.without;
      if (a.allocatable == 0) continue;
      now.push_back(fraction(a.requested, a.allocatable));
      before.push_back(fraction(a.without, a.allocatable));
    }
    if (!asks) return 0;
    with = balance(now), without = balance(before);
  }
  return kMaxScore / 2 + (kMaxScore / 2 + with - without) / 2;
}

bool is_plain(const std::vector<ResourceWeight>& r) {
  if (r.size() != 2 || r[0].weight != r[1].weight) return false;
  return (r[0].name == "cpu" && r[1].name == "memory") || (r[0].name == "memory" && r[1].name == "cpu");
}

std::vector<ResourceScoring::Term> compile(const std::vector<ResourceWeight>& resources, NodeTable& nodes) {
  std::vector<ResourceScoring::Term> out;
  for (const auto& r : resources) {
    int column = r.name == "cpu"                 ? ResourceScoring::kCpu
                 : r.name == "memory"            ? ResourceScoring::kMemory
                 : r.name == "ephemeral-storage" ? ResourceScoring::kEphemeral
                                                 : nodes.resource(r.name);
    out.push_back({column, r.weight});
  }
  return out;
}

}  // namespace

ResourceScoring::ResourceScoring(const Profile& p, NodeTable& nodes)
    : fit_weight(p.weights.fit), balanced_weight(p.weights.balanced), strategy(p.fit), fit(compile(p.fit_resources, nodes)), balanced(compile(p.balanced_resources, nodes)), shape(p.fit_shape), plain_fit(p.fit == FitStrategy::kLeastAllocated && is_plain(p.fit_resources)), plain_balanced(is_plain(p.balanced_resources)) {
  for (auto& point : shape) point.score *= kMaxScore / 10;
}

int32_t resource_score(const NodeTable& t, NodeId n, const Needs& needs, const ResourceScoring& s) {
  int64_t out = 0;
  if (s.fit_weight != 0) out += s.fit_weight * fit_score(t, n, needs, s);
  if (s.balanced_weight != 0) out += s.balanced_weight * balanced_score(t, n, needs, s);
  return static_cast<int32_t>(out);
}

}  // namespace caravel::scheduler
