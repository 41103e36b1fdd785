// Socket addresses and errno texts, shared by the stream and datagram sources of net/. Private.
#pragma once

#include <netdb.h>
#include <sys/socket.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace caravel::net {

struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  const sockaddr* get() const { return reinterpret_cast<const sockaddr*>(&storage); }
  int family() const { return storage.ss_family; }
};

// Splits "host:port" / "[v6]:port".
struct HostPort {
  std::string host;
  int port = 0;
};
Result<HostPort> split_host_port(std::string_view text);
// "unix:/x", "unix:@abstract" or a numeric host with port; nullopt when the host is a name.
Result<std::optional<SocketAddress>> numeric_address(std::string_view text);
// Blocking: for worker threads.
Result<std::vector<SocketAddress>> resolve(const std::string& host, int port);
std::string format_address(const SocketAddress& a);
std::string errno_text(int error);
Error errno_error(std::string_view what, int error);

}  // namespace caravel::net
