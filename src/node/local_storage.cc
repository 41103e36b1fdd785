#include "node/local_storage.h"

#include <sys/stat.h>

#include <algorithm>
#include <filesystem>

namespace caravel::node {
namespace {

constexpr const char* kResource = "ephemeral-storage";
constexpr int64_t kBlock = 512;  // bytes in which st_blocks counts

std::optional<kube::Quantity> limit_of(const core::Container& c) {
  auto it = c.resources.limits.find(kResource);
  if (it == c.resources.limits.end()) return std::nullopt;
  return it->second;
}

// The larger of what the containers have together and what any init container has.
std::optional<kube::Quantity> limit_of(const core::Pod& pod) {
  std::optional<kube::Quantity> sum;
  for (auto& c : pod.spec.containers)
    if (auto l = limit_of(c)) sum = sum ? *sum + *l : *l;
  for (auto& c : pod.spec.init_containers)
    if (auto l = limit_of(c)) sum = sum ? std::max(*sum, *l) : *l;
  return sum;
}

}  // namespace

bool has_storage_limits(const core::Pod& pod) {
  return limit_of(pod) || std::any_of(pod.spec.volumes.begin(), pod.spec.volumes.end(), [](auto& v) { return v.empty_dir && v.empty_dir->size_limit; });
}

std::optional<std::string> over_limit(const core::Pod& pod, const LocalStorageUse& use) {
  int64_t total = use.other;
  for (auto& [name, bytes] : use.containers) total += bytes;
  for (auto& v : pod.spec.volumes) {
    if (!v.empty_dir) continue;
    auto used = use.empty_dirs.find(v.name);
    if (used == use.empty_dirs.end()) continue;
    const auto& limit = v.empty_dir->size_limit;
    if (limit && limit->value() > 0 && used->second > limit->value()) return "Usage of EmptyDir volume \"" + v.name + "\" exceeds the limit \"" + limit->text() + "\". ";
    if (v.empty_dir->medium.empty()) total += used->second;  // memory is not the disk's
  }
  if (auto limit = limit_of(pod); limit && total > limit->value()) return "Pod ephemeral local storage usage exceeds the total limit of containers " + limit->text() + ". ";
  for (auto& c : pod.spec.containers) {
    auto limit = limit_of(c);
    auto used = use.containers.find(c.name);
    if (limit && used != use.containers.end() && used->second > limit->value()) return "Container " + c.name + " exceeded its local ephemeral storage limit \"" + limit->text() + "\". ";
  }
  return std::nullopt;
}

int64_t directory_bytes(const std::string& directory) {
  namespace fs = std::filesystem;
  int64_t sum = 0;
  std::error_code ec;
  for (auto it = fs::recursive_directory_iterator(directory, fs::directory_options::skip_permission_denied, ec); !ec && it != fs::recursive_directory_iterator(); it.increment(ec)) {
    struct stat st;
    if (lstat(it->path().c_str(), &st) == 0) sum += st.st_blocks * kBlock;
  }
  return sum;
}

}  // namespace caravel::node
