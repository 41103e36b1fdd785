#include "controllers/endpoint_hints.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"

namespace caravel::controllers {

using kube::core::Node;
using kube::core::Service;
using kube::discovery::Endpoint;
using kube::discovery::EndpointHints;
using kube::discovery::EndpointSlice;

namespace {

constexpr double kOverload = 0.2;

bool is_ready_endpoint(const Endpoint& e) { return e.conditions.ready.value_or(false); }

void point_at_zone(Endpoint& e, const std::string& zone) {
  EndpointHints h;
  h.for_zones.emplace_back();
  h.for_zones.back().name = zone;
  e.hints = std::move(h);
}

// How many of the endpoints a zone needs at least, may have at most, and would have in an even world.
struct Allocation {
  int least = 0, most = 0;
  double even = 0;
};
using Allocations = std::map<std::string, Allocation>;
using Counts = std::map<std::string, int>;

std::string allocate(int endpoints, const std::map<std::string, double>& shares, Allocations& out) {
  const int zones = static_cast<int>(shares.size());
  if (zones < 2) return "Insufficient Node information: allocatable CPU or zone not specified on one or more nodes";
  const std::string counts = format(" (%d endpoints, %d zones)", endpoints, zones);
  if (zones > endpoints) return "Insufficient number of endpoints" + counts;
  int least = 0;
  for (auto& [zone, share] : shares) {
    Allocation& a = out[zone];
    a.even = share * endpoints;
    a.least = static_cast<int>(std::ceil(a.even / (1 + kOverload)));
    a.even = std::max(a.even, static_cast<double>(a.least));
    least += a.least;
  }
  if (least > endpoints) return "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold" + counts;
  for (auto& [zone, a] : out) a.most = a.least + endpoints - least;
  return "";
}

// Adds the hints of a slice that may stay as it is; false if one of them does not hold any more.
bool count_if_valid(const EndpointSlice& s, const Allocations& allocations, Counts& have) {
  Counts mine;
  for (auto& e : s.endpoints) {
    if (!is_ready_endpoint(e)) continue;
    if (!e.hints || e.hints->for_zones.empty()) return false;
    for (auto& z : e.hints->for_zones) {
      if (!allocations.count(z.name)) return false;
      ++mine[z.name];
    }
  }
  for (auto& [zone, n] : mine)
    if (n + have[zone] > allocations.at(zone).most) return false;
  for (auto& [zone, n] : mine) have[zone] += n;
  return true;
}

std::map<std::string, double>::iterator most_of(std::map<std::string, double>& zones) {
  return std::max_element(zones.begin(), zones.end(), [](auto& a, auto& b) { return a.second < b.second; });
}

// How many endpoints each zone gives away, and gets.
void balance(const Allocations& allocations, const Counts& have, Counts& gives, Counts& gets) {
  std::map<std::string, double> above, below;
  for (auto& [zone, a] : allocations) {
    auto it = have.find(zone);
    const double n = it == have.end() ? 0 : it->second;
    if (n > a.even) above[zone] = n - a.even;
    else if (n < a.even) below[zone] = a.even - n;
  }
  while (!above.empty() && !below.empty()) {
    auto from = most_of(above), to = most_of(below);
    if ((from->second < 1 && to->second < 1) || from->second < 0.5 || to->second < 0.5) return;
    ++gives[from->first], --from->second;
    ++gets[to->first], --to->second;
  }
}

void move_hints(const std::vector<SharedSlice>& slices, Counts& gives, Counts& gets) {
  for (auto& s : slices)
    for (Endpoint& e : s.slice->endpoints) {
      if (gives.empty() || gets.empty()) return;
      if (!is_ready_endpoint(e)) continue;
      auto from = gives.find(*e.zone);
      if (from == gives.end()) continue;
      auto to = gets.begin();
      point_at_zone(e, to->first);
      if (--from->second == 0) gives.erase(from);
      if (--to->second == 0) gets.erase(to);
    }
}

std::string share_out(const std::vector<SharedSlice>& slices, const std::map<std::string, double>& shares) {
  int ready = 0;
  for (auto& s : slices) ready += static_cast<int>(std::count_if(s.slice->endpoints.begin(), s.slice->endpoints.end(), is_ready_endpoint));
  Allocations allocations;
  std::string why = allocate(ready, shares, allocations);
  if (!why.empty()) return why;
  Counts have;
  std::vector<SharedSlice> open;
  for (auto& s : slices)
    if (s.changed || !count_if_valid(*s.slice, allocations, have)) open.push_back(s);
  for (auto& s : open)
    for (Endpoint& e : s.slice->endpoints) {
      e.hints.reset();
      if (!is_ready_endpoint(e)) continue;
      if (!e.zone || e.zone->empty()) return "One or more endpoints do not have a zone specified";
      ++have[*e.zone];
      point_at_zone(e, *e.zone);
    }
  Counts gives, gets;
  balance(allocations, have, gives, gets);
  move_hints(open, gives, gets);
  return "";
}

}  // namespace

bool wants_zone_shares(const Service& svc) {
  auto it = svc.metadata.annotations.find("service.kubernetes.io/topology-aware-hints");
  if (it == svc.metadata.annotations.end()) it = svc.metadata.annotations.find("service.kubernetes.io/topology-mode");
  return it != svc.metadata.annotations.end() && (it->second == "Auto" || it->second == "auto");
}

NodeShare share_of(const Node& n) {
  NodeShare out;
  for (auto& c : n.status.conditions)
    if (c.type == "Ready") out.counts = c.status == "True";
  if (n.metadata.labels.count("node-role.kubernetes.io/control-plane") || n.metadata.labels.count("node-role.kubernetes.io/master")) out.counts = false;
  if (auto z = n.metadata.labels.find("topology.kubernetes.io/zone"); z != n.metadata.labels.end()) out.zone = z->second;
  if (auto cpu = n.status.allocatable.find("cpu"); cpu != n.status.allocatable.end()) out.milli_cpu = cpu->second.milli_value();
  return out;
}

std::map<std::string, double> zone_shares(const std::vector<NodeShare>& nodes) {
  std::map<std::string, double> out;
  double all = 0;
  for (auto& n : nodes) {
    if (!n.counts) continue;
    if (n.zone.empty() || n.milli_cpu <= 0) return {};
    out[n.zone] += static_cast<double>(n.milli_cpu);
    all += static_cast<double>(n.milli_cpu);
  }
  if (out.size() < 2) return {};
  for (auto& [zone, share] : out) share /= all;
  return out;
}

void set_close_hints(const Service& svc, EndpointSlice& slice) {
  const std::string how = svc.spec.traffic_distribution.value_or("");
  const bool node = how == "PreferSameNode", zone = node || how == "PreferSameZone" || how == "PreferClose";
  for (Endpoint& e : slice.endpoints) {
    e.hints.reset();
    if (!zone || !is_ready_endpoint(e)) continue;
    if (e.zone) point_at_zone(e, *e.zone);
    if (!node || !e.node_name) continue;
    if (!e.hints) e.hints.emplace();
    e.hints->for_nodes.emplace_back();
    e.hints->for_nodes.back().name = *e.node_name;
  }
}

std::string set_shared_hints(const std::vector<SharedSlice>& slices, const std::map<std::string, double>& shares) {
  std::string why = share_out(slices, shares);
  if (!why.empty())
    for (auto& s : slices)
      for (Endpoint& e : s.slice->endpoints) e.hints.reset();
  return why;
}

}  // namespace caravel::controllers
