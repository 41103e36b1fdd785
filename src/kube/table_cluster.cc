// Cells of nodes, namespaces, events, leases, certificates, API services, component statuses.
#include <algorithm>

#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

std::string node_status(const json::Value& o) {
  std::string s = "Unknown";
  for (auto& c : o["status"]["conditions"].as_array())
    if (c["type"].as_string() == "Ready") s = c["status"].as_string() == "True" ? "Ready" : "NotReady";
  if (o["spec"]["unschedulable"].as_bool()) s += ",SchedulingDisabled";
  return s;
}

std::string node_roles(const json::Value& o) {
  constexpr std::string_view prefix = "node-role.kubernetes.io/";
  std::vector<std::string> roles;
  for (auto& l : o["metadata"]["labels"].as_object()) {
    if (l.key.starts_with(prefix) && l.key.size() > prefix.size()) roles.push_back(l.key.substr(prefix.size()));
    else if (l.key == "kubernetes.io/role" && !l.value.as_string().empty()) roles.push_back(l.value.as_string());
  }
  std::sort(roles.begin(), roles.end());
  roles.erase(std::unique(roles.begin(), roles.end()), roles.end());
  return or_none(join(roles, ","));
}

std::string node_address(const json::Value& o, std::string_view type) {
  for (auto& a : o["status"]["addresses"].as_array())
    if (a["type"].as_string() == type) return a["address"].as_string();
  return "<none>";
}

std::string or_unknown(const std::string& s) { return s.empty() ? "<unknown>" : s; }

json::Value print_node(std::string_view name, const json::Value& o) {
  const json::Value& info = o["status"]["nodeInfo"];
  if (name == "status") return node_status(o);
  if (name == "roles") return node_roles(o);
  if (name == "version") return info["kubeletVersion"].as_string();
  if (name == "internal-ip") return node_address(o, "InternalIP");
  if (name == "external-ip") return node_address(o, "ExternalIP");
  if (name == "os-image") return or_unknown(info["osImage"].as_string());
  if (name == "kernel-version") return or_unknown(info["kernelVersion"].as_string());
  if (name == "container-runtime") return or_unknown(info["containerRuntimeVersion"].as_string());
  return {};
}

// core/v1 and events.k8s.io/v1 name the same things differently.
const json::Value& first_of(const json::Value& o, std::initializer_list<std::string_view> names) {
  for (auto n : names)
    if (const json::Value* v = o.find(n); v && !v->is_null() && !(v->is_string() && v->as_string().empty())) return *v;
  static const json::Value none;
  return none;
}

json::Value print_event(std::string_view name, const json::Value& o, Time now) {
  const json::Value& about = first_of(o, {"involvedObject", "regarding"});
  const json::Value& first = first_of(o, {"firstTimestamp", "deprecatedFirstTimestamp", "eventTime"});
  if (name == "last-seen") {
    const json::Value& series = o["series"]["lastObservedTime"];
    const json::Value& last = first_of(o, {"lastTimestamp", "deprecatedLastTimestamp"});
    return age_text(series.is_string() ? series : last.is_string() ? last
                                                                   : first,
                    now);
  }
  if (name == "first-seen") return age_text(first, now);
  if (name == "type") return o["type"].as_string();
  if (name == "reason") return o["reason"].as_string();
  if (name == "object") {
    std::string kind = to_lower(about["kind"].as_string());
    return kind.empty() ? about["name"].as_string() : kind + "/" + about["name"].as_string();
  }
  if (name == "subobject") return about["fieldPath"].as_string();
  if (name == "source") {
    const json::Value& s = first_of(o, {"source", "deprecatedSource"});
    std::string c = s["component"].as_string();
    if (c.empty()) c = first_of(o, {"reportingComponent", "reportingController"}).as_string();
    const std::string& host = s["host"].as_string();
    return host.empty() ? c : c + ", " + host;
  }
  if (name == "message") return trim(first_of(o, {"message", "note"}).as_string());
  if (name == "count") {
    if (int64_t n = o["series"]["count"].as_int()) return n;
    int64_t n = first_of(o, {"count", "deprecatedCount"}).as_int();
    return n ? n : int64_t{1};
  }
  if (name == "name") return o["metadata"]["name"].as_string();
  return {};
}

json::Value print_csr(std::string_view name, const json::Value& o) {
  if (name == "signername") return or_none(o["spec"]["signerName"].as_string());
  if (name == "requestor") return o["spec"]["username"].as_string();
  if (name == "requestedduration") {
    const json::Value& s = o["spec"]["expirationSeconds"];
    return s.is_int() ? human_duration(std::chrono::seconds(s.as_int())) : "<none>";
  }
  if (name == "condition") {
    std::string approved, failed;
    for (auto& c : o["status"]["conditions"].as_array()) {
      const std::string& t = c["type"].as_string();
      if (t == "Approved" || t == "Denied") approved = t;
      if (t == "Failed") failed = t;
    }
    std::string text = approved.empty() ? "Pending" : approved;
    if (!failed.empty()) text += "," + failed;
    if (!o["status"]["certificate"].as_string().empty()) text += ",Issued";
    return text;
  }
  return {};
}

}  // namespace

json::Value print_cluster(std::string_view kind, std::string_view name, const json::Value& o, Time now) {
  if (kind == "Node") return print_node(name, o);
  if (kind == "Event") return print_event(name, o, now);
  if (kind == "Namespace" && name == "status") return o["status"]["phase"].as_string();
  if (kind == "CertificateSigningRequest") return print_csr(name, o);
  if (kind == "Lease" && name == "holder") return o["spec"]["holderIdentity"].as_string();
  if (kind == "Secret") {
    if (name == "type") return o["type"].as_string();
    if (name == "data") return static_cast<int64_t>(o["data"].size());
  }
  if (kind == "ConfigMap" && name == "data") return static_cast<int64_t>(o["data"].size() + o["binaryData"].size());
  if (kind == "ServiceAccount" && name == "secrets") return static_cast<int64_t>(o["secrets"].size());
  if (kind == "ComponentStatus") {
    for (auto& c : o["conditions"].as_array()) {
      if (c["type"].as_string() != "Healthy") continue;
      if (name == "status") return c["status"].as_string() == "True" ? "Healthy" : c["status"].as_string() == "False" ? "Unhealthy"
                                                                                                                      : "Unknown";
      return c[name].as_string();
    }
    return "Unknown";
  }
  if (kind == "APIService") {
    if (name == "service") {
      const json::Value& s = o["spec"]["service"];
      return s.is_object() ? s["namespace"].as_string() + "/" + s["name"].as_string() : "Local";
    }
    if (name == "available") {
      for (auto& c : o["status"]["conditions"].as_array())
        if (c["type"].as_string() == "Available")
          return c["status"].as_string() == "True" ? "True" : c["status"].as_string() + " (" + c["reason"].as_string() + ")";
      return "Unknown";
    }
  }
  return {};
}

}  // namespace caravel::kube
