// Runs nftables commands in this process' network namespace through libnftables.
#pragma once

#include <string>

#include "base/result.h"

namespace caravel::proxy {

// One transaction: all of it or nothing. Blocks: for worker threads. dry_run only checks.
Status run_nft(const std::string& commands, bool dry_run = false);

}  // namespace caravel::proxy
