#include "proxy/conntrack.h"

#include <arpa/inet.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netfilter/nfnetlink_conntrack.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <set>
#include <span>

namespace caravel::proxy {
namespace {

constexpr uint16_t message_type(int what) { return static_cast<uint16_t>((NFNL_SUBSYS_CTNETLINK << 8) | what); }
constexpr size_t kReceiveBytes = 64 << 10;  // more than the kernel puts into one datagram of a dump

// One netfilter netlink socket, for one request after the other.
class Socket {
 public:
  static Result<Socket> open() {
    int fd = ::socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_NETFILTER);
    if (fd < 0) return internal(std::string("conntrack: cannot open a netlink socket: ") + strerror(errno));
    return Socket(fd);
  }
  Socket(Socket&& o) noexcept : fd_(std::exchange(o.fd_, -1)) {}
  Socket& operator=(Socket&&) = delete;
  ~Socket() {
    if (fd_ >= 0) ::close(fd_);
  }

  // Calls `each` with the attributes of every answer, until the kernel says that it is done. 0, or an errno.
  template <class F>
  int ask(int what, uint16_t flags, const std::string& attributes, F each) {
    std::string m(NLMSG_HDRLEN + NLMSG_ALIGN(sizeof(nfgenmsg)), '\0');
    auto* family = reinterpret_cast<nfgenmsg*>(m.data() + NLMSG_HDRLEN);
    family->nfgen_family = AF_INET;
    family->version = NFNETLINK_V0;
    m += attributes;
    auto* header = reinterpret_cast<nlmsghdr*>(m.data());
    header->nlmsg_len = static_cast<uint32_t>(m.size());
    header->nlmsg_type = message_type(what);
    header->nlmsg_flags = static_cast<uint16_t>(NLM_F_REQUEST | flags);
    header->nlmsg_seq = ++sequence_;
    sockaddr_nl kernel{};
    kernel.nl_family = AF_NETLINK;
    if (::sendto(fd_, m.data(), m.size(), 0, reinterpret_cast<sockaddr*>(&kernel), sizeof kernel) < 0) return errno;
    alignas(nlmsghdr) static thread_local char buffer[kReceiveBytes];
    for (;;) {
      ssize_t n = ::recv(fd_, buffer, sizeof buffer, 0);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return errno;
      size_t left = static_cast<size_t>(n);
      for (auto* h = reinterpret_cast<nlmsghdr*>(buffer); NLMSG_OK(h, left); h = NLMSG_NEXT(h, left)) {
        if (h->nlmsg_seq != sequence_) continue;
        if (h->nlmsg_type == NLMSG_DONE) return 0;
        if (h->nlmsg_type == NLMSG_ERROR) return -static_cast<const nlmsgerr*>(NLMSG_DATA(h))->error;
        const size_t head = NLMSG_ALIGN(sizeof(nfgenmsg)), size = NLMSG_PAYLOAD(h, 0);
        if (size < head) continue;
        each(std::span<const char>(static_cast<const char*>(NLMSG_DATA(h)) + head, size - head));
      }
    }
  }

