#include "world/cgroups.h"

#include <dirent.h>
#include <signal.h>
#include <unistd.h>

#include <chrono>
#include <functional>

#include "base/hash.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::world {
namespace {

constexpr auto kRemovalMax = std::chrono::seconds(15);

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

Status remove_cgroup_tree(const std::string& path) {
  std::vector<std::string> roots = {"/sys/fs/cgroup" + path};
  if (!net::path_exists("/sys/fs/cgroup/cgroup.controllers")) {
    auto controllers = net::list_directory("/sys/fs/cgroup");
    if (controllers.ok())
      for (auto& c : *controllers) roots.push_back("/sys/fs/cgroup/" + c + path);
  }
  // A killed process keeps its cgroup busy until the kernel has taken it apart, which takes a loaded machine seconds.
  const auto deadline = std::chrono::steady_clock::now() + kRemovalMax;
  for (auto& root : roots) {
    while (net::path_exists(root)) {
      below(root, [&](const std::string& d) {
        auto procs = net::read_file(d + "/cgroup.procs");
        if (!procs.ok()) return;
        for (auto& line : split(*procs, '\n'))
          if (auto pid = parse_int(line); pid && *pid > 1) kill(static_cast<pid_t>(*pid), SIGKILL);
      });
      below(root, [](const std::string& d) { rmdir(d.c_str()); });
      if (!net::path_exists(root)) break;
      if (std::chrono::steady_clock::now() > deadline) return internal("the cgroup " + root + " cannot be removed: it still has processes that do not end; see " + root + "/cgroup.procs");
      usleep(5000);
    }
  }
  return ok();
}

}  // namespace caravel::world
