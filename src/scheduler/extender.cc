#include "scheduler/extender.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::scheduler {

using json::Value;

namespace {

const Value& member(const Value& v, std::string_view name) {
  static const Value kNull;
  for (const auto& m : v.as_object())
    if (m.key.size() == name.size() && std::equal(name.begin(), name.end(), m.key.begin(), [](char a, char b) { return std::tolower(static_cast<unsigned char>(a)) == std::tolower(static_cast<unsigned char>(b)); }))
      return m.value;
  return kNull;
}

}  // namespace

Value extender_args(const ExtenderConfig& e, const Value& pod, const std::vector<std::string>& names, const std::vector<Value>& nodes) {
  Value out;
  out["Pod"] = pod;
  if (e.node_cache_capable) {
    out["Nodes"] = nullptr;
    Value list = Value::array();
    for (const auto& n : names) list.push_back(n);
    out["NodeNames"] = std::move(list);
    return out;
  }
  Value items = Value::array();
  for (const auto& n : nodes) items.push_back(n);
  Value list;
  list["metadata"] = Value::object();
  list["items"] = std::move(items);
  out["Nodes"] = std::move(list);
  out["NodeNames"] = nullptr;
  return out;
}

Result<ExtenderVerdict> read_filter_result(const ExtenderConfig& e, const Value& answer, const std::vector<std::string>& asked) {
  if (!member(answer, "Error").as_string().empty()) return internal(member(answer, "Error").as_string());
  ExtenderVerdict out;
  if (e.node_cache_capable && member(answer, "NodeNames").is_array()) {
    for (const Value& n : member(answer, "NodeNames").as_array()) out.nodes.push_back(n.as_string());
  } else {
    for (const Value& n : member(member(answer, "Nodes"), "items").as_array()) out.nodes.push_back(n["metadata"]["name"].as_string());
  }
  for (const auto& n : out.nodes)
    if (std::find(asked.begin(), asked.end(), n) == asked.end())
      return internal("extender " + json::quote(e.url_prefix) + " claims a filtered node " + json::quote(n) + " which is not found in the input node list");
  for (const auto& m : member(answer, "FailedNodes").as_object()) out.failed[m.key] = m.value.as_string();
  for (const auto& m : member(answer, "FailedAndUnresolvableNodes").as_object()) out.unresolvable[m.key] = m.value.as_string();
  for (const auto& [node, reason] : out.unresolvable) out.failed.erase(node);
  return out;
}

std::map<std::string, int64_t> read_priorities(const Value& answer) {
  std::map<std::string, int64_t> out;
  for (const Value& p : answer.as_array()) out[member(p, "Host").as_string()] = member(p, "Score").as_int();
  return out;
}

Value extender_preemption_args(const ExtenderConfig& e, const Value& pod, const std::map<std::string, ExtenderVictims>& victims,
                               const std::map<std::string, Value>& pods) {
  Value map = Value::object();
  for (const auto& [node, v] : victims) {
    Value list = Value::array();
    for (const auto& uid : v.uids) {
      if (e.node_cache_capable) {
        Value meta;
        meta["UID"] = uid;
        list.push_back(std::move(meta));
      } else if (auto p = pods.find(uid); p != pods.end()) {
        list.push_back(p->second);
      }
    }
    Value one;
    one["Pods"] = std::move(list);
    one["NumPDBViolations"] = v.violations;
    map[node] = std::move(one);
  }
  Value out;
  out["Pod"] = pod;
  out["NodeNameToVictims"] = nullptr;
  out["NodeNameToMetaVictims"] = nullptr;
  out[e.node_cache_capable ? "NodeNameToMetaVictims" : "NodeNameToVictims"] = std::move(map);
  return out;
}

Result<std::map<std::string, ExtenderVictims>> read_preemption_result(const ExtenderConfig& e, const Value& answer) {
  std::map<std::string, ExtenderVictims> out;
  for (const auto& m : member(answer, "NodeNameToMetaVictims").as_object()) {
    ExtenderVictims v;
    v.violations = member(m.value, "NumPDBViolations").as_int();
    for (const Value& p : member(m.value, "Pods").as_array()) v.uids.push_back(member(p, "UID").as_string());
    if (v.uids.empty() && e.ignorable) continue;
    if (v.uids.empty()) return internal("expected at least one victim pod on node " + json::quote(m.key));
    out[m.key] = std::move(v);
  }
  return out;
}

bool extender_is_interested(const ExtenderConfig& e, const Value& pod) {
  if (e.managed_resources.empty()) return true;
  for (const char* list : {"containers", "initContainers"})
    for (const Value& c : pod["spec"][list].as_array())
      for (const char* part : {"requests", "limits"})
        for (const auto& name : e.managed_resources)
          if (!c["resources"][part][name].is_null()) return true;
  return false;
}

}  // namespace caravel::scheduler
