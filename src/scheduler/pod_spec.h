// The core's view of a pod: its own rules, what its claims ask for, and its profile's default spread
// constraints. Pure.
#pragma once

#include <optional>

#include "kube/types/fwd.h"
#include "scheduler/profile.h"
#include "scheduler/volumes.h"

namespace caravel::scheduler {

// `selector` selects the pod's siblings (DefaultSpread).
PodSpec scheduling_spec_of(const kube::core::Pod& pod, const Volumes::Needs& volumes, const std::optional<Selector>& selector, const Profile& profile);

// An image's name as nodes report it: with a tag.
std::string normalized_image(const std::string& name);

// Every term of the node affinity asks for nodes by name, and none by one name alone: no node can be right.
bool names_conflict(const PodSpec& p);

}  // namespace caravel::scheduler
