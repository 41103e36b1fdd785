// `caravel kube-proxy`
#pragma once

#include "base/command.h"

namespace caravel::proxy {

extern const Command kProxyCommand;

}  // namespace caravel::proxy
