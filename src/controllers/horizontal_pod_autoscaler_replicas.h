// How many replicas one metric of a HorizontalPodAutoscaler asks for, as functions of what was measured and of the pods.
//
// Upstream's promise: current replicas times the ratio of usage to target, rounded up; no change within the tolerance.
// Pods whose samples mean nothing yet are not taken at their word: on the way up they count as using nothing, on the way
// down pods without a sample count as using all they may, and when that turns the direction nothing changes.
// Values are in thousandths, as upstream compares them.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "base/result.h"
#include "controllers/common.h"

namespace caravel::controllers {

inline constexpr double kHpaTolerance = 0.1;
inline constexpr Duration kCpuInitializationPeriod = std::chrono::minutes(5);
inline constexpr Duration kInitialReadinessDelay = std::chrono::seconds(30);

struct PodMetric {
  int64_t milli = 0;
  Time timestamp;
  Duration window = std::chrono::minutes(1);
};
using PodMetrics = std::map<std::string, PodMetric>;  // by name of the pod

struct Tolerance {
  double up = kHpaTolerance, down = kHpaTolerance;
  bool covers(double ratio) const { return 1.0 - down <= ratio && ratio <= 1.0 + up; }
};

struct Proposal {
  int replicas = 0;
  int64_t usage = 0;    // thousandths: per pod, or of the whole for by_value
  int utilization = 0;  // percent, of by_utilization only
};

// What the pods of a target are measured for.
struct PodSample {
  PodMetrics metrics;
  std::string resource;   // "cpu": young and unready pods are left out; "" for metrics of another kind
  std::string container;  // only this one's requests; "" for all
};

Result<Proposal> by_utilization(int current, int target_percent, PodSample sample, const std::vector<PodPtr>& pods, Tolerance tolerance, Time now);
Result<Proposal> by_average(int current, int64_t target_milli, PodSample sample, const std::vector<PodPtr>& pods, Tolerance tolerance, Time now);
// One value for all pods (objects, external metrics).
Proposal by_value(int current, int64_t target_milli, int64_t usage_milli, const std::vector<PodPtr>& pods, Tolerance tolerance);
// The same, shared by the pods that there are.
Proposal by_shared_value(int existing, int64_t target_milli, int64_t usage_milli, Tolerance tolerance);

}  // namespace caravel::controllers
