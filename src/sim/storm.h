// A storm: workloads of every kind, users who change and delete them, and faults, all drawn from one seed.
// When it is over everything is repaired and the cluster has to come to rest.
//
// What happens: any component dies (the API server too) and starts again, the leading controller manager
// changes, calls are refused, delayed, answered with errors and conflicts or their answers lost, watches
// break, lag and expire, clocks jump (every third seed), nodes fall silent, pods are deleted and evicted,
// important pods displace others, namespaces come and go.
// Invariant: equal seeds give equal traces, byte for byte.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace caravel::sim {

struct StormOptions {
  int steps = 20;
  // Nothing takes pods away but evictions (and no node and no clock fails): the budget must hold at every moment.
  bool only_evictions = false;
};

struct StormReport {
  std::vector<std::string> wrong;  // what must not have been, one sentence each; empty: all is well
  std::string trace;
};

StormReport storm(uint64_t seed, StormOptions options = StormOptions());

}  // namespace caravel::sim
