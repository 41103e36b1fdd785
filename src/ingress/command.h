// `caravel nginx-ingress-controller`
#pragma once

#include "base/command.h"

namespace caravel::ingress {

extern const Command kIngressCommand;

}  // namespace caravel::ingress
