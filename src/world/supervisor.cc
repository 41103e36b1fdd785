#include "world/supervisor.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <set>

namespace caravel::world {
namespace {

constexpr Duration kPauseMin = std::chrono::milliseconds(100);
constexpr Duration kPauseMax = std::chrono::seconds(5);
constexpr Duration kReadyPoll = std::chrono::milliseconds(20);

}  // namespace

void Supervisor::add(ProcessSpec spec) {
  order_.push_back(spec.name);
  states_[spec.name];
  scope_.spawn(keep(std::move(spec)));
}

net::ProcessOptions Supervisor::options_for(const ProcessSpec& spec) {
  net::ProcessOptions o;
  o.argv = spec.argv;
  o.environment = std::map<std::string, std::string>{{"PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"}, {"HOME", "/root"}};
  for (auto& [k, v] : spec.environment) (*o.environment)[k] = v;
  o.stdout_file = o.stderr_file = logs_ + "/" + spec.name + ".log";
  o.fds = spec.fds;
  if (!spec.netns.empty()) o.netns_fd = ::open(("/run/netns/" + spec.netns).c_str(), O_RDONLY | O_CLOEXEC);
  return o;
}

Task<void> Supervisor::wait_ready(ProcessSpec spec) {
  ProcessState& state = states_[spec.name];
  while (state.running && !state.ready) {
    bool ready = spec.ready_address.empty() && spec.ready_file.empty();
    if (!spec.ready_file.empty()) ready = net::path_exists(spec.ready_file);
    if (!spec.ready_address.empty()) {
      net::Address address{spec.ready_address};
      net::ConnectOptions options;
      options.timeout = 1s;
      auto stream = co_await net::connect(loop_, std::move(address), std::move(options));
      ready = stream.ok();
    }
    if (ready) {
      state.ready = true;
      log_.info("ready", {{"process", spec.name}});
      changed_.pulse();
      co_return;
    }
    co_await sleep(loop_, kReadyPoll);
  }
}

Task<void> Supervisor::keep(ProcessSpec spec) {
  while (true) {
    bool all = true;
    for (auto& name : spec.after) all = all && states_[name].ready;
    if (all) break;
    co_await changed_.wait();
  }
  ProcessState& state = states_[spec.name];
  Duration pause = kPauseMin;
  while (!stopping_) {
    auto options = options_for(spec);
    int netns = options.netns_fd;
    Time started = loop_.now();
    auto process = net::spawn(loop_, std::move(options));
    if (netns >= 0) ::close(netns);
    if (!process.ok()) {
      log_.error("cannot start", {{"process", spec.name}, {"error", process.error().message}});
    } else {
      std::shared_ptr<net::Process> p(std::move(*process));
      processes_[spec.name] = p;
      state.running = true;
      state.pid = p->pid();
      TaskScope readiness;
      if (!spec.once) readiness.spawn(wait_ready(spec));
      auto exit = co_await p->wait();
      state.running = false;
      state.last_code = exit.code;
      if (spec.once && exit.code == 0) {
        state.ready = true;
        changed_.pulse();
        co_return;
      }
      state.ready = false;
      if (stopping_) co_return;
      ++state.restarts;
      log_.warn("ended; starting it again", {{"process", spec.name}, {"code", exit.code}});
    }
    if (loop_.now() - started > kPauseMax) pause = kPauseMin;
    co_await sleep(loop_, pause);
    pause = std::min(pause * 2, kPauseMax);
  }
}

Task<void> Supervisor::stop(Duration grace) {
  stopping_ = true;
  for (auto& [name, p] : processes_) {
    if (!p->running()) continue;
    Status asked = p->signal(SIGTERM);
    (void)asked;
  }
  Time deadline = loop_.now() + grace;
  auto any = [this] {
    for (auto& [name, p] : processes_)
      if (p->running()) return true;
    return false;
  };
  while (any() && loop_.now() < deadline) co_await sleep(loop_, kReadyPoll);
}

void Supervisor::reap_orphans() {
  std::set<pid_t> ours;
  for (auto& [name, p] : processes_)
    if (p->running()) ours.insert(p->pid());
  for (int i = 0; i < 1000; ++i) {
    siginfo_t info{};
    if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) return;
    // One of ours: its own waiter takes it; look again later.
    if (ours.count(info.si_pid)) return;
    waitpid(info.si_pid, nullptr, WNOHANG);
  }
}

}  // namespace caravel::world
