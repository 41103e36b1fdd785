#include "dns/vpc_records.h"

#include "base/json.h"
#include "base/strings.h"

namespace caravel::dns {
namespace {

constexpr uint32_t kTtl = 60;      // what Amazon's resolver gives for instances
constexpr uint32_t kTableTtl = 5;  // the table changes as the cloud does
using net::dns::Question;
using net::dns::Record;

Record record(const std::string& name, uint16_t type, uint32_t ttl, const std::string& data) {
  Record r;
  r.name = name;
  r.type = type;
  r.ttl = ttl;
  r.data = data;
  return r;
}

// "ip-10-0-11-23" -> "10.0.11.23"
std::string instance_address(const std::string& label) {
  if (!label.starts_with("ip-")) return "";
  std::string ip = replace_all(label.substr(3), "-", ".");
  return ip.find(':') == ip.npos && net::dns::reverse_name(ip) ? ip : "";
}

bool is_private(const std::string& ip) {
  if (ip.starts_with("10.") || ip.starts_with("192.168.")) return true;
  auto parts = split(ip, '.');
  auto second = parts.size() == 4 ? parse_int(parts[1]) : std::nullopt;
  return parts[0] == "172" && second && *second >= 16 && *second < 32;
}

std::string with_dot(std::string s) {
  if (!s.ends_with('.')) s += '.';
  return s;
}

}  // namespace

Result<VpcRecords> VpcRecords::parse(std::string_view json_text, std::string region) {
  VpcRecords out;
  out.region_ = std::move(region);
  if (trim(json_text).empty()) return out;
  TRY(json::Value root, json::parse(json_text));
  if (!root.is_object()) return invalid("the records must be a JSON object of names");
  for (auto& [name, values] : root.as_object()) {
    std::string key = to_lower(with_dot(name));
    auto& list = out.table_[key];
    if (values.is_string()) list.push_back(values.as_string());
    else if (!values.is_array()) return invalid("the records of \"" + name + "\" must be a list of addresses");
    for (auto& v : values.as_array()) list.push_back(v.as_string());
    if (list.empty()) {
      out.table_.erase(key);
      out.zones_.insert(key);
      continue;
    }
    for (auto& v : list)
      if (net::dns::reverse_name(v) && !key.starts_with("*.")) out.by_address_.emplace(v, key);
  }
  return out;
}

const std::vector<std::string>* VpcRecords::find(const std::string& name) const {
  auto it = table_.find(name);
  if (it != table_.end()) return &it->second;
  for (size_t dot = name.find('.'); dot != name.npos; dot = name.find('.', dot + 1)) {
    it = table_.find("*" + name.substr(dot));
    if (it != table_.end()) return &it->second;
  }
  return nullptr;
}

Answer VpcRecords::resolve(const Question& q) const {
  std::string name = to_lower(q.name);
  Answer a;
  bool any = q.type == net::dns::kAny;
  if (auto ip = net::dns::reverse_address(name)) {
    auto [b, e] = by_address_.equal_range(*ip);
    for (auto i = b; i != e; ++i) a.answers.push_back(record(q.name, net::dns::kPtr, kTableTtl, i->second));
    if (b == e && is_private(*ip))
      a.answers.push_back(record(q.name, net::dns::kPtr, kTtl, "ip-" + replace_all(*ip, ".", "-") + "." + region_ + ".compute.internal."));
    if (a.answers.empty()) return not_mine();
    return q.type == net::dns::kPtr || any ? a : negative(q.name, kTableTtl, true);
  }
  if (auto* list = find(name)) {
    for (auto& v : *list) {
      bool address = net::dns::reverse_name(v).has_value();
      uint16_t type = !address ? net::dns::kCname : v.find(':') == v.npos ? net::dns::kA
                                                                          : net::dns::kAaaa;
      if (type == q.type || any || type == net::dns::kCname) a.answers.push_back(record(q.name, type, kTableTtl, address ? v : with_dot(v)));
    }
    size_t dot = name.find('.');
    return a.answers.empty() ? negative(name.substr(dot + 1).empty() ? name : name.substr(dot + 1), kTableTtl, true) : a;
  }
  std::string zone = in_zone(name, region_ + ".compute.internal.") ? region_ + ".compute.internal." : in_zone(name, "ec2.internal.") ? "ec2.internal."
                                                                                                                                     : "";
  if (!zone.empty() && name.size() > zone.size()) {
    std::string ip = instance_address(name.substr(0, name.size() - zone.size() - 1));
    if (ip.empty()) return negative(zone, kTtl, false);
    if (q.type != net::dns::kA && !any) return negative(zone, kTtl, true);
    a.answers.push_back(record(q.name, net::dns::kA, kTtl, ip));
    return a;
  }
  for (auto& z : zones_)
    if (in_zone(name, z)) return negative(z, kTableTtl, name == z);
  // A name that only leads to listed ones exists.
  for (std::string top : {"internal.", "local."}) {
    if (!in_zone(name, top)) continue;
    bool exists = name == top;
    for (auto& [key, list] : table_) exists = exists || in_zone(key, name);
    return negative(top, kTableTtl, exists);
  }
  if (name != "." && name.find('.') == name.size() - 1) return negative(name, kTableTtl, false);
  return not_mine();
}

}  // namespace caravel::dns
