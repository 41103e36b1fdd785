// Children are made with fork() and pidfds: the child touches only async-signal-safe calls between fork
// and exec, and reports a failed step through a close-on-exec pipe, so spawn() can name it.
#include "net/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "base/strings.h"
#include "net/socket_util.h"

extern char** environ;

namespace caravel::net {
namespace {

constexpr size_t kOutputMax = 16 << 20;
constexpr Duration kStopGrace = std::chrono::seconds(2), kDrainGrace = std::chrono::milliseconds(500);

enum class Step : int { kNone,
                        kSession,
                        kTerminal,
                        kCgroup,
                        kMountNamespace,
                        kNetworkNamespace,
                        kDirectory,
                        kFile,
                        kDescriptor,
                        kExec };

const char* step_text(Step s) {
  switch (s) {
    case Step::kSession: return "starting a session";
    case Step::kTerminal: return "taking the terminal";
    case Step::kCgroup: return "entering the cgroup";
    case Step::kMountNamespace: return "entering the mount namespace (needs root)";
    case Step::kNetworkNamespace: return "entering the network namespace (needs root)";
    case Step::kDirectory: return "changing to the working directory";
    case Step::kFile: return "opening the output file";
    case Step::kDescriptor: return "passing descriptors";
    default: return "executing the program";
  }
}

struct Owned {
  int n = -1;
  Owned() = default;
  explicit Owned(int fd) : n(fd) {}
  Owned(Owned&& o) noexcept : n(std::exchange(o.n, -1)) {}
  Owned& operator=(Owned&& o) noexcept {
    std::swap(n, o.n);
    return *this;
  }
  ~Owned() {
    if (n >= 0) ::close(n);
  }
  int take() { return std::exchange(n, -1); }
};

Status make_pipe(Owned& read_end, Owned& write_end) {
  int fds[2];
  if (pipe2(fds, O_CLOEXEC) != 0) return errno_error("making a pipe", errno);
  read_end = Owned(fds[0]);
  write_end = Owned(fds[1]);
  return ok();
}

Result<std::string> find_program(const std::string& name) {
  if (name.find('/') != name.npos) return name;
  const char* path = getenv("PATH");
  for (auto& dir : split(path ? path : "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", ':')) {
    std::string full = (dir.empty() ? "." : dir) + "/" + name;
    if (access(full.c_str(), X_OK) == 0) return full;
  }
  return not_found("program \"" + name + "\" is not in PATH; install it (make deps installs what Caravel needs)");
}

// What the child needs, prepared before fork() because the child must not allocate.
struct ChildPlan {
  std::vector<char*> argv, envp;
  const char* program = nullptr;
  const ProcessOptions* o = nullptr;
  int in = -1, out = -1, err = -1;  // already open, or -1
  int terminal = -1;
  std::vector<std::pair<int, int>> fds;  // source copies (above every target), targets
  int report = -1;
  pid_t parent = 0;
};

[[noreturn]] void fail(const ChildPlan& p, Step step) {
  int message[2] = {static_cast<int>(step), errno};
  (void)!write(p.report, message, sizeof message);
  _exit(127);
}

// Closes everything above stderr that is neither a target nor the report pipe.
void close_others(const ChildPlan& p) {
  int from = 3;
  for (;;) {
    int keep = -1;
    for (auto& [src, dst] : p.fds)
      if (dst >= from && (keep < 0 || dst < keep)) keep = dst;
    if (p.report >= from && (keep < 0 || p.report < keep)) keep = p.report;
    unsigned to = keep < 0 ? ~0u : static_cast<unsigned>(keep) - 1;
    if (keep < 0 || keep > from) syscall(SYS_close_range, static_cast<unsigned>(from), to, 0u);
    if (keep < 0) return;
    from = keep + 1;
  }
}

[[noreturn]] void child(const ChildPlan& p) {
  const ProcessOptions& o = *p.o;
  for (int s = 1; s < NSIG; ++s)
    if (s != SIGKILL && s != SIGSTOP) signal(s, SIG_DFL);
  sigset_t none;
  sigemptyset(&none);
  sigprocmask(SIG_SETMASK, &none, nullptr);
  if (o.die_with_parent) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != p.parent) _exit(127);
  }
  if ((o.new_session || o.terminal) && setsid() < 0) fail(p, Step::kSession);
  if (!o.cgroup.empty()) {
    int fd = open(o.cgroup.c_str(), O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, "0", 1) != 1) fail(p, Step::kCgroup);
    close(fd);
  }
  if (o.netns_fd >= 0 && setns(o.netns_fd, CLONE_NEWNET) != 0) fail(p, Step::kNetworkNamespace);
  if (o.mntns_fd >= 0 && setns(o.mntns_fd, CLONE_NEWNS) != 0) fail(p, Step::kMountNamespace);
  if (!o.directory.empty() && chdir(o.directory.c_str()) != 0) fail(p, Step::kDirectory);
  int in = p.in, out = p.out, err = p.err;
  if (p.terminal >= 0) {
    if (ioctl(p.terminal, TIOCSCTTY, 0) != 0) fail(p, Step::kTerminal);
    in = out = err = p.terminal;
  }
  if (in < 0) in = open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (dup2(in, 0) < 0 || (out >= 0 && dup2(out, 1) < 0) || (err >= 0 && dup2(err, 2) < 0)) fail(p, Step::kDescriptor);
  for (auto& [src, dst] : p.fds)
    if (dup2(src, dst) < 0) fail(p, Step::kDescriptor);
  close_others(p);
  execve(p.program, p.argv.data(), p.envp.data());
  fail(p, Step::kExec);
}

