// Services, ingresses, network policies.
#include <set>

#include "base/strings.h"
#include "kube/ip_range.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

const FieldPath kSpec("spec");

void port_or_name(const json::Value& v, const FieldPath& p, FieldErrors& e) {
  if (v.is_string()) {
    text_must(check_port_name, v, p, e);
  } else if (v.is_number()) {
    port_number(v, p, e);
  }
}

void service(const json::Value& o, const json::Value* old, FieldErrors& e) {
  const json::Value& s = o["spec"];
  const std::string &type = s["type"].as_string(), &ip = s["clusterIP"].as_string();
  one_of(s["type"], {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort"}, kSpec.child("type"), e, false);
  one_of(s["sessionAffinity"], {"ClientIP", "None"}, kSpec.child("sessionAffinity"), e, false);
  bool headless = ip == "None";
  if (type == "ExternalName") {
    const std::string& name = s["externalName"].as_string();
    if (name.empty()) e.push_back(required_error(kSpec.child("externalName")));
    else each_fault(check_dns1123_subdomain(name.back() == '.' ? name.substr(0, name.size() - 1) : name), name, kSpec.child("externalName"), e);
    if (!ip.empty()) e.push_back(forbidden_error(kSpec.child("clusterIPs").index(0), "may not be set for ExternalName services"));
  } else {
    if (s["ports"].size() == 0 && !headless) e.push_back(required_error(kSpec.child("ports")));
    if (!ip.empty() && !headless)
      text_must(check_ip, ip, kSpec.child("clusterIPs").index(0), e);
  }
  if (type == "LoadBalancer" && headless) e.push_back(invalid_error(kSpec.child("clusterIPs").index(0), ip, "may not be set to 'None' for LoadBalancer services"));
  std::set<std::string> names, keys;
  const auto& ports = s["ports"].as_array();
  for (size_t i = 0; i < ports.size(); ++i) {
    const json::Value& v = ports[i];
    FieldPath p = kSpec.child("ports").index(i);
    const std::string& name = v["name"].as_string();
    if (name.empty()) {
      if (ports.size() > 1) e.push_back(required_error(p.child("name")));
    } else if (std::string why = check_dns1123_label(name); !why.empty()) {
      e.push_back(invalid_error(p.child("name"), name, why));
    } else if (!names.insert(name).second) {
      e.push_back(duplicate_error(p.child("name"), name));
    }
    port_number(v["port"], p.child("port"), e);
    one_of(v["protocol"], {"SCTP", "TCP", "UDP"}, p.child("protocol"), e, false);
    port_or_name(v["targetPort"], p.child("targetPort"), e);
    if (type == "ClusterIP" && v["nodePort"].as_int() != 0) e.push_back(forbidden_error(p.child("nodePort"), "may not be used when `type` is 'ClusterIP'"));
    std::string key = v["protocol"].as_string() + "/" + std::to_string(v["port"].as_int());
    if (!keys.insert(key).second) e.push_back(duplicate_error(p, json::Object{{"port", v["port"]}, {"protocol", v["protocol"]}}));
  }
  validate_labels(s["selector"], kSpec.child("selector"), e);
  if (old) {
    const json::Value& was = (*old)["spec"];
    if (was["type"].as_string() != "ExternalName" && type != "ExternalName" && !was["clusterIP"].as_string().empty() && was["clusterIP"].as_string() != ip)
      e.push_back(invalid_error(kSpec.child("clusterIPs").index(0), ip, "may not change once set"));
  }
}

void backend(const json::Value& b, const FieldPath& p, FieldErrors& e) {
  bool service = b["service"].is_object(), resource = b["resource"].is_object();
  if (service && resource) {
    e.push_back(invalid_error(p, "", "cannot set both resource and service backends"));
  } else if (service) {
    FieldPath s = p.child("service");
    const json::Value& v = b["service"];
    if (v["name"].as_string().empty()) e.push_back(required_error(s.child("name")));
    else text_must(check_dns1035_label, v["name"], s.child("name"), e);
    bool named = !v["port"]["name"].as_string().empty(), numbered = v["port"]["number"].as_int() != 0;
    if (named && numbered) e.push_back(invalid_error(p, "", "cannot set both port name & port number"));
    else if (numbered) port_number(v["port"]["number"], s.child("port").child("number"), e);
    else if (!named) e.push_back(required_error(p, "port name or number is required"));
  } else if (!resource) {
    e.push_back(invalid_error(p, "", "resource or service backend is required"));
  }
}

void ingress(const json::Value& o, FieldErrors& e) {
  const json::Value& s = o["spec"];
  if (s["rules"].size() == 0 && s["defaultBackend"].is_null()) e.push_back(invalid_error(kSpec, s["rules"], "either `defaultBackend` or `rules` must be specified"));
  if (s["defaultBackend"].is_object()) backend(s["defaultBackend"], kSpec.child("defaultBackend"), e);
  if (const std::string& c = s["ingressClassName"].as_string(); !c.empty())
    text_must(check_dns1123_subdomain, c, kSpec.child("ingressClassName"), e);
  for (size_t i = 0; i < s["rules"].size(); ++i) {
    const json::Value& r = s["rules"].at(i);
    FieldPath p = kSpec.child("rules").index(i);
    if (const std::string& host = r["host"].as_string(); !host.empty()) {
      if (check_ip(host).empty()) e.push_back(invalid_error(p.child("host"), host, "must be a DNS name, not an IP address"));
      else each_fault(host.find('*') != host.npos ? check_wildcard_subdomain(host) : check_dns1123_subdomain(host), host, p.child("host"), e);
    }
    if (!r["http"].is_object()) continue;
    FieldPath paths = p.child("http").child("paths");
    if (r["http"]["paths"].size() == 0) e.push_back(required_error(paths));
    for (size_t k = 0; k < r["http"]["paths"].size(); ++k) {
      const json::Value& path = r["http"]["paths"].at(k);
      FieldPath at = paths.index(k);
      const std::string &type = path["pathType"].as_string(), &text = path["path"].as_string();
      if (path["pathType"].is_null()) e.push_back(required_error(at.child("pathType"), "pathType must be specified"));
      else one_of(path["pathType"], {"Exact", "ImplementationSpecific", "Prefix"}, at.child("pathType"), e);
      if (type == "Exact" || type == "Prefix") {
        if (!text.starts_with("/")) e.push_back(invalid_error(at.child("path"), text, "must be an absolute path"));
        for (auto bad : {"//", "/./", "/../", "%2f", "%2F"})
          if (text.find(bad) != text.npos) e.push_back(invalid_error(at.child("path"), text, "must not contain " + json::quote(bad)));
      } else if (!text.empty() && !text.starts_with("/")) {
        e.push_back(invalid_error(at.child("path"), text, "must be an absolute path"));
      }
      backend(path["backend"], at.child("backend"), e);
    }
  }
  for (size_t i = 0; i < s["tls"].size(); ++i)
    for (size_t k = 0; k < s["tls"].at(i)["hosts"].size(); ++k) {
      const std::string& host = s["tls"].at(i)["hosts"].at(k).as_string();
      each_fault(host.find('*') != host.npos ? check_wildcard_subdomain(host) : check_dns1123_subdomain(host), host, kSpec.child("tls").index(i).child("hosts").index(k), e);
    }
}

void peers(const json::Value& list, const FieldPath& path, FieldErrors& e) {
  for (size_t i = 0; i < list.size(); ++i) {
    const json::Value& p = list.at(i);
    FieldPath at = path.index(i);
    if (p.size() == 0) e.push_back(required_error(at, "must specify a peer"));
    if (p["ipBlock"].is_object()) {
      if (p["podSelector"].is_object() || p["namespaceSelector"].is_object()) e.push_back(forbidden_error(at, "may not specify both ipBlock and another peer"));
      const std::string& cidr = p["ipBlock"]["cidr"].as_string();
      size_t slash = cidr.find('/');
      if (cidr.empty()) e.push_back(required_error(at.child("ipBlock").child("cidr")));
      else if (slash == cidr.npos || !check_ip(cidr.substr(0, slash)).empty() || !parse_int(cidr.substr(slash + 1)))
        e.push_back(invalid_error(at.child("ipBlock").child("cidr"), cidr, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)"));
    }
    validate_label_selector(p["podSelector"], at.child("podSelector"), e);
    validate_label_selector(p["namespaceSelector"], at.child("namespaceSelector"), e);
  }
}

void network_policy(const json::Value& o, FieldErrors& e) {
  const json::Value& s = o["spec"];
  validate_label_selector(s["podSelector"], kSpec.child("podSelector"), e);
  for (auto [rules, side] : {std::pair<const char*, const char*>{"ingress", "from"}, {"egress", "to"}})
    for (size_t i = 0; i < s[rules].size(); ++i) {
      const json::Value& r = s[rules].at(i);
      FieldPath p = kSpec.child(rules).index(i);
      for (size_t k = 0; k < r["ports"].size(); ++k) {
        const json::Value& port = r["ports"].at(k);
        one_of(port["protocol"], {"SCTP", "TCP", "UDP"}, p.child("ports").index(k).child("protocol"), e, false);
        port_or_name(port["port"], p.child("ports").index(k).child("port"), e);
      }
      peers(r[side], p.child(side), e);
    }
  for (size_t i = 0; i < s["policyTypes"].size(); ++i) one_of(s["policyTypes"].at(i), {"Egress", "Ingress"}, kSpec.child("policyTypes").index(i), e);
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
  if (kind == "Service") service(o, old, e);
  else if (kind == "Ingress") ingress(o, e);
  else if (kind == "NetworkPolicy") network_policy(o, e);
  else if (kind == "ServiceCIDR") service_cidr(o, old, e);
  else if (kind == "IPAddress") ip_address(o, old, e);
  else if (kind == "IngressClass" && old) immutable(o["spec"]["controller"], (*old)["spec"]["controller"], kSpec.child("controller"), e);
}

}  // namespace caravel::kube::check
