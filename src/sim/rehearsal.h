// Plays a scenario in virtual time and tells what came of it.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "sim/scenario.h"

namespace caravel::sim {

// Times are since the start of the scenario.
struct Outcome {
  struct Note {
    Duration at;
    std::string what;
  };
  // Pods of one workload from their creation to their node.
  struct Waiting {
    int pods = 0;
    Duration total = Duration(0), longest = Duration(0);
    std::map<std::string, std::string> still;  // pod -> why
  };
  // From the first moment at which the workload was complete.
  struct Availability {
    Duration watched = Duration(0), short_of_pods = Duration(0), none = Duration(0);
    double served = 0;  // integral of min(serving, wanted) / wanted, in seconds
    int wanted = 0, serving = 0, fewest = -1;
    bool complete_once = false;
  };
  uint64_t seed = 0;
  Duration duration = Duration(0);
  std::vector<Note> timeline;
  std::map<std::string, Waiting> waiting;            // by workload: "Deployment shop/web"
  std::map<std::string, Availability> availability;  // Deployments, StatefulSets and ReplicaSets of their own
};

// Equal scenarios give equal outcomes.
Result<Outcome> rehearse(const Scenario& s);

std::string describe(const Outcome& o);
json::Value to_json(const Outcome& o);

}  // namespace caravel::sim
