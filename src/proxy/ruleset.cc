#include "proxy/ruleset.h"

#include <set>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::proxy {
namespace {

constexpr size_t kNameMax = 120;  // the kernel's limit is 128 with the final zero

// A chain's name says for people what it is; the hash keeps it unique when it is cut.
std::string chain_name(std::string_view kind, const std::string& what) {
  std::string readable;
  for (char c : what) readable += isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '.' || c == '/' || c == '_' ? c : '_';
  std::string out = std::string(kind) + "-" + to_upper(sha256_hex(what).substr(0, 8)) + "-" + readable;
  if (out.size() > kNameMax) out.resize(kNameMax);
  while (!isalnum(static_cast<unsigned char>(out.back()))) out.pop_back();
  return out;
}

std::string service_key(const std::string& ip, const PortKey& key, int port) { return ip + " . " + key.protocol + " . " + std::to_string(port); }

void add_frame(NftRuleset& r, const ProxyOptions& o) {
  const std::string new_only = "ct state new ";
  r.chains["filter-prerouting"] = {"type filter hook prerouting priority -110;", {new_only + "jump firewall-check"}};
  r.chains["filter-input"] = {"type filter hook input priority -110;", {new_only + "jump nodeport-endpoints-check", new_only + "jump service-endpoints-check"}};
  r.chains["filter-forward"] = {"type filter hook forward priority -110;", {new_only + "jump service-endpoints-check", new_only + "jump cluster-ips-check"}};
  r.chains["filter-output"] = {"type filter hook output priority -110;", {new_only + "jump firewall-check"}};
  // After the address translation: what still has a Service's address leads to no endpoint.
  r.chains["filter-output-post-dnat"] = {"type filter hook output priority -90;", {new_only + "jump service-endpoints-check", new_only + "jump cluster-ips-check"}};
  r.chains["nat-prerouting"] = {"type nat hook prerouting priority -100;", {"jump services"}};
  r.chains["nat-output"] = {"type nat hook output priority -100;", {"jump services"}};
  r.chains["nat-postrouting"] = {"type nat hook postrouting priority 100;", {"jump masquerading"}};

  const std::string local = "fib daddr type local ip daddr != 127.0.0.0/8 ";
  r.chains["services"] = {"", {"ip daddr . meta l4proto . th dport vmap @service-ips", local + "meta l4proto . th dport vmap @service-nodeports"}};
  r.chains["service-endpoints-check"] = {"", {"ip daddr . meta l4proto . th dport vmap @no-endpoint-services"}};
  r.chains["nodeport-endpoints-check"] = {"", {local + "meta l4proto . th dport vmap @no-endpoint-nodeports"}};
  r.chains["firewall-check"] = {"", {"ip daddr . meta l4proto . th dport vmap @firewall-ips"}};
  r.chains["cluster-ips-check"] = {"", {"ip daddr @cluster-ips goto reject-chain comment \"a Service has no such port\""}};
  if (!o.service_cidr.empty()) r.chains["cluster-ips-check"].rules.push_back("ip daddr { " + o.service_cidr + " } goto reject-chain comment \"no Service has this address\"");
  r.chains["reject-chain"] = {"", {"meta l4proto tcp reject with tcp reset", "reject"}};
  r.chains["mark-for-masquerade"] = {"", {"meta mark set meta mark or 0x4000"}};
  r.chains["masquerading"] = {"", {"meta mark and 0x4000 == 0 return", "meta mark set meta mark xor 0x4000", "masquerade fully-random"}};

  const std::string by_service = "type ipv4_addr . inet_proto . inet_service : verdict;";
  const std::string by_port = "type inet_proto . inet_service : verdict;";
  r.sets["service-ips"] = {"map", by_service, {}};
  r.sets["service-nodeports"] = {"map", by_port, {}};
  r.sets["no-endpoint-services"] = {"map", by_service, {}};
  r.sets["no-endpoint-nodeports"] = {"map", by_port, {}};
  r.sets["firewall-ips"] = {"map", by_service, {}};
  r.sets["cluster-ips"] = {"set", "type ipv4_addr;", {}};
}

// Makes the chain that picks one of `list`, and the chains of its endpoints.
void add_choice(NftRuleset& r, const std::string& name, const PortKey& key, const ServicePort& s, const std::vector<Endpoint>& list, std::vector<std::string> first) {
  NftChain& chain = r.chains[name];
  chain.rules = std::move(first);
  std::string choices;
  for (size_t i = 0; i < list.size(); ++i) {
    const Endpoint& e = list[i];
    std::string what = key.text() + "__" + e.ip + "/" + std::to_string(e.port);
    std::string endpoint = chain_name("endpoint", what);
    NftChain& ec = r.chains[endpoint];
    ec.rules = {"ip saddr " + e.ip + " jump mark-for-masquerade"};  // a pod that reaches itself
    if (s.affinity_seconds > 0) {
      std::string set = chain_name("affinity", what);
      r.sets[set] = {"set", "type ipv4_addr; flags dynamic,timeout; timeout " + std::to_string(s.affinity_seconds) + "s;", {}};
      ec.rules.push_back("update @" + set + " { ip saddr }");
      chain.rules.push_back("ip saddr @" + set + " goto " + endpoint);
    }
    ec.rules.push_back("meta l4proto " + key.protocol + " dnat to " + e.ip + ":" + std::to_string(e.port));
    if (i) choices += ", ";
    choices += std::to_string(i) + " : goto " + endpoint;
  }
  chain.rules.push_back("numgen random mod " + std::to_string(list.size()) + " vmap { " + choices + " }");
}

void add_service(NftRuleset& r, const PortKey& key, const ServicePort& s, const std::vector<Endpoint>& all, const ProxyOptions& o) {
  std::vector<Endpoint> cluster = usable_from(all, o.here);
  std::vector<Endpoint> local = usable(on_node(all, o.here.node));
  const std::string cluster_chain = chain_name("service", key.text()), local_chain = chain_name("local", key.text()), external_chain = chain_name("external", key.text());
  std::vector<std::string> externals = s.external_ips;
  externals.insert(externals.end(), s.load_balancer_ips.begin(), s.load_balancer_ips.end());
  bool has_external = !externals.empty() || s.node_port > 0;

  r.sets["cluster-ips"].elements[s.cluster_ip] = "";
  // Nothing at all: reject, so that clients fail at once. Endpoints, but none on this node: drop, the
  // sender is meant to try another node; but from inside the cluster an external address leads to all endpoints.
  auto verdict = [&](bool wants_local) -> std::string {
    if (cluster.empty()) return "goto reject-chain";
    return wants_local && local.empty() ? "drop" : "";
  };
  std::string inside = verdict(s.internal_local), outside = verdict(s.external_local);

  bool need_cluster = !cluster.empty() && (!s.internal_local || has_external);
  bool need_local = !local.empty() && (s.internal_local || (has_external && s.external_local));
  if (need_cluster) {
    std::vector<std::string> first;
    if (!o.cluster_cidr.empty()) first.push_back("ip daddr " + s.cluster_ip + " ip saddr != " + o.cluster_cidr + " jump mark-for-masquerade");
    add_choice(r, cluster_chain, key, s, cluster, std::move(first));
  }
  if (need_local) add_choice(r, local_chain, key, s, local, {});

  auto& no_endpoint = r.sets["no-endpoint-services"].elements;
  auto& service_ips = r.sets["service-ips"].elements;
  std::string at = service_key(s.cluster_ip, key, s.port);
  if (!inside.empty()) no_endpoint[at] = inside;
  else service_ips[at] = "goto " + (s.internal_local ? local_chain : cluster_chain);
  if (!has_external) return;

  if (!cluster.empty()) {
    NftChain& c = r.chains[external_chain];
    if (s.external_local) {
      // From inside the cluster the address is a short cut to all endpoints.
      if (!o.cluster_cidr.empty()) c.rules.push_back("ip saddr " + o.cluster_cidr + " goto " + cluster_chain);
      c.rules.push_back("fib saddr type local jump mark-for-masquerade");
      c.rules.push_back("fib saddr type local goto " + cluster_chain);
      if (!local.empty()) c.rules.push_back("goto " + local_chain);
    } else {
      c.rules = {"jump mark-for-masquerade", "goto " + cluster_chain};  // answers must come back through this node
    }
  }
  for (auto& ip : externals) {
    std::string k = service_key(ip, key, s.port);
    if (!outside.empty()) no_endpoint[k] = outside;
    if (!cluster.empty()) service_ips[k] = "goto " + external_chain;
  }
  if (s.node_port > 0) {
    std::string k = key.protocol + " . " + std::to_string(s.node_port);
    if (!outside.empty()) r.sets["no-endpoint-nodeports"].elements[k] = outside;
    if (!cluster.empty()) r.sets["service-nodeports"].elements[k] = "goto " + external_chain;
  }
  if (!s.source_ranges.empty() && !s.load_balancer_ips.empty()) {
    std::string firewall = chain_name("firewall", key.text());
    r.chains[firewall].rules = {"ip saddr != { " + join(s.source_ranges, ", ") + " } drop"};
    for (auto& ip : s.load_balancer_ips) r.sets["firewall-ips"].elements[service_key(ip, key, s.port)] = "goto " + firewall;
  }
}

const std::string kTable = "ip kube-proxy";

void declare_chain(std::string& out, const std::string& name, const NftChain& c) {
  out += "add chain " + kTable + " " + name;
  if (!c.base.empty()) out += " { " + c.base + " }";
  out += "\n";
}

void add_rules(std::string& out, const std::string& name, const NftChain& c) {
  for (auto& rule : c.rules) out += "add rule " + kTable + " " + name + " " + rule + "\n";
}

std::string elements_text(const std::vector<std::pair<std::string, std::string>>& list, bool with_verdict) {
  std::string out = "{ ";
  for (size_t i = 0; i < list.size(); ++i) {
    if (i) out += ", ";
    out += list[i].first;
    if (with_verdict && !list[i].second.empty()) out += " : " + list[i].second;
  }
  return out + " }";
}

using Elements = std::vector<std::pair<std::string, std::string>>;

// Elements of `a` that `b` has not, or has otherwise.
Elements missing(const NftSet* a, const NftSet* b) {
  Elements out;
  if (!a) return out;
  for (auto& [k, v] : a->elements) {
    if (b) {
      auto it = b->elements.find(k);
      if (it != b->elements.end() && it->second == v) continue;
    }
    out.emplace_back(k, v);
  }
  return out;
}

template <class T>
const T* look(const std::map<std::string, T>& m, const std::string& key) {
  auto it = m.find(key);
  return it == m.end() ? nullptr : &it->second;
}

}  // namespace

