// `caravel cert-manager`: the controller. `caravel acmesolver`: answers one HTTP-01 challenge.
#pragma once

#include "base/command.h"

namespace caravel::certs {

extern const Command kCertManagerCommand;
extern const Command kAcmeSolverCommand;

}  // namespace caravel::certs
