// Forgets the kernel's UDP flows to endpoints that are gone.
//
// Problem: a UDP sender that keeps its port makes one flow for ever; its translation was chosen with the first packet. When that
// endpoint goes, packets would go nowhere until the sender pauses. TCP heals itself by a new connection. So after a
// change of a UDP Service's endpoints the flows to its addresses that lead to none of its serving endpoints are
// deleted; those of a Service without endpoints stay, as upstream has it (pkg/proxy/conntrack).
// `stale_flows` is pure; `udp_flows` and `forget` speak ctnetlink with the kernel, in the caller's network namespace, and need CAP_NET_ADMIN.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "proxy/services.h"

namespace caravel::proxy {

struct Flow {
  std::string original_to;  // "ip:port" that the sender sends to
  int original_port = 0;
  std::string reply_from;  // "ip:port" that answers
  std::string key;         // how the kernel names it: attributes of a netlink message
};

// Only what matters for flows: the UDP ports and their serving endpoints.
struct UdpState {
  Services services;
  Endpoints serving;
  bool operator==(const UdpState&) const = default;
};
UdpState udp_state(const Services& services, const Endpoints& endpoints);

std::vector<Flow> stale_flows(const std::vector<Flow>& flows, const UdpState& state);

Result<std::vector<Flow>> udp_flows();
// A flow that is gone already is no error.
Status forget(const std::vector<Flow>& flows);

}  // namespace caravel::proxy