 private:
  explicit Socket(int fd) : fd_(fd) {}
  int fd_;
  uint32_t sequence_ = 0;
};

// The first attribute of that type: its payload, and itself with its header in `whole`. Empty when there is none.
std::span<const char> attribute(std::span<const char> all, int type, std::span<const char>* whole = nullptr) {
  while (all.size() >= NLA_HDRLEN) {
    nlattr a;
    memcpy(&a, all.data(), sizeof a);
    if (a.nla_len < NLA_HDRLEN || a.nla_len > all.size()) break;
    if ((a.nla_type & NLA_TYPE_MASK) == type) {
      if (whole) *whole = all.first(a.nla_len);
      return all.subspan(NLA_HDRLEN, a.nla_len - NLA_HDRLEN);
    }
    all = all.subspan(std::min<size_t>(NLA_ALIGN(a.nla_len), all.size()));
  }
  return {};
}

std::string address_at(std::span<const char> ip) {
  char text[INET_ADDRSTRLEN];
  if (ip.size() != sizeof(in_addr) || !inet_ntop(AF_INET, ip.data(), text, sizeof text)) return "";
  return text;
}
int port_at(std::span<const char> port) {
  uint16_t p;
  if (port.size() != sizeof p) return 0;
  memcpy(&p, port.data(), sizeof p);
  return ntohs(p);
}
std::string ip_port(const std::string& ip, int port) { return ip + ":" + std::to_string(port); }

bool read_flow(std::span<const char> message, Flow& out) {
  std::span<const char> original_whole;
  auto original = attribute(message, CTA_TUPLE_ORIG, &original_whole);
  auto reply = attribute(message, CTA_TUPLE_REPLY);
  auto protocol = attribute(attribute(original, CTA_TUPLE_PROTO), CTA_PROTO_NUM);
  if (protocol.size() != 1 || static_cast<uint8_t>(protocol[0]) != IPPROTO_UDP) return false;
  out.original_port = port_at(attribute(attribute(original, CTA_TUPLE_PROTO), CTA_PROTO_DST_PORT));
  out.original_to = ip_port(address_at(attribute(attribute(original, CTA_TUPLE_IP), CTA_IP_V4_DST)), out.original_port);
  out.reply_from = ip_port(address_at(attribute(attribute(reply, CTA_TUPLE_IP), CTA_IP_V4_SRC)), port_at(attribute(attribute(reply, CTA_TUPLE_PROTO), CTA_PROTO_SRC_PORT)));
  // The id keeps a later flow of the same sender from being taken for this one.
  for (int type : {CTA_TUPLE_ORIG, CTA_ID, CTA_ZONE}) {
    std::span<const char> whole;
    attribute(message, type, &whole);
    out.key.append(whole.data(), whole.size());
    out.key.resize(NLA_ALIGN(out.key.size()));
  }
  return true;
}

}  // namespace

UdpState udp_state(const Services& services, const Endpoints& endpoints) {
  UdpState s;
  for (auto& [key, service] : services) {
    if (key.protocol != "udp") continue;
    auto found = endpoints.find(key);
    if (found == endpoints.end()) continue;
    std::vector<Endpoint> serving;
    for (auto& e : found->second)
      if (e.serving) serving.push_back(e);
    if (serving.empty()) continue;
    s.services[key] = service;
    s.serving[key] = std::move(serving);
  }
  return s;
}

std::vector<Flow> stale_flows(const std::vector<Flow>& flows, const UdpState& state) {
  std::map<std::string, std::set<std::string>> by_address;
  std::map<int, std::set<std::string>> by_node_port;
  for (auto& [key, service] : state.services) {
    std::set<std::string> serving;
    for (auto& e : state.serving.at(key)) serving.insert(ip_port(e.ip, e.port));
    for (auto* list : {&service.external_ips, &service.load_balancer_ips})
      for (auto& ip : *list) by_address[ip_port(ip, service.port)] = serving;
    by_address[ip_port(service.cluster_ip, service.port)] = serving;
    if (service.node_port > 0) by_node_port[service.node_port] = serving;
  }
  std::vector<Flow> out;
  for (auto& f : flows) {
    auto address = by_address.find(f.original_to);
    auto node_port = by_node_port.find(f.original_port);
    if ((address != by_address.end() && !address->second.count(f.reply_from)) || (node_port != by_node_port.end() && !node_port->second.count(f.reply_from))) out.push_back(f);
  }
  return out;
}

Result<std::vector<Flow>> udp_flows() {
  TRY(auto socket, Socket::open());
  std::vector<Flow> out;
  int error = socket.ask(IPCTNL_MSG_CT_GET, NLM_F_DUMP, "", [&](std::span<const char> attributes) {
    Flow f;
    if (read_flow(attributes, f)) out.push_back(std::move(f));
  });
  if (error != 0) return internal(std::string("conntrack: cannot list the flows: ") + strerror(error));
  return out;
}

Status forget(const std::vector<Flow>& flows) {
  TRY(auto socket, Socket::open());
  for (auto& f : flows) {
    int error = socket.ask(IPCTNL_MSG_CT_DELETE, NLM_F_ACK, f.key, [](std::span<const char>) {});
    if (error != 0 && error != ENOENT) return internal("conntrack: cannot delete the flow to " + f.original_to + ": " + strerror(error));
  }
  return ok();
}

}  // namespace caravel::proxy
