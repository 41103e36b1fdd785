// In-place resize (a pod's resize subresource): whether the node grants other resources to the containers of a
// running pod. Pure. The node keeps giving what it granted last until it grants something else; what it granted is in
// the pod's status (allocatedResources), so it survives a restart of the agent.
#pragma once

#include <map>
#include <string>

#include "node/pod_model.h"

namespace caravel::node {

using Amounts = std::map<std::string, kube::Quantity>;
using Granted = std::map<std::string, core::ResourceRequirements>;  // by container name

// CPU in thousandths, anything else in its own unit; absent: 0.
int64_t amount_of(const Amounts& a, const char* resource);
// What the node granted according to the pod's status; its spec where the status does not tell.
Granted granted_before(const core::Pod& pod);
// Whether the spec asks for something else for a container that stays (app containers and sidecars).
bool asks_for_resize(const core::Pod& pod, const Granted& granted);
// The CPU and memory requests of the containers that stay. Without `granted`: of the spec.
Amounts running_requests(const core::Pod& pod, const Granted* granted = nullptr);

// nullopt: granted. Otherwise the reason and message of the condition PodResizePending: Infeasible (never on this
// node) or Deferred (not now).
std::optional<WaitReason> judge_resize(const Amounts& wanted, const Amounts& granted, const Amounts& used_by_others, const Amounts& allocatable);

// The container's resizePolicy asks for a restart for one of the changes.
bool restarts_for(const core::Container& container, const core::ResourceRequirements& from, const core::ResourceRequirements& to);

}  // namespace caravel::node
