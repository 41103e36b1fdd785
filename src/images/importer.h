// Brings the catalog's images into containerd. Idempotent: an image whose sources have not changed and
// that containerd still has is left alone, which makes a warm start a few milliseconds.
#pragma once

#include <string>

#include "images/catalog.h"
#include "net/event_loop.h"

namespace caravel::images {

struct ImportOptions {
  std::string containerd = "/run/containerd/containerd.sock";
  std::string state_directory;  // keeps what was imported: DATA/images
  std::string snapshotter = "overlayfs";
};
struct ImportResult {
  int imported = 0, present = 0;
};
Task<Result<ImportResult>> import_images(net::EventLoop& loop, ImportOptions options, CatalogSources sources);

// Where the programs are that belong to this one: this binary, and `caravel-pause` beside it.
Result<CatalogSources> default_sources();

}  // namespace caravel::images
