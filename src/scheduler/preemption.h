// Preemption: which pods of lower priority have to go so that a pod fits (upstream's DefaultPreemption).
//
// On each node where it may help, all pods of lower priority are taken away in thought; if the pod then
// fits, as many as possible are kept, the most important first, those protected by a
// PodDisruptionBudget before the others. Of the nodes found this way the one is taken that breaks the
// fewest budgets, then: lowest top priority among the victims, smallest sum of priorities, fewest victims,
// latest start of the most important victims.
// Pure: the cluster is as it was when preempt() returns. Cost: one check per pod of lower priority, on at
// most max(100, a tenth of the nodes) candidates (DefaultPreemptionArgs). Threading: one thread.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "scheduler/cluster.h"

namespace caravel::scheduler {

// What preemption needs to know of a pod that is on a node.
struct PodFacts {
  std::string key;  // namespace/name
  int32_t priority = 0;
  Time start;            // status.startTime, or now for a pod that has not started
  bool leaving = false;  // a victim of an earlier preemption that is still terminating
};

// A PodDisruptionBudget.
struct Budget {
  std::string ns;
  Selector selector;
  int64_t allowed = 0;              // status.disruptionsAllowed
  std::set<std::string> disrupted;  // names of pods whose eviction is known and counted already
};

// null for pods that are no victims whatever happens (nominated ones, which are not there yet).
using FactsOf = std::function<const PodFacts*(PodId)>;

struct Victims {
  NodeId node = -1;
  std::vector<PodId> pods;  // most important first
  int violations = 0;       // of budgets
};

struct Preemption {
  std::optional<Victims> best;
  std::vector<Victims> candidates;     // of which it is the best
  std::map<std::string, int> reasons;  // why the nodes gave no candidate; complete when there is no best
};

// For a pod of class `c` that schedule() found no node for. `start` is where the walk over nodes begins.
// `holders`: pods (namespace/name) that have to go in any case, for they hold claims that only one pod may use.
Preemption preempt(Cluster& cluster, ClassId c, int32_t priority, const FactsOf& facts, const std::vector<Budget>& budgets, NodeId start = 0,
                   const std::set<std::string>& holders = std::set<std::string>());

// The walk's two halves, for tests. select_victims() answers the reasons when the node is no candidate.
std::vector<std::string> select_victims(Cluster& cluster, ClassId c, int32_t priority, NodeId node, const FactsOf& facts,
                                        const std::vector<Budget>& budgets, Victims& out, const std::set<std::string>& holders = std::set<std::string>());
const Victims* pick_one(const std::vector<Victims>& candidates, const FactsOf& facts);

}  // namespace caravel::scheduler
