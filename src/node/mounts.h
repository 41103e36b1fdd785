// The mounts that this process sees.
#pragma once

#include <string>
#include <vector>

namespace caravel::node {

// Where they are, in the order in which they were made: those at `directory` and below it.
std::vector<std::string> mounts_from(const std::string& directory);

}  // namespace caravel::node
