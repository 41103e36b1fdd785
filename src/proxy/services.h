// What the proxy needs of Services and EndpointSlices, read from their documents.
//
// A slice belongs to the Service its label names; its ports and the Service's meet by name. Services that
// have no cluster address, belong to another proxy, or are ExternalName give nothing. IPv4 only.
#pragma once

#include <compare>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "base/json.h"

namespace caravel::proxy {

struct PortKey {
  std::string ns, service, port_name, protocol;  // protocol: "tcp", "udp", "sctp"
  auto operator<=>(const PortKey&) const = default;
  std::string text() const { return ns + "/" + service + "/" + protocol + "/" + port_name; }
};

struct ServicePort {
  std::string cluster_ip;
  std::vector<std::string> external_ips;   // spec.externalIPs and the load balancer's addresses
  std::vector<std::string> source_ranges;  // who may use the load balancer's addresses; empty: everybody
  std::vector<std::string> load_balancer_ips;
  int port = 0;
  int node_port = 0;
  int health_check_node_port = 0;  // 0: none
  bool internal_local = false, external_local = false;
  int affinity_seconds = 0;  // 0: none
  bool operator==(const ServicePort&) const = default;
};

struct Endpoint {
  std::string ip;
  int port = 0;
  std::string node;
  bool ready = true, serving = true, terminating = false;
  std::set<std::string> for_zones, for_nodes;  // hints: whose traffic it is meant for
  auto operator<=>(const Endpoint&) const = default;
};

using Services = std::map<PortKey, ServicePort>;
using Endpoints = std::map<PortKey, std::vector<Endpoint>>;

void read_service(const json::Value& service, Services& out);
void read_slice(const json::Value& slice, Endpoints& out);
// Sorts and removes what several slices name at once (an endpoint moves between slices).
void settle(Endpoints& endpoints);

// Where the proxy is.
struct Place {
  std::string node;
  std::string zone;  // "" when not known
  bool operator==(const Place&) const = default;
};

// Which endpoints get traffic: the ready ones, else those that still serve while they end.
std::vector<Endpoint> usable(const std::vector<Endpoint>& all);
// The same with their hints heeded: of the ready ones those that are meant for this node, if every ready endpoint says for
// which nodes it is and one is for this; else those meant for this zone on the same terms; else all.
std::vector<Endpoint> usable_from(const std::vector<Endpoint>& all, const Place& here);
std::vector<Endpoint> on_node(const std::vector<Endpoint>& all, const std::string& node);

}  // namespace caravel::proxy
