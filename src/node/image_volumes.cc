#include "node/image_volumes.h"

#include <algorithm>

#include "base/strings.h"
#include "node/mounts.h"

namespace caravel::node {
namespace {

Task<Status> ctr_images(net::EventLoop& loop, std::string socket, std::vector<std::string> args) {
  net::ProcessOptions o;
  o.argv = {"ctr", "--address", std::move(socket), "--namespace", "k8s.io", "images"};
  o.argv.insert(o.argv.end(), args.begin(), args.end());
  auto r = co_await net::run_process(loop, std::move(o));
  if (!r.ok()) co_return wrap(std::move(r).error(), "running ctr (Debian package containerd)");
  if (r->exit.code != 0) co_return unavailable("containerd refused to " + args[0] + " an image: " + std::string(trim(r->err)));
  co_return ok();
}

// A view of an image with one layer is on the device that its directory is on: only the list of mounts tells.
bool is_mounted(const std::string& directory) {
  const std::vector<std::string> mounts = mounts_from(directory);
  return std::find(mounts.begin(), mounts.end(), directory) != mounts.end();
}

}  // namespace

Task<Status> mount_image(net::EventLoop& loop, std::string socket, std::string image, std::string directory) {
  if (is_mounted(directory)) co_return ok();
  CO_TRY_VOID(net::make_directories(directory));
  std::vector<std::string> args = {"mount", "--snapshotter", "overlayfs", image, directory};
  co_return co_await ctr_images(loop, std::move(socket), std::move(args));
}

Task<Status> unmount_image(net::EventLoop& loop, std::string socket, std::string directory) {
  if (!is_mounted(directory)) co_return ok();
  std::vector<std::string> args = {"unmount", "--rm", "--snapshotter", "overlayfs", directory};
  co_return co_await ctr_images(loop, std::move(socket), std::move(args));
}

}  // namespace caravel::node
