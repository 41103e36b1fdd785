#include "machines/machine.h"

#include <unistd.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "eks/user_data.h"
#include "vpc/router.h"

namespace caravel::machines {
namespace {

constexpr char kMetadataAddress[] = "169.254.169.254";
constexpr int kMetadataPort = 16925;  // behind port 80, which programs in the instance may bind
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
  o.environment = std::map<std::string, std::string>{{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/root"}, {"AWS_ENDPOINT_URL", options_.aws_endpoint}};
  // What a script leaves in the background ends with the instance.
  auto leaf = make_leaf_cgroup(options_.cgroup_root + "/" + spec_.id + "/system");
  if (leaf.ok()) o.cgroup = *leaf;
  return o;
}

Task<Status> Machine::boot(std::function<void()> up) {
  CO_TRY_VOID(net::make_directories(directory_, 0700));
  CO_TRY_VOID(limit_cgroup(options_.cgroup_root + "/" + spec_.id, spec_.vcpus, spec_.memory_mib));
  CO_TRY_VOID(vpc::add_loopback_address(spec_.id, kMetadataAddress));
  CO_TRY_VOID(vpc::redirect_port(spec_.id, kMetadataAddress, 80, kMetadataPort));
  auto socket = vpc::listen_in_namespace(spec_.id, kMetadataAddress, kMetadataPort);
  if (!socket.ok()) co_return std::move(socket).error();
  CO_TRY_VOID(metadata_.serve(*socket));
  scope_.spawn(run_user_data(std::move(up)));
  co_return ok();
}

// As cloud-init: scripts at the first boot only; the node agent at each.
Task<void> Machine::run_user_data(std::function<void()> up) {
  up();
  auto data = eks::parse_user_data(spec_.user_data);
  Status s = ok();
  if (!data.ok()) {
    // As on EC2: the instance runs, only its set-up failed; the console tells.
    s = net::write_file_atomic(console_path(), "cloud-init: " + data.error().message + "\n");
    log_.warn(data.error().message, {{"instance", spec_.id}});
    co_return;
  }
  if (!net::path_exists(directory_ + "/booted")) {
    s = co_await run_scripts(data->scripts);
    if (!s.ok()) log_.warn("user data scripts could not be run", {{"instance", spec_.id}, {"error", s.error().message}});
  }
  s = net::write_file_atomic(directory_ + "/booted", std::to_string(spec_.boot));
  if (!data->node_config.is_object()) co_return;
  s = net::write_file_atomic(directory_ + "/node-config.yaml", yaml::dump(data->node_config), 0600);
  if (!s.ok()) log_.error("cannot write the NodeConfig", {{"instance", spec_.id}, {"error", s.error().message}});
  co_await run_node_agent();
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
