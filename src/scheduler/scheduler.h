// The scheduler: watches pods and nodes, asks the core (cluster.h) where each pending pod goes, and binds it.
//
// A pod that is being bound counts on its node at once (it is assumed), so many bindings are under way
// while the next decisions are made; a binding that fails is taken back and tried again after a back-off.
// A pod that fits nowhere gets the condition PodScheduled=False, a FailedScheduling event, and waits for
// something to change (queue.h).
// Threading: one executor. Level-triggered: everything can be rebuilt from the informers.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"
#include "scheduler/extender.h"
#include "scheduler/profile.h"
#include "scheduler/queue.h"

namespace caravel::scheduler {

struct Options {
  // Pods whose spec.schedulerName names none of these are left alone.
  std::vector<Profile> profiles = std::vector<Profile>(1);
  QueueOptions queue;
  std::vector<ExtenderConfig> extenders;
  ExtenderTransport* transport = nullptr;  // needed where there are extenders; must outlive the scheduler
  size_t bindings_max = 200;               // requests under way
  size_t burst = 64;                       // decisions before the executor gets its turn
};

class Scheduler {
 public:
  Scheduler(Executor& ex, kube::Client client, Options options = {});
  ~Scheduler();
  // Starts the informers and the scheduling loop in the scope, which must end before this object.
  void start(TaskScope& scope);
  bool synced() const;
  size_t pending() const;  // pods in the queue

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace caravel::scheduler
