// What is done to the victims of a preemption: the condition DisruptionTarget, the deletion, the event.
// Threading: one executor.
#pragma once

#include <string>
#include <vector>

#include "base/scope.h"
#include "kube/client.h"
#include "kube/event_series.h"

namespace caravel::scheduler {

struct Victim {
  std::string ns, name, uid;
  int64_t generation = 0;
};
struct Preemptor {
  std::string uid, scheduler_name;
  kube::ObjectReference pod;
};

// Names of the victims that could not be removed (namespace/name). A victim that is gone already is none.
Task<std::vector<std::string>> remove_victims(Executor& ex, kube::Client client, kube::SeriesRecorder* events, std::vector<Victim> victims, Preemptor by,
                                              std::string node);

}  // namespace caravel::scheduler
