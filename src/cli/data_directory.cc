#include "cli/data_directory.h"

#include <unistd.h>

#include <cstdlib>

namespace caravel::cli {

std::string default_data_directory() {
  if (geteuid() == 0) return "/var/lib/caravel";
  const char* data = std::getenv("XDG_DATA_HOME");
  if (data && *data == '/') return std::string(data) + "/caravel";
  const char* home = std::getenv("HOME");
  return (home && *home == '/' ? std::string(home) : "/tmp") + "/.local/share/caravel";
}

}  // namespace caravel::cli
