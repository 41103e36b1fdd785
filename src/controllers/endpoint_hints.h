// Hints in EndpointSlices: which zone (or node) should use an endpoint, so that traffic stays near.
//
// spec.trafficDistribution PreferSameZone (or its older name PreferClose) hints each ready endpoint at its own zone,
// PreferSameNode at its own zone and node. The annotation service.kubernetes.io/topology-mode: Auto goes before it and
// shares the endpoints out between zones in proportion to their CPUs, so that no endpoint gets more than 20 % above its
// even share; where that cannot be done there are no hints at all, and an event says why. As upstream, slices whose hints
// still hold are left alone: a hint that moves costs every proxy an update.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kube/types/core.h"
#include "kube/types/discovery.h"

namespace caravel::controllers {

// True when the annotations ask for hints by CPU.
bool wants_zone_shares(const kube::core::Service& svc);

// What a node adds to its zone.
struct NodeShare {
  bool counts = false;  // ready, and not of the control plane
  std::string zone;
  int64_t milli_cpu = 0;
  bool operator==(const NodeShare&) const = default;
};
NodeShare share_of(const kube::core::Node& n);
// Each zone's part of all CPUs; empty when a node's zone or CPUs are not known, or there is one zone only.
std::map<std::string, double> zone_shares(const std::vector<NodeShare>& nodes);

// Hints of ready endpoints by trafficDistribution; of a Service without one they go away.
void set_close_hints(const kube::core::Service& svc, kube::discovery::EndpointSlice& slice);

struct SharedSlice {
  kube::discovery::EndpointSlice* slice;
  bool changed;  // it is written anyhow
};
// Hints by CPU for all slices of one address family. "" when they are set, else why there are none (and all are gone).
std::string set_shared_hints(const std::vector<SharedSlice>& slices, const std::map<std::string, double>& shares);

}  // namespace caravel::controllers
