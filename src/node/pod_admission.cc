#include "node/pod_admission.h"

#include <algorithm>

namespace caravel::node {

namespace {

struct UsedPort {
  std::string ip, protocol;
  int port = 0;
};

std::vector<UsedPort> used_ports(const core::Pod& pod) {
  std::vector<UsedPort> out;
  for (auto* list : {&pod.spec.init_containers, &pod.spec.containers})
    for (auto& c : *list) {
      if (list == &pod.spec.init_containers && !is_sidecar(c)) continue;
      for (auto& p : c.ports)
        if (p.host_port != 0) out.push_back({p.host_ip.empty() ? "0.0.0.0" : p.host_ip, p.protocol.empty() ? "TCP" : p.protocol, p.host_port});
    }
  return out;
}

bool conflict(const UsedPort& a, const UsedPort& b) {
  return a.port == b.port && a.protocol == b.protocol && (a.ip == b.ip || a.ip == "0.0.0.0" || b.ip == "0.0.0.0");
}

WaitReason out_of(const std::string& resource, int64_t asked, int64_t used, int64_t capacity) {
  return {"OutOf" + resource, "Pod was rejected: Node didn't have enough resource: " + resource + ", requested: " + std::to_string(asked) + ", used: " + std::to_string(used) +
                                  ", capacity: " + std::to_string(capacity)};
}

// Settings that are the pod's own and cannot harm its neighbours (upstream's safe sysctls), and the namespace they belong to.
struct SafeSysctl {
  std::string_view name;
  std::string_view of;  // "Net" or "IPC", as upstream's message names it
};
constexpr SafeSysctl kSafeSysctls[] = {
    {"kernel.shm_rmid_forced", "IPC"},
    {"net.ipv4.ip_local_port_range", "Net"},
    {"net.ipv4.tcp_syncookies", "Net"},
    {"net.ipv4.ping_group_range", "Net"},
    {"net.ipv4.ip_unprivileged_port_start", "Net"},
    {"net.ipv4.ip_local_reserved_ports", "Net"},
    {"net.ipv4.tcp_keepalive_time", "Net"},
    {"net.ipv4.tcp_fin_timeout", "Net"},
    {"net.ipv4.tcp_keepalive_intvl", "Net"},
    {"net.ipv4.tcp_keepalive_probes", "Net"},
    {"net.ipv4.tcp_rmem", "Net"},
    {"net.ipv4.tcp_wmem", "Net"},
};

// A name may be written with slashes: "net/ipv4/tcp_syncookies".
std::string dotted(std::string name) {
  const size_t separator = name.find_first_of("./");
  if (separator == name.npos || name[separator] == '.') return name;
  for (char& c : name) c = c == '/' ? '.' : c == '.' ? '/'
                                                     : c;
  return name;
}

std::optional<WaitReason> forbidden_sysctl(const core::Pod& pod) {
  if (!pod.spec.security_context) return std::nullopt;
  for (auto& s : pod.spec.security_context->sysctls) {
    const std::string name = dotted(s.name);
    const auto* safe = std::find_if(std::begin(kSafeSysctls), std::end(kSafeSysctls), [&](auto& k) { return k.name == name; });
    std::string why;
    if (safe == std::end(kSafeSysctls)) why = "not allowlisted";
    else if ((safe->of == "Net" && pod.spec.host_network) || (safe->of == "IPC" && pod.spec.host_ipc)) why = "not allowed with host " + std::string(safe->of) + " enabled";
    if (!why.empty()) return WaitReason{"SysctlForbidden", "Pod was rejected: forbidden sysctl: \"" + name + "\" " + why};
  }
  return std::nullopt;
}

std::optional<WaitReason> wrong_system(const core::Pod& pod) {
  auto wanted = pod.spec.node_selector.find("kubernetes.io/os");
  if (wanted != pod.spec.node_selector.end() && wanted->second != "linux")
    return WaitReason{"PodOSSelectorNodeLabelDoesNotMatch", "Pod was rejected: Failed to admit pod as the `kubernetes.io/os` label doesn't match node label"};
  if (pod.spec.os && pod.spec.os->name != "linux") return WaitReason{"PodOSNotSupported", "Pod was rejected: Failed to admit pod as the OS field doesn't match node OS"};
  return std::nullopt;
}

}  // namespace

std::optional<WaitReason> judge_pod(const core::Pod& pod, const std::vector<AdmittedPod>& others, const Amounts& allocatable) {
  if (auto wrong = wrong_system(pod)) return wrong;
  if (auto forbidden = forbidden_sysctl(pod)) return forbidden;
  const int64_t room = amount_of(allocatable, "pods");
  if (room > 0 && static_cast<int64_t>(others.size()) >= room) return out_of("pods", 1, static_cast<int64_t>(others.size()), room);
  Amounts used;
  for (auto& o : others)
    for (auto& [resource, q] : running_requests(*o.pod, o.granted)) used[resource] += q;
  const Amounts asked = running_requests(pod);
  for (const char* resource : {"cpu", "memory"}) {
    if (!allocatable.count(resource)) continue;
    const int64_t wants = amount_of(asked, resource), has = amount_of(used, resource), all = amount_of(allocatable, resource);
    if (wants > 0 && wants + has > all) return out_of(resource, wants, has, all);
  }
  const std::vector<UsedPort> wanted = used_ports(pod);
  for (auto& o : others)
    for (auto& theirs : used_ports(*o.pod))
      if (std::any_of(wanted.begin(), wanted.end(), [&](auto& w) { return conflict(w, theirs); }))
        return WaitReason{"NodePorts", "Pod was rejected: Predicate NodePorts failed: node(s) didn't have free ports for the requested pod ports"};
  return std::nullopt;
}

}  // namespace caravel::node
