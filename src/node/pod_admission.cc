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

}  // namespace

std::optional<WaitReason> judge_pod(const core::Pod& pod, const std::vector<AdmittedPod>& others, const Amounts& allocatable) {
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
