// What one object uses of a quota, by kind: pods, services, claims, and plain counts.
#include <algorithm>

#include "base/strings.h"
#include "kube/quota.h"

namespace caravel::kube::quota {

using json::Value;

namespace {

constexpr std::string_view kClassSuffix = ".storageclass.storage.k8s.io/";
constexpr std::string_view kDevicesOfClass = ".deviceclass.resource.k8s.io/devices";
constexpr int64_t kDevicesOfAll = 32;  // what allocationMode All counts for: the most that one claim may get

bool is_core(const Kind& k, std::string_view plural) { return k.group.empty() && k.plural == plural; }
bool is_device_claim(const Kind& k) { return k.group == "resource.k8s.io" && k.plural == "resourceclaims"; }
std::string count_name(const Kind& k) { return "count/" + k.plural + (k.group.empty() ? "" : "." + k.group); }
bool starts_with(std::string_view s, std::string_view p) { return s.substr(0, p.size()) == p; }
bool ends_with(std::string_view s, std::string_view p) { return s.size() >= p.size() && s.substr(s.size() - p.size()) == p; }

// Kinds that quotas also count by their bare name.
bool has_alias(std::string_view plural) {
  for (std::string_view p : {"configmaps", "resourcequotas", "replicationcontrollers", "secrets"})
    if (p == plural) return true;
  return false;
}

// A resource that a device plugin offers: with a domain that is not Kubernetes' own.
bool is_extended(std::string_view name) {
  size_t slash = name.find('/');
  if (slash == name.npos || starts_with(name, "requests.")) return false;
  return name.substr(0, slash).find("kubernetes.io") == std::string_view::npos;
}
bool is_hugepages(std::string_view name) { return starts_with(name, "hugepages-"); }

void add(Amounts& to, const Amounts& from) {
  for (auto& [k, v] : from) to[k] += v;
}
void raise(Amounts& to, const Amounts& from) {
  for (auto& [k, v] : from) {
    auto [it, fresh] = to.try_emplace(k, v);
    if (!fresh && it->second < v) it->second = v;
  }
}

// What a container asks for; after a resize, the greater of what it has and what it shall have.
Amounts container_amounts(const Value& pod, const Value& c, std::string_view what, std::string_view statuses) {
  Amounts out = amounts_of(c["resources"][what]);
  for (auto& s : pod["status"][statuses].as_array())
    if (s["name"] == c["name"]) raise(out, amounts_of(s["resources"][what]));
  return out;
}

// A pod's requests or limits: the greater of the running containers' sum and the hungriest init
// container's, whose restartable predecessors run beside it.
Amounts pod_amounts(const Value& pod, std::string_view what) {
  const Value& spec = pod["spec"];
  Amounts sum, side, init;
  for (auto& c : spec["containers"].as_array()) add(sum, container_amounts(pod, c, what, "containerStatuses"));
  for (auto& c : spec["initContainers"].as_array()) {
    Amounts own = container_amounts(pod, c, what, "initContainerStatuses");
    if (c["restartPolicy"].as_string() == "Always") {
      add(sum, own);
      add(side, own);
      raise(init, side);
    } else {
      add(own, side);
      raise(init, own);
    }
  }
  raise(sum, init);
  for (auto& [k, v] : amounts_of(spec["resources"][what])) sum[k] = v;
  for (auto& [k, v] : amounts_of(spec["overhead"]))
    if (what == "requests" || (sum.count(k) && !sum[k].is_zero())) sum[k] += v;
  return sum;
}

// Requests and limits under the names that quotas know.
Amounts compute_names(const Amounts& requests, const Amounts& limits) {
  Amounts out;
  for (auto& [k, v] : requests) {
    if (k == "cpu" || k == "memory" || k == "ephemeral-storage" || is_hugepages(k)) {
      out[k] = v;
      out["requests." + k] = v;
    } else if (is_extended(k)) {
      out["requests." + k] = v;
    }
  }
  for (auto& [k, v] : limits)
    if (k == "cpu" || k == "memory" || k == "ephemeral-storage") out["limits." + k] = v;
  return out;
}

bool is_best_effort(const Value& pod) {
  auto set = [](const Value& resources) {
    for (std::string_view what : {"requests", "limits"})
      for (auto& [k, v] : amounts_of(resources[what]))
        if ((k == "cpu" || k == "memory") && v.sign() > 0) return true;
    return false;
  };
  if (set(pod["spec"]["resources"])) return false;
  for (std::string_view list : {"containers", "initContainers"})
    for (auto& c : pod["spec"][list].as_array())
      if (set(c["resources"])) return false;
  return true;
}

bool crosses_namespaces(const Value& pod) {
  auto crosses = [](const Value& term) { return term["namespaces"].size() > 0 || (term.find("namespaceSelector") && !term["namespaceSelector"].is_null()); };
  for (std::string_view kind : {"podAffinity", "podAntiAffinity"}) {
    const Value& a = pod["spec"]["affinity"][kind];
    for (auto& t : a["requiredDuringSchedulingIgnoredDuringExecution"].as_array())
      if (crosses(t)) return true;
    for (auto& t : a["preferredDuringSchedulingIgnoredDuringExecution"].as_array())
      if (crosses(t["podAffinityTerm"])) return true;
  }
  return false;
}

// A scope selector's requirement on a class name.
bool selects(std::string_view op, const Value& values, const std::string& name) {
  if (op.empty() || op == "Exists") return !name.empty();
  if (op == "DoesNotExist") return name.empty();
  bool listed = !name.empty() && std::any_of(values.as_array().begin(), values.as_array().end(), [&](const Value& v) { return v.as_string() == name; });
  return op == "In" ? listed : op == "NotIn" ? !listed
                                             : false;
}

bool pod_in(std::string_view scope, std::string_view op, const Value& values, const Value& pod) {
  const Value& deadline = pod["spec"]["activeDeadlineSeconds"];
  if (scope == "Terminating") return deadline.is_int() && deadline.as_int() >= 0;
  if (scope == "NotTerminating") return !(deadline.is_int() && deadline.as_int() >= 0);
  if (scope == "BestEffort") return is_best_effort(pod);
  if (scope == "NotBestEffort") return !is_best_effort(pod);
  if (scope == "CrossNamespacePodAffinity") return crosses_namespaces(pod);
  if (scope == "PriorityClass") return selects(op, values, pod["spec"]["priorityClassName"].as_string());
  return false;
}

bool claim_in(std::string_view scope, std::string_view op, const Value& values, const Value& claim) {
  if (scope != "VolumeAttributesClass") return false;
  std::vector<std::string> names;
  for (const Value* v : {&claim["spec"]["volumeAttributesClassName"], &claim["status"]["currentVolumeAttributesClassName"],
                         &claim["status"]["modifyVolumeStatus"]["targetVolumeAttributesClassName"]})
    if (!v->as_string().empty()) names.push_back(v->as_string());
  if (names.empty()) return selects(op, values, "");
  return std::any_of(names.begin(), names.end(), [&](const std::string& n) { return selects(op, values, n); });
}

bool is_pod_name(std::string_view n) {
  for (std::string_view x : {"pods", "count/pods", "cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu",
                             "limits.memory", "limits.ephemeral-storage"})
    if (n == x) return true;
  if (is_hugepages(n)) return true;
  if (!starts_with(n, "requests.")) return false;
  std::string_view rest = n.substr(9);
  return is_hugepages(rest) || is_extended(rest);
}
bool is_claim_name(std::string_view n) {
  return n == "persistentvolumeclaims" || n == "count/persistentvolumeclaims" || n == "requests.storage" || ends_with(n, std::string(kClassSuffix) + "persistentvolumeclaims") ||
         ends_with(n, std::string(kClassSuffix) + "requests.storage");
}
bool is_device_name(std::string_view n) { return n == "count/resourceclaims.resource.k8s.io" || ends_with(n, kDevicesOfClass); }

// Devices by class; of alternatives, the most that any of a class may take.
Amounts devices_of(const Value& claim) {
  auto number = [](const Value& request) -> Amounts {
    const std::string& mode = request["allocationMode"].as_string();
    const int64_t n = mode == "ExactCount" ? request["count"].as_int() : mode == "All" ? kDevicesOfAll
                                                                                       : 0;
    return {{request["deviceClassName"].as_string() + std::string(kDevicesOfClass), Quantity(n)}};
  };
  Amounts out;
  for (auto& r : claim["spec"]["devices"]["requests"].as_array()) {
    Amounts worst;
    for (auto& alternative : r["firstAvailable"].as_array()) raise(worst, number(alternative));
    if (worst.empty() && r["exactly"].is_object()) worst = number(r["exactly"]);
    add(out, worst);
  }
  return out;
}

bool is_service_name(std::string_view n) { return n == "services" || n == "count/services" || n == "services.nodeports" || n == "services.loadbalancers"; }

}  // namespace

Amounts pod_total(const Value& pod, std::string_view what) { return pod_amounts(pod, what); }

bool counts(const Value& pod, Time now) {
  const std::string& phase = pod["status"]["phase"].as_string();
  if (phase == "Failed" || phase == "Succeeded") return false;
  const Value& m = pod["metadata"];
  if (m["deletionTimestamp"].is_string() && m["deletionGracePeriodSeconds"].is_int()) {
    auto deleted = parse_rfc3339(m["deletionTimestamp"].as_string());
    if (deleted && now > *deleted + std::chrono::seconds(m["deletionGracePeriodSeconds"].as_int())) return false;
  }
  return true;
}

Amounts usage(const Kind& kind, const Value& o, Time now) {
  Amounts out;
  out[count_name(kind)] = Quantity(1);
  if (is_core(kind, "pods")) {
    if (!counts(o, now)) return out;
    out["pods"] = Quantity(1);
    for (auto& [k, v] : compute_names(pod_amounts(o, "requests"), pod_amounts(o, "limits"))) out[k] = v;
  } else if (is_core(kind, "services")) {
    const Value& spec = o["spec"];
    const std::string& type = spec["type"].as_string();
    int64_t node_ports = 0, ports = static_cast<int64_t>(spec["ports"].size());
    if (type == "NodePort") node_ports = ports;
    if (type == "LoadBalancer") {
      if (spec["allocateLoadBalancerNodePorts"].as_bool(true)) node_ports = ports;
      else
        for (auto& p : spec["ports"].as_array()) node_ports += p["nodePort"].as_int() > 0;
    }
    out["services"] = Quantity(1);
    out["services.nodeports"] = Quantity(node_ports);
    out["services.loadbalancers"] = Quantity(type == "LoadBalancer" ? 1 : 0);
  } else if (is_core(kind, "persistentvolumeclaims")) {
    std::string storage_class = o["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_string();
    if (storage_class.empty()) storage_class = o["spec"]["storageClassName"].as_string();
    Amounts asked = amounts_of(o["spec"]["resources"]["requests"]);
    raise(asked, amounts_of(o["status"]["allocatedResources"]));
    std::vector<std::string> prefixes{""};
    if (!storage_class.empty()) prefixes.push_back(storage_class + std::string(kClassSuffix));
    for (auto& p : prefixes) {
      out[p + "persistentvolumeclaims"] = Quantity(1);
      if (auto it = asked.find("storage"); it != asked.end()) out[p + "requests.storage"] = it->second;
    }
  } else if (is_device_claim(kind)) {
    add(out, devices_of(o));
  } else if (kind.group.empty() && has_alias(kind.plural)) {
    out[kind.plural] = Quantity(1);
  }
  return out;
}

std::vector<std::string> matching(const Kind& kind, const std::vector<std::string>& names) {
  std::vector<std::string> out;
  for (auto& n : names) {
    bool yes = is_core(kind, "pods")                     ? is_pod_name(n)
               : is_core(kind, "services")               ? is_service_name(n)
               : is_core(kind, "persistentvolumeclaims") ? is_claim_name(n)
               : is_device_claim(kind)                   ? is_device_name(n)
                                                         : n == count_name(kind) || (kind.group.empty() && has_alias(kind.plural) && n == kind.plural);
    if (yes) out.push_back(n);
  }
  return out;
}

std::set<Kind> kinds_for(const std::vector<std::string>& names) {
  std::set<Kind> out;
  for (auto& n : names) {
    if (is_pod_name(n)) out.insert({"", "pods"});
    else if (is_service_name(n)) out.insert({"", "services"});
    else if (is_claim_name(n)) out.insert({"", "persistentvolumeclaims"});
    else if (is_device_name(n)) out.insert({"resource.k8s.io", "resourceclaims"});
    else if (has_alias(n)) out.insert({"", n});
    else if (starts_with(n, "count/")) {
      std::string rest = n.substr(6);
      size_t dot = rest.find('.');
      out.insert({dot == rest.npos ? "" : rest.substr(dot + 1), rest.substr(0, dot)});
    }
  }
  return out;
}

bool in_scope(const Value& quota, const Kind& kind, const Value& object) {
  auto one = [&](std::string_view scope, std::string_view op, const Value& values) {
    if (is_core(kind, "pods")) return pod_in(scope, op, values, object);
    if (is_core(kind, "persistentvolumeclaims")) return claim_in(scope, op, values, object);
    return false;
  };
  static const Value kNone;
  for (auto& s : quota["spec"]["scopes"].as_array())
    if (!one(s.as_string(), "Exists", kNone)) return false;
  for (auto& e : quota["spec"]["scopeSelector"]["matchExpressions"].as_array())
    if (!one(e["scopeName"].as_string(), e["operator"].as_string(), e["values"])) return false;
  return true;
}

std::string missing(const std::vector<std::string>& required, const Value& pod) {
  static constexpr std::string_view kChecked[] = {"cpu", "memory", "requests.cpu", "requests.memory", "limits.cpu", "limits.memory"};
  std::map<std::string, std::set<std::string>> absent;
  Amounts whole = compute_names(amounts_of(pod["spec"]["resources"]["requests"]), amounts_of(pod["spec"]["resources"]["limits"]));
  for (std::string_view list : {"containers", "initContainers"})
    for (auto& c : pod["spec"][list].as_array()) {
      Amounts has = compute_names(amounts_of(c["resources"]["requests"]), amounts_of(c["resources"]["limits"]));
      for (auto& n : required)
        if (std::find(std::begin(kChecked), std::end(kChecked), n) != std::end(kChecked) && !has.count(n) && !whole.count(n)) absent[n].insert(c["name"].as_string());
    }
  if (absent.empty()) return "";
  std::vector<std::string> parts;
  for (auto& [n, containers] : absent) parts.push_back(n + " for: " + join(std::vector<std::string>(containers.begin(), containers.end()), ","));
  return "must specify " + join(parts, "; ");
}

}  // namespace caravel::kube::quota