NftRuleset build_ruleset(const Services& services, const Endpoints& endpoints, const ProxyOptions& options) {
  static const std::vector<Endpoint> kNone;
  NftRuleset r;
  add_frame(r, options);
  for (auto& [key, service] : services) {
    auto it = endpoints.find(key);
    add_service(r, key, service, it == endpoints.end() ? kNone : it->second, options);
  }
  return r;
}

std::string transaction(const NftRuleset* before, const NftRuleset& now) {
  static const NftRuleset kEmpty;
  std::string out;
  if (!before) {
    out += "add table " + kTable + "\ndelete table " + kTable + "\nadd table " + kTable + " { comment \"rules for kube-proxy\"; }\n";
    before = &kEmpty;
  }
  // Sets first: rules name them; then chains without rules: they name each other.
  std::set<std::string> remade;  // a set whose type changed (another affinity timeout)
  for (auto& [name, set] : now.sets) {
    const NftSet* old = look(before->sets, name);
    if (old && old->spec == set.spec) continue;
    if (old) remade.insert(name);
    else out += "add " + set.kind + " " + kTable + " " + name + " { " + set.spec + " }\n";
  }
  auto uses_remade = [&](const NftChain& c) {
    for (auto& n : remade)
      for (auto& rule : c.rules)
        if (rule.find("@" + n + " ") != rule.npos) return true;
    return false;
  };
  for (auto& [name, chain] : now.chains)
    if (!look(before->chains, name)) declare_chain(out, name, chain);
  // Take away: rules of chains that change or go, then elements, so that nothing is in use when it goes.
  std::vector<std::string> changed;
  for (auto& [name, chain] : now.chains) {
    const NftChain* old = look(before->chains, name);
    if (old && *old == chain && !uses_remade(chain)) continue;
    if (old) out += "flush chain " + kTable + " " + name + "\n";
    changed.push_back(name);
  }
  for (auto& name : remade) {
    const NftSet& set = now.sets.at(name);
    out += "delete set " + kTable + " " + name + "\nadd " + set.kind + " " + kTable + " " + name + " { " + set.spec + " }\n";
  }
  for (auto& [name, chain] : before->chains)
    if (!look(now.chains, name)) out += "flush chain " + kTable + " " + name + "\n";
  for (auto& [name, set] : before->sets) {
    if (remade.count(name)) continue;
    Elements gone = missing(&set, look(now.sets, name));
    if (!gone.empty()) out += "delete element " + kTable + " " + name + " " + elements_text(gone, set.kind == "map") + "\n";
  }
  for (auto& [name, set] : now.sets) {
    Elements fresh = missing(&set, remade.count(name) ? nullptr : look(before->sets, name));
    if (!fresh.empty()) out += "add element " + kTable + " " + name + " " + elements_text(fresh, set.kind == "map") + "\n";
  }
  for (auto& name : changed) add_rules(out, name, now.chains.at(name));
  for (auto& [name, chain] : before->chains)
    if (!look(now.chains, name)) out += "delete chain " + kTable + " " + name + "\n";
  for (auto& [name, set] : before->sets)
    if (!look(now.sets, name)) out += "delete " + set.kind + " " + kTable + " " + name + "\n";
  return out;
}

}  // namespace caravel::proxy
