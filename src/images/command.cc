#include "images/command.h"

#include <cstdio>

#include "images/importer.h"

namespace caravel::images {
namespace {

Result<int> run(const Flags& flags) {
  ImportOptions o;
  o.containerd = flags.get("containerd");
  o.state_directory = flags.get("state-dir");
  o.snapshotter = flags.get("snapshotter");
  TRY(CatalogSources sources, default_sources());
  net::EventLoop loop;
  auto r = net::run_on(loop, import_images(loop, std::move(o), std::move(sources)));
  if (!r.ok()) return std::move(r).error();
  std::printf("%d images imported, %d already there\n", r->imported, r->present);
  return 0;
}

}  // namespace

const Command kImagesCommand = {
    "images",
    "make the caravel.local images from this machine's files and import them into containerd",
    "caravel images --containerd /run/containerd/containerd.sock --state-dir /var/lib/caravel/images",
    {{"containerd", "SOCKET", "containerd's socket", "/run/containerd/containerd.sock"},
     {"state-dir", "DIR", "where to remember what was imported", "/var/lib/caravel/images"},
     {"snapshotter", "NAME", "containerd snapshotter to unpack into", "overlayfs"}},
    run,
};

}  // namespace caravel::images
