#include "machines/machine.h"

#include <unistd.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "machines/user_data.h"
#include "vpc/router.h"

namespace caravel::machines {
namespace {

constexpr char kMetadataAddress[] = "169.254.169.254";
// Where the VPC's AWS endpoint is; on EC2 itself the SDKs know it.
constexpr char kAwsEndpoint[] = "http://10.0.0.4:4566";
constexpr Duration kScriptTimeout = std::chrono::minutes(10);
constexpr Duration kRestartMin = std::chrono::milliseconds(200);
constexpr Duration kRestartMax = std::chrono::seconds(10);

}  // namespace

Machine::Machine(net::EventLoop& loop, SubstrateHost& host, const WorldOptions& options, InstanceSpec spec)
    : loop_(loop), host_(host), options_(options), spec_(std::move(spec)), directory_(options.data_directory + "/" + spec_.id), metadata_(loop, host, spec_.id, spec_.metadata) {}

Machine::~Machine() = default;

net::ProcessOptions Machine::in_instance(std::vector<std::string> argv) {
  net::ProcessOptions o;
  o.argv = std::move(argv);
  o.netns_fd = vpc::open_namespace(spec_.id);
  o.stdout_file = o.stderr_file = console_path();
  o.environment = std::map<std::string, std::string>{{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/root"},
                                                     {"AWS_ENDPOINT_URL", kAwsEndpoint}};
  return o;
}

Status Machine::make_cgroup() { return limit_cgroup(options_.cgroup_root + "/" + spec_.id, spec_.vcpus, spec_.memory_mib); }

Task<Status> Machine::boot() {
  CO_TRY_VOID(net::make_directories(directory_, 0700));
  CO_TRY_VOID(make_cgroup());
  auto socket = vpc::listen_in_namespace(spec_.id, kMetadataAddress, 80);
  if (!socket.ok()) co_return std::move(socket).error();
  CO_TRY_VOID(metadata_.serve(*socket));
  net::ProcessOptions address;
  address.argv = {"ip", "-n", spec_.id, "addr", "replace", std::string(kMetadataAddress) + "/32", "dev", "lo"};
  auto added = co_await net::run_process(loop_, std::move(address), "", 10s);
  if (!added.ok()) co_return std::move(added).error();

  auto data = parse_user_data(spec_.user_data);
  if (!data.ok()) {
    // As on EC2: the instance runs, only its set-up failed; the console tells.
    auto noted = net::write_file_atomic(console_path(), "cloud-init: " + data.error().message + "\n");
    (void)noted;
    log_.warn(data.error().message, {{"instance", spec_.id}});
    co_return ok();
  }
  bool first_boot = !net::path_exists(directory_ + "/booted");
  if (first_boot) CO_TRY_VOID(co_await run_scripts(data->scripts));
  CO_TRY_VOID(net::write_file_atomic(directory_ + "/booted", std::to_string(spec_.boot)));
  if (data->node_config.is_object()) {
    CO_TRY_VOID(net::write_file_atomic(directory_ + "/node-config.yaml", yaml::dump(data->node_config), 0600));
    scope_.spawn(run_node_agent());
  }
  co_return ok();
}

Task<Status> Machine::run_scripts(std::vector<std::string> scripts) {
  size_t n = 0;
  for (auto& s : scripts) {
    std::string path = directory_ + "/part-" + std::to_string(n++) + ".sh";
    CO_TRY_VOID(net::write_file_atomic(path, s, 0700));
    auto options = in_instance({"/bin/sh", path});
    int fd = options.netns_fd;
    auto r = co_await net::run_process(loop_, std::move(options), "", kScriptTimeout);
    if (fd >= 0) ::close(fd);
    if (!r.ok()) co_return std::move(r).error();
    if (r->exit.code != 0) log_.warn("a user data script failed", {{"instance", spec_.id}, {"code", r->exit.code}});
  }
  co_return ok();
}

Task<void> Machine::run_node_agent() {
  Duration pause = kRestartMin;
  while (!ending_) {
    auto options = in_instance({options_.program, "node", "--node-config", directory_ + "/node-config.yaml", "--containerd", options_.containerd_socket, "--root-dir", directory_ + "/kubelet",
                                "--cgroup-root", options_.cgroup_root + "/" + spec_.id, "--netns", "/run/netns/" + spec_.id});
    int fd = options.netns_fd;
    Time started = loop_.now();
    auto process = net::spawn(loop_, std::move(options));
    if (fd >= 0) ::close(fd);
    if (!process.ok()) {
      log_.error("cannot start the node agent", {{"instance", spec_.id}, {"error", process.error().message}});
    } else {
      agent_ = std::move(*process);
      auto exit = co_await agent_->wait();
      if (ending_) co_return;
      log_.warn("the node agent ended; starting it again", {{"instance", spec_.id}, {"code", exit.code}});
    }
    if (loop_.now() - started > kRestartMax) pause = kRestartMin;
    co_await sleep(loop_, pause);
    pause = std::min(pause * 2, kRestartMax);
  }
}

Task<void> Machine::end(Duration grace) {
  ending_ = true;
  if (agent_ && agent_->running()) co_await agent_->stop(grace);
  kill_cgroup(options_.cgroup_root + "/" + spec_.id);
  co_await sleep(loop_, 20ms);
  remove_cgroup(options_.cgroup_root + "/" + spec_.id);
}

}  // namespace caravel::machines
