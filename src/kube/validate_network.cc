// Services, ingresses, network policies.
#include <arpa/inet.h>

#include <algorithm>
#include <array>
#include <set>

#include "base/strings.h"
#include "kube/ip_range.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

const FieldPath kSpec("spec");
constexpr size_t kControllerNameMax = 250;
constexpr int64_t kAffinitySecondsMax = 86400;

void port_or_name(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (v.is_string()) {
    text_must(check_port_name, v, p, e);
  } else if (v.is_number()) {
    port_number(v, p, e);
  }
}

struct Network {
  std::array<unsigned char, 16> address{};
  int64_t bits = 0;
  bool v6 = false;

  bool set_from(size_t bit) const {  // whether a bit is set from this one on
    for (size_t b = bit; b < (v6 ? 128u : 32u); ++b)
      if (address[b / 8] >> (7 - b % 8) & 1) return true;
    return false;
  }
  bool contains(const Network& o) const {
    if (v6 != o.v6) return false;
    for (size_t b = 0; b < static_cast<size_t>(bits); ++b)
      if ((address[b / 8] ^ o.address[b / 8]) >> (7 - b % 8) & 1) return false;
    return true;
  }
};

std::optional<Network> parse_network(std::string_view cidr) {
  const size_t slash = cidr.find('/');
  const auto bits = slash == cidr.npos ? std::nullopt : parse_int(cidr.substr(slash + 1));
  Network n;
  n.v6 = cidr.find(':') != cidr.npos;
  if (!bits || *bits < 0 || *bits > (n.v6 ? 128 : 32)) return std::nullopt;
  n.bits = *bits;
  if (inet_pton(n.v6 ? AF_INET6 : AF_INET, std::string(cidr.substr(0, slash)).c_str(), n.address.data()) != 1) return std::nullopt;
  return n;
}

// "" or what is wrong with a CIDR in a field that is older than strict readers.
std::string check_legacy_cidr(std::string_view s) {
  constexpr const char* kNone = "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  const size_t slash = s.find('/');
  if (slash == s.npos) return kNone;
  const std::string_view address = s.substr(0, slash), bits = s.substr(slash + 1);
  const std::string why = check_ip(address);
  const auto n = !bits.empty() && bits.find_first_not_of("0123456789") == bits.npos ? parse_int(bits) : std::nullopt;
  if (!n || *n > (address.find(':') != address.npos ? 128 : 32) || why.starts_with("must be a valid")) return kNone;
  if (why.starts_with("must not have leading") || (bits.size() > 1 && bits[0] == '0')) return "must not have leading 0s in IP or prefix length";
  if (!why.empty()) return "must not have an IPv4-mapped IPv6 address";
  const auto network = parse_network(s);
  return network && network->set_from(static_cast<size_t>(network->bits)) ? "must not have bits set beyond the prefix length" : "";
}

void service_port(const json::Value& v, bool named, std::set<std::string>& names, const FieldPath& p, FieldErrors& e) {
  const std::string& name = v["name"].as_string();
  if (!name.empty()) {
    text_must(check_dns1123_label, name, p.child("name"), e);
    if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
  } else if (named) {
    e.push_back(required_error(p.child("name")));
  }
  port_number(v["port"].as_int(), p.child("port"), e);
  one_of(v["protocol"], {"SCTP", "TCP", "UDP"}, p.child("protocol"), e, false);
  port_or_name(v["targetPort"], p.child("targetPort"), e);
  if (v["appProtocol"].is_string()) text_must(check_qualified_name, v["appProtocol"], p.child("appProtocol"), e);
}

