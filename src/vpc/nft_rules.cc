#include "vpc/nft_rules.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/hash.h"
#include "base/strings.h"

namespace caravel::vpc {
namespace {

std::string set_name(const std::string& group_id) { return "members_" + replace_all(group_id, "-", "_"); }

std::string braces(const std::vector<std::string>& items) { return "{ " + join(items, ", ") + " }"; }

int prefix_length(const std::string& cidr) {
  size_t slash = cidr.find('/');
  return slash == cidr.npos ? 32 : static_cast<int>(parse_int(cidr.substr(slash + 1)).value_or(32));
}

std::string hex_name(uint64_t h) { return format("%016llx", static_cast<unsigned long long>(h)); }

// The match of one rule without its peer: "meta l4proto tcp th dport 80-443".
std::string protocol_match(const SecurityGroupRule& r) {
  if (r.protocol == "-1" || r.protocol == "all") return "";
  if (r.protocol == "tcp" || r.protocol == "udp" || r.protocol == "6" || r.protocol == "17") {
    std::string name = r.protocol == "6" ? "tcp" : r.protocol == "17" ? "udp"
                                                                      : r.protocol;
    bool all = r.from_port <= 0 && (r.to_port < 0 || r.to_port == 65535);
    if (all) return "meta l4proto " + name + " ";
    std::string ports = std::to_string(r.from_port);
    if (r.to_port > r.from_port) ports += "-" + std::to_string(r.to_port);
    return name + " dport " + ports + " ";
  }
  if (r.protocol == "icmp" || r.protocol == "1") return r.from_port >= 0 ? "icmp type " + std::to_string(r.from_port) + " " : "meta l4proto icmp ";
  if (r.protocol == "icmpv6" || r.protocol == "58") return "meta l4proto icmpv6 ";
  return "meta l4proto " + r.protocol + " ";
}

std::string peer_match(const SecurityGroupRule& r) {
  std::string field = r.egress ? "ip daddr " : "ip saddr ";
  if (!r.source_group.empty()) return field + "@" + set_name(r.source_group) + " ";
  if (!r.prefix_list.empty()) return field + braces(r.prefix_list) + " ";
  if (r.cidr == "0.0.0.0/0" || r.cidr.empty()) return "";
  if (r.cidr.find(':') != std::string::npos) return r.cidr == "::/0" ? "meta nfproto ipv6 " : "ip6 " + std::string(r.egress ? "daddr " : "saddr ") + r.cidr + " ";
  return field + r.cidr + " ";
}

constexpr int kInternetMark = 1;  // of connections that an internet gateway carries; NAT gateways follow

std::string quoted(const std::string& s) { return "\"" + s + "\""; }

// Names that do not depend on what else there is, so that a change elsewhere leaves them alone.
std::string chain_name(const std::string& prefix, const std::string& content) { return prefix + hex_name(fnv64a(content)); }

class Rules {
 public:
  Rules(const NetworkState& n, const RouterAddresses& own) : n_(n), own_(own) {
    table_.name = "inet vpc";
    for (auto& g : n.security_groups) groups_[g.id] = &g;
    for (auto& s : n.subnets) subnets_[s.id] = &s;
    std::set<std::string> ids;
    for (auto& g : n.nat_gateways) ids.insert(g.id);
    for (auto& id : ids) nat_marks_.emplace(id, kInternetMark + 1 + static_cast<int>(nat_marks_.size()));
  }

  NftTable table() {
    addresses();
    members();
    routing();
    group_chains();
    hooks();
    return std::move(table_);
  }

 private:
  NftSet& set(const std::string& name, const std::string& type, bool map = false) {
    NftSet& s = table_.sets[name];
    s.map = map;
    s.declaration = type;
    return s;
  }
  NftSet& map(const std::string& name, const std::string& type) { return set(name, type, true); }
  std::vector<std::string>& chain(const std::string& name, const std::string& hook = "") {
    table_.chains[name].hook = hook;
    return table_.chains[name].rules;
  }

  void addresses() {
    auto& services = set("services", "type ipv4_addr;");
    for (auto& a : own_.services) services.elements[a];
    auto& vpc = set("vpc_addresses", "type ipv4_addr; flags interval;");
    for (auto& v : n_.vpcs)
      for (auto& c : v.cidrs) vpc.elements[c];
    auto& unchecked = set("unchecked_links", "type ifname;");
    for (auto& i : n_.interfaces)
      if (!i.source_dest_check) unchecked.elements[quoted(link_name(i.id))];
    auto& in = map("public_to_private", "type ipv4_addr : ipv4_addr;");
    auto& out = map("private_to_public", "type ipv4_addr : ipv4_addr;");
    for (auto& g : n_.internet_gateways)
      for (auto& m : g.mappings) {
        if (m.public_ip.empty() || m.private_ip.empty()) continue;
        in.elements[m.public_ip] = m.private_ip;
        out.elements[m.private_ip] = m.public_ip;
      }
    auto& nat = map("nat_public", "type mark : ipv4_addr;");
    for (auto& g : n_.nat_gateways)
      if (!g.public_ip.empty()) nat.elements[std::to_string(nat_marks_[g.id])] = g.public_ip;
  }

  void members() {
    for (auto& g : n_.security_groups) set(set_name(g.id), "type ipv4_addr; flags interval;");
    for (auto& i : n_.interfaces)
      for (auto& g : i.security_groups) {
        if (!groups_.count(g)) continue;
        for (auto& a : addresses_of(i)) table_.sets[set_name(g)].elements[a];
      }
  }

