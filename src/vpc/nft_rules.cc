#include "vpc/nft_rules.h"

#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"

namespace caravel::vpc {
namespace {

std::string set_name(const std::string& group_id) { return "members_" + replace_all(group_id, "-", "_"); }

std::string braces(const std::vector<std::string>& items) { return "{ " + join(items, ", ") + " }"; }

// The match of one rule without its peer: "meta l4proto tcp th dport 80-443".
std::string protocol_match(const SecurityGroupRule& r) {
  if (r.protocol == "-1" || r.protocol == "all") return "";
  if (r.protocol == "tcp" || r.protocol == "udp" || r.protocol == "6" || r.protocol == "17") {
    std::string name = r.protocol == "6" ? "tcp" : r.protocol == "17" ? "udp" : r.protocol;
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

class Rules {
 public:
  Rules(const NetworkState& n, const RouterAddresses& own) : n_(n), own_(own) {
    for (auto& g : n.security_groups) groups_[g.id] = &g;
    for (auto& s : n.subnets) subnets_[s.id] = &s;
  }

  std::string text() {
    out_ = "table inet vpc\ndelete table inet vpc\ntable inet vpc {\n";
    services();
    members();
    anti_spoofing();
    translation();
    group_chains();
    hooks();
    return out_ + "}\n";
  }

 private:
  void line(const std::string& s) { out_ += "  " + s + "\n"; }
  void set(const std::string& name, const std::string& type, const std::string& flags, const std::vector<std::string>& elements) {
    line("set " + name + " { type " + type + (flags.empty() ? "" : "; flags " + flags) + (elements.empty() ? "" : "; elements = " + braces(elements)) + "; }");
  }
  void map(const std::string& name, const std::string& type, const std::vector<std::string>& elements) {
    line("map " + name + " { type " + type + (elements.empty() ? "" : "; elements = " + braces(elements)) + "; }");
  }

  void services() {
    set("services", "ipv4_addr", "", own_.services);
    std::vector<std::string> cidrs;
    for (auto& v : n_.vpcs)
      for (auto& c : v.cidrs) cidrs.push_back(c);
    set("vpc_addresses", "ipv4_addr", "interval", cidrs);
    std::vector<std::string> closed;
    for (auto& i : n_.interfaces) {
      auto it = subnets_.find(i.subnet_id);
      std::string route = it == subnets_.end() ? "" : default_route(*it->second);
      bool open = route == "nat" || (route == "igw" && !i.public_ip.empty());
      if (!open) closed.push_back("\"" + link_name(i.id) + "\"");
    }
    set("no_internet", "ifname", "", closed);
  }

  void members() {
    std::map<std::string, std::vector<std::string>> members;
    for (auto& g : n_.security_groups) members[g.id];
    for (auto& i : n_.interfaces)
      for (auto& g : i.security_groups)
        for (auto& a : addresses_of(i)) members[g].push_back(a);
    for (auto& [id, addresses] : members) set(set_name(id), "ipv4_addr", "interval", addresses);
  }

  void anti_spoofing() {
    std::vector<std::string> allowed, checked;
    for (auto& i : n_.interfaces) {
      if (!i.source_dest_check) continue;
      checked.push_back("\"" + link_name(i.id) + "\"");
      for (auto& a : addresses_of(i)) allowed.push_back("\"" + link_name(i.id) + "\" . " + a);
    }
    set("checked_links", "ifname", "", checked);
    set("own_addresses", "ifname . ipv4_addr", "interval", allowed);
  }

  void translation() {
    std::vector<std::string> in, outward;
    for (auto& g : n_.internet_gateways)
      for (auto& m : g.mappings) {
        in.push_back(m.public_ip + " : " + m.private_ip);
        outward.push_back(m.private_ip + " : " + m.public_ip);
      }
    map("public_to_private", "ipv4_addr : ipv4_addr", in);
    map("private_to_public", "ipv4_addr : ipv4_addr", outward);
  }

  // One pair of chains for each distinct set of groups.
  void group_chains() {
    std::map<std::string, size_t> numbers;
    std::vector<std::string> egress, ingress;
    for (auto& i : n_.interfaces) {
      auto sorted = i.security_groups;
      std::sort(sorted.begin(), sorted.end());
      std::string key = join(sorted, ",");
      auto [it, fresh] = numbers.emplace(key, numbers.size());
      std::string n = std::to_string(it->second);
      if (fresh) {
        chain("egress_" + n, sorted, true, "return");
        chain("ingress_" + n, sorted, false, "accept");
      }
      egress.push_back("\"" + link_name(i.id) + "\" : jump egress_" + n);
      ingress.push_back("\"" + link_name(i.id) + "\" : jump ingress_" + n);
    }
    map("egress_of", "ifname : verdict", egress);
    map("ingress_of", "ifname : verdict", ingress);
  }

  void chain(const std::string& name, const std::vector<std::string>& group_ids, bool egress, const std::string& verdict) {
    line("chain " + name + " {");
    for (auto& id : group_ids) {
      auto it = groups_.find(id);
      if (it == groups_.end()) continue;
      for (auto& r : it->second->rules)
        if (r.egress == egress && (r.source_group.empty() || groups_.count(r.source_group))) line("  " + protocol_match(r) + peer_match(r) + verdict + " comment \"" + id + "\"");
    }
    line("  drop");
    line("}");
  }

  void hooks() {
    line("chain prerouting_raw {\n    type filter hook prerouting priority -300; policy accept;");
    line("  iifname @checked_links ip saddr != 169.254.0.0/16 iifname . ip saddr != @own_addresses counter drop");
    line("}");
    line("chain prerouting_nat {\n    type nat hook prerouting priority -100; policy accept;");
    line("  dnat ip to ip daddr map @public_to_private");
    line("}");
    line("chain output_nat {\n    type nat hook output priority -100; policy accept;");
    line("  dnat ip to ip daddr map @public_to_private");
    line("}");
    line("chain input {\n    type filter hook input priority 0; policy accept;");
    line("  ct state established,related accept");
    line("  ip daddr @services accept");
    line("  iifname \"lo\" accept");
    line("  icmp type echo-request accept");
    line("  iifname @no_internet drop");
    line("  iifname vmap @egress_of");
    line("}");
    line("chain forward {\n    type filter hook forward priority 0; policy drop;");
    line("  ct state established,related accept");
    line("  ct state invalid drop");
    line("  iifname @no_internet ip daddr != @vpc_addresses ct status != dnat drop");
    line("  iifname vmap @egress_of");
    line("  oifname vmap @ingress_of");
    line("}");
    line("chain output {\n    type filter hook output priority 0; policy accept;");
    line("  ct state established,related accept");
    line("  ip saddr @services accept");
    line("  oifname vmap @ingress_of");
    line("}");
  }

  const NetworkState& n_;
  const RouterAddresses& own_;
  std::map<std::string, const SecurityGroup*> groups_;
  std::map<std::string, const Subnet*> subnets_;
  std::string out_;
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

std::string default_route(const Subnet& s) {
  for (auto& r : s.routes)
    if (r.destination == "0.0.0.0/0") return r.target.substr(0, r.target.find('-'));
  return "";
}

std::string render_rules(const NetworkState& network, const RouterAddresses& own) { return Rules(network, own).text(); }

}  // namespace caravel::vpc
