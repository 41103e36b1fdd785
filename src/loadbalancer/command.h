// `caravel aws-load-balancer-controller`
#pragma once

#include "base/command.h"

namespace caravel::loadbalancer {

extern const Command kLoadBalancerCommand;

}  // namespace caravel::loadbalancer
