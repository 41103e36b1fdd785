// `caravel argocd-application-controller`
#pragma once

#include "base/command.h"

namespace caravel::gitops {

extern const Command kArgoCdCommand;

}  // namespace caravel::gitops
