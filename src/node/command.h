#pragma once

#include "base/command.h"

namespace caravel::node {

extern const Command kNodeCommand;

}  // namespace caravel::node