class ChildProcess final : public Process {
 public:
  ChildProcess(EventLoop& loop, pid_t pid, int pidfd) : loop_(loop), pid_(pid), pidfd_(pidfd), ended_(loop) { scope_.spawn(watch()); }
  ~ChildProcess() override {
    scope_.cancel_all();
    if (running_ && !released_) {
      kill_now();
      int status;
      while (waitpid(pid_, &status, 0) < 0 && errno == EINTR) {
      }
    }
    loop_.forget(pidfd_);
    ::close(pidfd_);
  }
  pid_t pid() const override { return pid_; }
  bool running() const override { return running_; }
  Task<ExitStatus> wait() override {
    while (running_) co_await ended_.wait();
    co_return exit_;
  }
  Status signal(int signo) override {
    if (!running_) return not_found("process " + std::to_string(pid_) + " has ended");
    if (syscall(SYS_pidfd_send_signal, pidfd_, signo, nullptr, 0) != 0) return errno_error("signalling process " + std::to_string(pid_), errno);
    return ok();
  }
  Task<ExitStatus> stop(Duration grace) override {
    if (running_) {
      Status s = signal(SIGTERM);
      (void)s;
      bool in_time = co_await ended_.wait(grace);
      if (!in_time && running_) {
        kill_now();
        co_await ended_.wait();
      }
    }
    co_return exit_;
  }
  void release() override { released_ = true; }
  Stream* stdin_stream() override { return in.get(); }
  Stream* stdout_stream() override { return out.get(); }
  Stream* stderr_stream() override { return err.get(); }
  Status resize_terminal(int columns, int rows) override {
    winsize size{static_cast<unsigned short>(rows), static_cast<unsigned short>(columns), 0, 0};
    if (!out || !terminal || ioctl(out->fd(), TIOCSWINSZ, &size) != 0) return invalid("process " + std::to_string(pid_) + " has no terminal");
    return ok();
  }

  StreamPtr in, out, err;
  bool terminal = false;

 private:
  bool released_ = false;
  void kill_now() { syscall(SYS_pidfd_send_signal, pidfd_, SIGKILL, nullptr, 0); }
  Task<void> watch() {
    while (running_) {
      Status s = co_await loop_.readable(pidfd_);
      int status = 0;
      pid_t r = waitpid(pid_, &status, WNOHANG);
      if (r == 0 && s.ok()) continue;
      if (r == pid_ && WIFSIGNALED(status)) {
        exit_.signal = WTERMSIG(status);
        exit_.code = 128 + exit_.signal;
      } else if (r == pid_) {
        exit_.code = WEXITSTATUS(status);
      } else {
        exit_.code = 255;  // somebody else reaped it
      }
      running_ = false;
    }
    ended_.set();
  }
  EventLoop& loop_;
  pid_t pid_;
  int pidfd_;
  bool running_ = true;
  ExitStatus exit_;
  Event ended_;
  TaskScope scope_;
};

