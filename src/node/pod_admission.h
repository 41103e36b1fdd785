// Whether the node takes a pod that was bound to it: pods that name their node (spec.nodeName) have passed no scheduler.
// Pure; upstream's checks of the operating system, kernel settings, ports and resources.
#pragma once

#include <vector>

#include "node/pod_resize.h"

namespace caravel::node {

struct AdmittedPod {
  const core::Pod* pod = nullptr;
  const Granted* granted = nullptr;
};

// nullopt: taken. Otherwise the reason and message with which the pod fails (PodOSNotSupported, SysctlForbidden, NodePorts, OutOfcpu, OutOfpods, ...).
std::optional<WaitReason> judge_pod(const core::Pod& pod, const std::vector<AdmittedPod>& others, const Amounts& allocatable);

}  // namespace caravel::node
