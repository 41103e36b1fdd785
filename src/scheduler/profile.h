// A profile of the scheduler: which plugins decide about a pod, with which weights and arguments. The default
// values are those of upstream's default profile. configuration.h reads profiles from a file.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kube/scheduling_spec.h"

namespace caravel::scheduler {

using namespace kube::scheduling;

// Which plugin turned a node down (for queueing hints), and which plugins filter at all.
enum Plugin : uint32_t {
  kNodeUnschedulable = 1,
  kNodeName = 2,
  kTaintToleration = 4,
  kNodeAffinity = 8,
  kNodePorts = 16,
  kNodeResourcesFit = 32,
  kPodTopologySpread = 64,
  kInterPodAffinity = 128,
  kVolumeBinding = 256,
  kNodeVolumeLimits = 512,
  kVolumeRestrictions = 1024,
  kVolumeZone = 2048,
  kExtenders = 4096,  // not a plugin: what extenders turned down, any event may help
};
constexpr uint32_t kEveryFilter = 4095;

// By what each plugin's score (0 to 100) is multiplied; 0: the plugin does not score.
struct Weights {
  int64_t taints = 3, node_affinity = 2, spread = 2, pod_affinity = 2, fit = 1, balanced = 1, images = 1;
};

enum class FitStrategy : uint8_t { kLeastAllocated,
                                   kMostAllocated,
                                   kRequestedToCapacityRatio };
struct ResourceWeight {
  std::string name;
  int64_t weight = 1;
};
struct UtilizationPoint {
  int64_t utilization = 0;  // percent
  int64_t score = 0;        // 0 to 10
};
struct DefaultConstraint {
  SpreadConstraint constraint;  // without selector
  bool hard = false;
};

struct Profile {
  std::string scheduler_name = "default-scheduler";  // spec.schedulerName of its pods
  uint32_t filters = kEveryFilter;
  Weights weights;
  FitStrategy fit = FitStrategy::kLeastAllocated;
  std::vector<ResourceWeight> fit_resources{{"cpu", 1}, {"memory", 1}};
  std::vector<UtilizationPoint> fit_shape;                  // of kRequestedToCapacityRatio, by rising utilization
  std::set<std::string> ignored_resources, ignored_groups;  // extended resources that NodeResourcesFit does not check
  std::vector<ResourceWeight> balanced_resources{{"cpu", 1}, {"memory", 1}};
  int64_t hard_pod_affinity_weight = 1;
  bool ignore_preferred_terms_of_existing_pods = false;
  std::optional<std::vector<NodeTerm>> enforced_nodes;  // NodeAffinityArgs.addedAffinity
  std::vector<PreferredNodeTerm> enforced_preferences;
  bool default_spread = true;  // the system's default constraints, else those of the list
  std::vector<DefaultConstraint> default_constraints;
  bool preempts = true;
  bool deallocates = true;  // DynamicResources speaks after a failure
  int32_t candidates_percentage = 10, candidates_absolute = 100;
  Duration volume_binding_timeout = std::chrono::minutes(10);
};

}  // namespace caravel::scheduler
