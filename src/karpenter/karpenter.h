// All of Karpenter, to be run by the command, or in a simulation with virtual time.
#pragma once

#include <memory>

#include "base/executor.h"
#include "base/scope.h"
#include "karpenter/controllers.h"

namespace caravel::karpenter {

class Karpenter {
 public:
  Karpenter(Executor& ex, kube::Client client, aws::Client& aws, Settings settings);
  ~Karpenter();
  // Works until `stop`. One replica at a time (leader election is the caller's).
  Task<void> run(StopToken stop);
  Context& context() { return context_; }

 private:
  Task<void> keep_catalog();
  Context context_;
};

}  // namespace caravel::karpenter
