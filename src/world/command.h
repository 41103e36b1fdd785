// `caravel world`: pid 1 of the world (internal). `caravel edge`: the internet before the load balancers.
#pragma once

#include "base/command.h"

namespace caravel::world {

extern const Command kWorldCommand;
extern const Command kEdgeCommand;

}  // namespace caravel::world
