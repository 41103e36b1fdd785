// `caravel hollow-nodes`: simulated nodes for the instances of a simulated cloud.
#pragma once

#include "base/command.h"

namespace caravel::hollow {

extern const Command kHollowNodesCommand;

}  // namespace caravel::hollow
