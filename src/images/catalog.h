// The images that Caravel makes from this machine's files.
#pragma once

#include <string>
#include <vector>

#include "images/image.h"

namespace caravel::images {

struct CatalogSources {
  std::string caravel;  // this program
  std::string pause;    // the static pause program beside it
  std::string busybox = "/bin/busybox";
  std::string nginx = "/usr/sbin/nginx";
  std::vector<std::string> busybox_applets;  // "sh", "ls", ...
};

// caravel.local/{pause,busybox,caravel,nginx}:latest. The nginx image also holds the caravel program,
// because the ingress controller runs nginx as its child; the layers are shared.
Result<std::vector<ImageSpec>> catalog(const CatalogSources& sources);

}  // namespace caravel::images
