#include "world/cgroups.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <functional>

#include "base/hash.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::world {
namespace {

void below(const std::string& directory, const std::function<void(const std::string&)>& f) {
  DIR* d = opendir(directory.c_str());
  if (!d) return;
  while (dirent* e = readdir(d))
    if (e->d_type == DT_DIR && e->d_name[0] != '.') below(directory + "/" + e->d_name, f);
  closedir(d);
  f(directory);
}

}  // namespace

std::string world_cgroup(const std::string& data) { return "/caravel-" + sha256_hex(data).substr(0, 8); }

void remove_cgroup_tree(const std::string& path) {
  std::vector<std::string> roots = {"/sys/fs/cgroup" + path};
  if (!net::path_exists("/sys/fs/cgroup/cgroup.controllers")) {
    auto controllers = net::list_directory("/sys/fs/cgroup");
    if (controllers.ok())
      for (auto& c : *controllers) roots.push_back("/sys/fs/cgroup/" + c + path);
  }
  for (auto& root : roots) {
    if (!net::path_exists(root)) continue;
    for (int round = 0; round < 20; ++round) {
      int killed = 0;
      below(root, [&](const std::string& d) {
        auto procs = net::read_file(d + "/cgroup.procs");
        if (!procs.ok()) return;
        for (auto& line : split(*procs, '\n'))
          if (auto pid = parse_int(line); pid && *pid > 1) killed += kill(static_cast<pid_t>(*pid), SIGKILL) == 0;
      });
      below(root, [](const std::string& d) { rmdir(d.c_str()); });
      if (!net::path_exists(root)) break;
      usleep(killed ? 5000 : 1000);
    }
  }
}

}  // namespace caravel::world
