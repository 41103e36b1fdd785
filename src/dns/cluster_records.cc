#include "dns/cluster_records.h"

#include "base/strings.h"

namespace caravel::dns {
namespace {

using net::dns::Question;
using net::dns::Record;

bool is_v6(const std::string& ip) { return ip.find(':') != ip.npos; }

std::string protocol_of(const json::Value& port) {
  const std::string& p = port["protocol"].as_string();
  return p.empty() ? "tcp" : to_lower(p);
}

std::string dashed(std::string ip) {
  for (char& c : ip)
    if (c == '.' || c == ':') c = '-';
  return ip;
}

// "10-0-11-5" -> "10.0.11.5"; "fd00--1" -> "fd00::1"; "" when it is no address.
std::string undashed(const std::string& s) {
  std::string v4 = replace_all(s, "-", "."), v6 = replace_all(s, "-", ":");
  if (net::dns::reverse_name(v4)) return v4;
  if (net::dns::reverse_name(v6)) return v6;
  return "";
}

bool wants(uint16_t type, uint16_t asked) { return asked == type || asked == net::dns::kAny; }

}  // namespace

void ClusterRecords::add_service(const json::Value& service) {
  const json::Value& spec = service["spec"];
  const std::string& ns = service["metadata"]["namespace"].as_string();
  const std::string& name = service["metadata"]["name"].as_string();
  ClusterService s;
  if (spec["type"].as_string() == "ExternalName") {
    s.external_name = spec["externalName"].as_string();
    if (!s.external_name.ends_with('.')) s.external_name += '.';
  } else if (spec["clusterIP"].as_string() == "None") {
    s.headless = true;
  } else {
    for (auto& ip : spec["clusterIPs"].as_array()) s.addresses.push_back(ip.as_string());
    if (s.addresses.empty() && !spec["clusterIP"].as_string().empty()) s.addresses.push_back(spec["clusterIP"].as_string());
  }
  for (auto& p : spec["ports"].as_array()) s.ports.push_back({p["name"].as_string(), protocol_of(p), static_cast<uint16_t>(p["port"].as_int())});
  for (auto& ip : s.addresses) by_address_.emplace(ip, name + "." + ns + ".svc." + zone_);
  services_[{ns, name}] = std::move(s);
}

void ClusterRecords::add_slice(const json::Value& slice) {
  const std::string& type = slice["addressType"].as_string();
  if (type != "IPv4" && type != "IPv6") return;
  const std::string& ns = slice["metadata"]["namespace"].as_string();
  const std::string& name = slice["metadata"]["labels"]["kubernetes.io/service-name"].as_string();
  auto it = services_.find({ns, name});
  if (it == services_.end() || !it->second.headless) return;
  std::vector<ClusterPort> ports;
  for (auto& p : slice["ports"].as_array())
    if (p["port"].is_int()) ports.push_back({p["name"].as_string(), protocol_of(p), static_cast<uint16_t>(p["port"].as_int())});
  for (auto& e : slice["endpoints"].as_array()) {
    if (!e["conditions"]["ready"].as_bool(true)) continue;
    for (auto& a : e["addresses"].as_array()) {
      const std::string& host = e["hostname"].as_string();
      ClusterEndpoint x{a.as_string(), host.empty() ? dashed(a.as_string()) : host, ports};
      by_address_.emplace(x.ip, x.host + "." + name + "." + ns + ".svc." + zone_);
      it->second.endpoints.push_back(std::move(x));
    }
  }
}

void ClusterRecords::add_address(const std::string& name, const std::string& ip, uint16_t type, std::vector<Record>& out) const {
  uint16_t own = is_v6(ip) ? net::dns::kAaaa : net::dns::kA;
  if (!wants(own, type)) return;
  for (auto& r : out)
    if (r.type == own && r.data == ip && r.name == name) return;
  Record r;
  r.name = name;
  r.type = own;
  r.ttl = ttl_;
  r.data = ip;
  out.push_back(std::move(r));
}

Answer ClusterRecords::resolve(const Question& q) const {
  if (in_zone(q.name, "in-addr.arpa.") || in_zone(q.name, "ip6.arpa.")) return reverse(q);
  if (!in_zone(q.name, zone_) || q.klass != net::dns::kClassIn) return not_mine();
  std::string before = to_lower(q.name.substr(0, q.name.size() - zone_.size()));
  std::vector<std::string> labels;
  if (!before.empty()) labels = split(before.substr(0, before.size() - 1), '.');

  Answer a;
  if (labels.empty()) {
    if (wants(net::dns::kSoa, q.type)) a.answers.push_back(zone_soa(q.name, ttl_));
    if (wants(net::dns::kNs, q.type)) {
      Record ns;
      ns.name = q.name;
      ns.type = net::dns::kNs;
      ns.ttl = ttl_;
      ns.data = "ns.dns." + zone_;
      a.answers.push_back(ns);
    }
    return a.answers.empty() ? negative(zone_, ttl_, true) : a;
  }
  if (labels.size() == 1 && labels[0] == "dns-version") {
    if (!wants(net::dns::kTxt, q.type)) return negative(zone_, ttl_, true);
    Record txt;
    txt.name = q.name;
    txt.type = net::dns::kTxt;
    txt.ttl = ttl_;
    txt.data = "1.1.0";
    a.answers.push_back(txt);
    return a;
  }
  if (labels.back() == "svc") return in_services(q, labels);
  if (labels.back() == "pod") return in_pods(q, labels);
  return negative(zone_, ttl_, false);
}

Answer ClusterRecords::in_pods(const Question& q, const std::vector<std::string>& labels) const {
  if (labels.size() == 1) return negative(zone_, ttl_, true);
  if (!is_namespace(labels[labels.size() - 2])) return negative(zone_, ttl_, false);
  if (labels.size() == 2) return negative(zone_, ttl_, true);
  std::string ip = labels.size() == 3 ? undashed(labels[0]) : "";
  if (ip.empty()) return negative(zone_, ttl_, false);
  Answer a;
  add_address(q.name, ip, q.type, a.answers);
  return a.answers.empty() ? negative(zone_, ttl_, true) : a;
}

Answer ClusterRecords::in_services(const Question& q, const std::vector<std::string>& labels) const {
  size_t n = labels.size();  // [port, proto | host,] service, namespace, "svc"
  if (n == 1) return negative(zone_, ttl_, true);
  const std::string& ns = labels[n - 2];
  if (n == 2) return negative(zone_, ttl_, is_namespace(ns));
  const std::string& name = labels[n - 3];
  auto it = services_.find({ns, name});
  if (it == services_.end()) return negative(zone_, ttl_, false);
  const ClusterService& s = it->second;
  if (n == 3) return service_answer(q, ns, name, s);
  if (n == 5) {
    const std::string &port = labels[0], &protocol = labels[1];
    if (port.size() < 2 || port[0] != '_' || protocol.size() < 2 || protocol[0] != '_') return negative(zone_, ttl_, false);
    return port_answer(q, ns, name, s, port.substr(1), protocol.substr(1));
  }
  if (n != 4) return negative(zone_, ttl_, false);
  Answer a;
  bool exists = false;
  for (auto& e : s.endpoints) {
    if (!equals_ignore_case(e.host, labels[0])) continue;
    exists = true;
    add_address(q.name, e.ip, q.type, a.answers);
  }
  return a.answers.empty() ? negative(zone_, ttl_, exists) : a;
}

Answer ClusterRecords::service_answer(const Question& q, const std::string& ns, const std::string& name, const ClusterService& s) const {
  Answer a;
  if (!s.external_name.empty()) {
    Record r;
    r.name = q.name;
    r.type = net::dns::kCname;
    r.ttl = ttl_;
    r.data = s.external_name;
    a.answers.push_back(r);
    return a;  // the server follows it
  }
  // A headless Service with nothing ready has no name at all, as upstream answers.
  if (s.headless && s.endpoints.empty()) return negative(zone_, ttl_, false);
  if (q.type == net::dns::kSrv) return port_answer(q, ns, name, s, "", "");
  for (auto& ip : s.addresses) add_address(q.name, ip, q.type, a.answers);
  for (auto& e : s.endpoints) add_address(q.name, e.ip, q.type, a.answers);
  return a.answers.empty() ? negative(zone_, ttl_, true) : a;
}

// port "" stands for all ports.
Answer ClusterRecords::port_answer(const Question& q, const std::string& ns, const std::string& name, const ClusterService& s, const std::string& port,
                                   const std::string& protocol) const {
  Answer a;
  bool exists = false;
  std::string full = name + "." + ns + ".svc." + zone_;
  auto matches = [&](const ClusterPort& p) { return port.empty() || (equals_ignore_case(p.name, port) && p.protocol == protocol); };
  auto add = [&](const std::string& target, const std::vector<std::string>& ips, const ClusterPort& p) {
    exists = true;
    if (!wants(net::dns::kSrv, q.type)) return;
    Record r;
    r.name = q.name;
    r.type = net::dns::kSrv;
    r.ttl = ttl_;
    r.data = target;
    r.port = p.port;
    r.weight = 100;
    for (auto& have : a.answers)
      if (have == r) return;
    a.answers.push_back(std::move(r));
    for (auto& ip : ips) add_address(target, ip, net::dns::kAny, a.additionals);
  };
  if (!s.headless) {
    for (auto& p : s.ports)
      if (matches(p) && !s.addresses.empty()) add(full, s.addresses, p);
  }
  for (auto& e : s.endpoints)
    for (auto& p : e.ports)
      if (matches(p)) add(e.host + "." + full, {e.ip}, p);
  for (auto& r : a.answers) r.weight = static_cast<uint16_t>(100 / a.answers.size());
  return a.answers.empty() ? negative(zone_, ttl_, exists) : a;
}

Answer ClusterRecords::reverse(const Question& q) const {
  auto ip = net::dns::reverse_address(q.name);
  if (!ip) return not_mine();
  auto [b, e] = by_address_.equal_range(*ip);
  if (b == e) return not_mine();
  if (!wants(net::dns::kPtr, q.type)) return negative(zone_, ttl_, true);
  Answer a;
  for (; b != e; ++b) {
    Record r;
    r.name = q.name;
    r.type = net::dns::kPtr;
    r.ttl = ttl_;
    r.data = b->second;
    a.answers.push_back(std::move(r));
  }
  return a;
}

}  // namespace caravel::dns
