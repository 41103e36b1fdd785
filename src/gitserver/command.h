// `caravel git-server`: serves bare repositories under a folder over smart HTTP (clone, fetch, push).
#pragma once

#include "base/command.h"

namespace caravel::gitserver {

extern const Command kGitServerCommand;

}  // namespace caravel::gitserver
