// Computes a pod's status from what the runtime says: a pure function, level-triggered.
#pragma once

#include "node/pod_model.h"
#include "node/pod_plan.h"

namespace caravel::node {

struct StatusInput {
  const core::Pod* pod = nullptr;
  const PodRuntime* runtime = nullptr;
  const PodPlan* plan = nullptr;
  // What was written last, when the object in hand may be older than that.
  const core::PodStatus* previous = nullptr;
  std::string node_ip;
  Time now;
};

// The status to write; conditions keep their transition times unless their status changes.
core::PodStatus compute_status(const StatusInput& in);

std::string qos_class(const core::Pod& pod);

}  // namespace caravel::node
