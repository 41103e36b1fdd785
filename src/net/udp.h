// Datagrams. Threading: the loop's.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "net/stream.h"

namespace caravel::net {

struct Datagram {
  std::string data;
  // Where it came from, and the address it was sent to: an answer leaves from there.
  std::string peer;
  std::shared_ptr<const void> route;
};

class UdpSocket {
 public:
  virtual ~UdpSocket() = default;
  virtual Task<Result<Datagram>> receive() = 0;
  // Answers a datagram. Never waits: what the kernel has no room for is lost, as datagrams may be.
  virtual Status reply(const Datagram& to, std::string_view data) = 0;
  // On a connected socket.
  virtual Status send(std::string_view data) = 0;
  virtual std::string address() const = 0;
  virtual void close() = 0;
};
// Numeric addresses only.
Result<std::unique_ptr<UdpSocket>> udp_bind(EventLoop& loop, Address address);
Result<std::unique_ptr<UdpSocket>> udp_connect(EventLoop& loop, Address address);

}  // namespace caravel::net
