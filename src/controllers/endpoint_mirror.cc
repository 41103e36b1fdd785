#include "controllers/endpoint_mirror.h"

#include <algorithm>
#include <map>
#include <set>
#include <tuple>

#include "controllers/common.h"
#include "controllers/endpoint_plan.h"

namespace caravel::controllers {

using kube::core::EndpointAddress;
using kube::core::Endpoints;
using kube::core::EndpointSubset;
using kube::discovery::EndpointSlice;

namespace {

constexpr const char* kSkipMirror = "endpointslice.kubernetes.io/skip-mirror";
constexpr const char* kLeaderRecord = "control-plane.alpha.kubernetes.io/leader";
constexpr const char* kKubectlApplied = "kubectl.kubernetes.io/last-applied-configuration";

using AddressKey = std::pair<std::string, std::string>;  // ip, uid of the pod
AddressKey key_of(const EndpointAddress& a) { return {a.ip, a.target_ref ? a.target_ref->uid : ""}; }

using PortKey = std::tuple<int32_t, std::string, std::string, std::string>;
PortKey key_of(const kube::core::EndpointPort& p) { return {p.port, p.protocol.empty() ? "TCP" : p.protocol, p.name, p.app_protocol.value_or("")}; }

bool is_v6(const EndpointAddress& a) { return a.ip.find(':') != std::string::npos; }

void add_addresses(const std::vector<EndpointAddress>& list, bool ready, size_t& room, std::map<bool, EndpointSlice>& by_family) {
  for (auto& a : list) {
    if (room == 0) return;
    --room;
    kube::discovery::Endpoint e;
    e.addresses = {a.ip};
    e.conditions.ready = ready;
    if (!a.hostname.empty()) e.hostname = a.hostname;
    e.node_name = a.node_name;
    e.target_ref = a.target_ref;
    by_family[is_v6(a)].endpoints.push_back(std::move(e));
  }
}

}  // namespace

bool is_mirrored(const Endpoints& e) {
  auto skip = e.metadata.labels.find(kSkipMirror);
  return (skip == e.metadata.labels.end() || skip->second != "true") && !e.metadata.annotations.count(kLeaderRecord);
}

std::vector<EndpointSubset> repack(const std::vector<EndpointSubset>& subsets) {
  std::map<AddressKey, EndpointAddress> addresses;
  using Ready = std::map<AddressKey, bool>;
  std::map<PortKey, std::pair<kube::core::EndpointPort, Ready>> by_port;
  Ready without_ports;
  auto note = [&](const EndpointAddress& a, bool ready, Ready& to) {
    addresses.try_emplace(key_of(a), a);
    auto [it, fresh] = to.try_emplace(key_of(a), ready);
    if (!fresh) it->second = it->second && ready;
  };
  for (auto& s : subsets) {
    auto note_all = [&](Ready& to) {
      for (auto& a : s.addresses) note(a, true, to);
      for (auto& a : s.not_ready_addresses) note(a, false, to);
    };
    if (s.ports.empty()) note_all(without_ports);
    for (auto& p : s.ports) {
      auto& entry = by_port[key_of(p)];
      entry.first = p;
      note_all(entry.second);
    }
  }
  std::map<Ready, EndpointSubset> packed;
  if (!without_ports.empty()) packed[without_ports];
  for (auto& [key, entry] : by_port)
    if (!entry.second.empty()) packed[entry.second].ports.push_back(entry.first);
  std::vector<EndpointSubset> out;
  for (auto& [ready, subset] : packed) {
    for (auto& [key, is_ready] : ready) (is_ready ? subset.addresses : subset.not_ready_addresses).push_back(addresses[key]);
    out.push_back(std::move(subset));
  }
  return out;
}

Mirror mirror_of(const Endpoints& from) {
  Mirror out;
  for (auto& subset : repack(from.subsets)) {
    std::map<bool, EndpointSlice> by_family;
    size_t room = kMirroredMax;
    add_addresses(subset.addresses, true, room, by_family);
    add_addresses(subset.not_ready_addresses, false, room, by_family);
    out.skipped += subset.addresses.size() + subset.not_ready_addresses.size() - (kMirroredMax - room);
    for (auto& [v6, s] : by_family) {
      s.metadata.namespace_ = from.metadata.namespace_;
      s.metadata.labels = from.metadata.labels;
      s.metadata.labels[kSliceService] = from.metadata.name;
      s.metadata.labels[kSliceManagedBy] = kMirrorManager;
      s.metadata.annotations = from.metadata.annotations;
      s.metadata.annotations.erase(kKubectlApplied);
      s.metadata.annotations.erase(kTriggerTime);
      s.metadata.owner_references = {owner_reference(from)};
      s.address_type = v6 ? "IPv6" : "IPv4";
      for (auto& p : subset.ports) {
        kube::discovery::EndpointPort port;
        port.name = p.name;
        port.port = p.port;
        port.protocol = p.protocol.empty() ? "TCP" : p.protocol;
        port.app_protocol = p.app_protocol;
        s.ports.push_back(std::move(port));
      }
      out.slices.push_back(std::move(s));
    }
  }
  return out;
}

std::string skipped_text(size_t skipped) {
  return "A max of " + std::to_string(kMirroredMax) + " addresses can be mirrored to EndpointSlices per Endpoints subset. " + std::to_string(skipped) + " addresses were skipped";
}

}  // namespace caravel::controllers
