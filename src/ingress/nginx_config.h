// The model as nginx configuration. Pure: equal models give equal texts, so a reload happens only when
// something changed. Certificates are files beside the configuration, named by their content.
#pragma once

#include <map>
#include <string>

#include "ingress/model.h"

namespace caravel::ingress {

struct NginxFiles {
  std::string config;                        // nginx.conf
  std::map<std::string, std::string> files;  // relative path -> content (certificate and key in one PEM)
};

struct NginxPaths {
  std::string directory = "/tmp/nginx";  // where the files are written
  int http_port = 80, https_port = 443, status_port = 10246;
};

NginxFiles render(const Model& model, const NginxPaths& paths, const std::map<std::string, std::string>& settings);

}  // namespace caravel::ingress