  // What becomes of a connection that takes the route.
  std::string route_verdict(const Route& r) {
    if (r.target == "local") return "return";
    if (r.target.starts_with("igw-")) return "ct mark set " + std::to_string(kInternetMark) + " return";
    auto nat = nat_marks_.find(r.target);
    if (nat == nat_marks_.end() || !nat_reaches_internet(r.target)) return "drop";
    return "ct mark set " + std::to_string(nat->second) + " return";
  }

  // A NAT gateway leaves through the routes of the subnet that it stands in.
  bool nat_reaches_internet(const std::string& id) {
    for (auto& g : n_.nat_gateways) {
      if (g.id != id) continue;
      auto s = subnets_.find(g.subnet_id);
      if (s == subnets_.end()) return false;
      for (auto& r : s->second->routes)
        if (r.destination == "0.0.0.0/0" && r.target.starts_with("igw-")) return true;
    }
    return false;
  }

  void routing() {
    std::map<std::string, std::string> chain_of_subnet;
    for (auto& s : n_.subnets) {
      auto routes = s.routes;
      std::stable_sort(routes.begin(), routes.end(), [](auto& a, auto& b) { return prefix_length(a.destination) > prefix_length(b.destination); });
      std::vector<std::string> rules;
      for (auto& r : routes) {
        if (r.destination.find(':') != std::string::npos || r.destination.starts_with("pl-")) continue;
        rules.push_back((prefix_length(r.destination) == 0 ? "" : "ip daddr " + r.destination + " ") + route_verdict(r));
      }
      rules.push_back("drop");
      std::string name = chain_name("route_", join(rules, "\n"));
      chain(name) = rules;
      chain_of_subnet[s.id] = name;
    }
    auto& of = map("route_of", "type ifname : verdict;");
    for (auto& i : n_.interfaces)
      if (auto it = chain_of_subnet.find(i.subnet_id); it != chain_of_subnet.end()) of.elements[quoted(link_name(i.id))] = "jump " + it->second;
  }

  // One pair of chains for each distinct set of groups.
  void group_chains() {
    auto& egress = map("egress_of", "type ifname : verdict;");
    auto& ingress = map("ingress_of", "type ifname : verdict;");
    for (auto& i : n_.interfaces) {
      auto sorted = i.security_groups;
      std::sort(sorted.begin(), sorted.end());
      std::string key = join(sorted, ",");
      std::string out = chain_name("egress_", key), in = chain_name("ingress_", key);
      if (!table_.chains.count(out)) {
        group_chain(out, sorted, true, "return");
        group_chain(in, sorted, false, "accept");
      }
      egress.elements[quoted(link_name(i.id))] = "jump " + out;
      ingress.elements[quoted(link_name(i.id))] = "jump " + in;
    }
  }

  void group_chain(const std::string& name, const std::vector<std::string>& group_ids, bool egress, const std::string& verdict) {
    auto& rules = chain(name);
    for (auto& id : group_ids) {
      auto it = groups_.find(id);
      if (it == groups_.end()) continue;
      for (auto& r : it->second->rules)
        if (r.egress == egress && (r.source_group.empty() || groups_.count(r.source_group))) rules.push_back(protocol_match(r) + peer_match(r) + verdict + " comment " + quoted(id));
    }
    rules.push_back("drop");
  }

  void hooks() {
    std::string igw = quoted(kInternetLink);
    chain("anti_spoof", "type filter hook prerouting priority -300; policy accept;") = {
        "iifname \"v*\" iifname != @unchecked_links fib saddr . iif oif missing counter drop",
    };
    chain("routing", "type filter hook prerouting priority -150; policy accept;") = {
        "ct state established,related return",
        "ip daddr @services return",
        "ip daddr @vpc_addresses return",
        "iifname vmap @route_of",
    };
    chain("prerouting_nat", "type nat hook prerouting priority -100; policy accept;") = {"dnat ip to ip daddr map @public_to_private"};
    chain("output_nat", "type nat hook output priority -100; policy accept;") = {"dnat ip to ip daddr map @public_to_private"};
    std::string mark = "ct mark " + std::to_string(kInternetMark) + " ";
    chain("postrouting_nat", "type nat hook postrouting priority 100; policy accept;") = {
        mark + "snat ip to ip saddr map @private_to_public",
        mark + "drop comment \"no public address\"",
        "ct mark != 0 snat ip to ct mark map @nat_public",
    };
    chain("input", "type filter hook input priority 0; policy accept;") = {
        "ct state established,related accept",
        "ip daddr @services accept",
        "iifname \"v*\" drop",
        "iifname " + igw + " drop",
    };
    chain("forward", "type filter hook forward priority 0; policy drop;") = {
        "ct state established,related accept",
        "ct state invalid drop",
        "iifname " + igw + " ct status & dnat != dnat drop",
        "iifname vmap @egress_of",
        "oifname " + igw + " accept",
        "oifname vmap @ingress_of",
    };
  }

  const NetworkState& n_;
  const RouterAddresses& own_;
  NftTable table_;
  std::map<std::string, const SecurityGroup*> groups_;
  std::map<std::string, const Subnet*> subnets_;
  std::map<std::string, int> nat_marks_;
};

}  // namespace

std::string link_name(const std::string& id) {
  std::string hex = id.substr(id.find('-') == id.npos ? 0 : id.find('-') + 1);
  return "v" + (hex.size() > 14 ? hex.substr(hex.size() - 14) : hex);
}

std::vector<std::string> addresses_of(const Interface& i) {
  std::vector<std::string> out;
  if (!i.primary_ip.empty()) out.push_back(i.primary_ip);
  out.insert(out.end(), i.secondary_ips.begin(), i.secondary_ips.end());
  out.insert(out.end(), i.prefixes.begin(), i.prefixes.end());
  return out;
}

NftTable plan_rules(const NetworkState& network, const RouterAddresses& own) { return Rules(network, own).table(); }

}  // namespace caravel::vpc
