// A pod's volumes on the node: directories under <root>/pods/<uid>/volumes, filled and kept up to date.
//
// Files that come from API objects are written by an atomic writer with upstream's layout: the visible
// names link to `..data`, which links to a time-stamped directory; a change swaps `..data` in one
// rename, so that readers see all of the old or all of the new content. Of PersistentVolumes the node offers those of the kinds
// local and hostPath, as file systems. Everything here is idempotent:
// setup_volumes() is called again whenever a source may have changed.
#pragma once

#include <map>
#include <string>

#include "node/environment.h"

namespace caravel::node {

struct VolumeFile {
  std::string content;
  unsigned mode = 0644;
  std::optional<int64_t> owner = std::nullopt;  // a user; none: root
  bool operator==(const VolumeFile&) const = default;
};
using VolumeFiles = std::map<std::string, VolumeFile>;  // by relative path

struct VolumeContext {
  std::string pod_directory;  // <root>/pods/<uid>
  PodSources sources;
  PodFacts facts;
  std::map<std::string, std::string> tokens;              // "<volume>/<path>" of projected ServiceAccount tokens
  Time now;                                               // names the time-stamped directories
  std::map<std::string, core::PersistentVolume> claimed;  // by the pod's volume name: what its claim is bound to
};

// Where a volume that the node makes itself lies below a pod's directory of volumes.
std::string volume_directory(const std::string& volumes, const core::Volume& volume);
// The PersistentVolumeClaim behind a volume, "" when there is none.
std::string claim_of(const core::Pod& pod, const core::Volume& volume);

// The files of a volume that API objects describe; an error as upstream's FailedMount events read.
// Nullopt-like: has_files is false for volumes that hold no such files (emptyDir, hostPath).
bool is_file_volume(const core::Volume& volume);
// The user that all of the pod's containers run as, if it is one that the pod names: ServiceAccount tokens become theirs.
std::optional<int64_t> file_user(const core::Pod& pod);
Result<VolumeFiles> volume_files(const core::Pod& pod, const core::Volume& volume, const VolumeContext& context);

// Makes the volume directory show exactly `files`; true when something changed.
Result<bool> write_atomically(const std::string& directory, const VolumeFiles& files, Time now, std::optional<int64_t> group);

// Sets up every volume; the result maps its name to the path on the node.
Result<std::map<std::string, std::string>> setup_volumes(const core::Pod& pod, const VolumeContext& context);
// Binds what `sub_path` names inside a volume to `place`, where it cannot be exchanged any more. A directory that is missing is made with the
// volume's owner and mode; links are followed as long as they stay inside: what a container wrote into its volume must
// not lead to the node's own files.
Status bind_sub_path(const std::string& volume, const std::string& sub_path, const std::string& place);
// Unmounts and removes everything of a pod.
Status remove_pod_directory(const std::string& pod_directory);

// The tokens that the pod's projected volumes want.
struct TokenWish {
  std::string key;  // "<volume>/<path>"
  std::string audience;
  int64_t expiration_seconds = 3600;
};
std::vector<TokenWish> token_wishes(const core::Pod& pod);

// /etc/hosts of the pod, as the kubelet writes it.
std::string hosts_file(const core::Pod& pod, const std::string& pod_ip, const std::string& hostname, const std::string& cluster_domain,
                       const std::string& node_hosts);

}  // namespace caravel::node
