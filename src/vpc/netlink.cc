#include "vpc/netlink.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/fib_rules.h>
#include <linux/if_link.h>
#include <linux/neighbour.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <vector>

#include "base/strings.h"

namespace caravel::vpc {

// A request under construction: header, fixed part, attributes.
class Netlink::Message {
 public:
  template <class Body>
  Message(uint16_t type, uint16_t flags, const Body& body) {
    header()->nlmsg_type = type;
    header()->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    append(&body, sizeof body);
  }
  nlmsghdr* header() { return reinterpret_cast<nlmsghdr*>(data_.data()); }
  size_t size() const { return data_.size(); }
  template <class V>
  void put(uint16_t type, const V& value) { put_bytes(type, &value, sizeof value); }
  void put_text(uint16_t type, const std::string& s) { put_bytes(type, s.c_str(), s.size() + 1); }
  void put_address(uint16_t type, uint32_t host_order) { put(type, htonl(host_order)); }
  size_t begin(uint16_t type) {
    size_t at = data_.size();
    put_bytes(type, nullptr, 0);
    return at;
  }
  void end(size_t at) { reinterpret_cast<rtattr*>(data_.data() + at)->rta_len = static_cast<uint16_t>(data_.size() - at); }
  void append(const void* p, size_t n) {
    const char* c = static_cast<const char*>(p);
    data_.insert(data_.end(), c, c + n);
    data_.resize(NLMSG_ALIGN(data_.size()));
  }

 private:
  void put_bytes(uint16_t type, const void* p, size_t n) {
    rtattr a{};
    a.rta_type = type;
    a.rta_len = static_cast<uint16_t>(RTA_LENGTH(n));
    append(&a, sizeof a);
    if (n) append(p, n);
  }
  std::vector<char> data_ = std::vector<char>(NLMSG_HDRLEN);
};

namespace {

bool parse_mac(const std::string& text, unsigned char (&mac)[6]) {
  return std::sscanf(text.c_str(), "%hhx:%hhx:%hhx:%hhx:%hhx:%hhx", &mac[0], &mac[1], &mac[2], &mac[3], &mac[4], &mac[5]) == 6;
}

Status outcome(int error, const std::string& what, std::initializer_list<int> fine) {
  if (error == 0) return ok();
  for (int f : fine)
    if (error == f) return ok();
  return make_error(error == ENODEV ? Code::kNotFound : Code::kInternal, what + ": " + strerror(error));
}

}  // namespace

bool parse_cidr(const std::string& text, uint32_t& address, int& prefix) {
  size_t slash = text.find('/');
  prefix = 32;
  if (slash != text.npos) {
    auto n = parse_int(text.substr(slash + 1));
    if (!n || *n < 0 || *n > 32) return false;
    prefix = static_cast<int>(*n);
  }
  in_addr a{};
  if (inet_pton(AF_INET, text.substr(0, slash).c_str(), &a) != 1) return false;
  address = ntohl(a.s_addr);
  return true;
}

std::string ipv4_text(uint32_t address) {
  return format("%u.%u.%u.%u", address >> 24, address >> 16 & 255, address >> 8 & 255, address & 255);
}

Result<Netlink> Netlink::open(int namespace_fd) {
  int own = -1;
  if (namespace_fd >= 0) {
    own = ::open("/proc/thread-self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || setns(namespace_fd, CLONE_NEWNET) != 0) {
      int e = errno;
      if (own >= 0) ::close(own);
      return internal("cannot enter a network namespace: " + std::string(strerror(e)));
    }
  }
  int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
  int e = errno;
  if (own >= 0) {
    if (setns(own, CLONE_NEWNET) != 0) {
      std::perror("caravel: cannot return to the own network namespace");
      std::abort();  // going on in a strange namespace would wreck both
    }
    ::close(own);
  }
  if (fd < 0) return internal("cannot open a netlink socket: " + std::string(strerror(e)));
  int one = 1, room = 4 << 20;
  setsockopt(fd, SOL_NETLINK, NETLINK_EXT_ACK, &one, sizeof one);
  setsockopt(fd, SOL_SOCKET, SO_RCVBUFFORCE, &room, sizeof room);
  return Netlink(fd);
}

Netlink::~Netlink() {
  if (fd_ >= 0) ::close(fd_);
}

int Netlink::ask(Message& m) {
  m.header()->nlmsg_flags |= NLM_F_ACK;
  m.header()->nlmsg_len = static_cast<uint32_t>(m.size());
  m.header()->nlmsg_seq = ++sequence_;
  if (::send(fd_, m.header(), m.size(), 0) < 0) return errno;
  char room[8192];
  while (true) {
    ssize_t n = ::recv(fd_, room, sizeof room, 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      return errno;
    }
    size_t left = static_cast<size_t>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(room); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left))
      if (h->nlmsg_type == NLMSG_ERROR && h->nlmsg_seq == sequence_) return -static_cast<nlmsgerr*>(NLMSG_DATA(h))->error;
  }
}

