// A scenario: what a cluster holds at the start and what happens to it. docs/simulate.md describes the file.
// Errors name the field: `timeline[2].at: "soon" is not a duration`.
#pragma once

#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "hollow/hollow.h"

namespace caravel::sim {

// An object of the cluster that a step is about.
struct Target {
  std::string kind, ns, name;
  std::string text() const { return kind + " " + (ns.empty() ? "" : ns + "/") + name; }
};

struct Step {
  enum class What { kApply,
                    kDelete,
                    kScale,
                    kDemand,
                    kFailNode,
                    kRecoverNode,
                    kFailZone,
                    kRecoverZone };
  Duration at = Duration(0);
  What what = What::kApply;
  Target target;                     // delete, scale, demand
  int replicas = 0;                  // scale
  std::string metric;                // demand: "cpu", "memory" or a name of its own
  int64_t milli = 0;                 // demand, for the target as a whole
  std::string where;                 // node or zone
  std::vector<json::Value> objects;  // apply
};

struct Scenario {
  std::vector<hollow::NodeSpec> nodes;
  Duration duration = std::chrono::hours(1);
  uint64_t seed = 1;
  std::vector<json::Value> objects;
  std::vector<Step> steps;  // by time; curves are steps of scaling and of demand
};

// The text of a scenario file.
Result<Scenario> parse_scenario(std::string_view text);

}  // namespace caravel::sim
