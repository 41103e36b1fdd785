// Cgroups of instances on both kinds of host: one unified tree (v2) or one tree per controller (v1).
#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>

#include "base/strings.h"
#include "machines/machine.h"

namespace caravel::machines {
namespace {

constexpr char kRoot[] = "/sys/fs/cgroup";

bool unified() { return net::path_exists(std::string(kRoot) + "/cgroup.controllers"); }

// The directories that stand for one cgroup path.
std::vector<std::string> directories(const std::string& path) {
  if (unified()) return {kRoot + path};
  std::vector<std::string> out;
  for (auto controller : {"cpu", "memory", "pids"})
    if (net::path_exists(std::string(kRoot) + "/" + controller)) out.push_back(std::string(kRoot) + "/" + controller + path);
  return out;
}

void write_value(const std::string& file, const std::string& value) {
  FILE* f = std::fopen(file.c_str(), "w");
  if (!f) return;  // a controller that this kernel lacks
  std::fputs(value.c_str(), f);
  std::fclose(f);
}

void for_each_below(const std::string& directory, const std::function<void(const std::string&)>& f) {
  if (DIR* d = opendir(directory.c_str())) {
    while (dirent* e = readdir(d))
      if (e->d_type == DT_DIR && e->d_name[0] != '.') for_each_below(directory + "/" + e->d_name, f);
    closedir(d);
    f(directory);
  }
}

}  // namespace

Status limit_cgroup(const std::string& path, int cpus, int64_t memory_mib) {
  long host_cpus = sysconf(_SC_NPROCESSORS_ONLN);
  int64_t host_memory_mib = static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGESIZE) >> 20;
  for (auto& d : directories(path)) TRY_VOID(net::make_directories(d));
  // Never more than the host has: a limit above it would mean nothing.
  int64_t memory = std::min<int64_t>(memory_mib, host_memory_mib) << 20;
  if (unified()) {
    // Controllers must be handed down from the root.
    for (size_t slash = 0; slash != std::string::npos && slash < path.rfind('/') + 1; slash = path.find('/', slash + 1))
      write_value(kRoot + path.substr(0, slash) + "/cgroup.subtree_control", "+cpu +memory +pids");
    if (cpus < host_cpus) write_value(kRoot + path + "/cpu.max", std::to_string(cpus * 100000) + " 100000");
    write_value(kRoot + path + "/memory.max", std::to_string(memory));
  } else {
    if (cpus < host_cpus) write_value(std::string(kRoot) + "/cpu" + path + "/cpu.cfs_quota_us", std::to_string(cpus * 100000));
    write_value(std::string(kRoot) + "/memory" + path + "/memory.use_hierarchy", "1");
    write_value(std::string(kRoot) + "/memory" + path + "/memory.limit_in_bytes", std::to_string(memory));
  }
  return ok();
}

Result<std::string> make_leaf_cgroup(const std::string& path) {
  auto dirs = directories(path);
  if (dirs.empty()) return not_found("this kernel has no cgroup controllers for " + path);
  for (auto& d : dirs) TRY_VOID(net::make_directories(d));
  // Where there is a tree per controller, the memory one stands for all: that is what kills and limits.
  for (auto& d : dirs)
    if (d.find("/memory/") != d.npos) return d + "/cgroup.procs";
  return dirs.front() + "/cgroup.procs";
}

void kill_cgroup(const std::string& path) {
  if (unified() && net::path_exists(kRoot + path + "/cgroup.kill")) {
    write_value(kRoot + path + "/cgroup.kill", "1");
    return;
  }
  auto dirs = directories(path);
  // What forks while we kill is caught in a further round.
  for (int round = 0; round < 10; ++round) {
    size_t killed = 0;
    for (auto& top : dirs)
      for_each_below(top, [&](const std::string& d) {
        auto text = net::read_file(d + "/cgroup.procs");
        if (!text.ok()) return;
        for (auto& line : split(*text, '\n'))
          if (auto pid = parse_int(line); pid && *pid > 1) killed += kill(static_cast<pid_t>(*pid), SIGKILL) == 0;
      });
    if (!killed) return;
    usleep(2000);
  }
}

void remove_cgroup(const std::string& path) {
  for (auto& top : directories(path)) for_each_below(top, [](const std::string& d) { rmdir(d.c_str()); });
}

}  // namespace caravel::machines