void service_ports(const json::Value& s, FieldErrors& e) {
  const FieldPath p = kSpec.child("ports");
  const auto& ports = s["ports"].as_array();
  std::set<std::string> names, keys, node_ports;
  for (size_t i = 0; i < ports.size(); ++i) service_port(ports[i], ports.size() > 1, names, p.index(i), e);
  for (size_t i = 0; i < ports.size(); ++i) {
    const json::Value& v = ports[i];
    const std::string protocol = v["protocol"].as_string() + "/";
    const int64_t node = v["nodePort"].as_int();
    if (node != 0 && s["type"].as_string() == "ClusterIP") e.push_back(forbidden_error(p.index(i).child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
    if (node != 0 && !node_ports.insert(protocol + std::to_string(node)).second) e.push_back(duplicate_error(p.index(i).child("nodePort"), node));
    if (!keys.insert(protocol + std::to_string(v["port"].as_int())).second) e.push_back(duplicate_error(p.index(i), json::Object{{"port", v["port"]}, {"protocol", v["protocol"]}}));
  }
}

// Addresses and their families, which the allocator completes.
void service_addresses(const json::Value& s, FieldErrors& e) {
  const FieldPath ips = kSpec.child("clusterIPs"), families = kSpec.child("ipFamilies");
  const json::Value &list = s["clusterIPs"], &kinds = s["ipFamilies"];
  const std::string& ip = s["clusterIP"].as_string();
  if (list.size() && ip.empty()) e.push_back(invalid_error(ips, list, "must be empty when `clusterIP` is not specified"));
  else if (list.size() && list.at(0).as_string() != ip) e.push_back(invalid_error(ips, list, "first value must match `clusterIP`"));
  std::set<std::string> seen;
  for (size_t i = 0; i < kinds.size(); ++i) {
    supported(kinds.at(i), {"IPv4", "IPv6"}, families.index(i), e);
    if (!seen.insert(kinds.at(i).as_string()).second) e.push_back(duplicate_error(families.index(i), kinds.at(i)));
  }
  if (s["ipFamilyPolicy"].is_string()) supported(s["ipFamilyPolicy"], {"PreferDualStack", "RequireDualStack", "SingleStack"}, kSpec.child("ipFamilyPolicy"), e);
  if (list.size() == 0) {
    if (!ip.empty() && ip != "None") text_must(check_ip, ip, ips.index(0), e);
    return;
  }
  const size_t before = e.size();
  for (size_t i = 0; i < list.size(); ++i) {
    if (i > 0 || list.at(i).as_string() != "None") text_must(check_ip, list.at(i), ips.index(i), e);
    else if (list.size() > 1) e.push_back(invalid_error(ips, list, "'None' must be the first and only value"));
  }
  if (list.size() > 2) e.push_back(invalid_error(ips, list, "may only hold up to 2 values"));
  if (e.size() > before) return;
  auto v6 = [&](size_t i) { return list.at(i).as_string().find(':') != std::string::npos; };
  if (list.size() == 2 && v6(0) == v6(1)) e.push_back(invalid_error(ips, list, "may specify no more than one IP for each IP family"));
  for (size_t i = 0; i < list.size() && i < kinds.size() && list.at(0).as_string() != "None"; ++i) {
    const std::string& family = kinds.at(i).as_string();
    if ((family == "IPv4" && v6(i)) || (family == "IPv6" && !v6(i)))
      e.push_back(invalid_error(ips.index(i), list.at(i), "expected an " + family + " value as indicated by `ipFamilies[" + std::to_string(i) + "]`"));
  }
}

void source_ranges(const json::Value& o, FieldErrors& e) {
  constexpr std::string_view kAnnotation = "service.beta.kubernetes.io/load-balancer-source-ranges", kOnly = "may only be used when `type` is 'LoadBalancer'";
  const json::Value& s = o["spec"];
  const json::Value& list = s["loadBalancerSourceRanges"];
  const bool balancer = s["type"].as_string() == "LoadBalancer";
  if (list.size()) {
    const FieldPath p = kSpec.child("LoadBalancerSourceRanges");
    if (!balancer) e.push_back(forbidden_error(p, kOnly));
    for (size_t i = 0; i < list.size(); ++i) text_must(check_legacy_cidr, trim(list.at(i).as_string()), p.index(i), e);
  } else if (const json::Value* text = o["metadata"]["annotations"].find(kAnnotation)) {
    const FieldPath p = FieldPath("metadata").child("annotations").key(kAnnotation);
    if (!balancer) e.push_back(forbidden_error(p, kOnly));
    if (trim(text->as_string()).empty()) return;
    for (auto& range : split(trim(text->as_string()), ',')) text_must(check_legacy_cidr, trim(range), p, e);
  }
}

void service_traffic(const json::Value& s, FieldErrors& e) {
  const std::string& type = s["type"].as_string();
  const json::Value& external = s["externalTrafficPolicy"];
  const bool balancer = type == "LoadBalancer", accessible = balancer || type == "NodePort" || (type == "ClusterIP" && s["externalIPs"].size() > 0);
  if (!external.as_string().empty()) {
    if (!accessible) e.push_back(invalid_error(kSpec.child("externalTrafficPolicy"), external, "may only be set for externally-accessible services"));
    else supported(external, {"Cluster", "Local"}, kSpec.child("externalTrafficPolicy"), e);
  }
  if (const json::Value& port = s["healthCheckNodePort"]; port.as_int() != 0) {
    if (!balancer || external.as_string() != "Local")
      e.push_back(invalid_error(kSpec.child("healthCheckNodePort"), port, "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'"));
    else port_number(port, kSpec.child("healthCheckNodePort"), e);
  }
  if (const json::Value& internal = s["internalTrafficPolicy"]; internal.is_string()) supported(internal, {"Cluster", "Local"}, kSpec.child("internalTrafficPolicy"), e);
  if (const json::Value& v = s["trafficDistribution"]; v.is_string()) supported(v, {"PreferClose", "PreferSameZone", "PreferSameNode"}, kSpec.child("trafficDistribution"), e);
  for (auto f : {"allocateLoadBalancerNodePorts", "loadBalancerClass"})
    if (!balancer && !s[f].is_null()) e.push_back(forbidden_error(kSpec.child(f), "may only be used when `type` is 'LoadBalancer'"));
  if (balancer && s["loadBalancerClass"].is_string()) text_must(check_qualified_name, s["loadBalancerClass"], kSpec.child("loadBalancerClass"), e);
}

void external_ips(const json::Value& list, const json::Value* was, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& ip = list.at(i);
    const auto& before = was ? (*was)["externalIPs"].as_array() : json::Value().as_array();
    const FieldPath p = kSpec.child("externalIPs").index(i);
    const bool known = std::find(before.begin(), before.end(), ip) != before.end();
    if (known || text_must(check_ip, ip, p, e)) special_ip(ip.as_string(), p, e);
  }
}

void service(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  const json::Value* was = old ? &(*old)["spec"] : nullptr;
  const std::string &type = s["type"].as_string(), &ip = s["clusterIP"].as_string();
  const bool headless = ip == "None", external = type == "ExternalName";
  if (s["ports"].size() == 0 && !headless && !external) e.push_back(required_error(kSpec.child("ports")));
  if (headless && (type == "LoadBalancer" || type == "NodePort")) e.push_back(invalid_error(kSpec.child("clusterIPs").index(0), ip, "may not be set to 'None' for " + type + " services"));
  if (external) {
    const bool addressed = !ip.empty() || s["clusterIPs"].size() > 0;
    if (addressed) e.push_back(forbidden_error(kSpec.child("clusterIPs"), "may not be set for ExternalName services"));
    if (s["ipFamilies"].size()) e.push_back(forbidden_error(kSpec.child("ipFamilies"), "may not be set for ExternalName services"));
    if (!s["ipFamilyPolicy"].is_null()) e.push_back(forbidden_error(kSpec.child("ipFamilyPolicy"), "may not be set for ExternalName services"));
    std::string name = s["externalName"].as_string();
    if (name.ends_with('.')) name.pop_back();
    if (name.empty()) e.push_back(required_error(kSpec.child("externalName")));
    else text_must(check_dns1123_subdomain, name, kSpec.child("externalName"), e);
  }
  service_ports(s, e);
  validate_labels(s["selector"], kSpec.child("selector"), e);
  one_of(s["sessionAffinity"], {"ClientIP", "None"}, kSpec.child("sessionAffinity"), e, false);
  if (const json::Value& seconds = s["sessionAffinityConfig"]["clientIP"]["timeoutSeconds"];
      s["sessionAffinity"].as_string() == "ClientIP" && seconds.is_int() && (seconds.as_int() <= 0 || seconds.as_int() > kAffinitySecondsMax))
    e.push_back(invalid_error(kSpec.child("sessionAffinityConfig").child("clientIP").child("timeoutSeconds"), seconds, "must be greater than 0 and less than 86400"));
  if (!external) service_addresses(s, e);
  external_ips(s["externalIPs"], was, e);
  one_of(s["type"], {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}, kSpec.child("type"), e, false);
  source_ranges(o, e);
  service_traffic(s, e);
  if (!was) return;
  if ((*was)["type"].as_string() != "ExternalName" && !external && !(*was)["clusterIP"].as_string().empty() && (*was)["clusterIP"].as_string() != ip)
    e.push_back(invalid_error(kSpec.child("clusterIPs").index(0), ip, "may not change once set"));
  if ((*was)["type"].as_string() == "LoadBalancer" && type == "LoadBalancer" && !same((*was)["loadBalancerClass"], s["loadBalancerClass"]))
    e.push_back(invalid_error(kSpec.child("loadBalancerClass"), s["loadBalancerClass"], "may not change once set"));
}

// A reference to something of any kind beside this object.
void typed_reference(const json::Value& r, const FieldPath& p, FieldErrors& e) {
  if (r["apiGroup"].is_string()) text_must(check_dns1123_subdomain, r["apiGroup"], p.child("apiGroup"), e);
  for (auto f : {"kind", "name"}) {
    if (r[f].as_string().empty()) e.push_back(required_error(p.child(f)));
    else text_must(check_path_segment_name, r[f], p.child(f), e);
  }
}

void backend(const json::Value& b, const FieldPath& p, FieldErrors& e) {
  const json::Value &v = b["service"], &resource = b["resource"];
  if (v.is_object() && resource.is_object()) return e.push_back(invalid_error(p, "", "cannot set both resource and service backends"));
  if (resource.is_object()) return typed_reference(resource, p.child("resource"), e);
  if (!v.is_object()) return e.push_back(invalid_error(p, "", "resource or service backend is required"));
  const FieldPath s = p.child("service");
  if (v["name"].as_string().empty()) e.push_back(required_error(s.child("name")));
  else text_must(check_dns1123_label, v["name"], s.child("name"), e);
  const bool named = !v["port"]["name"].as_string().empty(), numbered = v["port"]["number"].as_int() != 0;
  if (named && numbered) e.push_back(invalid_error(p, "", "cannot set both port name & port number"));
  else if (named) text_must(check_port_name, v["port"]["name"], s.child("port").child("name"), e);
  else if (numbered) port_number(v["port"]["number"], s.child("port").child("number"), e);
  else e.push_back(required_error(p, "port name or number is required"));
}

void ingress_path(const json::Value& path, const FieldPath& p, FieldErrors& e) {
  const json::Value& type = path["pathType"];
  const std::string& text = path["path"].as_string();
  if (type.is_null()) return e.push_back(required_error(p.child("pathType"), "pathType must be specified"));
  if (type.as_string() == "Exact" || type.as_string() == "Prefix") {
    if (!text.starts_with('/')) e.push_back(invalid_error(p.child("path"), text, "must be an absolute path"));
    for (auto bad : {"//", "/./", "/../", "%2f", "%2F"})
      if (text.find(bad) != text.npos) e.push_back(invalid_error(p.child("path"), text, "must not contain '" + std::string(bad) + "'"));
    for (auto bad : {"/..", "/."})
      if (text.ends_with(bad)) e.push_back(invalid_error(p.child("path"), text, "cannot end with '" + std::string(bad) + "'"));
  } else if (type.as_string() == "ImplementationSpecific") {
    if (!text.empty() && !text.starts_with('/')) e.push_back(invalid_error(p.child("path"), text, "must be an absolute path"));
  } else {
    supported(type, {"Exact", "ImplementationSpecific", "Prefix"}, p.child("pathType"), e);
  }
  backend(path["backend"], p.child("backend"), e);
}

std::string check_ingress_host(std::string_view host) { return host.find('*') != host.npos ? check_wildcard_subdomain(host) : check_dns1123_subdomain(host); }

void ingress(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (s["rules"].size() == 0 && s["defaultBackend"].is_null()) e.push_back(invalid_error(kSpec, s["rules"], "either `defaultBackend` or `rules` must be specified"));
  if (s["defaultBackend"].is_object()) backend(s["defaultBackend"], kSpec.child("defaultBackend"), e);
  for (size_t i = 0; i < s["rules"].size(); ++i) {
    const json::Value& r = s["rules"].at(i);
    const FieldPath p = kSpec.child("rules").index(i);
    if (const std::string& host = r["host"].as_string(); !host.empty()) {
      if (check_ip(host).empty()) e.push_back(invalid_error(p.child("host"), host, "must be a DNS name, not an IP address"));
      text_must(check_ingress_host, host, p.child("host"), e);
    }
    if (!r["http"].is_object()) continue;
    const FieldPath paths = p.child("http").child("paths");
    if (r["http"]["paths"].size() == 0) e.push_back(required_error(paths));
    for (size_t k = 0; k < r["http"]["paths"].size(); ++k) ingress_path(r["http"]["paths"].at(k), paths.index(k), e);
  }
  for (size_t i = 0; i < s["tls"].size(); ++i) {
    const json::Value& t = s["tls"].at(i);
    const FieldPath p = kSpec.child("tls").index(i);
    for (size_t k = 0; k < t["hosts"].size(); ++k) text_must(check_ingress_host, t["hosts"].at(k), p.child("hosts").index(k), e);
    if (!t["secretName"].as_string().empty()) text_must(check_dns1123_subdomain, t["secretName"], p.child("secretName"), e);
  }
  if (s["ingressClassName"].is_string()) text_must(check_dns1123_subdomain, s["ingressClassName"], kSpec.child("ingressClassName"), e);
  constexpr std::string_view kClass = "kubernetes.io/ingress.class";
  const json::Value* annotation = o["metadata"]["annotations"].find(kClass);
  if (!old && annotation && s["ingressClassName"].is_string() && !(*annotation == s["ingressClassName"]))
    e.push_back(invalid_error(FieldPath("annotations").child(kClass), *annotation, "must match `ingressClassName` when both are specified"));
}

void ingress_class(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value &controller = o["spec"]["controller"], &r = o["spec"]["parameters"];
  const FieldPath at = kSpec.child("controller"), p = kSpec.child("parameters");
  if (controller.as_string().size() > kControllerNameMax) e.push_back(too_long(at, kControllerNameMax));
  domain_prefixed_path(controller.as_string(), at, e);
  if (old) immutable(controller, (*old)["spec"]["controller"], at, e);
  if (!r.is_object()) return;
  typed_reference(r, p, e);
  const std::string& scope = r["scope"].as_string();
  if (scope == "Namespace") {
    if (r["namespace"].is_null()) e.push_back(required_error(p.child("namespace"), "`parameters.scope` is set to 'Namespace'"));
    else text_must(check_dns1123_label, r["namespace"], p.child("namespace"), e);
  } else if (scope == "Cluster") {
    if (!r["namespace"].is_null()) e.push_back(forbidden_error(p.child("namespace"), "`parameters.scope` is set to 'Cluster'"));
  } else if (!scope.empty()) {
    supported(r["scope"], {"Cluster", "Namespace"}, p.child("scope"), e);
  }
}

void ip_block(const json::Value& b, const FieldPath& p, FieldErrors& e) {
  const std::string& cidr = b["cidr"].as_string();
  if (cidr.empty()) return e.push_back(required_error(p.child("cidr")));
  text_must(check_legacy_cidr, cidr, p.child("cidr"), e);
  const auto whole = parse_network(cidr);
  if (!whole) return;
  for (size_t i = 0; i < b["except"].size(); ++i) {
    const std::string& text = b["except"].at(i).as_string();
    const FieldPath at = p.child("except").index(i);
    text_must(check_legacy_cidr, text, at, e);
    const auto part = parse_network(text);
    if (part && (!whole->contains(*part) || whole->bits >= part->bits)) e.push_back(invalid_error(at, text, "must be a strict subset of `cidr`"));
  }
}

void policy_port(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  const json::Value &port = v["port"], &end = v["endPort"];
  if (v["protocol"].is_string()) supported(v["protocol"], {"TCP", "UDP", "SCTP"}, p.child("protocol"), e);
  if (port.is_number()) {
    port_number(port, p.child("port"), e);
    if (end.is_null()) return;
    if (end.as_int() < port.as_int()) e.push_back(invalid_error(p.child("endPort"), port, "must be greater than or equal to `port`"));
    port_number(end, p.child("endPort"), e);
    return;
  }
  if (!end.is_null()) e.push_back(invalid_error(p.child("endPort"), end, std::string("may not be specified when `port` is ") + (port.is_null() ? "not specified" : "non-numeric")));
  if (port.is_string()) text_must(check_port_name, port, p.child("port"), e);
}

void peers(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& p = list.at(i);
    const FieldPath at = path.index(i);
    int kinds = 0;
    for (auto f : {"podSelector", "namespaceSelector"}) {
      if (!p[f].is_object()) continue;
      ++kinds;
      validate_label_selector(p[f], at.child(f), e);
    }
    const bool block = p["ipBlock"].is_object();
    if (block) ip_block(p["ipBlock"], at.child("ipBlock"), e);
    if (kinds == 0 && !block) e.push_back(required_error(at, "must specify a peer"));
    if (kinds > 0 && block) e.push_back(forbidden_error(at, "may not specify both ipBlock and another peer"));
  }
}

