// The Node authorizer: what a kubelet (user system:node:NAME in group system:nodes) may do. Broad reads
// that every kubelet needs, writes about itself, and of secrets, config maps and claims only those that
// pods bound to its node refer to.
#include <algorithm>
#include <array>

#include "apiserver/authorization/authorizer.h"

namespace caravel::apiserver {

namespace {
constexpr std::string_view kNodeUser = "system:node:";

template <size_t N>
bool in(std::string_view v, const std::array<std::string_view, N>& list) {
  return std::find(list.begin(), list.end(), v) != list.end();
}
constexpr std::array<std::string_view, 3> kRead{"get", "list", "watch"};

// Does the pod mention the object?
bool pod_refers(const json::Value& pod, std::string_view plural, std::string_view name) {
  const json::Value& spec = pod["spec"];
  auto is = [&](const json::Value& v) { return v.as_string() == name; };
  if (plural == "serviceaccounts") return is(spec["serviceAccountName"]);
  for (auto& v : spec["volumes"].as_array()) {
    if (plural == "secrets") {
      if (is(v.path({"secret", "secretName"})) || is(v.path({"csi", "nodePublishSecretRef", "name"}))) return true;
    } else if (plural == "configmaps") {
      if (is(v.path({"configMap", "name"}))) return true;
    } else if (plural == "persistentvolumeclaims") {
      if (is(v.path({"persistentVolumeClaim", "claimName"}))) return true;
      if (v.find("ephemeral") && pod.path({"metadata", "name"}).as_string() + "-" + v["name"].as_string() == name) return true;
    }
    for (auto& s : v.path({"projected", "sources"}).as_array()) {
      if (plural == "secrets" && is(s.path({"secret", "name"}))) return true;
      if (plural == "configmaps" && is(s.path({"configMap", "name"}))) return true;
    }
  }
  if (plural == "secrets")
    for (auto& s : spec["imagePullSecrets"].as_array())
      if (is(s["name"])) return true;
  std::string_view source = plural == "secrets" ? "secretRef" : "configMapRef";
  std::string_view key_source = plural == "secrets" ? "secretKeyRef" : "configMapKeyRef";
  for (std::string_view list : {"initContainers", "containers", "ephemeralContainers"})
    for (auto& c : spec[list].as_array()) {
      for (auto& e : c["env"].as_array())
        if (is(e.path({"valueFrom", key_source, "name"}))) return true;
      for (auto& e : c["envFrom"].as_array())
        if (is(e.path({source, "name"}))) return true;
    }
  return false;
}
}  // namespace

bool Authorizer::node_references(std::string_view node, std::string_view plural, std::string_view ns, std::string_view name) const {
  if (!caches_.pods) return false;
  auto& all = caches_.pods->objects();
  std::string prefix = std::string(ns) + "/";
  for (auto it = all.lower_bound(prefix); it != all.end() && it->first.compare(0, prefix.size(), prefix) == 0; ++it) {
    auto* on = find_pair(it->second->fields, "spec.nodeName");
    if (!on || *on != node) continue;
    if (pod_refers(*it->second->value(), plural, name)) return true;
  }
  return false;
}

Decision Authorizer::node(const Attributes& a) const {
  if (a.user->name.compare(0, kNodeUser.size(), kNodeUser) != 0 || !a.is_resource) return {};
  std::string_view self = std::string_view(a.user->name).substr(kNodeUser.size());
  auto yes = [] { return Decision{true, "node authorizer"}; };
  auto no = [&](std::string why) { return Decision{false, std::move(why)}; };
  bool read = in(a.verb, kRead);
  if (a.group.empty()) {
    if (a.plural == "services" || a.plural == "endpoints") return read ? yes() : no("");
    if (a.plural == "nodes") {
      if (a.subresource.empty() && (read || a.verb == "create")) return yes();
      if (in(a.verb, std::array<std::string_view, 3>{"update", "patch", "delete"}) || a.subresource == "status")
        return a.name == self ? yes() : no("node '" + std::string(self) + "' is not allowed to modify node '" + std::string(a.name) + "'");
      return no("");
    }
    if (a.plural == "pods") {
      if (a.subresource.empty()) return read || a.verb == "create" || a.verb == "delete" ? yes() : no("");
      if (a.subresource == "status") return a.verb == "update" || a.verb == "patch" ? yes() : no("");
      if (a.subresource == "eviction") return a.verb == "create" ? yes() : no("");
      return no("");
    }
    if (a.plural == "events") return in(a.verb, std::array<std::string_view, 3>{"create", "update", "patch"}) ? yes() : no("");
    if (a.plural == "secrets" || a.plural == "configmaps" || a.plural == "persistentvolumeclaims") {
      if (!read && !(a.plural == "persistentvolumeclaims" && a.subresource == "status")) return no("");
      if (a.name.empty()) return no("No Object name found");
      return node_references(self, a.plural, a.ns, a.name) ? yes()
                                                           : no("no relationship found between node '" + std::string(self) + "' and this object");
    }
    if (a.plural == "persistentvolumes") return read ? yes() : no("");
    if (a.plural == "serviceaccounts") {
      if (a.subresource == "token" && a.verb == "create") {
        return node_references(self, "serviceaccounts", a.ns, a.name) ? yes() : no("no relationship found between node '" + std::string(self) + "' and this object");
      }
      if (a.subresource.empty() && a.verb == "get") return node_references(self, "serviceaccounts", a.ns, a.name) ? yes() : no("");
      return no("");
    }
    return no("");
  }
  if (a.group == "coordination.k8s.io" && a.plural == "leases") {
    if (a.ns != "kube-node-lease") return no("can only access leases in the \"kube-node-lease\" system namespace");
    if (a.verb == "create") return yes();
    return a.name == self ? yes() : no("can only access node lease with the same name as the requesting node");
  }
  if (a.group == "events.k8s.io" && a.plural == "events") return in(a.verb, std::array<std::string_view, 3>{"create", "update", "patch"}) ? yes() : no("");
  if (a.group == "storage.k8s.io") {
    if (a.plural == "csinodes") return a.name == self || a.verb == "create" || read ? yes() : no("");
    if (a.plural == "csidrivers" || a.plural == "volumeattachments" || a.plural == "storageclasses") return read ? yes() : no("");
  }
  if (a.group == "node.k8s.io" && a.plural == "runtimeclasses") return read ? yes() : no("");
  if (a.group == "discovery.k8s.io" && a.plural == "endpointslices") return read ? yes() : no("");
  if (a.group == "networking.k8s.io" && a.plural == "servicecidrs") return read ? yes() : no("");
  if (a.group == "certificates.k8s.io" && a.plural == "certificatesigningrequests")
    return in(a.verb, std::array<std::string_view, 4>{"create", "get", "list", "watch"}) ? yes() : no("");
  if (a.group == "resource.k8s.io") return read || a.plural == "resourceslices" ? yes() : no("");
  if (a.group == "authentication.k8s.io" && a.plural == "tokenreviews" && a.verb == "create") return yes();
  if (a.group == "authorization.k8s.io" && a.verb == "create") return yes();
  return no("");
}

}  // namespace caravel::apiserver
