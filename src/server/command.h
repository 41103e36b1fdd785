// `caravel server`: the control plane of a cluster in one process.
#pragma once

#include "base/command.h"

namespace caravel::server {

extern const Command kServerCommand;
extern const Command kBackupCommand;
extern const Command kRestoreCommand;

}  // namespace caravel::server