void network_policy(const json::Value& o, FieldErrors& e) {
  const json::Value& s = o["spec"];
  validate_label_selector(s["podSelector"], kSpec.child("podSelector"), e);
  for (auto [rules, side] : {std::pair<const char*, const char*>{"ingress", "from"}, {"egress", "to"}})
    for (size_t i = 0; i < s[rules].size(); ++i) {
      const json::Value& r = s[rules].at(i);
      const FieldPath p = kSpec.child(rules).index(i);
      for (size_t k = 0; k < r["ports"].size(); ++k) policy_port(r["ports"].at(k), p.child("ports").index(k), e);
      peers(r[side], p.child(side), e);
    }
  const json::Value& types = s["policyTypes"];
  if (types.size() > 2) return e.push_back(invalid_error(kSpec.child("policyTypes"), types, "may not specify more than two policyTypes"));
  for (size_t i = 0; i < types.size(); ++i) supported(types.at(i), {"Ingress", "Egress"}, kSpec.child("policyTypes").index(i), e);
}

bool is_v6(std::string_view s) { return s.find(':') != s.npos; }

// In the form that text of the same range always has: no bits behind the prefix, no leading zeros.
std::string check_cidr(std::string_view cidr) {
  size_t slash = cidr.find('/');
  auto bits = slash == cidr.npos ? std::nullopt : parse_int(std::string_view(cidr).substr(slash + 1));
  if (!bits || *bits < 0 || *bits > (is_v6(cidr) ? 128 : 32) || !check_ip(cidr.substr(0, slash)).empty()) return "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)";
  if (auto r = IpRange::parse(cidr); r && r->text() != cidr) return "must be in canonical form (" + json::quote(r->text()) + ")";
  return "";
}

