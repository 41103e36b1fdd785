#pragma once

#include "base/command.h"

namespace caravel::karpenter {

// `caravel karpenter`
extern const Command kKarpenterCommand;

}  // namespace caravel::karpenter