Result<std::map<std::string, Link>> Netlink::links() {
  ifinfomsg body{};
  Message m(RTM_GETLINK, NLM_F_DUMP, body);
  m.header()->nlmsg_len = static_cast<uint32_t>(m.size());
  m.header()->nlmsg_seq = ++sequence_;
  if (::send(fd_, m.header(), m.size(), 0) < 0) return internal("cannot list links: " + std::string(strerror(errno)));
  std::map<std::string, Link> out;
  std::vector<char> room(64 * 1024);
  while (true) {
    ssize_t n = ::recv(fd_, room.data(), room.size(), 0);
    if (n < 0) {
      if (errno == EINTR) continue;
      return internal("cannot list links: " + std::string(strerror(errno)));
    }
    size_t left = static_cast<size_t>(n);
    for (auto* h = reinterpret_cast<nlmsghdr*>(room.data()); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
      if (h->nlmsg_seq != sequence_) continue;
      if (h->nlmsg_type == NLMSG_DONE) return out;
      if (h->nlmsg_type == NLMSG_ERROR) return internal("cannot list links: " + std::string(strerror(-static_cast<nlmsgerr*>(NLMSG_DATA(h))->error)));
      if (h->nlmsg_type != RTM_NEWLINK) continue;
      auto* info = static_cast<ifinfomsg*>(NLMSG_DATA(h));
      size_t rest = h->nlmsg_len - NLMSG_LENGTH(sizeof *info);
      for (auto* a = IFLA_RTA(info); RTA_OK(a, rest); a = RTA_NEXT(a, rest))
        if (a->rta_type == IFLA_IFNAME) out[static_cast<const char*>(RTA_DATA(a))] = {info->ifi_index, (info->ifi_flags & IFF_UP) != 0};
    }
  }
}

Status Netlink::add_veth(const VethSpec& s) {
  ifinfomsg body{};
  Message m(RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, body);
  m.put_text(IFLA_IFNAME, s.name);
  m.put(IFLA_MTU, static_cast<uint32_t>(s.mtu));
  size_t info = m.begin(IFLA_LINKINFO);
  m.put_text(IFLA_INFO_KIND, "veth");
  size_t data = m.begin(IFLA_INFO_DATA);
  size_t peer = m.begin(VETH_INFO_PEER);
  m.append(&body, sizeof body);
  m.put_text(IFLA_IFNAME, s.peer_name);
  m.put(IFLA_MTU, static_cast<uint32_t>(s.mtu));
  unsigned char mac[6];
  if (parse_mac(s.peer_mac, mac)) m.put(IFLA_ADDRESS, mac);
  if (s.peer_namespace >= 0) m.put(IFLA_NET_NS_FD, static_cast<uint32_t>(s.peer_namespace));
  m.end(peer);
  m.end(data);
  m.end(info);
  return outcome(ask(m), "cannot make the link " + s.name + " with its peer " + s.peer_name, {});
}

Status Netlink::set_up(int link) {
  ifinfomsg body{};
  body.ifi_index = link;
  body.ifi_flags = IFF_UP;
  body.ifi_change = IFF_UP;
  Message m(RTM_NEWLINK, 0, body);
  return outcome(ask(m), "cannot set link " + std::to_string(link) + " up", {});
}

Status Netlink::delete_link(const std::string& name) {
  ifinfomsg body{};
  Message m(RTM_DELLINK, 0, body);
  m.put_text(IFLA_IFNAME, name);
  return outcome(ask(m), "cannot delete the link " + name, {ENODEV});
}

Status Netlink::add_address(int link, const std::string& ip, int prefix, bool subnet_route) {
  uint32_t address;
  int unused;
  if (!parse_cidr(ip, address, unused)) return invalid("\"" + ip + "\" is not an IPv4 address");
  ifaddrmsg body{};
  body.ifa_family = AF_INET;
  body.ifa_prefixlen = static_cast<uint8_t>(prefix);
  body.ifa_index = static_cast<uint32_t>(link);
  Message m(RTM_NEWADDR, NLM_F_CREATE | NLM_F_REPLACE, body);
  m.put_address(IFA_LOCAL, address);
  m.put_address(IFA_ADDRESS, address);
  if (!subnet_route) m.put(IFA_FLAGS, static_cast<uint32_t>(IFA_F_NOPREFIXROUTE));
  return outcome(ask(m), "cannot add the address " + ip + " to link " + std::to_string(link), {EEXIST});
}