void service_cidr(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& cidrs = o["spec"]["cidrs"];
  FieldPath p = kSpec.child("cidrs");
  if (cidrs.size() == 0) e.push_back(required_error(p, "at least one CIDR required"));
  if (cidrs.size() > 2) e.push_back(invalid_error(p, o["spec"], "may only hold up to 2 values"));
  if (cidrs.size() == 2 && is_v6(cidrs.at(0).as_string()) == is_v6(cidrs.at(1).as_string()))
    e.push_back(invalid_error(p, o["spec"], "may specify no more than one IP for each IP family, i.e 192.168.0.0/24 and 2001:db8::/96"));
  for (size_t i = 0; i < cidrs.size(); ++i)
    text_must(check_cidr, cidrs.at(i), p.index(i), e);
  if (!old) return;
  // A second family may be added; the rest stays.
  const json::Value& was = (*old)["spec"]["cidrs"];
  bool grown = was.size() == 1 && cidrs.size() == 2 && was.at(0) == cidrs.at(0);
  if (!grown) immutable(cidrs, was, p, e);
}

void ip_address(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const std::string& name = o["metadata"]["name"].as_string();
  if (!check_ip(name).empty()) e.push_back(invalid_error(FieldPath("metadata").child("name"), name, "must be a valid IP address in canonical form"));
  const json::Value& ref = o["spec"]["parentRef"];
  FieldPath p = kSpec.child("parentRef");
  if (!ref.is_object()) {
    e.push_back(required_error(p));
  } else {
    if (ref["resource"].as_string().empty()) e.push_back(required_error(p.child("resource")));
    if (ref["name"].as_string().empty()) e.push_back(required_error(p.child("name")));
  }
  if (old) immutable(ref, (*old)["spec"]["parentRef"], p, e);
}

}  // namespace

void network(std::string_view kind, const json::Value& o, const json::Value* old, FieldErrors& e) {
  const bool kept = old && o["spec"] == (*old)["spec"] && o["metadata"]["annotations"] == (*old)["metadata"]["annotations"];
  if (kept) return;
  if (kind == "Service") service(o, old, e);
  else if (kind == "Ingress") ingress(o, old, e);
  else if (kind == "NetworkPolicy") network_policy(o, e);
  else if (kind == "ServiceCIDR") service_cidr(o, old, e);
  else if (kind == "IPAddress") ip_address(o, old, e);
  else if (kind == "IngressClass") ingress_class(o, old, e);
}

}  // namespace caravel::kube::check
