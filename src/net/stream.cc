#include "net/stream.h"

#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/socket_util.h"
#include "net/tls_stream.h"

namespace caravel::net {
namespace {

constexpr int kListenBacklog = 4096;
constexpr size_t kSpliceBuffer = 64 * 1024;
// A peer that vanished without a word is noticed after 30 s of silence and three probes 10 s apart.
constexpr int kKeepAliveIdleSeconds = 30, kKeepAliveIntervalSeconds = 10, kKeepAliveProbes = 3;

Error closed_error() { return make_error(Code::kCancelled, "the stream was closed on this side"); }

void tune(int fd, int family) {
  if (family != AF_INET && family != AF_INET6) return;
  int one = 1;
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &one, sizeof one);
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &kKeepAliveIdleSeconds, sizeof(int));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &kKeepAliveIntervalSeconds, sizeof(int));
  setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &kKeepAliveProbes, sizeof(int));
}

class FdStream final : public Stream {
 public:
  FdStream(EventLoop& loop, int fd, std::string peer = "") : loop_(loop), fd_(fd), peer_(std::move(peer)) {
    struct stat st;
    socket_ = fstat(fd, &st) == 0 && S_ISSOCK(st.st_mode);
  }
  ~FdStream() override { close(); }

  Task<Result<size_t>> read(std::span<char> buffer) override {
    for (;;) {
      if (fd_ < 0) co_return closed_error();
      // After a short read of a socket the kernel has nothing more until it reports a new edge.
      if (!drained_) {
        ssize_t n = socket_ ? ::recv(fd_, buffer.data(), buffer.size(), 0) : ::read(fd_, buffer.data(), buffer.size());
        if (n >= 0) {
          drained_ = socket_ && n > 0 && static_cast<size_t>(n) < buffer.size();
          co_return static_cast<size_t>(n);
        }
        int e = errno;
        if (e == EINTR) continue;
        if (e == EIO && !socket_) co_return size_t{0};  // a terminal whose other side has closed
        if (e != EAGAIN && e != EWOULDBLOCK) co_return errno_error("reading from " + where(), e);
      }
      FdWait w(loop_, fd_, FdWait::kRead);
      FdWait::Outcome o = co_await w;
      if (o != FdWait::Outcome::kReady) co_return closed_error();
      drained_ = false;
    }
  }
  Task<Status> write(std::string_view data) override {
    while (!data.empty()) {
      if (fd_ < 0) co_return closed_error();
      ssize_t n = socket_ ? ::send(fd_, data.data(), data.size(), MSG_NOSIGNAL) : ::write(fd_, data.data(), data.size());
      if (n >= 0) {
        data.remove_prefix(static_cast<size_t>(n));
        continue;
      }
      int e = errno;
      if (e == EINTR) continue;
      if (e != EAGAIN && e != EWOULDBLOCK) co_return errno_error("writing to " + where(), e);
      FdWait w(loop_, fd_, FdWait::kWrite);
      FdWait::Outcome o = co_await w;
      if (o != FdWait::Outcome::kReady) co_return closed_error();
    }
    co_return ok();
  }
  Task<Status> write_two(std::string_view first, std::string_view second) override {
    if (fd_ < 0) co_return closed_error();
    iovec v[2] = {{const_cast<char*>(first.data()), first.size()}, {const_cast<char*>(second.data()), second.size()}};
    ssize_t n = ::writev(fd_, v, 2);
    size_t done = n > 0 ? static_cast<size_t>(n) : 0;  // errors come again, from write()
    if (done < first.size()) {
      Status s = co_await write(first.substr(done));
      if (!s.ok()) co_return s;
      done = first.size();
    }
    Status s = co_await write(second.substr(done - first.size()));
    co_return s;
  }
  Task<Status> shutdown_write() override {
    if (fd_ < 0) co_return closed_error();
    if (socket_) {
      if (::shutdown(fd_, SHUT_WR) != 0 && errno != ENOTCONN) co_return errno_error("ending the stream to " + where(), errno);
    } else {
      close();  // one end of a pipe: closing is the only way to say so
    }
    co_return ok();
  }
  void close() override {
    if (fd_ < 0) return;
    loop_.forget(fd_);
    ::close(std::exchange(fd_, -1));
  }
  std::string peer() const override {
    if (!peer_.empty() || !socket_ || fd_ < 0) return peer_;
    SocketAddress a;
    a.length = sizeof a.storage;
    if (getpeername(fd_, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return "";
    return format_address(a);
  }
  std::string local() const override {
    SocketAddress a;
    a.length = sizeof a.storage;
    if (!socket_ || fd_ < 0 || getsockname(fd_, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return "";
    return format_address(a);
  }
  bool peer_gone() const override { return fd_ < 0 || loop_.hung_up(fd_); }
  Task<void> wait_peer_gone() override {
    FdWait w(loop_, fd_, FdWait::kHangup);
    co_await w;
  }
  int fd() const override { return fd_; }
  int release_fd() override {
    loop_.forget(fd_);
    return std::exchange(fd_, -1);
  }

 private:
  std::string where() const {
    std::string p = peer();
    return p.empty() ? "a pipe" : p;
  }
  EventLoop& loop_;
  int fd_;
  bool socket_ = false;
  bool drained_ = false;
  std::string peer_;
};

class PrefixedStream final : public Stream {
 public:
  PrefixedStream(std::string first, StreamPtr inner) : first_(std::move(first)), inner_(std::move(inner)) {}
  Task<Result<size_t>> read(std::span<char> buffer) override {
    if (used_ < first_.size()) {
      size_t n = std::min(buffer.size(), first_.size() - used_);
      memcpy(buffer.data(), first_.data() + used_, n);
      used_ += n;
      co_return n;
    }
    auto r = co_await inner_->read(buffer);
    co_return r;
  }
  Task<Status> write(std::string_view data) override { return inner_->write(data); }
  Task<Status> write_two(std::string_view a, std::string_view b) override { return inner_->write_two(a, b); }
  Task<Status> shutdown_write() override { return inner_->shutdown_write(); }
  void close() override { inner_->close(); }
  std::string peer() const override { return inner_->peer(); }
  std::string local() const override { return inner_->local(); }
  std::string alpn() const override { return inner_->alpn(); }
  std::string peer_certificate() const override { return inner_->peer_certificate(); }
  bool peer_gone() const override { return inner_->peer_gone(); }
  Task<void> wait_peer_gone() override { return inner_->wait_peer_gone(); }

 private:
  std::string first_;
  size_t used_ = 0;
  StreamPtr inner_;
};

struct Fd {  // closes on the way out of a failed step
  int n;
  explicit Fd(int fd) : n(fd) {}
  Fd(Fd&& o) noexcept : n(std::exchange(o.n, -1)) {}
  ~Fd() {
    if (n >= 0) ::close(n);
  }
  int take() { return std::exchange(n, -1); }
};

struct WatchedFd : Fd {
  EventLoop& loop;
  WatchedFd(EventLoop& l, int fd) : Fd(fd), loop(l) {}
  ~WatchedFd() {
    if (n >= 0) loop.forget(n);
  }
};

Task<Result<StreamPtr>> connect_one(EventLoop& loop, SocketAddress to, std::string bind_address, Time deadline) {
  std::string name = format_address(to);
  WatchedFd fd(loop, ::socket(to.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.n < 0) co_return errno_error("opening a socket", errno);
  tune(fd.n, to.family());
  if (!bind_address.empty()) {
    if (bind_address.rfind(':') == bind_address.npos) bind_address += ":0";
    CO_TRY(auto from, numeric_address(bind_address));
    if (!from || ::bind(fd.n, from->get(), from->length) != 0) co_return errno_error("binding to " + bind_address, errno);
  }
  if (::connect(fd.n, to.get(), to.length) != 0) {
    // A Unix socket whose backlog is full says EAGAIN: there is nothing to wait for.
    if (errno != EINPROGRESS) co_return errno_error("connecting to " + name, errno == EAGAIN ? ECONNREFUSED : errno);
    Duration left = deadline - loop.now();
    if (left.count() <= 0) left = Duration(1);
    FdWait w(loop, fd.n, FdWait::kWrite, left);
    FdWait::Outcome o = co_await w;
    if (o == FdWait::Outcome::kTimeout) co_return make_error(Code::kTimeout, "connecting to " + name + ": no answer in time");
    int error = 0;
    socklen_t n = sizeof error;
    getsockopt(fd.n, SOL_SOCKET, SO_ERROR, &error, &n);
    if (error != 0) co_return errno_error("connecting to " + name, error);
  }
  // A Unix socket's peer has a name only on this side.
  StreamPtr s = std::make_unique<FdStream>(loop, fd.take(), to.family() == AF_UNIX ? name : "");
  co_return s;
}

class FdListener final : public Listener {
 public:
  FdListener(EventLoop& loop, int fd, std::string unlink_path) : loop_(loop), fd_(fd), unlink_path_(std::move(unlink_path)) {
    SocketAddress a;
    a.length = sizeof a.storage;
    if (getsockname(fd, reinterpret_cast<sockaddr*>(&a.storage), &a.length) == 0) address_ = format_address(a);
    family_ = a.family();
  }
  ~FdListener() override { close(); }
  Task<Result<StreamPtr>> accept() override {
    for (;;) {
      if (fd_ < 0) co_return make_error(Code::kCancelled, "the listener was closed");
      SocketAddress a;
      a.length = sizeof a.storage;
      int fd = ::accept4(fd_, reinterpret_cast<sockaddr*>(&a.storage), &a.length, SOCK_NONBLOCK | SOCK_CLOEXEC);
      if (fd >= 0) {
        tune(fd, a.family());
        StreamPtr s = std::make_unique<FdStream>(loop_, fd, a.family() == AF_UNIX ? "unix" : format_address(a));
        co_return s;
      }
      int e = errno;
      if (e == EINTR || e == ECONNABORTED) continue;
      if (e == EMFILE || e == ENFILE || e == ENOBUFS || e == ENOMEM) {
        co_await sleep(loop_, std::chrono::milliseconds(100));  // others must close some first
        continue;
      }
      if (e != EAGAIN && e != EWOULDBLOCK) co_return errno_error("accepting on " + address_, e);
      FdWait w(loop_, fd_, FdWait::kRead);
      FdWait::Outcome o = co_await w;
      if (o != FdWait::Outcome::kReady) co_return make_error(Code::kCancelled, "the listener was closed");
    }
  }
  std::string address() const override { return address_; }
  void close() override {
    if (fd_ < 0) return;
    loop_.forget(fd_);
    ::close(std::exchange(fd_, -1));
    if (!unlink_path_.empty()) ::unlink(unlink_path_.c_str());
  }

 private:
  EventLoop& loop_;
  int fd_;
  int family_ = 0;
  std::string address_, unlink_path_;
};

// A socket file left behind by a program that died is in the way; one that answers is in use.
Status clear_stale_socket(const SocketAddress& a, const std::string& path) {
  Fd probe(::socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (::connect(probe.n, a.get(), a.length) == 0 || errno == EAGAIN)
    return make_error(Code::kAlreadyExists, "listening on unix:" + path + ": another program answers there; stop it or choose another path");
  struct stat st;
  if (errno == ECONNREFUSED && ::stat(path.c_str(), &st) == 0 && S_ISSOCK(st.st_mode)) ::unlink(path.c_str());
  return ok();
}

struct SpliceState {
  explicit SpliceState(EventLoop& loop) : changed(loop) {}
  Event changed;
  int running = 2;
};

Task<void> pump(Stream& from, Stream& to, SpliceState& state) {
  std::unique_ptr<char[]> buffer(new char[kSpliceBuffer]);
  for (;;) {
    auto n = co_await from.read(std::span(buffer.get(), kSpliceBuffer));
    if (!n.ok()) {
      from.close();
      to.close();
      break;
    }
    if (*n == 0) {
      Status s = co_await to.shutdown_write();
      (void)s;
      break;
    }
    Status s = co_await to.write(std::string_view(buffer.get(), *n));
    if (!s.ok()) {
      from.close();
      to.close();
      break;
    }
  }
  --state.running;
  state.changed.pulse();
}

}  // namespace

Task<Status> Stream::write_two(std::string_view first, std::string_view second) {
  constexpr size_t kCopyMax = 16 * 1024;
  if (second.size() <= kCopyMax) {
    std::string both;
    both.reserve(first.size() + second.size());
    both.append(first).append(second);
    Status s = co_await write(both);
    co_return s;
  }
  Status s = co_await write(first);
  if (!s.ok()) co_return s;
  s = co_await write(second);
  co_return s;
}

Task<void> Stream::wait_peer_gone() {
  std::suspend_always never;
  co_await never;
}

Task<Result<StreamPtr>> connect(EventLoop& loop, Address address, ConnectOptions options) {
  Time deadline = loop.now() + options.timeout;
  CO_TRY(auto numeric, numeric_address(address.text));
  std::vector<SocketAddress> candidates;
  if (numeric) {
    candidates.push_back(*numeric);
  } else {
    CO_TRY(HostPort hp, split_host_port(address.text));
    std::function<Result<std::vector<SocketAddress>>()> work = [hp] { return resolve(hp.host, hp.port); };
    auto found = co_await run_blocking<Result<std::vector<SocketAddress>>>(loop, std::move(work));
    if (!found.ok()) co_return std::move(found).error();
    candidates = std::move(*found);
  }
  std::optional<Error> first;
  StreamPtr stream;
  for (size_t i = 0; i < candidates.size(); ++i) {
    Time until = deadline;
    if (i + 1 < candidates.size()) until = loop.now() + (deadline - loop.now()) / 2;  // leave time for the others
    auto r = co_await connect_one(loop, candidates[i], options.bind_address, until);
    if (r.ok()) {
      stream = std::move(*r);
      break;
    }
    if (!first) first = std::move(r).error();
  }
  if (!stream) co_return std::move(*first);
  if (!options.tls) co_return stream;
  std::string name = options.server_name;
  if (name.empty() && !address.text.starts_with("unix:")) name = split_host_port(address.text)->host;
  Duration left = std::max<Duration>(deadline - loop.now(), std::chrono::milliseconds(1));
  auto secured = co_await tls_connect(loop, std::move(stream), options.tls, std::move(name), options.alpn, left);
  co_return secured;
}

Result<std::unique_ptr<Listener>> listen(EventLoop& loop, Address address) {
  TRY(auto parsed, numeric_address(address.text));
  SocketAddress a;
  if (parsed) {
    a = *parsed;
  } else {
    TRY(HostPort hp, split_host_port(address.text));
    TRY(auto list, resolve(hp.host, hp.port));
    a = list.front();
  }
  std::string path;
  if (a.family() == AF_UNIX && !address.text.starts_with("unix:@")) {
    path = address.text.substr(5);
    TRY_VOID(clear_stale_socket(a, path));
  }
  Fd fd(::socket(a.family(), SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0));
  if (fd.n < 0) return errno_error("opening a socket", errno);
  int one = 1, zero = 0;
  setsockopt(fd.n, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
  if (a.family() == AF_INET6) setsockopt(fd.n, IPPROTO_IPV6, IPV6_V6ONLY, &zero, sizeof zero);
  if (::bind(fd.n, a.get(), a.length) != 0 || ::listen(fd.n, kListenBacklog) != 0) {
    int e = errno;
    std::string what = "listening on " + address.text;
    if (e == EADDRINUSE) return make_error(Code::kAlreadyExists, what + ": the address is in use by another program; stop it (ss -ltnp shows which) or choose another port");
    if (e == EACCES) return make_error(Code::kForbidden, what + ": not permitted; run as root or choose a port above 1023");
    if (e == EADDRNOTAVAIL) return invalid(what + ": this machine has no such address");
    return errno_error(what, e);
  }
  return std::unique_ptr<Listener>(std::make_unique<FdListener>(loop, fd.take(), path));
}

Result<std::unique_ptr<Listener>> listen_fd(EventLoop& loop, int fd) {
  int accepting = 0;
  socklen_t n = sizeof accepting;
  if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &accepting, &n) != 0 || !accepting)
    return invalid("descriptor " + std::to_string(fd) + " is not a listening socket");
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  fcntl(fd, F_SETFD, FD_CLOEXEC);
  return std::unique_ptr<Listener>(std::make_unique<FdListener>(loop, fd, ""));
}

Task<void> splice(EventLoop& loop, Stream& a, Stream& b) {
  SpliceState state(loop);
  TaskScope scope;
  scope.spawn(pump(a, b, state));
  scope.spawn(pump(b, a, state));
  while (state.running > 0) co_await state.changed.wait();
}

StreamPtr stream_from_fd(EventLoop& loop, int fd) {
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return std::make_unique<FdStream>(loop, fd);
}

StreamPtr prefixed_stream(std::string first, StreamPtr inner) {
  if (first.empty()) return inner;
  return std::make_unique<PrefixedStream>(std::move(first), std::move(inner));
}

std::pair<StreamPtr, StreamPtr> stream_pair(EventLoop& loop) {
  int fds[2];
  if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0, fds) != 0) std::abort();
  return {std::make_unique<FdStream>(loop, fds[0], "pair"), std::make_unique<FdStream>(loop, fds[1], "pair")};
}

}  // namespace caravel::net
