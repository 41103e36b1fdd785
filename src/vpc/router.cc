#include "vpc/router.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <nftables/libnftables.h>
#include <sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <set>
#include <thread>

#include "base/json.h"
#include "base/strings.h"

namespace caravel::vpc {
namespace {

constexpr int kHostRoutesPriority = 90;  // before the rules of further interfaces (101 on)

// "10.0.11.0/24" -> "10.0.11.1"
std::string router_ip(const std::string& cidr) {
  in_addr a{};
  inet_pton(AF_INET, cidr.substr(0, cidr.find('/')).c_str(), &a);
  a.s_addr = htonl(ntohl(a.s_addr) + 1);
  char text[INET_ADDRSTRLEN];
  return inet_ntop(AF_INET, &a, text, sizeof text);
}

Status write_sysctl(const std::string& path, const std::string& value) {
  int fd = ::open(("/proc/sys/" + path).c_str(), O_WRONLY | O_CLOEXEC);
  if (fd < 0) return internal("cannot open /proc/sys/" + path);
  ssize_t n = ::write(fd, value.data(), value.size());
  ::close(fd);
  if (n < 0) return internal("cannot write /proc/sys/" + path);
  return ok();
}

// Runs f on a thread that has entered the namespace.
template <class F>
Status in_namespace(const std::string& name, F f) {
  Status result = ok();
  std::thread t([&] {
    int fd = open_namespace(name);
    if (fd < 0 || setns(fd, CLONE_NEWNET) != 0) result = not_found("there is no network namespace " + name);
    else result = f();
    if (fd >= 0) ::close(fd);
  });
  t.join();
  return result;
}

struct Descriptor {
  int fd;
  explicit Descriptor(int f) : fd(f) {}
  Descriptor(Descriptor&& o) noexcept : fd(o.fd) { o.fd = -1; }
  ~Descriptor() {
    if (fd >= 0) ::close(fd);
  }
};

Result<Descriptor> open_descriptor(const std::string& name) {
  Descriptor d(open_namespace(name));
  if (d.fd < 0) return not_found("there is no network namespace " + name);
  return d;
}

Status wrap_status(Status s, const std::string& context) { return s.ok() ? std::move(s) : Status(wrap(s.error(), context)); }

// A namespace that was removed and made again under its name is another one.
std::string namespace_identity(const std::string& name) {
  struct stat st {};
  ::stat(("/run/netns/" + name).c_str(), &st);
  return name + " " + std::to_string(st.st_ino);
}

Status run_nft(const std::string& text) {
  std::unique_ptr<nft_ctx, void (*)(nft_ctx*)> nft(nft_ctx_new(NFT_CTX_DEFAULT), nft_ctx_free);
  if (!nft) return internal("cannot start libnftables; is the nftables library whole?");
  nft_ctx_buffer_error(nft.get());
  nft_ctx_buffer_output(nft.get());
  if (nft_run_cmd_from_buffer(nft.get(), text.c_str()) != 0) return internal("nftables refuses the rules: " + std::string(trim(nft_ctx_get_error_buffer(nft.get()))));
  return ok();
}

// As link_name() makes them.
bool is_interface_link(const std::string& name) {
  return name.size() == 15 && name[0] == 'v' && name.find_first_not_of("0123456789abcdef", 1) == name.npos;
}

}  // namespace

LinkPlan plan_link(const Interface& i, const Subnet& subnet) {
  LinkPlan p;
  p.link = link_name(i.id);
  p.inner = "eth" + std::to_string(i.device_index);
  p.mac = i.mac;
  p.primary = i.primary_ip;
  p.gateway = router_ip(subnet.cidr);
  uint32_t network;
  parse_cidr(subnet.cidr, network, p.prefix);
  p.main = i.device_index == 0;
  p.table = p.main ? 254 : 100 + i.device_index;
  p.behind = i.secondary_ips;
  p.behind.insert(p.behind.end(), i.prefixes.begin(), i.prefixes.end());
  return p;
}

Status Router::apply_rules(NftTable desired) {
  std::string text = rules_ ? change_text(*rules_, desired) : replace_text(desired);
  if (!text.empty()) {
    Status s = run_nft(text);
    if (!s.ok() && rules_) {
      // The kernel may hold something else than we think (somebody else wrote): give it all again.
      log_.warn("giving all rules again", {{"because", s.error().message}});
      s = run_nft(replace_text(desired));
    }
    if (!s.ok()) {
      rules_.reset();
      return s;
    }
  }
  rules_ = std::make_unique<NftTable>(std::move(desired));
  return ok();
}

Status Router::connect_internet(Netlink& own) {
  if (!namespace_exists(own_.internet_namespace)) return ok();
  TRY(Descriptor there, open_descriptor(own_.internet_namespace));
  TRY(auto links, own.links());
  if (!links.count(kInternetLink)) {
    VethSpec veth;
    veth.name = kInternetLink;
    veth.peer_name = "eth0";
    veth.peer_namespace = there.fd;
    veth.mtu = 1500;
    TRY_VOID(own.add_veth(veth));
    TRY(links, own.links());
  }
  int index = links[kInternetLink].index;
  TRY_VOID(own.add_address(index, own_.internet_gateway, 24));
  TRY_VOID(own.set_up(index));
  TRY(Netlink inner, Netlink::open(there.fd));
  TRY(auto inside, inner.links());
  int eth = inside["eth0"].index;
  TRY_VOID(inner.set_up(inside["lo"].index));
  TRY_VOID(inner.add_address(eth, own_.internet, 24));
  TRY_VOID(inner.set_up(eth));
  RouteSpec back;
  back.destination = "0.0.0.0/0";
  back.gateway = own_.internet_gateway;
  back.link = eth;
  TRY_VOID(inner.replace_route(back));
  RouteSpec out;
  out.destination = "0.0.0.0/0";
  out.gateway = own_.internet;
  out.link = index;
  return own.replace_route(out);
}

Task<Status> Router::set_up() {
  auto own = Netlink::open();
  if (!own.ok()) co_return std::move(own).error();
  auto links = own->links();
  if (!links.ok()) co_return std::move(links).error();
  int lo = (*links)["lo"].index;
  CO_TRY_VOID(own->set_up(lo));
  for (auto& a : own_.services) CO_TRY_VOID(own->add_address(lo, a, 32));
  CO_TRY_VOID(write_sysctl("net/ipv4/ip_forward", "1"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/all/rp_filter", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/default/rp_filter", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/all/send_redirects", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/default/send_redirects", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/default/proxy_arp", "1"));
  co_return connect_internet(*own);
}

Status Router::plug(Netlink& own, const Interface& i, const Plugged& now, const Plugged* before, const std::map<std::string, Link>& links) {
  const LinkPlan& p = now.plan;
  std::string name = now.netns.substr(0, now.netns.find(' '));
  TRY(Descriptor there, open_descriptor(name));
  TRY(Netlink inner, Netlink::open(there.fd));
  TRY(auto inside, inner.links());
  auto it = links.find(p.link);
  int index = it == links.end() ? 0 : it->second.index;
  bool same = before ? before->netns == now.netns && before->plan.primary == p.primary && before->plan.inner == p.inner : inside.count(p.inner) > 0;
  if (index && !same) {
    TRY_VOID(own.delete_link(p.link));
    index = 0;
  }
  if (!index) {
    VethSpec veth;
    veth.name = p.link;
    veth.peer_name = p.inner;
    veth.peer_mac = p.mac;
    veth.peer_namespace = there.fd;
    TRY_VOID(wrap_status(own.add_veth(veth), "interface " + i.id));
    TRY(auto again, own.links());
    TRY(inside, inner.links());
    index = again[p.link].index;
    before = nullptr;
    // Proxy ARP answers at once, not after a random delay of up to 0.8 s.
    TRY_VOID(write_sysctl("net/ipv4/neigh/" + p.link + "/proxy_delay", "0"));
  }
  TRY_VOID(own.set_up(index));
  int eth = inside[p.inner].index;
  TRY_VOID(inner.set_up(inside["lo"].index));
  // A further interface's subnet is reached through the main one all the same: else an answer from the main
  // address to a neighbour in that subnet would leave by the wrong interface and count as spoofed.
  TRY_VOID(inner.add_address(eth, p.primary, p.prefix, p.main));
  TRY_VOID(inner.set_up(eth));
  RouteSpec out;
  out.onlink = true;
  out.destination = "0.0.0.0/0";
  out.gateway = p.gateway;
  out.link = eth;
  out.table = p.table;
  TRY_VOID(inner.replace_route(out));
  if (!p.main) {
    // What leaves from a further interface's addresses leaves through that interface.
    // Except between pods of one node: the way back would be another one, and no connection would stand.
    TRY_VOID(inner.add_host_route_rule(kHostRoutesPriority));
    TRY_VOID(inner.add_source_rule(p.primary, p.table, p.table));
    for (auto& a : p.behind) TRY_VOID(inner.add_source_rule(a, p.table, p.table));
  }
  RouteSpec in;
  in.destination = p.primary + "/32";
  in.link = index;
  TRY_VOID(own.replace_route(in));
  if (!p.mac.empty()) TRY_VOID(own.set_neighbour(index, p.primary, p.mac));
  in.gateway = p.primary;
  in.onlink = true;
  if (before)
    for (auto& a : before->plan.behind)
      if (std::find(p.behind.begin(), p.behind.end(), a) == p.behind.end()) {
        in.destination = a;
        TRY_VOID(own.delete_route(in));
      }
  for (auto& a : p.behind) {
    in.destination = a;
    TRY_VOID(own.replace_route(in));
  }
  return ok();
}

Status Router::apply_now(const NetworkState& network, const std::map<std::string, std::string>& namespaces) {
  TRY(Netlink own, Netlink::open());
  TRY(auto links, own.links());
  int lo = links["lo"].index;
  std::map<std::string, const Subnet*> subnets;
  std::map<std::string, std::string> wanted_subnets;
  for (auto& s : network.subnets) {
    subnets[s.id] = &s;
    wanted_subnets[s.cidr] = router_ip(s.cidr);
  }
  for (auto& [cidr, router] : wanted_subnets) {
    if (subnets_.count(cidr)) continue;
    // Addresses without an interface are nowhere; the subnet's router answers for itself.
    RouteSpec nowhere;
    nowhere.destination = cidr;
    nowhere.blackhole = true;
    TRY_VOID(own.replace_route(nowhere));
    TRY_VOID(own.add_address(lo, router, 32));
  }
  for (auto& [cidr, router] : subnets_) {
    if (wanted_subnets.count(cidr)) continue;
    RouteSpec nowhere;
    nowhere.destination = cidr;
    nowhere.blackhole = true;
    TRY_VOID(own.delete_route(nowhere));
    TRY_VOID(own.delete_address(lo, router, 32));
  }
  subnets_ = std::move(wanted_subnets);

  // Rules first: a new interface never forwards unfiltered.
  TRY_VOID(apply_rules(plan_rules(network, own_)));

  std::set<std::string> wanted;
  std::string problems;
  std::vector<std::pair<const Interface*, Plugged>> work;
  for (auto& i : network.interfaces) {
    auto ns = namespaces.find(i.id);
    auto subnet = subnets.find(i.subnet_id);
    if (ns == namespaces.end() || subnet == subnets.end() || !namespace_exists(ns->second)) continue;
    Plugged now{namespace_identity(ns->second), plan_link(i, *subnet->second)};
    wanted.insert(now.plan.link);
    auto before = plugged_.find(now.plan.link);
    if (links.count(now.plan.link) && before != plugged_.end() && before->second.netns == now.netns && before->second.plan == now.plan) continue;
    work.emplace_back(&i, std::move(now));
  }
  for (auto& [name, link] : links)
    if (is_interface_link(name) && !wanted.count(name)) {
      TRY_VOID(own.delete_link(name));
      plugged_.erase(name);
    }
  for (auto& [i, now] : work) {
    auto before = plugged_.find(now.plan.link);
    Status s = plug(own, *i, now, before == plugged_.end() ? nullptr : &before->second, links);
    if (s.ok()) {
      plugged_[now.plan.link] = now;
    } else {
      // One interface's trouble (its namespace may just be going) is not the others'.
      plugged_.erase(now.plan.link);
      problems += (problems.empty() ? "" : "; ") + s.error().message;
    }
  }
  if (!problems.empty()) return internal("interfaces could not be plugged: " + problems);
  return ok();
}

Task<Status> Router::apply(NetworkState network, std::map<std::string, std::string> namespaces) { co_return apply_now(network, namespaces); }

Task<Status> make_namespace(net::EventLoop&, std::string name) {
  if (namespace_exists(name)) co_return ok();
  CO_TRY_VOID(net::make_directories("/run/netns"));
  Status result = ok();
  std::string path = "/run/netns/" + name;
  // A thread makes the namespace and goes; the mount keeps it.
  std::thread t([&result, &path] {
    if (unshare(CLONE_NEWNET) != 0) {
      result = internal("cannot make a network namespace: " + std::string(strerror(errno)) + "; Caravel needs root for this");
      return;
    }
    int fd = ::open(path.c_str(), O_RDONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0444);
    if (fd >= 0) ::close(fd);
    if (mount("/proc/thread-self/ns/net", path.c_str(), "none", MS_BIND, nullptr) != 0) {
      result = internal("cannot keep the network namespace at " + path + ": " + strerror(errno));
      ::unlink(path.c_str());
      return;
    }
    result = write_sysctl("net/ipv4/ip_forward", "1");
    if (result.ok()) result = write_sysctl("net/ipv4/conf/all/rp_filter", "0");
    if (result.ok()) result = write_sysctl("net/ipv4/conf/default/rp_filter", "0");
    // Listening below 1024 needs no privilege inside, as in a container.
    if (result.ok()) result = write_sysctl("net/ipv4/ip_unprivileged_port_start", "0");
    auto links = Netlink::open();
    if (links.ok())
      if (auto all = links->links(); all.ok() && result.ok()) result = links->set_up((*all)["lo"].index);
  });
  t.join();
  co_return result;
}

Task<Status> delete_namespace(net::EventLoop&, std::string name) {
  std::string path = "/run/netns/" + name;
  if (!net::path_exists(path)) co_return ok();
  if (umount2(path.c_str(), MNT_DETACH) != 0 && errno != EINVAL) co_return internal("cannot unmount " + path + ": " + strerror(errno));
  if (::unlink(path.c_str()) != 0 && errno != ENOENT) co_return internal("cannot remove " + path + ": " + strerror(errno));
  co_return ok();
}

bool namespace_exists(const std::string& name) { return net::path_exists("/run/netns/" + name); }

int open_namespace(const std::string& name) { return ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC); }

Status add_loopback_address(const std::string& name, const std::string& ip) {
  TRY(Descriptor there, open_descriptor(name));
  TRY(Netlink inner, Netlink::open(there.fd));
  TRY(auto links, inner.links());
  return inner.add_address(links["lo"].index, ip, 32);
}

Status redirect_port(const std::string& name, const std::string& ip, int port, int to) {
  std::string table = "ip caravel_" + std::to_string(port);
  std::string rule = "ip daddr " + ip + " tcp dport " + std::to_string(port) + " dnat to " + ip + ":" + std::to_string(to) + "\n";
  std::string text = "add table " + table + "\ndelete table " + table + "\nadd table " + table + "\n";
  for (std::string hook : {"prerouting", "output"}) {
    text += "add chain " + table + " " + hook + " { type nat hook " + hook + " priority -110; policy accept; }\n";
    text += "add rule " + table + " " + hook + " " + rule;
  }
  return in_namespace(name, [&] { return run_nft(text); });
}

Result<int> listen_in_namespace(const std::string& name, const std::string& ip, int port) {
  int fd = -1;
  Status s = in_namespace(name, [&]() -> Status {
    fd = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    int one = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    setsockopt(fd, IPPROTO_IP, IP_FREEBIND, &one, sizeof one);
    sockaddr_in a{};
    a.sin_family = AF_INET;
    a.sin_port = htons(static_cast<uint16_t>(port));
    inet_pton(AF_INET, ip.c_str(), &a.sin_addr);
    if (::bind(fd, reinterpret_cast<sockaddr*>(&a), sizeof a) != 0 || ::listen(fd, 128) != 0) {
      ::close(fd);
      fd = -1;
      return internal("cannot listen on " + ip + ":" + std::to_string(port) + " in the namespace " + name);
    }
    return ok();
  });
  if (!s.ok()) return std::move(s).error();
  return fd;
}

}  // namespace caravel::vpc
