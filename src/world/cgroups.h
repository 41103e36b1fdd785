// The cgroup subtree of a world: /caravel-<hash of its data directory> in every hierarchy.
#pragma once

#include <string>

#include "base/result.h"

namespace caravel::world {

std::string world_cgroup(const std::string& data_directory);
// Kills what is left inside, waits until it has ended (15 s at most) and removes the directories.
Status remove_cgroup_tree(const std::string& path);

}  // namespace caravel::world
