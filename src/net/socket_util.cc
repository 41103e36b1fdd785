#include "net/socket_util.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <sys/un.h>

#include <cerrno>
#include <cstddef>
#include <cstring>

#include "base/strings.h"

namespace caravel::net {

std::string errno_text(int error) {
  char buffer[256];
  return strerror_r(error, buffer, sizeof buffer);
}

Error errno_error(std::string_view what, int error) {
  Code code = Code::kInternal;
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case EPIPE:
    case ENETUNREACH:
    case EHOSTUNREACH:
    case ENOTCONN:
    case ECONNABORTED:
    case EHOSTDOWN:
      code = Code::kUnavailable;
      break;
    case ETIMEDOUT: code = Code::kTimeout; break;
    case ENOENT: code = Code::kNotFound; break;
    case EACCES:
    case EPERM: code = Code::kForbidden; break;
    case EEXIST:
    case EADDRINUSE: code = Code::kAlreadyExists; break;
    case EBADF:
    case ECANCELED: code = Code::kCancelled; break;
    default: break;
  }
  return make_error(code, std::string(what) + ": " + errno_text(error));
}

Result<HostPort> split_host_port(std::string_view text) {
  size_t colon = text.rfind(':');
  if (colon == text.npos) return invalid("address \"" + std::string(text) + "\" has no port; write HOST:PORT");
  std::string_view host = text.substr(0, colon);
  if (host.size() >= 2 && host.front() == '[' && host.back() == ']') host = host.substr(1, host.size() - 2);
  else if (host.find(':') != host.npos) return invalid("address \"" + std::string(text) + "\": write an IPv6 address as [ADDRESS]:PORT");
  auto port = parse_int(text.substr(colon + 1));
  if (!port || *port < 0 || *port > 65535) return invalid("address \"" + std::string(text) + "\": the port must be a number from 0 to 65535");
  return HostPort{std::string(host), static_cast<int>(*port)};
}

Result<std::optional<SocketAddress>> numeric_address(std::string_view text) {
  SocketAddress a;
  if (text.starts_with("unix:")) {
    std::string_view path = text.substr(5);
    auto* un = reinterpret_cast<sockaddr_un*>(&a.storage);
    if (path.empty() || path.size() >= sizeof un->sun_path) return invalid("Unix socket path \"" + std::string(path) + "\" is empty or longer than 107 bytes");
    un->sun_family = AF_UNIX;
    memcpy(un->sun_path, path.data(), path.size());
    a.length = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + path.size() + 1);
    if (path[0] == '@') {
      un->sun_path[0] = 0;
      --a.length;
    }
    return std::optional(a);
  }
  TRY(HostPort hp, split_host_port(text));
  if (hp.host.empty()) hp.host = "0.0.0.0";
  auto* v4 = reinterpret_cast<sockaddr_in*>(&a.storage);
  if (inet_pton(AF_INET, hp.host.c_str(), &v4->sin_addr) == 1) {
    v4->sin_family = AF_INET;
    v4->sin_port = htons(static_cast<uint16_t>(hp.port));
    a.length = sizeof *v4;
    return std::optional(a);
  }
  auto* v6 = reinterpret_cast<sockaddr_in6*>(&a.storage);
  if (inet_pton(AF_INET6, hp.host.c_str(), &v6->sin6_addr) == 1) {
    v6->sin6_family = AF_INET6;
    v6->sin6_port = htons(static_cast<uint16_t>(hp.port));
    a.length = sizeof *v6;
    return std::optional(a);
  }
  return std::optional<SocketAddress>();
}

Result<std::vector<SocketAddress>> resolve(const std::string& host, int port) {
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_ADDRCONFIG;
  addrinfo* list = nullptr;
  int rc = getaddrinfo(host.c_str(), std::to_string(port).c_str(), &hints, &list);
  if (rc != 0) {
    Code code = rc == EAI_NONAME ? Code::kNotFound : Code::kUnavailable;
    return make_error(code, "looking up host \"" + host + "\": " + (rc == EAI_SYSTEM ? errno_text(errno) : std::string(gai_strerror(rc))));
  }
  std::vector<SocketAddress> out;
  for (addrinfo* p = list; p; p = p->ai_next) {
    if (p->ai_family != AF_INET && p->ai_family != AF_INET6) continue;
    SocketAddress a;
    memcpy(&a.storage, p->ai_addr, p->ai_addrlen);
    a.length = p->ai_addrlen;
    out.push_back(a);
  }
  freeaddrinfo(list);
  if (out.empty()) return not_found("host \"" + host + "\" has no address");
  return out;
}

std::string format_address(const SocketAddress& a) {
  char text[INET6_ADDRSTRLEN];
  if (a.family() == AF_INET) {
    auto* v4 = reinterpret_cast<const sockaddr_in*>(&a.storage);
    inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text);
    return std::string(text) + ":" + std::to_string(ntohs(v4->sin_port));
  }
  if (a.family() == AF_INET6) {
    auto* v6 = reinterpret_cast<const sockaddr_in6*>(&a.storage);
    if (IN6_IS_ADDR_V4MAPPED(&v6->sin6_addr)) inet_ntop(AF_INET, &v6->sin6_addr.s6_addr[12], text, sizeof text);
    else inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text);
    std::string host = text;
    if (host.find(':') != host.npos) host = "[" + host + "]";
    return host + ":" + std::to_string(ntohs(v6->sin6_port));
  }
  if (a.family() == AF_UNIX) {
    auto* un = reinterpret_cast<const sockaddr_un*>(&a.storage);
    size_t n = a.length > offsetof(sockaddr_un, sun_path) ? a.length - offsetof(sockaddr_un, sun_path) : 0;
    if (n == 0) return "unix:";
    if (un->sun_path[0] == 0) return "unix:@" + std::string(un->sun_path + 1, n - 1);
    return "unix:" + std::string(un->sun_path, strnlen(un->sun_path, n));
  }
  return "";
}

}  // namespace caravel::net
