// Endpoints and EndpointSlices.
#include <set>

#include "base/strings.h"
#include "kube/ip_range.h"
#include "kube/validate_kinds.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr size_t kEndpointsMax = 1000, kPortsMax = 20000, kAddressesMax = 100;

// The API server of a development machine publishes a loopback address as its own.
bool is_api_server(const Value& o) { return o["metadata"]["namespace"].as_string() == "default" && o["metadata"]["name"].as_string() == "kubernetes"; }

void address(const Value& a, const FieldPath& p, bool ordinary, FieldErrors& e) {
  const std::string& ip = a["ip"].as_string();
  const size_t before = e.size();
  text_must(check_ip, ip, p.child("ip"), e);
  if (ordinary && e.size() == before) special_ip(ip, p.child("ip"), e);
  if (const std::string& host = a["hostname"].as_string(); !host.empty())
    text_must(check_dns1123_label, host, p.child("hostname"), e);
}

}  // namespace

// Addresses that no client outside the host could mean.
void special_ip(const std::string& ip, const FieldPath& p, FieldErrors& e) {
  if (auto v4 = parse_ipv4(ip)) {
    uint32_t a = *v4;
    if (a == 0) e.push_back(invalid_error(p, ip, "may not be unspecified (" + ip + ")"));
    if (a >> 24 == 127) e.push_back(invalid_error(p, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)"));
    if (a >> 16 == (169u << 8 | 254)) e.push_back(invalid_error(p, ip, "may not be in the link-local range (169.254.0.0/16, fe80::/10)"));
    if (a >> 8 == (224u << 16)) e.push_back(invalid_error(p, ip, "may not be in the link-local multicast range (224.0.0.0/24, ff02::/10)"));
  } else if (ip == "::") {
    e.push_back(invalid_error(p, ip, "may not be unspecified (" + ip + ")"));
  } else if (ip == "::1") {
    e.push_back(invalid_error(p, ip, "may not be in the loopback range (127.0.0.0/8, ::1/128)"));
  }
}

void endpoints(const Value& o, FieldErrors& e) {
  const Value& subsets = o["subsets"];
  for (size_t i = 0; i < subsets.size(); ++i) {
    const Value& s = subsets.at(i);
    const FieldPath p = FieldPath("subsets").index(i);
    if (s["addresses"].size() == 0 && s["notReadyAddresses"].size() == 0) e.push_back(required_error(p, "must specify `addresses` or `notReadyAddresses`"));
    for (const char* list : {"addresses", "notReadyAddresses"})
      for (size_t k = 0; k < s[list].size(); ++k) address(s[list].at(k), p.child(list).index(k), !is_api_server(o), e);
    for (size_t k = 0; k < s["ports"].size(); ++k) {
      const Value& port = s["ports"].at(k);
      const FieldPath at = p.child("ports").index(k);
      const std::string& name = port["name"].as_string();
      if (name.empty() && s["ports"].size() > 1) e.push_back(required_error(at.child("name")));
      else if (!name.empty())
        text_must(check_dns1123_label, name, at.child("name"), e);
      port_number(port["port"], at.child("port"), e);
      one_of(port["protocol"], {"SCTP", "TCP", "UDP"}, at.child("protocol"), e);
    }
  }
}

void endpoint_slice(const Value& o, const Value* old, FieldErrors& e) {
  const std::string& type = o["addressType"].as_string();
  if (type.empty()) e.push_back(required_error(FieldPath("addressType")));
  else one_of(o["addressType"], {"FQDN", "IPv4", "IPv6"}, FieldPath("addressType"), e);
  if (old) immutable(o["addressType"], (*old)["addressType"], FieldPath("addressType"), e);
  const Value& list = o["endpoints"];
  if (list.size() > kEndpointsMax) e.push_back(too_many(FieldPath("endpoints"), static_cast<int64_t>(list.size()), kEndpointsMax));
  for (size_t i = 0; i < list.size() && i < kEndpointsMax; ++i) {
    const Value& x = list.at(i);
    const FieldPath p = FieldPath("endpoints").index(i);
    const FieldPath addresses = p.child("addresses");
    if (x["addresses"].size() == 0) e.push_back(required_error(addresses, "must contain at least 1 address"));
    if (x["addresses"].size() > kAddressesMax) e.push_back(too_many(addresses, static_cast<int64_t>(x["addresses"].size()), kAddressesMax));
    for (size_t k = 0; k < x["addresses"].size() && k < kAddressesMax; ++k) {
      const std::string& a = x["addresses"].at(k).as_string();
      const FieldPath at = addresses.index(k);
      if (type == "FQDN") {
        text_must(check_dns1123_subdomain, a, at, e);
        continue;
      }
      bool v6 = a.find(':') != a.npos;
      if (type == "IPv4" && (v6 || !check_ip(a).empty())) e.push_back(invalid_error(at, a, "must be an IPv4 address"));
      else if (type == "IPv6" && (!v6 || !check_ip(a).empty())) e.push_back(invalid_error(at, a, "must be an IPv6 address"));
      else if (!is_api_server(o)) special_ip(a, at, e);
    }
    if (x["nodeName"].is_string())
      text_must(check_dns1123_subdomain, x["nodeName"], p.child("nodeName"), e);
    if (const std::string& host = x["hostname"].as_string(); !host.empty())
      text_must(check_dns1123_label, host, p.child("hostname"), e);
  }
  if (o["ports"].size() > kPortsMax) e.push_back(too_many(FieldPath("ports"), static_cast<int64_t>(o["ports"].size()), kPortsMax));
  std::set<std::string> names;
  for (size_t i = 0; i < o["ports"].size(); ++i) {
    const Value& port = o["ports"].at(i);
    const FieldPath p = FieldPath("ports").index(i);
    const std::string& name = port["name"].as_string();
    if (!name.empty())
      text_must(check_dns1123_label, name, p.child("name"), e);
    if (!names.insert(name).second) e.push_back(duplicate_error(p.child("name"), name));
    one_of(port["protocol"], {"SCTP", "TCP", "UDP"}, p.child("protocol"), e);
    if (port["port"].is_int() && port["port"].as_int() != 0) port_number(port["port"], p.child("port"), e);
  }
}

}  // namespace caravel::kube::check
