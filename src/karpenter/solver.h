// The provisioning simulation: which pods go to nodes that exist, and which new nodes to make for the rest.
//
// The steps are Karpenter's: pods by falling cpu, memory, then age; each tries existing nodes (ready ones
// first), then the nodes planned so far (fewest pods first), then a new node from the pools by weight; a
// planned node keeps every instance type that still fits, so its price is decided at launch. Preferences
// are requirements first and are relaxed one at a time when a pod fits nowhere.
// What differs on purpose: equal pods share their checks, and a candidate that turned a kind of pod down
// for good is not asked again; the outcome is the same, the work is not repeated.
// Pure and deterministic.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "karpenter/model.h"

namespace caravel::karpenter {

struct SolverInput {
  std::vector<Pool> pools;  // any order
  std::vector<StateNode> nodes;
  std::vector<PlacedPod> running;  // on nodes above or any other; node labels from node_labels
  std::map<std::string, Labels> node_labels;
  std::vector<PendingPod> pending;
  std::vector<std::shared_ptr<const PodSpec>> daemons;  // one per DaemonSet
  std::map<std::string, Labels> namespaces;
  bool respect_preferences = true;
  std::function<bool()> out_of_time;  // asked now and then; what is planned by then is returned
};

struct PlannedClaim {
  std::string pool;
  Requirements requirements;       // without the instance-type list
  std::vector<std::string> types;  // cheapest first, at most kTypesMax
  Amounts requests;                // pods and daemons
  std::vector<std::string> pods;   // keys
  double price = 0;                // of the cheapest type
};

struct SolverResult {
  std::vector<PlannedClaim> claims;
  std::map<std::string, std::vector<std::string>> existing;  // node name -> pod keys
  std::map<std::string, std::string> errors;                 // pod key -> why
  bool timed_out = false;
};

constexpr size_t kTypesMax = 600;

SolverResult solve(const SolverInput& input);

// The requirements that a pod states itself: node selector, the first required node term and, if
// `preferences`, the heaviest preferred one.
Requirements requirements_of(const PodSpec& pod, bool preferences);
// The pod with its least important preference dropped; nullopt when there is nothing left to drop.
// prefer_no_schedule: some pool has PreferNoSchedule taints, so tolerating them is the last resort.
std::optional<PodSpec> relax(const PodSpec& pod, bool prefer_no_schedule);

}  // namespace caravel::karpenter
