// `caravel up|down|status|kubeconfig`
#pragma once

#include "base/command.h"

namespace caravel::cli {

extern const Command kUpCommand;
extern const Command kDownCommand;
extern const Command kStatusCommand;
extern const Command kKubeconfigCommand;

}  // namespace caravel::cli
