#include "apiserver/aggregation/api_services.h"

#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

struct Rank {
  std::string_view group, version;  // "" of version: all others
  ApiServicePriority priority;
};
constexpr Rank kRanks[] = {
    {"apiregistration.k8s.io", "", {20000, 15}},
    {"", "", {18000, 1}},
    {"apps", "", {17800, 15}},
    {"events.k8s.io", "", {17750, 15}},
    {"authentication.k8s.io", "", {17700, 15}},
    {"authorization.k8s.io", "", {17600, 15}},
    {"autoscaling", "v2", {17500, 30}},
    {"autoscaling", "", {17500, 15}},
    {"batch", "", {17400, 15}},
    {"certificates.k8s.io", "", {17300, 15}},
    {"networking.k8s.io", "", {17200, 15}},
    {"policy", "", {17100, 15}},
    {"rbac.authorization.k8s.io", "", {17000, 15}},
    {"storage.k8s.io", "", {16800, 15}},
    {"admissionregistration.k8s.io", "", {16700, 15}},
    {"apiextensions.k8s.io", "", {16700, 15}},
    {"scheduling.k8s.io", "", {16600, 15}},
    {"coordination.k8s.io", "", {16500, 15}},
    {"node.k8s.io", "", {16300, 15}},
    {"discovery.k8s.io", "", {16200, 15}},
    {"resource.k8s.io", "", {16200, 20}},
    {"flowcontrol.apiserver.k8s.io", "", {16100, 21}},
};

Availability make(std::string_view status, std::string_view reason, std::string message) { return {std::string(status), std::string(reason), std::move(message)}; }

}  // namespace

ApiServicePriority builtin_priority(std::string_view group, std::string_view version) {
  for (auto& r : kRanks)
    if (r.group == group && (r.version.empty() || r.version == version)) return r.priority;
  return {};
}

std::map<std::string, Value> local_api_services(const TypeTable& types) {
  std::map<std::string, Value> out;
  for (auto& t : types.all()) {
    const std::string &group = t->resource.group, &version = t->resource.version;
    if (group == "apiregistration.k8s.io") continue;  // serves itself
    const std::string name = version + "." + group;
    if (out.count(name)) continue;
    ApiServicePriority p = builtin_priority(group, version);
    Value o = Value::object();
    o["apiVersion"] = "apiregistration.k8s.io/v1";
    o["kind"] = "APIService";
    Value labels = Value::object();
    labels[kAutomanaged] = t->custom ? "true" : "onstart";
    Value meta = Value::object();
    meta["name"] = name;
    meta["labels"] = std::move(labels);
    o["metadata"] = std::move(meta);
    Value spec = Value::object();
    if (!group.empty()) spec["group"] = group;
    spec["version"] = version;
    spec["groupPriorityMinimum"] = p.group;
    spec["versionPriority"] = p.version;
    o["spec"] = std::move(spec);
    out.emplace(name, std::move(o));
  }
  return out;
}

Availability availability(Core& core, const Value& api_service) {
  const Value& ref = api_service["spec"]["service"];
  if (!ref.is_object()) return make("True", "Local", "Local APIServices are always available");
  const std::string &ns = ref["namespace"].as_string(), &name = ref["name"].as_string();
  const int64_t port = ref["port"].as_int(443);
  const std::string what = "service/" + name + " in " + json::quote(ns);
  ServedTypePtr services = core.types.find("", "v1", "services"), slices = core.types.find("discovery.k8s.io", "v1", "endpointslices");
  ObjectPtr o = services->storage->cache->get(ns, name);
  if (!o) return make("False", "ServiceNotFound", what + " is not present");
  ValuePtr service = o->value();
  const Value& spec = (*service)["spec"];
  if (const std::string& type = spec["type"].as_string(); !type.empty() && type != "ClusterIP") return make("True", "Passed", "all checks passed");
  std::string port_name;
  bool listens = false;
  for (auto& p : spec["ports"].as_array())
    if (p["port"].as_int() == port) {
      listens = true;
      port_name = p["name"].as_string();
      break;
    }
  if (!listens) return make("False", "ServicePortError", what + " is not listening on port " + std::to_string(port));
  bool any = false;
  for (auto& [key, s] : slices->storage->cache->objects()) {
    if (s->ns != ns) continue;
    auto* of = find_pair(s->labels, "kubernetes.io/service-name");
    if (!of || *of != name) continue;
    any = true;
    ValuePtr v = s->value();
    bool named = false;
    for (auto& p : (*v)["ports"].as_array()) named = named || p["name"].as_string() == port_name;
    if (!named) continue;
    for (auto& e : (*v)["endpoints"].as_array())
      if (e["addresses"].size() && e["conditions"]["ready"].as_bool(true)) return make("True", "Passed", "all checks passed");
  }
  if (!any) return make("False", "EndpointsNotFound", "cannot find endpointslices for " + what);
  return make("False", "MissingEndpoints", "endpointslices for " + what + " have no addresses with port name " + json::quote(port_name));
}

Value with_available(const Value& status, const Availability& c, Time now) {
  Value out = status.is_object() ? status : Value::object();
  Value fresh = Value::object();
  fresh["type"] = "Available";
  fresh["status"] = c.status;
  fresh["lastTransitionTime"] = format_rfc3339(now);
  fresh["reason"] = c.reason;
  fresh["message"] = c.message;
  Value list = Value::array();
  bool found = false;
  for (auto& old : status["conditions"].as_array()) {
    if (old["type"].as_string() != "Available") {
      list.push_back(old);
      continue;
    }
    found = true;
    if (old["status"].as_string() == c.status) fresh["lastTransitionTime"] = old["lastTransitionTime"];
    list.push_back(fresh);
  }
  if (!found) list.push_back(fresh);
  out["conditions"] = std::move(list);
  return out;
}

}  // namespace caravel::apiserver
