// `caravel world`: makes the inside of the namespaces usable, then supervises the table of processes.
#include "world/command.h"

#include <signal.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/json.h"
#include "base/strings.h"
#include "vpc/router.h"
#include "world/processes.h"

namespace caravel::world {
namespace {

constexpr Duration kStatusInterval = std::chrono::milliseconds(100);

Status mount_at(const char* source, const std::string& target, const char* type, unsigned long flags, const char* data) {
  TRY_VOID(net::make_directories(target));
  if (mount(source, target.c_str(), type, flags, data) != 0) return internal("cannot mount " + std::string(type ? type : source) + " at " + target + ": " + strerror(errno));
  return ok();
}

// Names are asked of the VPC's resolver, by everything in the world.
Status make_resolver() {
  TRY_VOID(net::write_file_atomic("/run/resolv.conf", "nameserver 10.0.0.2\nsearch us-east-1.compute.internal\noptions timeout:1\n"));
  char target[4096];
  ssize_t n = readlink("/etc/resolv.conf", target, sizeof target);
  if (n > 0) {
    // systemd-resolved's link leads into the /run that we have just covered.
    std::string path(target, static_cast<size_t>(n));
    while (path.starts_with("../")) path = path.substr(3);
    if (!path.starts_with("/")) path = (path.starts_with("run/") ? "/" : "/etc/") + path;
    if (path.starts_with("/run/")) {
      TRY_VOID(net::make_directories(path.substr(0, path.rfind('/'))));
      return net::write_file_atomic(path, net::read_file("/run/resolv.conf").value_or(""));
    }
  } else if (!net::path_exists("/etc/resolv.conf")) {
    return ok();  // the C library asks 127.0.0.1 then; nothing to cover
  }
  if (mount("/run/resolv.conf", "/etc/resolv.conf", nullptr, MS_BIND, nullptr) != 0) return internal("cannot cover /etc/resolv.conf: " + std::string(strerror(errno)));
  return ok();
}

// A /run of its own (network namespaces, containerd's state) and a /sys that shows this network
// namespace, with the host's cgroup trees put back below it.
Status make_mounts() {
  TRY_VOID(mount_at("/sys/fs/cgroup", "/mnt", nullptr, MS_BIND | MS_REC, nullptr));
  TRY_VOID(mount_at("sysfs", "/sys", "sysfs", 0, nullptr));
  TRY_VOID(mount_at("/mnt", "/sys/fs/cgroup", nullptr, MS_BIND | MS_REC, nullptr));
  umount2("/mnt", MNT_DETACH);
  TRY_VOID(mount_at("tmpfs", "/run", "tmpfs", MS_NOSUID | MS_NODEV, "mode=755"));
  TRY_VOID(mount_at("tmpfs", "/run/netns", "tmpfs", 0, "mode=755"));
  if (mount(nullptr, "/run/netns", nullptr, MS_SHARED | MS_REC, nullptr) != 0) return internal("cannot share /run/netns");
  return make_resolver();
}

// The namespaces that others expect when they start, and the VPC's own addresses.
Task<Status> make_network(net::EventLoop& loop) {
  for (auto name : {"cp", "internet"}) CO_TRY_VOID(co_await vpc::make_namespace(loop, name));
  vpc::Router router(loop);
  co_return co_await router.set_up();
}

Task<void> report(net::EventLoop& loop, Supervisor& supervisor, std::string path) {
  std::string last;
  int ticks = 0;
  while (true) {
    json::Value v = json::Value::object();
    for (auto& [name, s] : supervisor.states()) {
      json::Value p = json::Value::object();
      p["running"] = s.running;
      p["ready"] = s.ready;
      p["restarts"] = s.restarts;
      p["pid"] = s.pid;
      v["processes"][name] = std::move(p);
    }
    std::string text = json::dump_pretty(v) + "\n";
    if (text != last) {
      auto written = net::write_file_atomic(path, text);
      if (written.ok()) last = text;
    }
    if (++ticks % 10 == 0) supervisor.reap_orphans();
    co_await sleep(loop, kStatusInterval);
  }
}

Task<void> end(net::EventLoop& loop, Supervisor& supervisor) {
  co_await supervisor.stop(3s);
  loop.stop();
}

Result<int> run_world(const Flags& flags) {
  Layout l;
  l.data = flags.get("data-dir");
  l.repository = flags.get("repository");
  l.pebble = !flags.on("no-pebble");
  l.cgroup = flags.get("cgroup");
  char self[4096];
  ssize_t n = readlink("/proc/self/exe", self, sizeof self);
  if (n <= 0) return internal("cannot read /proc/self/exe");
  l.program = std::string(self, static_cast<size_t>(n));
  for (auto& s : flags.all("socket")) {
    size_t eq = s.find('=');
    l.sockets[s.substr(0, eq)] = static_cast<int>(parse_int(s.substr(eq + 1)).value_or(-1));
  }
  const bool hollow = flags.on("hollow");
  net::EventLoop loop;
  TRY_VOID(net::make_directories(l.data + "/world/logs", 0700));
  std::remove((l.data + "/server/kubeconfig").c_str());
  if (!hollow) {
    TRY_VOID(make_mounts());
    TRY_VOID(net::run_on(loop, make_network(loop)));
    TRY_VOID(write_configuration(l));
  }
  Supervisor supervisor(loop, l.data + "/world/logs");
  for (auto& spec : hollow ? hollow_process_table(l) : process_table(l)) supervisor.add(spec);
  TaskScope scope;
  scope.spawn(report(loop, supervisor, l.data + "/world/status.json"));
  auto stop = [&] { scope.spawn(end(loop, supervisor)); };
  loop.handle_signal(SIGTERM, stop);
  loop.handle_signal(SIGINT, stop);
  loop.run();
  return 0;
}

}  // namespace

const Command kWorldCommand = {
    "world",
    "pid 1 of a world of namespaces, or the parent of a hollow world's processes",
    "Started by `caravel up`.\n",
    {
        {"data-dir", "DIR", "the data directory", "/var/lib/caravel"},
        {"repository", "DIR", "folder that becomes platform.git", ""},
        {"socket", "NAME=FD", "inherited host sockets", "", true},
        {"cgroup", "PATH", "the world's cgroup", "/caravel"},
        {"no-pebble", "", "no ACME server"},
        {"hollow", "", "plain processes and simulated nodes instead of namespaces"},
    },
    run_world,
    true,
};

}  // namespace caravel::world
