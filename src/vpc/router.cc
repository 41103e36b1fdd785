#include "vpc/router.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sched.h>
#include <sys/socket.h>
#include <unistd.h>

#include <set>
#include <thread>

#include "base/json.h"
#include "base/strings.h"

namespace caravel::vpc {
namespace {

constexpr char kMtu[] = "9001";  // jumbo frames, as inside a real VPC

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

}  // namespace

LinkPlan plan_link(const Interface& i, const Subnet& subnet, const std::string& netns) {
  LinkPlan p;
  std::string link = link_name(i.id), inner = "eth" + std::to_string(i.device_index);
  std::string prefix = subnet.cidr.substr(subnet.cidr.find('/'));
  std::string mac = i.mac.empty() ? "" : " address " + i.mac;
  p.router_batch = "link add " + link + " mtu " + kMtu + " type veth peer name " + inner + mac + " mtu " + kMtu + " netns " + netns + "\n";
  p.router_batch += "link set " + link + " up\n";
  p.owner_batch = "link set lo up\naddr replace " + i.primary_ip + prefix + " dev " + inner + "\nlink set " + inner + " up\n";
  std::string gateway = router_ip(subnet.cidr);
  if (i.device_index == 0) {
    p.owner_batch += "route replace default via " + gateway + " dev eth0\n";
  } else {
    // What leaves from a further interface's addresses leaves through that interface.
    std::string table = std::to_string(100 + i.device_index);
    p.owner_batch += "route replace default via " + gateway + " dev " + inner + " table " + table + "\n";
    for (auto& a : addresses_of(i)) p.owner_batch += "rule add from " + a + " lookup " + table + " priority " + table + "\n";
  }
  p.routes_batch = "route replace " + i.primary_ip + "/32 dev " + link + "\n";
  for (auto& a : i.secondary_ips) p.routes_batch += "route replace " + a + "/32 via " + i.primary_ip + " dev " + link + " onlink\n";
  for (auto& a : i.prefixes) p.routes_batch += "route replace " + a + " via " + i.primary_ip + " dev " + link + " onlink\n";
  return p;
}

Task<Status> Router::run_ip(std::string batch, std::string netns) {
  net::ProcessOptions o;
  o.argv = {"ip"};
  if (!netns.empty()) {
    o.argv.push_back("-n");
    o.argv.push_back(netns);
  }
  o.argv.insert(o.argv.end(), {"-force", "-batch", "-"});
  auto r = co_await net::run_process(*loop_, std::move(o), batch, 60s);
  if (!r.ok()) co_return std::move(r).error();
  // Repeating what is there already is no error: the batches are level-triggered.
  std::string problems;
  for (auto& l : split(r->err, '\n'))
    if (!trim(l).empty() && l.find("File exists") == l.npos && l.find("No such process") == l.npos && l.find("Cannot find device") == l.npos && !l.starts_with("Command failed"))
      problems += l + "; ";
  if (!problems.empty()) co_return internal("ip -batch" + (netns.empty() ? "" : " in " + netns) + ": " + problems);
  co_return ok();
}

Task<Status> Router::run_nft(std::string text) {
  net::ProcessOptions o;
  o.argv = {"nft", "-f", "-"};
  auto r = co_await net::run_process(*loop_, std::move(o), text, 60s);
  if (!r.ok()) co_return std::move(r).error();
  if (r->exit.code != 0) co_return internal("nft: " + std::string(trim(r->err)));
  co_return ok();
}

Task<Status> Router::set_up() {
  std::string batch = "link set lo up\n";
  for (auto& a : own_.services) batch += "addr replace " + a + "/32 dev lo\n";
  batch += "addr replace " + own_.internet + "/32 dev lo\n";
  CO_TRY_VOID(co_await run_ip(batch, ""));
  CO_TRY_VOID(write_sysctl("net/ipv4/ip_forward", "1"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/all/rp_filter", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/default/rp_filter", "0"));
  CO_TRY_VOID(write_sysctl("net/ipv4/conf/default/proxy_arp", "1"));
  co_return ok();
}

Task<Status> Router::apply(NetworkState network, std::map<std::string, std::string> namespaces) {
  std::map<std::string, const Subnet*> subnets;
  std::string batch;
  for (auto& s : network.subnets) {
    subnets[s.id] = &s;
    // Addresses without an interface are nowhere; the subnet's router answers.
    batch += "route replace blackhole " + s.cidr + "\naddr replace " + router_ip(s.cidr) + "/32 dev lo\n";
  }
  std::set<std::string> wanted;
  std::vector<std::pair<std::string, std::string>> owners;  // namespace, batch
  std::map<std::string, std::string> signatures;
  std::string links, routes;
  std::vector<std::string> fresh;
  for (auto& i : network.interfaces) {
    auto ns = namespaces.find(i.id);
    auto subnet = subnets.find(i.subnet_id);
    if (ns == namespaces.end() || subnet == subnets.end() || !namespace_exists(ns->second)) continue;
    std::string link = link_name(i.id);
    wanted.insert(link);
    LinkPlan plan = plan_link(i, *subnet->second, ns->second);
    std::string signature = ns->second + "\n" + plan.owner_batch + plan.routes_batch;
    signatures[link] = signature;
    bool there = net::path_exists("/sys/class/net/" + link);
    auto before = applied_.find(link);
    if (there && before != applied_.end() && before->second == signature) continue;
    if (there && before != applied_.end() && before->second.substr(0, before->second.find('\n')) != ns->second) {
      links += "link del " + link + "\n";
      there = false;
    }
    if (!there) {
      links += plan.router_batch;
      fresh.push_back(link);
    }
    owners.emplace_back(ns->second, plan.owner_batch);
    routes += plan.routes_batch;
    if (before != applied_.end() && there) {
      // Addresses that left the interface.
      for (auto& old : split(before->second, '\n'))
        if (old.starts_with("route replace ") && plan.routes_batch.find(old + "\n") == std::string::npos && plan.owner_batch.find(old + "\n") == std::string::npos)
          links += "route del " + old.substr(14) + "\n";
    }
  }
  auto present = net::list_directory("/sys/class/net");
  if (present.ok())
    for (auto& name : *present)
      if (name.size() > 10 && name[0] == 'v' && !wanted.count(name)) links += "link del " + name + "\n";
  // Rules first: a new interface never forwards unfiltered.
  std::string rules = render_rules(network, own_);
  if (rules != rules_) {
    CO_TRY_VOID(co_await run_nft(rules));
    rules_ = rules;
  }
  std::string first = batch + links;
  CO_TRY_VOID(co_await run_ip(first, ""));
  // Proxy ARP answers at once, not after a random delay of up to 0.8 s.
  for (auto& link : fresh) CO_TRY_VOID(write_sysctl("net/ipv4/neigh/" + link + "/proxy_delay", "0"));
  for (auto& [ns, text] : owners) CO_TRY_VOID(co_await run_ip(text, ns));
  if (!routes.empty()) CO_TRY_VOID(co_await run_ip(routes, ""));
  applied_ = std::move(signatures);
  co_return ok();
}

Task<Status> make_namespace(net::EventLoop& loop, std::string name) {
  if (namespace_exists(name)) co_return ok();
  net::ProcessOptions o;
  o.argv = {"ip", "netns", "add", name};
  auto r = co_await net::run_process(loop, std::move(o), "", 20s);
  if (!r.ok()) co_return std::move(r).error();
  if (r->exit.code != 0) co_return internal("ip netns add " + name + ": " + std::string(trim(r->err)));
  co_return in_namespace(name, [] {
    Status s = write_sysctl("net/ipv4/ip_forward", "1");
    if (s.ok()) s = write_sysctl("net/ipv4/conf/all/rp_filter", "0");
    if (s.ok()) s = write_sysctl("net/ipv4/conf/default/rp_filter", "0");
    // Listening below 1024 needs no privilege inside, as in a container.
    if (s.ok()) s = write_sysctl("net/ipv4/ip_unprivileged_port_start", "0");
    return s;
  });
}

Task<Status> delete_namespace(net::EventLoop& loop, std::string name) {
  if (!namespace_exists(name)) co_return ok();
  net::ProcessOptions o;
  o.argv = {"ip", "netns", "del", name};
  auto r = co_await net::run_process(loop, std::move(o), "", 20s);
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

bool namespace_exists(const std::string& name) { return net::path_exists("/run/netns/" + name); }

int open_namespace(const std::string& name) { return ::open(("/run/netns/" + name).c_str(), O_RDONLY | O_CLOEXEC); }

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
