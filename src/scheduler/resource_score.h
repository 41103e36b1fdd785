// The scores by resources: NodeResourcesFit (LeastAllocated, MostAllocated, RequestedToCapacityRatio) and
// NodeResourcesBalancedAllocation, compiled from a profile into the node table's columns.
//
// cpu and memory count with the defaults that upstream gives pods without requests (Needs::nonzero_*) in
// NodeResourcesFit and as they are in BalancedAllocation; other resources only for pods that ask for them.
#pragma once

#include <vector>

#include "scheduler/nodes.h"
#include "scheduler/profile.h"

namespace caravel::scheduler {

constexpr int64_t kMaxScore = 100;
struct Needs;

struct ResourceScoring {
  enum : int { kCpu = -1,
               kMemory = -2,
               kEphemeral = -3 };  // columns; from 0: NodeTable::resource()
  struct Term {
    int column = kCpu;
    int64_t weight = 1;
  };
  ResourceScoring(const Profile& profile, NodeTable& nodes);

  int64_t fit_weight, balanced_weight;
  FitStrategy strategy;
  std::vector<Term> fit, balanced;
  std::vector<UtilizationPoint> shape;  // scores 0 to 100
  bool plain_fit, plain_balanced;       // cpu and memory, equally: the usual case, computed without loops
};

// Both scores with their weights.
int32_t resource_score(const NodeTable& nodes, NodeId n, const Needs& needs, const ResourceScoring& scoring);

}  // namespace caravel::scheduler
