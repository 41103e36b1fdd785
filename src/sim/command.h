// `caravel simulate`: a scenario in virtual time.
#pragma once

#include "base/command.h"

namespace caravel::sim {

extern const Command kSimulateCommand;

}  // namespace caravel::sim
