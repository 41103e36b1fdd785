// Links, addresses, routes, neighbours and rules by rtnetlink: what `ip` does, without a process for each.
// A Netlink talks to the network namespace in which it was opened, wherever its process goes afterwards.
// Requests are synchronous (the kernel answers in microseconds) and idempotent: adding what is there and
// deleting what is not are no errors. Threading: one thread at a time.
#pragma once

#include <cstdint>
#include <map>
#include <string>

#include "base/result.h"

namespace caravel::vpc {

struct Link {
  int index = 0;
  bool up = false;
};

struct VethSpec {
  std::string name;         // in this namespace
  std::string peer_name;    // in the peer's
  std::string peer_mac;     // "" for any
  int peer_namespace = -1;  // descriptor
  int mtu = 9001;
};

struct RouteSpec {
  std::string destination;  // "10.0.11.5/32", "0.0.0.0/0"
  std::string gateway;      // "" for none
  int link = 0;             // index; 0 with blackhole
  bool onlink = false;      // the gateway is on the link, whatever its address says
  bool blackhole = false;
  int table = 254;
  auto operator<=>(const RouteSpec&) const = default;
};

class Netlink {
 public:
  // `namespace_fd` -1: the caller's own namespace. The descriptor stays the caller's.
  static Result<Netlink> open(int namespace_fd = -1);
  Netlink(Netlink&& o) noexcept : fd_(o.fd_), sequence_(o.sequence_) { o.fd_ = -1; }
  Netlink& operator=(Netlink&&) = delete;
  ~Netlink();

  Result<std::map<std::string, Link>> links();
  Status add_veth(const VethSpec& spec);
  Status set_up(int link);
  Status delete_link(const std::string& name);
  // Without `subnet_route`, the rest of the subnet is not thought to be on the link.
  Status add_address(int link, const std::string& ip, int prefix, bool subnet_route = true);
  Status delete_address(int link, const std::string& ip, int prefix);
  Status replace_route(const RouteSpec& route);
  Status delete_route(const RouteSpec& route);
  // ip -> mac for ever: no ARP for it.
  Status set_neighbour(int link, const std::string& ip, const std::string& mac);
  // Addresses for which the main table has a route of their own (pods on this node) take it, before any
  // rule of a larger priority number.
  Status add_host_route_rule(int priority);
  // Packets from `source` ("10.0.11.5/32") look into `table`.
  Status add_source_rule(const std::string& source, int table, int priority);

 private:
  explicit Netlink(int fd) : fd_(fd) {}
  class Message;
  // 0, or the errno of the answer.
  int ask(Message& m);
  int fd_ = -1;
  uint32_t sequence_ = 1;
};

// "10.0.11.0/24" -> address in host order and prefix length; 32 without a slash. False if it is neither.
bool parse_cidr(const std::string& text, uint32_t& address, int& prefix);
std::string ipv4_text(uint32_t address);

}  // namespace caravel::vpc
