// What a pod's containers may write to the node's disk: limits on ephemeral-storage and the size limits of emptyDir volumes.
//
// Nothing stops a write in the moment it is made; the agent looks every ten seconds, as upstream's eviction manager does, and a pod that is
// over a limit is evicted: all its containers are killed at once and it ends as Failed with the reason Evicted.
// `over_limit` is pure; `directory_bytes` reads the disk and belongs on a worker thread.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>

#include "kube/types/core.h"

namespace caravel::node {

namespace core = kube::core;

// Bytes.
struct LocalStorageUse {
  std::map<std::string, int64_t> containers;  // by name: what it wrote to its own file system and to its log
  std::map<std::string, int64_t> empty_dirs;  // by volume
  int64_t other = 0;                          // files of ConfigMaps, Secrets and the like
};

// A pod that no limit speaks of need not be measured.
bool has_storage_limits(const core::Pod& pod);
// Upstream's message when the pod is over a limit: an emptyDir's, else the sum of the containers', else one container's.
std::optional<std::string> over_limit(const core::Pod& pod, const LocalStorageUse& use);

// What a directory and all below it take on the disk; other file systems mounted into it count as well, links are not followed.
int64_t directory_bytes(const std::string& directory);

}  // namespace caravel::node
