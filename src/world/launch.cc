#include "world/launch.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/hash.h"
#include "base/json.h"
#include "base/strings.h"
#include "net/process.h"
#include "world/cgroups.h"

namespace caravel::world {
namespace {

constexpr Duration kEndGrace = std::chrono::seconds(15);

Result<int> open_listener(const HostPort& port) {
  size_t colon = port.address.rfind(':');
  sockaddr_in a{};
  a.sin_family = AF_INET;
  a.sin_port = htons(static_cast<uint16_t>(parse_int(port.address.substr(colon + 1)).value_or(0)));
  if (inet_pton(AF_INET, port.address.substr(0, colon).c_str(), &a.sin_addr) != 1) return invalid("\"" + port.address + "\" is not an address such as 127.0.0.1:6443");
  int fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  int one = 1;
  setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd, 1024) != 0) {
    ::close(fd);
    return make_error(Code::kAlreadyExists, "the address " + port.address + " (" + port.name + ") is in use by another program; `ss -ltnp` names it; stop it, or stop another Caravel with `caravel down`");
  }
  return fd;
}

std::string pid_file(const std::string& data) { return data + "/world/world.pid"; }

// The process's start time: tells a reused pid.
std::string start_time(int pid) {
  auto stat = net::read_file("/proc/" + std::to_string(pid) + "/stat");
  if (!stat.ok()) return "";
  size_t paren = stat->rfind(')');
  auto fields = split_words(stat->substr(paren == std::string::npos ? 0 : paren + 1));
  return fields.size() > 19 ? fields[19] : "";
}

// Tried in a child: may this process make the namespaces of a world?
bool can_make_namespaces() {
  pid_t child = fork();
  if (child == 0) _exit(unshare(CLONE_NEWNET | CLONE_NEWNS | CLONE_NEWPID) == 0 ? 0 : 1);
  int status = 0;
  return child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

bool in_path(const std::string& program) {
  for (auto dir : {"/usr/local/sbin/", "/usr/local/bin/", "/usr/sbin/", "/usr/bin/", "/sbin/", "/bin/"})
    if (net::path_exists(dir + program)) return true;
  return false;
}

}  // namespace

std::vector<HostPort> default_ports(bool hollow) {
  if (hollow) return {{"kubernetes-api", "127.0.0.1:6443"}, {"aws", "127.0.0.1:4566"}, {"git", "127.0.0.1:3000"}};
  return {{"kubernetes-api", "127.0.0.1:6443"}, {"aws", "127.0.0.1:4566"}, {"http", "127.0.0.1:8080"}, {"https", "127.0.0.1:8443"}, {"git", "127.0.0.1:3000"}};
}

int running_world(const std::string& data) {
  auto text = net::read_file(pid_file(data));
  if (!text.ok()) return 0;
  auto words = split_words(*text);
  if (words.size() < 2) return 0;
  int pid = static_cast<int>(parse_int(words[0]).value_or(0));
  return pid > 0 && start_time(pid) == words[1] ? pid : 0;
}

bool is_hollow_world(const std::string& data) {
  auto text = net::read_file(pid_file(data));
  return text.ok() && split_words(*text).size() > 2 && split_words(*text)[2] == "hollow" && running_world(data) != 0;
}

std::vector<std::string> missing_requirements(const std::string& program, bool hollow) {
  std::vector<std::string> out;
  if (hollow) {
    for (const char* program : {"git", "curl"})
      if (!in_path(program)) out.push_back(std::string("the program ") + program + " is missing; `apt-get install " + program + "` (or `make deps`) installs it");
    return out;
  }
  if (!can_make_namespaces())
    out.push_back(geteuid() != 0 ? "network namespaces and containers need root: run it with sudo, or run `caravel up --hollow` for the control plane, GitOps and scaling flows with simulated nodes"
                                 : "network namespaces cannot be made here (an unprivileged container?): run `caravel up --hollow` for the control plane, GitOps and scaling flows with simulated nodes");
  struct Need {
    const char* program;
    const char* package;
  };
  for (auto& n : {Need{"containerd", "containerd"}, Need{"runc", "runc"}, Need{"haproxy", "haproxy"}, Need{"nginx", "nginx-light"}, Need{"nft", "nftables"}, Need{"ip", "iproute2"},
                  Need{"git", "git"}, Need{"unshare", "util-linux"}, Need{"busybox", "busybox-static"}})
    if (!in_path(n.program)) out.push_back(std::string("the program ") + n.program + " is missing; `apt-get install " + n.package + "` (or `make deps`) installs it");
  for (const char* companion : {"caravel-oci", "caravel-pause"})
    if (std::string path = program.substr(0, program.rfind('/') + 1) + companion; !net::path_exists(path))
      out.push_back(path + " is missing; `make build` makes it");
  auto filesystems = net::read_file("/proc/filesystems");
  if (filesystems.ok() && filesystems->find("overlay") == std::string::npos && !net::path_exists("/sys/module/overlay"))
    out.push_back("this kernel has no overlayfs, which containers need; `modprobe overlay` may load it");
  return out;
}

