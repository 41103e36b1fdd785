#include "proxy/services.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::proxy {
namespace {

bool is_ipv4(const std::string& s) {
  int dots = 0;
  for (char c : s) {
    if (c == '.') ++dots;
    else if (c < '0' || c > '9') return false;
  }
  return dots == 3;
}

std::string protocol_of(const json::Value& port) {
  const std::string& p = port["protocol"].as_string();
  return p.empty() ? "tcp" : to_lower(p);
}

void add_ipv4(const json::Value& list, std::vector<std::string>& out) {
  for (auto& v : list.as_array())
    if (is_ipv4(v.as_string())) out.push_back(v.as_string());
}

const char* kProxyNameLabel = "service.kubernetes.io/service-proxy-name";

}  // namespace

void read_service(const json::Value& service, Services& out) {
  const json::Value& meta = service["metadata"];
  const json::Value& spec = service["spec"];
  if (meta["labels"].find(kProxyNameLabel)) return;
  const std::string& type = spec["type"].as_string();
  if (type == "ExternalName") return;
  std::string cluster_ip;
  if (is_ipv4(spec["clusterIP"].as_string())) cluster_ip = spec["clusterIP"].as_string();
  for (auto& ip : spec["clusterIPs"].as_array())
    if (cluster_ip.empty() && is_ipv4(ip.as_string())) cluster_ip = ip.as_string();
  if (cluster_ip.empty()) return;

  ServicePort base;
  base.cluster_ip = cluster_ip;
  add_ipv4(spec["externalIPs"], base.external_ips);
  if (type == "LoadBalancer") {
    for (auto& i : service.path({"status", "loadBalancer", "ingress"}).as_array()) {
      const std::string& ip = i["ip"].as_string();
      if (is_ipv4(ip) && i["ipMode"].as_string() != "Proxy") base.load_balancer_ips.push_back(ip);
    }
    for (auto& r : spec["loadBalancerSourceRanges"].as_array()) {
      std::string range(trim(r.as_string()));
      if (is_ipv4(range.substr(0, range.find('/')))) base.source_ranges.push_back(range);
    }
  }
  if (type == "LoadBalancer" && spec["externalTrafficPolicy"].as_string() == "Local") base.health_check_node_port = static_cast<int>(spec["healthCheckNodePort"].as_int());
  base.internal_local = spec["internalTrafficPolicy"].as_string() == "Local";
  base.external_local = spec["externalTrafficPolicy"].as_string() == "Local";
  if (spec["sessionAffinity"].as_string() == "ClientIP") {
    constexpr int kDefaultAffinitySeconds = 10800;
    base.affinity_seconds = static_cast<int>(spec.path({"sessionAffinityConfig", "clientIP", "timeoutSeconds"}).as_int(kDefaultAffinitySeconds));
  }
  for (auto& p : spec["ports"].as_array()) {
    ServicePort s = base;
    s.port = static_cast<int>(p["port"].as_int());
    s.node_port = static_cast<int>(p["nodePort"].as_int());
    PortKey key{meta["namespace"].as_string(), meta["name"].as_string(), p["name"].as_string(), protocol_of(p)};
    out[key] = s;
  }
}

void read_slice(const json::Value& slice, Endpoints& out) {
  const json::Value& labels = slice["metadata"]["labels"];
  const std::string& service = labels["kubernetes.io/service-name"].as_string();
  if (service.empty() || labels.find(kProxyNameLabel) || labels.find("service.kubernetes.io/headless")) return;
  if (slice["addressType"].as_string() != "IPv4") return;
  for (auto& p : slice["ports"].as_array()) {
    if (!p["port"].is_int()) continue;  // "all ports": not for a proxy
    PortKey key{slice["metadata"]["namespace"].as_string(), service, p["name"].as_string(), protocol_of(p)};
    auto& list = out[key];
    for (auto& e : slice["endpoints"].as_array()) {
      const std::string& ip = e["addresses"].at(0).as_string();
      if (!is_ipv4(ip)) continue;
      const json::Value& c = e["conditions"];
      Endpoint x;
      x.ip = ip;
      x.port = static_cast<int>(p["port"].as_int());
      x.node = e["nodeName"].as_string();
      x.ready = c["ready"].as_bool(true);
      x.serving = c["serving"].as_bool(true);
      x.terminating = c["terminating"].as_bool(false);
      for (auto& z : e["hints"]["forZones"].as_array()) x.for_zones.insert(z["name"].as_string());
      for (auto& n : e["hints"]["forNodes"].as_array()) x.for_nodes.insert(n["name"].as_string());
      list.push_back(std::move(x));
    }
  }
}

void settle(Endpoints& endpoints) {
  for (auto& [key, list] : endpoints) {
    // Of two entries for one address the better one counts.
    std::sort(list.begin(), list.end(), [](const Endpoint& a, const Endpoint& b) {
      if (a.ip != b.ip) return a.ip < b.ip;
      if (a.port != b.port) return a.port < b.port;
      if (a.ready != b.ready) return a.ready;
      return a.serving > b.serving;
    });
    list.erase(std::unique(list.begin(), list.end(), [](const Endpoint& a, const Endpoint& b) { return a.ip == b.ip && a.port == b.port; }), list.end());
  }
}

std::vector<Endpoint> usable(const std::vector<Endpoint>& all) {
  std::vector<Endpoint> out;
  for (auto& e : all)
    if (e.ready) out.push_back(e);
  if (!out.empty()) return out;
  for (auto& e : all)
    if (e.serving && e.terminating) out.push_back(e);
  return out;
}

std::vector<Endpoint> usable_from(const std::vector<Endpoint>& all, const Place& here) {
  std::vector<Endpoint> ready, same_node, same_zone;
  bool all_name_nodes = true, all_name_zones = true;
  for (auto& e : all) {
    if (!e.ready) continue;
    ready.push_back(e);
    if (e.for_nodes.empty()) all_name_nodes = false;
    else if (e.for_nodes.count(here.node)) same_node.push_back(e);
    if (e.for_zones.empty()) all_name_zones = false;
    else if (e.for_zones.count(here.zone)) same_zone.push_back(e);
  }
  if (ready.empty()) return usable(all);
  if (all_name_nodes && !same_node.empty()) return same_node;
  if (all_name_zones && !same_zone.empty()) return same_zone;
  return ready;
}

std::vector<Endpoint> on_node(const std::vector<Endpoint>& all, const std::string& node) {
  std::vector<Endpoint> out;
  for (auto& e : all)
    if (e.node == node) out.push_back(e);
  return out;
}

}  // namespace caravel::proxy
