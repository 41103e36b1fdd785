#include "node/network.h"

#include <fcntl.h>
#include <net/if.h>
#include <unistd.h>

#include <fstream>

#include "base/hash.h"
#include "base/strings.h"
#include "net/process.h"

namespace caravel::node {
namespace {

constexpr const char* kGateway = "169.254.1.1";
constexpr const char* kPrimaryMark = "0x80";
constexpr int kPrimaryPriority = 95;  // before the instance's rules for addresses of further ENIs (vpc/router)
constexpr Duration kIpTimeout = std::chrono::seconds(20);

// A locally administered address that depends on nothing but the name.
std::string mac_of(const std::string& veth) {
  const std::string h = sha1(veth);
  return format("ee:%02x:%02x:%02x:%02x:%02x", static_cast<unsigned char>(h[0]), static_cast<unsigned char>(h[1]), static_cast<unsigned char>(h[2]),
                static_cast<unsigned char>(h[3]), static_cast<unsigned char>(h[4]));
}

net::ProcessOptions ip_batch(int netns_fd) {
  net::ProcessOptions o;
  o.argv = {"ip", "-batch", "-"};
  o.stdin_pipe = o.stdout_pipe = o.stderr_pipe = true;
  o.netns_fd = netns_fd;
  return o;
}

Task<Status> run_ip(net::EventLoop& loop, std::string commands, int netns_fd) {
  auto r = co_await net::run_process(loop, ip_batch(netns_fd), commands, kIpTimeout);
  if (!r.ok()) co_return wrap(std::move(r).error(), "running ip (Debian package iproute2)");
  if (r->exit.code != 0) co_return internal("ip failed: " + std::string(trim(r->err)));
  co_return ok();
}

}  // namespace

std::string veth_name(const std::string& owner) { return "eni" + hex_encode(sha1(owner)).substr(0, 11); }

std::string node_side_commands(const std::string& veth, const PodAddress& a, int pid, int mtu) {
  std::string out = "link add " + veth + " address " + mac_of(veth) + " mtu " + std::to_string(mtu) + " type veth peer name eth0 mtu " +
                    std::to_string(mtu) + " netns " + std::to_string(pid) + "\n";
  out += "link set " + veth + " up\n";
  out += "route replace " + a.ip + "/32 dev " + veth + " scope link\n";
  return out;
}

std::string pod_side_commands(const std::string& veth, const PodAddress& a) {
  return "link set lo up\naddr replace " + a.ip + "/32 dev eth0\nlink set eth0 up\nroute replace " + kGateway +
         " dev eth0 scope link\nroute replace default via " + kGateway + " dev eth0\nneigh replace " + kGateway + " lladdr " + mac_of(veth) +
         " dev eth0 nud permanent\n";
}

Task<Status> connect_pod(net::EventLoop& loop, std::string owner, PodAddress address, int pid, int mtu) {
  const std::string veth = veth_name(owner);
  int fd = open(("/proc/" + std::to_string(pid) + "/ns/net").c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) co_return unavailable("the pod's sandbox process " + std::to_string(pid) + " is gone");
  if (if_nametoindex(veth.c_str()) != 0) {
    Status old = co_await disconnect_pod(loop, owner);
    if (!old.ok()) {
      close(fd);
      co_return old;
    }
  }
  Status s = co_await run_ip(loop, node_side_commands(veth, address, pid, mtu), -1);
  if (s.ok()) s = co_await run_ip(loop, pod_side_commands(veth, address), fd);
  close(fd);
  if (!s.ok()) co_return wrap(std::move(s).error(), "connecting the pod address " + address.ip);
  co_return ok();
}

Task<Status> disconnect_pod(net::EventLoop& loop, std::string owner) {
  // -force would hide real failures; a link that is already gone is what we want, so ask first.
  net::ProcessOptions o;
  o.argv.emplace_back("ip");
  o.argv.emplace_back("link");
  o.argv.emplace_back("delete");
  o.argv.emplace_back(veth_name(owner));
  o.stdout_pipe = o.stderr_pipe = true;
  auto r = co_await net::run_process(loop, std::move(o), "", kIpTimeout);
  if (!r.ok()) co_return std::move(r).error();
  if (r->exit.code != 0 && r->err.find("Cannot find device") == std::string::npos) co_return internal("ip failed: " + std::string(trim(r->err)));
  co_return ok();
}

Task<Status> run_nft_script(net::EventLoop& loop, std::string script) {
  net::ProcessOptions o;
  o.argv.emplace_back("nft");
  o.argv.emplace_back("-f");
  o.argv.emplace_back("-");
  o.stdin_pipe = o.stdout_pipe = o.stderr_pipe = true;
  auto r = co_await net::run_process(loop, std::move(o), script, kIpTimeout);
  if (!r.ok()) co_return wrap(std::move(r).error(), "running nft (Debian package nftables)");
  if (r->exit.code != 0) co_return internal("nft refused the node's rules: " + std::string(trim(r->err)));
  co_return ok();
}

Task<Status> answer_by_primary_eni(net::EventLoop& loop) {
  const std::string rules =
      "add table ip caravel-answers\ndelete table ip caravel-answers\n"
      "table ip caravel-answers {\n  chain prerouting {\n    type filter hook prerouting priority mangle; policy accept;\n"
      "    iifname \"eth0\" fib daddr . iif type local ct mark set ct mark or " +
      std::string(kPrimaryMark) + "\n    iifname \"eni*\" ct mark and " + kPrimaryMark + " == " + kPrimaryMark + " meta mark set meta mark or " + kPrimaryMark + "\n  }\n}\n";
  Status marked = co_await run_nft_script(loop, rules);
  if (!marked.ok()) co_return marked;
  Status s = co_await run_ip(loop, "rule add fwmark " + std::string(kPrimaryMark) + "/" + kPrimaryMark + " lookup main priority " + std::to_string(kPrimaryPriority) + "\n", -1);
  if (!s.ok() && s.error().message.find("File exists") == std::string::npos) co_return s;  // an agent before this one
  co_return ok();
}

Status prepare_node_network() {
  for (auto& [file, value] : {std::pair<const char*, const char*>{"/proc/sys/net/ipv4/ip_forward", "1"},
                              {"/proc/sys/net/ipv4/conf/all/route_localnet", "1"}}) {  // host ports on loopback
    std::ofstream out(file);
    out << value;
    out.close();
    if (!out) return internal(std::string("writing ") + file + " failed; the node agent has to run as root");
  }
  return ok();
}

}  // namespace caravel::node