Task<Status> start_world(net::EventLoop& loop, WorldOptions options) {
  std::string directory = options.data_directory + "/world";
  CO_TRY_VOID(net::make_directories(directory + "/logs", 0700));
  if (running_world(options.data_directory)) co_return make_error(Code::kAlreadyExists, "a world of " + options.data_directory + " is running already");
  CO_TRY_VOID(net::remove_tree(directory + "/status.json"));  // it tells of the last world's processes
  net::ProcessOptions o;
  if (!options.hollow) {
    CO_TRY_VOID(remove_cgroup_tree(world_cgroup(options.data_directory)));
    o.argv = {"unshare", "--net", "--mount", "--pid", "--fork", "--kill-child=SIGKILL", "--mount-proc", "--propagation", "private"};
  }
  o.argv.insert(o.argv.end(), {options.program, "world", "--data-dir", options.data_directory, "--repository", options.sample_repository});
  if (options.hollow) o.argv.push_back("--hollow");
  else o.argv.insert(o.argv.end(), {"--cgroup", world_cgroup(options.data_directory)});
  if (!options.with_pebble) o.argv.push_back("--no-pebble");
  int next = 20;
  std::vector<int> opened;
  for (auto& port : default_ports(options.hollow)) {
    auto fd = open_listener(port);
    if (!fd.ok()) {
      for (int f : opened) ::close(f);
      co_return std::move(fd).error();
    }
    opened.push_back(*fd);
    o.fds.emplace_back(*fd, next);
    o.argv.push_back("--socket");
    o.argv.push_back(port.name + "=" + std::to_string(next++));
  }
  o.die_with_parent = false;
  o.stdout_file = o.stderr_file = directory + "/logs/world.log";
  auto process = net::spawn(loop, std::move(o));
  for (int f : opened) ::close(f);
  if (!process.ok()) co_return std::move(process).error();
  int pid = (*process)->pid();
  co_await sleep(loop, 50ms);
  if (!(*process)->running()) co_return internal("the world ended at once; see " + directory + "/logs/world.log");
  CO_TRY_VOID(net::write_file_atomic(pid_file(options.data_directory), std::to_string(pid) + " " + start_time(pid) + (options.hollow ? " hollow" : "") + "\n"));
  (*process)->release();
  co_return ok();
}

Task<Status> end_world(net::EventLoop& loop, std::string data) {
  int pid = running_world(data);
  const bool hollow = is_hollow_world(data);
  if (pid) {
    // pid 1 of the world is the only child of the outer process; a hollow world has no outer one.
    auto children = net::read_file("/proc/" + std::to_string(pid) + "/task/" + std::to_string(pid) + "/children");
    int inner = hollow ? pid : children.ok() ? static_cast<int>(parse_int(trim(*children)).value_or(0))
                                             : 0;
    if (inner) kill(inner, SIGTERM);
    Time deadline = loop.now() + kEndGrace;
    while (running_world(data) && loop.now() < deadline) co_await sleep(loop, 50ms);
    if (running_world(data)) {
      if (inner) kill(inner, SIGKILL);
      kill(pid, SIGKILL);
      while (running_world(data)) co_await sleep(loop, 50ms);
    }
  }
  Status cleaned = hollow ? ok() : remove_cgroup_tree(world_cgroup(data));
  if (net::path_exists(pid_file(data))) ::unlink(pid_file(data).c_str());
  co_return cleaned;
}

}  // namespace caravel::world
