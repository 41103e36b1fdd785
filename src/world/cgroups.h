// The cgroup subtree of a world: /caravel-<hash of its data directory> in every hierarchy.
#pragma once

#include <string>

namespace caravel::world {

std::string world_cgroup(const std::string& data_directory);
// Kills what is left inside and removes the directories.
void remove_cgroup_tree(const std::string& path);

}  // namespace caravel::world