Status open_output(const std::string& path, Owned& fd) {
  if (path.empty()) return ok();
  fd = Owned(::open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0644));
  if (fd.n < 0) return errno_error("opening " + path, errno);
  return ok();
}

struct Pipes {
  Owned in_ours, in_theirs, out_ours, out_theirs, err_ours, err_theirs, master, slave;
};

Status open_terminal(Pipes& p) {
  p.master = Owned(posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC | O_NONBLOCK));
  char name[128];
  if (p.master.n < 0 || grantpt(p.master.n) != 0 || unlockpt(p.master.n) != 0 || ptsname_r(p.master.n, name, sizeof name) != 0)
    return errno_error("opening a pseudo terminal (is /dev/pts mounted?)", errno);
  p.slave = Owned(::open(name, O_RDWR | O_NOCTTY | O_CLOEXEC));
  if (p.slave.n < 0) return errno_error("opening a pseudo terminal", errno);
  return ok();
}

Status open_pipes(const ProcessOptions& o, Pipes& p) {
  if (o.terminal) return open_terminal(p);
  if (o.stdin_pipe) TRY_VOID(make_pipe(p.in_theirs, p.in_ours));
  TRY_VOID(open_output(o.stdout_file, p.out_theirs));
  TRY_VOID(open_output(o.stderr_file, p.err_theirs));
  if (o.stdout_pipe && p.out_theirs.n < 0) TRY_VOID(make_pipe(p.out_ours, p.out_theirs));
  if (o.stderr_pipe && p.err_theirs.n < 0) TRY_VOID(make_pipe(p.err_ours, p.err_theirs));
  return ok();
}

}  // namespace

Result<std::unique_ptr<Process>> spawn(EventLoop& loop, ProcessOptions o) {
  if (o.argv.empty()) return invalid("a process needs a program to run");
  TRY(std::string program, find_program(o.argv[0]));
  Pipes pipes;
  TRY_VOID(open_pipes(o, pipes));
  Owned report_read, report_write;
  TRY_VOID(make_pipe(report_read, report_write));

  ChildPlan plan;
  plan.o = &o;
  plan.program = program.c_str();
  plan.parent = getpid();
  for (auto& a : o.argv) plan.argv.push_back(a.data());
  plan.argv.push_back(nullptr);
  std::vector<std::string> env;
  if (o.environment) {
    for (auto& [k, v] : *o.environment) env.push_back(k + "=" + v);
  } else {
    for (char** e = environ; *e; ++e) env.push_back(*e);
  }
  for (auto& e : env) plan.envp.push_back(e.data());
  plan.envp.push_back(nullptr);

  // Copies of what the child gets, above every target number, so that no dup2 overwrites a source.
  int top = 10;
  for (auto& [ours, theirs] : o.fds) top = std::max(top, theirs + 1);
  std::vector<Owned> copies;
  auto copy = [&](int fd) {
    if (fd < 0) return -1;
    copies.emplace_back(fcntl(fd, F_DUPFD_CLOEXEC, top));
    return copies.back().n;
  };
  plan.in = copy(pipes.in_theirs.n);
  plan.out = copy(pipes.out_theirs.n);
  plan.err = copy(pipes.err_theirs.n);
  plan.terminal = copy(pipes.slave.n);
  plan.report = copy(report_write.n);
  for (auto& [ours, theirs] : o.fds) {
    int c = copy(ours);
    if (c < 0) return errno_error("passing descriptor " + std::to_string(ours) + " to " + o.argv[0], errno);
    plan.fds.emplace_back(c, theirs);
  }

  sigset_t all, old;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &old);  // no handler of ours runs in the child
  pid_t pid = fork();
  if (pid == 0) child(plan);
  int fork_errno = errno;
  pthread_sigmask(SIG_SETMASK, &old, nullptr);
  if (pid < 0) return errno_error("starting " + o.argv[0], fork_errno);
  copies.clear();
  report_write = Owned();

  int message[2] = {0, 0};
  ssize_t n;
  do n = ::read(report_read.n, message, sizeof message);
  while (n < 0 && errno == EINTR);
  if (n == sizeof message) {
    int status;
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR) {
    }
    Step step = static_cast<Step>(message[0]);
    std::string what = "starting " + o.argv[0] + ": " + step_text(step);
    if (step == Step::kDirectory) what += " " + o.directory;
    if (step == Step::kCgroup) what += " " + o.cgroup;
    if (step == Step::kExec) what += " " + program;
    return errno_error(what, message[1]);
  }
  int pidfd = static_cast<int>(syscall(SYS_pidfd_open, pid, 0));
  if (pidfd < 0) {
    int e = errno;
    kill(pid, SIGKILL);
    waitpid(pid, nullptr, 0);
    return errno_error("watching " + o.argv[0] + " (needs Linux 5.3 or later)", e);
  }
  fcntl(pidfd, F_SETFD, FD_CLOEXEC);
  auto p = std::make_unique<ChildProcess>(loop, pid, pidfd);
  if (o.terminal) {
    p->terminal = true;
    int second = fcntl(pipes.master.n, F_DUPFD_CLOEXEC, 0);
    p->out = stream_from_fd(loop, pipes.master.take());
    p->in = stream_from_fd(loop, second);
  }
  if (pipes.in_ours.n >= 0) p->in = stream_from_fd(loop, pipes.in_ours.take());
  if (pipes.out_ours.n >= 0) p->out = stream_from_fd(loop, pipes.out_ours.take());
  if (pipes.err_ours.n >= 0) p->err = stream_from_fd(loop, pipes.err_ours.take());
  return std::unique_ptr<Process>(std::move(p));
}

