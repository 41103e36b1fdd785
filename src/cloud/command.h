// `caravel cloud`: the embedded AWS.
#pragma once

#include "base/command.h"

namespace caravel::cloud {

extern const Command kCloudCommand;

}  // namespace caravel::cloud