Status Netlink::delete_address(int link, const std::string& ip, int prefix) {
  uint32_t address;
  int unused;
  if (!parse_cidr(ip, address, unused)) return ok();
  ifaddrmsg body{};
  body.ifa_family = AF_INET;
  body.ifa_prefixlen = static_cast<uint8_t>(prefix);
  body.ifa_index = static_cast<uint32_t>(link);
  Message m(RTM_DELADDR, 0, body);
  m.put_address(IFA_LOCAL, address);
  return outcome(ask(m), "cannot remove the address " + ip, {EADDRNOTAVAIL, ENODEV});
}

namespace {

rtmsg route_header(int prefix, const RouteSpec& r) {
  rtmsg body{};
  body.rtm_family = AF_INET;
  body.rtm_dst_len = static_cast<uint8_t>(prefix);
  body.rtm_protocol = RTPROT_STATIC;
  body.rtm_type = r.blackhole ? RTN_BLACKHOLE : RTN_UNICAST;
  body.rtm_scope = r.blackhole || !r.gateway.empty() ? RT_SCOPE_UNIVERSE : RT_SCOPE_LINK;
  if (r.onlink) body.rtm_flags = RTNH_F_ONLINK;
  return body;
}

}  // namespace

Status Netlink::replace_route(const RouteSpec& r) {
  uint32_t address, gateway;
  int prefix, unused;
  if (!parse_cidr(r.destination, address, prefix)) return invalid("\"" + r.destination + "\" is not a CIDR");
  rtmsg body = route_header(prefix, r);
  Message m(RTM_NEWROUTE, NLM_F_CREATE | NLM_F_REPLACE, body);
  if (prefix) m.put_address(RTA_DST, address);
  m.put(RTA_TABLE, static_cast<uint32_t>(r.table));
  if (r.link) m.put(RTA_OIF, static_cast<uint32_t>(r.link));
  if (!r.gateway.empty()) {
    if (!parse_cidr(r.gateway, gateway, unused)) return invalid("\"" + r.gateway + "\" is not an IPv4 address");
    m.put_address(RTA_GATEWAY, gateway);
  }
  return outcome(ask(m), "cannot set the route to " + r.destination, {});
}

Status Netlink::delete_route(const RouteSpec& r) {
  uint32_t address;
  int prefix;
  if (!parse_cidr(r.destination, address, prefix)) return ok();
  rtmsg body = route_header(prefix, r);
  body.rtm_scope = RT_SCOPE_NOWHERE;
  Message m(RTM_DELROUTE, 0, body);
  if (prefix) m.put_address(RTA_DST, address);
  m.put(RTA_TABLE, static_cast<uint32_t>(r.table));
  if (r.link) m.put(RTA_OIF, static_cast<uint32_t>(r.link));
  return outcome(ask(m), "cannot remove the route to " + r.destination, {ESRCH, ENODEV});
}

Status Netlink::set_neighbour(int link, const std::string& ip, const std::string& mac_text) {
  uint32_t address;
  int unused;
  unsigned char mac[6];
  if (!parse_cidr(ip, address, unused) || !parse_mac(mac_text, mac)) return invalid("\"" + ip + "\" or \"" + mac_text + "\" is not an address");
  ndmsg body{};
  body.ndm_family = AF_INET;
  body.ndm_ifindex = link;
  body.ndm_state = NUD_PERMANENT;
  Message m(RTM_NEWNEIGH, NLM_F_CREATE | NLM_F_REPLACE, body);
  m.put_address(NDA_DST, address);
  m.put(NDA_LLADDR, mac);
  return outcome(ask(m), "cannot set the neighbour " + ip, {});
}

Status Netlink::add_host_route_rule(int priority) {
  fib_rule_hdr body{};
  body.family = AF_INET;
  body.action = FR_ACT_TO_TBL;
  Message m(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body);
  m.put(FRA_TABLE, static_cast<uint32_t>(RT_TABLE_MAIN));
  m.put(FRA_PRIORITY, static_cast<uint32_t>(priority));
  m.put(FRA_SUPPRESS_PREFIXLEN, static_cast<uint32_t>(31));
  return outcome(ask(m), "cannot add the rule for host routes", {EEXIST});
}

Status Netlink::add_source_rule(const std::string& source, int table, int priority) {
  uint32_t address;
  int prefix;
  if (!parse_cidr(source, address, prefix)) return invalid("\"" + source + "\" is not a CIDR");
  fib_rule_hdr body{};
  body.family = AF_INET;
  body.src_len = static_cast<uint8_t>(prefix);
  body.action = FR_ACT_TO_TBL;
  Message m(RTM_NEWRULE, NLM_F_CREATE | NLM_F_EXCL, body);
  m.put_address(FRA_SRC, address);
  m.put(FRA_TABLE, static_cast<uint32_t>(table));
  m.put(FRA_PRIORITY, static_cast<uint32_t>(priority));
  return outcome(ask(m), "cannot add the rule for " + source, {EEXIST});
}

}  // namespace caravel::vpc