namespace {

struct Collect {
  explicit Collect(EventLoop& loop) : changed(loop) {}
  Event changed;
  int running = 0;
};

Task<void> collect(Stream* from, std::string* to, Collect* state) {
  std::unique_ptr<char[]> buffer(new char[64 * 1024]);
  for (;;) {
    auto n = co_await from->read(std::span(buffer.get(), 64 * 1024));
    if (!n.ok() || *n == 0) break;
    to->append(buffer.get(), std::min(*n, kOutputMax - to->size()));
  }
  --state->running;
  state->changed.pulse();
}

Task<void> note_end(Process* process, Collect* state) {
  co_await process->wait();
  state->changed.pulse();
}

Task<void> feed(Stream* to, std::string input, Collect* state) {
  Status s = co_await to->write(input);  // a child that does not read its input decides so itself
  (void)s;
  to->close();
  --state->running;
  state->changed.pulse();
}

}  // namespace

Task<Result<ProcessOutput>> run_process(EventLoop& loop, ProcessOptions options, std::string input, Duration timeout) {
  std::string name = options.argv.empty() ? "" : options.argv[0];
  options.stdin_pipe = !input.empty();
  options.stdout_pipe = options.stdout_file.empty();
  options.stderr_pipe = options.stderr_file.empty();
  Time deadline = loop.now() + timeout;
  CO_TRY(auto process, spawn(loop, std::move(options)));
  ProcessOutput out;
  Collect state(loop);
  TaskScope scope;
  if (process->stdin_stream()) {
    ++state.running;
    scope.spawn(feed(process->stdin_stream(), std::move(input), &state));
  }
  for (Stream* s : {process->stdout_stream(), process->stderr_stream()}) {
    if (!s) continue;
    ++state.running;
    scope.spawn(collect(s, s == process->stdout_stream() ? &out.out : &out.err, &state));
  }
  scope.spawn(note_end(process.get(), &state));
  while (process->running() || state.running > 0) {
    Duration left = deadline - loop.now();
    if (left.count() <= 0 && process->running()) {
      scope.cancel_all();
      co_await process->stop(kStopGrace);
      co_return make_error(Code::kTimeout, name + " did not end within " + format_duration(timeout) + " and was stopped");
    }
    // A grandchild may hold the pipes open after the program has ended: that is not waited for.
    bool ended = !process->running();
    if (ended) left = kDrainGrace;
    bool woken = co_await state.changed.wait(left);
    if (!woken && ended) break;
  }
  out.exit = co_await process->wait();
  co_return out;
}

}  // namespace caravel::net
