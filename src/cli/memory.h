// Memory of a world: the sum of the proportional set sizes of all processes in its pid namespace.
#pragma once

#include <cstdint>
#include <string>

namespace caravel::cli {

// Bytes; 0 when it cannot be told. `outer_pid` is what world::running_world() gives.
int64_t world_memory(int outer_pid);
// The same of a hollow world: of the process and its descendants.
int64_t tree_memory(int pid);

}  // namespace caravel::cli
