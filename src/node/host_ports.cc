#include "node/host_ports.h"

#include <algorithm>
#include <set>

#include "base/strings.h"

namespace caravel::node {

namespace {

constexpr const char* kHostPortTable = "ip caravel-hostports";

}  // namespace

std::vector<HostPort> host_ports(const core::Pod& pod, const std::string& pod_ip) {
  std::vector<HostPort> out;
  if (pod.spec.host_network || pod_ip.empty()) return out;
  auto add = [&](const core::Container& c) {
    for (auto& p : c.ports) {
      if (p.host_port == 0) continue;
      HostPort h;
      h.host_ip = p.host_ip == "0.0.0.0" ? "" : p.host_ip;
      h.protocol = p.protocol.empty() ? "tcp" : to_lower(p.protocol);
      h.port = p.host_port;
      h.pod_ip = pod_ip;
      h.pod_port = p.container_port;
      out.push_back(std::move(h));
    }
  };
  for (auto& c : pod.spec.init_containers)
    if (is_sidecar(c)) add(c);
  for (auto& c : pod.spec.containers) add(c);
  return out;
}

std::string host_port_rules(std::vector<HostPort> ports) {
  // Those of one address come before those of all; else the order only has to be the same each time.
  std::sort(ports.begin(), ports.end(), [](auto& a, auto& b) {
    return std::tuple(a.host_ip.empty(), a.host_ip, a.protocol, a.port, a.pod_ip) < std::tuple(b.host_ip.empty(), b.host_ip, b.protocol, b.port, b.pod_ip);
  });
  const std::string table = kHostPortTable;
  std::string out = "add table " + table + "\ndelete table " + table + "\n";
  if (ports.empty()) return out;
  out += "table " + table + " {\n  chain ports {\n";
  std::set<std::string> pods;
  for (auto& p : ports) {
    if (p.host_ip.find(':') != p.host_ip.npos) continue;  // the node has no IPv6 addresses
    out += "    " + (p.host_ip.empty() ? "" : "ip daddr " + p.host_ip + " ") + p.protocol + " dport " + std::to_string(p.port) + " dnat to " + p.pod_ip + ":" + std::to_string(p.pod_port) + "\n";
    pods.insert(p.pod_ip);
  }
  out +=
      "  }\n"
      "  chain prerouting {\n    type nat hook prerouting priority -101; policy accept;\n    fib daddr type local jump ports\n  }\n"
      "  chain output {\n    type nat hook output priority -101; policy accept;\n    fib daddr type local jump ports\n  }\n"
      "  chain postrouting {\n    type nat hook postrouting priority 99; policy accept;\n";
  // Answers must come back here: to a pod that calls itself, and to the loopback interface.
  for (auto& ip : pods) out += "    ip saddr { 127.0.0.0/8, " + ip + " } ip daddr " + ip + " ct status dnat masquerade\n";
  // Loopback addresses leave by a pod's link only because of the above (route_localnet): nobody else gets at them.
  out += "  }\n  chain guard {\n    type filter hook prerouting priority -300; policy accept;\n    iifname != \"lo\" ip daddr 127.0.0.0/8 drop\n  }\n}\n";
  return out;
}

}  // namespace caravel::node
