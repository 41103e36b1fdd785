#include "node/port_forward.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "base/log.h"
#include "base/strings.h"
#include "node/channel_forward.h"
#include "node/remote_io.h"

namespace caravel::node {
namespace {

const Log kLog{"node-server"};
constexpr size_t kPiece = 32 << 10;

// On a worker thread: visits the namespace to make a connected socket there, which keeps belonging to it.
Result<int> connect_blocking(const std::string& netns, int port) {
  int home = -1;
  if (!netns.empty()) {
    home = open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    int there = open(netns.c_str(), O_RDONLY | O_CLOEXEC);
    const bool entered = home >= 0 && there >= 0 && setns(there, CLONE_NEWNET) == 0;
    const int error = errno;
    if (there >= 0) close(there);
    if (!entered) {
      if (home >= 0) close(home);
      return internal("entering the pod's network namespace: " + std::string(std::strerror(error)));
    }
  }
  int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in to{};
  to.sin_family = AF_INET;
  to.sin_port = htons(static_cast<uint16_t>(port));
  to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  const bool connected = fd >= 0 && connect(fd, reinterpret_cast<sockaddr*>(&to), sizeof to) == 0;
  const int error = errno;
  if (home >= 0) {
    // A thread that cannot return would serve others in the wrong namespace.
    if (setns(home, CLONE_NEWNET) != 0) std::abort();
    close(home);
  }
  if (!connected) {
    if (fd >= 0) close(fd);
    return unavailable("failed to connect to localhost:" + std::to_string(port) + " inside the pod's network namespace: " + std::strerror(error));
  }
  fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK);
  return fd;
}

struct Request {
  SpdyStream *data = nullptr, *error = nullptr;
};

Task<void> to_pod(SpdyStream* from, net::Stream* to, Event* done) {
  while (true) {
    auto piece = co_await from->incoming->pop();
    if (!piece) break;
    Status s = co_await to->write(*piece);
    if (!s.ok()) break;
  }
  Status s = co_await to->shutdown_write();
  if (!s.ok()) kLog.debug("half-close failed", {{"error", s.error().message}});
  done->set();
}

Task<void> forward(net::EventLoop& loop, SpdyConnection* connection, Request r, std::string netns) {
  auto port = parse_int(r.data->headers["port"]);
  Result<net::StreamPtr> opened = make_error(Code::kBadRequest, "port \"" + r.data->headers["port"] + "\" is not a port number");
  if (port && *port > 0 && *port < 65536) opened = co_await connect_inside(loop, netns, static_cast<int>(*port));
  if (!opened.ok()) {
    const std::string text = "error forwarding port " + r.data->headers["port"] + ": " + opened.error().message;
    Status s = co_await connection->send(r.error->id, text, true);
    if (s.ok()) s = co_await connection->send(r.data->id, "", true);
    co_return;
  }
  net::StreamPtr pod = std::move(*opened);
  Event sent(loop);
  TaskScope scope;
  scope.spawn(to_pod(r.data, pod.get(), &sent));
  std::string buffer(kPiece, 0);
  while (true) {
    auto n = co_await pod->read(std::span<char>(buffer.data(), buffer.size()));
    if (!n.ok() || *n == 0) break;
    Status s = co_await connection->send(r.data->id, buffer.substr(0, *n));
    if (!s.ok()) co_return;
  }
  Status s = co_await connection->send(r.data->id, "", true);
  if (s.ok()) s = co_await connection->send(r.error->id, "", true);
}

}  // namespace

Task<Result<net::StreamPtr>> connect_inside(net::EventLoop& loop, std::string netns, int port) {
  std::function<Result<int>()> work = [netns, port] { return connect_blocking(netns, port); };
  auto fd = co_await run_blocking<Result<int>>(loop, std::move(work));
  if (!fd.ok()) co_return std::move(fd).error();
  co_return net::stream_from_fd(loop, *fd);
}

Task<void> serve_port_forward(net::EventLoop& loop, net::ServerRequest& q, net::ResponseWriter& w, std::string netns) {
  if (wants_forward_channels(q)) {
    co_await serve_forward_channels(loop, q, w, std::move(netns));
    co_return;
  }
  std::unique_ptr<SpdyConnection> connection = co_await open_port_forward(loop, q, w);
  if (!connection) co_return;
  std::map<std::string, Request> waiting;  // by requestID, until both streams are there
  TaskScope scope;
  SpdyConnection* c = connection.get();
  std::function<void(SpdyStream*)> opened = [&](SpdyStream* s) {
    Request& r = waiting[s->headers["requestid"]];
    (s->headers["streamtype"] == "error" ? r.error : r.data) = s;
    if (!r.data || !r.error) return;
    scope.spawn(forward(loop, c, r, netns));
    waiting.erase(s->headers["requestid"]);
  };
  co_await connection->run(std::move(opened));
}

}  // namespace caravel::node
