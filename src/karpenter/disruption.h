// Choosing nodes to remove. Pure: the state and the time in, at most one command out.
//
// Methods in order, as Karpenter has them: empty nodes (all at once), drifted nodes (one), then
// consolidation: several nodes for one cheaper or none, and single nodes. Budgets bound how many nodes of a
// pool may be disrupted at a time.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "karpenter/solver.h"

namespace caravel::karpenter {

struct Candidate {
  std::string claim, node, pool;
  std::string type, zone, capacity_type;
  double price = 0;            // of its offering
  double disruption_cost = 1;  // 1 + eviction costs
  int pods = 0;                // that would have to move
  bool consolidatable = false, drifted = false;
  Time drifted_at;
  std::string blocked;  // why it must not be disrupted now; empty: it may be
};

struct PoolPolicy {
  std::string consolidation = "WhenEmptyOrUnderutilized";
  json::Value budgets;            // spec.disruption.budgets
  int nodes = 0, disrupting = 0;  // initialized nodes; those not ready or going already
};

struct Command {
  std::string reason;                      // "Empty", "Drifted", "Underutilized"
  std::vector<std::string> claims;         // to delete
  std::vector<PlannedClaim> replacements;  // to launch and wait for first
};

// Simulates scheduling with these nodes gone: whether every pod of theirs finds a place, and what new nodes
// that takes.
struct Simulation {
  bool all_placed = false;
  std::vector<PlannedClaim> claims;
  InstanceTypes types;  // of the pools, for prices
};
using Simulate = std::function<Simulation(const std::vector<Candidate>& gone)>;

// How many more nodes of the pool may be disrupted for the reason now.
int allowed_disruptions(const PoolPolicy& pool, const std::string& reason, Time now);
// Whether a cron schedule ("0 9 * * 1-5", "@daily", UTC) started within the last `duration`; nullopt when
// it cannot be read.
std::optional<bool> schedule_active(const std::string& schedule, Duration duration, Time now);

std::optional<Command> choose(std::vector<Candidate> candidates, const std::map<std::string, PoolPolicy>& pools, Time now, const Simulate& simulate);

}  // namespace caravel::karpenter
