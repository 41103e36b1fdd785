// Cells of services, endpoints, ingresses, network policies.
#include <algorithm>

#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

std::string balancer_addresses(const json::Value& status) {
  std::vector<std::string> parts;
  for (auto& i : status["loadBalancer"]["ingress"].as_array())
    parts.push_back(i["ip"].as_string().empty() ? i["hostname"].as_string() : i["ip"].as_string());
  std::sort(parts.begin(), parts.end());
  parts.erase(std::unique(parts.begin(), parts.end()), parts.end());
  return join(parts, ",");
}

std::string strings(const json::Value& list) {
  std::vector<std::string> parts;
  for (auto& i : list.as_array()) parts.push_back(i.as_string());
  return join(parts, ",");
}

std::string external_ip(const json::Value& o) {
  const json::Value& spec = o["spec"];
  const std::string& type = spec["type"].as_string();
  std::string external = strings(spec["externalIPs"]);
  if (type == "ExternalName") return spec["externalName"].as_string();
  if (type == "LoadBalancer") {
    std::string lb = balancer_addresses(o["status"]);
    if (!external.empty()) return lb.empty() ? external : lb + "," + external;
    return lb.empty() ? "<pending>" : lb;
  }
  return or_none(external);
}

std::string service_ports(const json::Value& spec) {
  std::vector<std::string> parts;
  for (auto& p : spec["ports"].as_array()) {
    std::string s = std::to_string(p["port"].as_int());
    if (int64_t n = p["nodePort"].as_int()) s += ":" + std::to_string(n);
    parts.push_back(s + "/" + p["protocol"].as_string());
  }
  return or_none(join(parts, ","));
}

std::string capped(const std::vector<std::string>& parts, size_t max) {
  if (parts.size() <= max) return join(parts, ",");
  return join({parts.begin(), parts.begin() + static_cast<ptrdiff_t>(max)}, ",") + " + " + std::to_string(parts.size() - max) + " more...";
}

std::string endpoints(const json::Value& o) {
  std::vector<std::string> parts;
  for (auto& s : o["subsets"].as_array()) {
    if (s["ports"].size() == 0)
      for (auto& a : s["addresses"].as_array()) parts.push_back(a["ip"].as_string());
    for (auto& p : s["ports"].as_array())
      for (auto& a : s["addresses"].as_array()) parts.push_back(a["ip"].as_string() + ":" + std::to_string(p["port"].as_int()));
  }
  return or_none(capped(parts, 3));
}

std::string slice_ports(const json::Value& o) {
  std::vector<std::string> parts;
  for (auto& p : o["ports"].as_array()) parts.push_back(p["port"].is_int() ? std::to_string(p["port"].as_int()) : p["name"].as_string().empty() ? "*"
                                                                                                                                                : p["name"].as_string());
  return parts.empty() ? "<unset>" : capped(parts, 3);
}

std::string slice_endpoints(const json::Value& o) {
  std::vector<std::string> parts;
  for (auto& e : o["endpoints"].as_array())
    for (auto& a : e["addresses"].as_array()) parts.push_back(a.as_string());
  return parts.empty() ? "<unset>" : capped(parts, 3);
}

}  // namespace

json::Value print_network(std::string_view kind, std::string_view name, const json::Value& o) {
  const json::Value& spec = o["spec"];
  if (kind == "Service") {
    if (name == "type") return spec["type"].as_string();
    if (name == "cluster-ip") return or_none(spec["clusterIPs"].size() ? spec["clusterIPs"].at(0).as_string() : spec["clusterIP"].as_string());
    if (name == "external-ip") return external_ip(o);
    if (name == "port(s)") return service_ports(spec);
    if (name == "selector") return labels_text(spec["selector"]);
  }
  if (kind == "Endpoints" && name == "endpoints") return endpoints(o);
  if (kind == "EndpointSlice") {
    if (name == "addresstype") return o["addressType"].as_string();
    if (name == "ports") return slice_ports(o);
    if (name == "endpoints") return slice_endpoints(o);
  }
  if (kind == "Ingress") {
    if (name == "class") {
      const std::string& c = spec["ingressClassName"].as_string();
      return or_none(c.empty() ? o["metadata"]["annotations"]["kubernetes.io/ingress.class"].as_string() : c);
    }
    if (name == "hosts") {
      std::vector<std::string> hosts;
      for (auto& r : spec["rules"].as_array())
        if (!r["host"].as_string().empty()) hosts.push_back(r["host"].as_string());
      return hosts.empty() ? "*" : capped(hosts, 3);
    }
    if (name == "address") return balancer_addresses(o["status"]);
    if (name == "ports") return spec["tls"].size() ? "80, 443" : "80";
  }
  if (kind == "IngressClass") {
    if (name == "controller") return spec["controller"].as_string();
    if (name == "parameters") {
      const json::Value& p = spec["parameters"];
      if (!p.is_object()) return "<none>";
      std::string group = p["apiGroup"].as_string();
      return p["kind"].as_string() + (group.empty() ? "" : "." + group) + "/" + p["name"].as_string();
    }
  }
  if (kind == "NetworkPolicy" && name == "pod-selector") return selector_text(spec["podSelector"]);
  if (kind == "ServiceCIDR" && name == "cidrs") return strings(spec["cidrs"]);
  if (kind == "IPAddress" && name == "parentref") {
    const json::Value& p = spec["parentRef"];
    std::string s = p["resource"].as_string();
    if (!p["group"].as_string().empty()) s += "." + p["group"].as_string();
    if (!p["namespace"].as_string().empty()) s += "/" + p["namespace"].as_string();
    return s + "/" + p["name"].as_string();
  }
  return {};
}

}  // namespace caravel::kube
