// Volumes that show the files of an image (core/v1 ImageVolumeSource), read-only.
//
// The containerd of Debian 12 cannot mount images for containers, so the agent has it make a view of the image's
// file system and mounts that where the pod's other volumes are. The view is kept under the name of its directory until the pod goes.
#pragma once

#include <string>

#include "base/result.h"
#include "net/process.h"

namespace caravel::node {

// `socket`: containerd's; `image`: its id or name there, it must have been pulled. Nothing happens when the directory is mounted already.
Task<Status> mount_image(net::EventLoop& loop, std::string socket, std::string image, std::string directory);
// Also removes the view. A directory that is not mounted is no error.
Task<Status> unmount_image(net::EventLoop& loop, std::string socket, std::string directory);

}  // namespace caravel::node
