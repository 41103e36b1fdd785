#include "net/udp.h"

#include <netinet/in.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>

#include "net/socket_util.h"

namespace caravel::net {
namespace {

constexpr size_t kDatagramMax = 65535;
constexpr int kReceiveBuffer = 4 << 20;

struct Route {
  SocketAddress peer;
  in_addr local{};
  bool has_local = false;
};

class FdUdpSocket final : public UdpSocket {
 public:
  FdUdpSocket(EventLoop& loop, int fd) : loop_(loop), fd_(fd), buffer_(new char[kDatagramMax]) {}
  ~FdUdpSocket() override { close(); }
  Task<Result<Datagram>> receive() override {
    for (;;) {
      if (fd_ < 0) co_return make_error(Code::kCancelled, "the socket was closed");
      auto route = std::make_shared<Route>();
      iovec v{buffer_.get(), kDatagramMax};
      alignas(cmsghdr) char control[128];
      msghdr m{};
      m.msg_name = &route->peer.storage;
      m.msg_namelen = sizeof route->peer.storage;
      m.msg_iov = &v;
      m.msg_iovlen = 1;
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      ssize_t n = ::recvmsg(fd_, &m, 0);
      if (n >= 0) {
        route->peer.length = m.msg_namelen;
        for (cmsghdr* c = CMSG_FIRSTHDR(&m); c; c = CMSG_NXTHDR(&m, c)) {
          if (c->cmsg_level != IPPROTO_IP || c->cmsg_type != IP_PKTINFO) continue;
          in_pktinfo info;
          memcpy(&info, CMSG_DATA(c), sizeof info);
          route->local = info.ipi_spec_dst;
          route->has_local = true;
        }
        Datagram d;
        d.data.assign(buffer_.get(), static_cast<size_t>(n));
        d.peer = format_address(route->peer);
        d.route = std::move(route);
        co_return d;
      }
      int e = errno;
      if (e == EINTR) continue;
      if (e != EAGAIN && e != EWOULDBLOCK) co_return errno_error("receiving a datagram", e);
      FdWait w(loop_, fd_, FdWait::kRead);
      FdWait::Outcome o = co_await w;
      if (o != FdWait::Outcome::kReady) co_return make_error(Code::kCancelled, "the socket was closed");
    }
  }
  Status reply(const Datagram& to, std::string_view data) override {
    auto* route = static_cast<const Route*>(to.route.get());
    iovec v{const_cast<char*>(data.data()), data.size()};
    alignas(cmsghdr) char control[CMSG_SPACE(sizeof(in_pktinfo))] = {};
    msghdr m{};
    m.msg_name = const_cast<sockaddr_storage*>(&route->peer.storage);
    m.msg_namelen = route->peer.length;
    m.msg_iov = &v;
    m.msg_iovlen = 1;
    if (route->has_local) {
      m.msg_control = control;
      m.msg_controllen = sizeof control;
      cmsghdr* c = CMSG_FIRSTHDR(&m);
      c->cmsg_level = IPPROTO_IP;
      c->cmsg_type = IP_PKTINFO;
      c->cmsg_len = CMSG_LEN(sizeof(in_pktinfo));
      in_pktinfo info{};
      info.ipi_spec_dst = route->local;
      memcpy(CMSG_DATA(c), &info, sizeof info);
    }
    if (::sendmsg(fd_, &m, MSG_NOSIGNAL) < 0) return errno_error("sending a datagram to " + to.peer, errno);
    return ok();
  }
  Status send(std::string_view data) override {
    if (::send(fd_, data.data(), data.size(), MSG_NOSIGNAL) < 0) return errno_error("sending a datagram", errno);
    return ok();
  }
  std::string address() const override {
    SocketAddress a;
    a.length = sizeof a.storage;
    if (fd_ < 0 || getsockname(fd_, reinterpret_cast<sockaddr*>(&a.storage), &a.length) != 0) return "";
    return format_address(a);
  }
  void close() override {
    if (fd_ < 0) return;
    loop_.forget(fd_);
    ::close(std::exchange(fd_, -1));
  }

 private:
  EventLoop& loop_;
  int fd_;
  std::unique_ptr<char[]> buffer_;
};

Result<std::unique_ptr<UdpSocket>> open_socket(EventLoop& loop, const std::string& address, bool connect) {
  TRY(auto a, numeric_address(address));
  if (!a || a->family() == AF_UNIX) return invalid("address \"" + address + "\" must be a numeric one, IP:PORT");
  int fd = ::socket(a->family(), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
  if (fd < 0) return errno_error("opening a datagram socket", errno);
  int one = 1;
  setsockopt(fd, IPPROTO_IP, IP_PKTINFO, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &kReceiveBuffer, sizeof kReceiveBuffer);
  int rc = connect ? ::connect(fd, a->get(), a->length) : ::bind(fd, a->get(), a->length);
  if (rc != 0) {
    int e = errno;
    ::close(fd);
    std::string what = (connect ? "sending datagrams to " : "listening for datagrams on ") + address;
    if (e == EADDRINUSE) return make_error(Code::kAlreadyExists, what + ": the address is in use by another program; stop it (ss -lunp shows which) or choose another port");
    return errno_error(what, e);
  }
  return std::unique_ptr<UdpSocket>(std::make_unique<FdUdpSocket>(loop, fd));
}

}  // namespace

Result<std::unique_ptr<UdpSocket>> udp_bind(EventLoop& loop, Address address) { return open_socket(loop, address.text, false); }
Result<std::unique_ptr<UdpSocket>> udp_connect(EventLoop& loop, Address address) { return open_socket(loop, address.text, true); }

}  // namespace caravel::net
