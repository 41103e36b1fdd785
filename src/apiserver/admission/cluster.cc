// Plugins about the cluster: namespaces' lives, nodes' self-restraint, storage classes, CSRs, RBAC.
#include <algorithm>

#include "apiserver/admission/builtin.h"
#include "apiserver/authorization/answers.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::apiserver {

std::string_view operation_name(Operation o) {
  switch (o) {
    case Operation::kCreate: return "CREATE";
    case Operation::kUpdate: return "UPDATE";
    case Operation::kDelete: return "DELETE";
    case Operation::kConnect: return "CONNECT";
  }
  return "";
}

namespace {

using json::Value;

class NamespaceLifecycle final : public AdmissionPlugin {
 public:
  explicit NamespaceLifecycle(Core& core) : core_(&core) {}
  std::string_view name() const override { return "NamespaceLifecycle"; }
  Status admit(AdmissionRequest& r) override {
    if (r.operation == Operation::kDelete && r.is("", "namespaces")) {
      for (std::string_view n : {"default", "kube-system", "kube-public"})
        if (r.name == n) return status::forbidden(r.type->resource, r.name, "this namespace may not be deleted");
      return ok();
    }
    if (r.operation != Operation::kCreate || !r.type->resource.namespaced || !r.type->storage) return ok();
    if (!namespaces_) {
      ServedTypePtr t = core_->types.find("", "v1", "namespaces");
      if (!t) return ok();
      namespaces_ = t->storage->cache;
    }
    ObjectPtr ns = namespaces_->get("", r.ns);
    kube::Resource namespaces;
    namespaces.plural = "namespaces";
    if (!ns) return status::not_found(namespaces, r.ns);
    auto* phase = find_pair(ns->fields, "status.phase");
    if (phase && *phase == "Terminating") {
      Error e = status::forbidden(r.type->resource, r.name, "unable to create new content in namespace " + r.ns + " because it is being terminated");
      auto v = json::parse(e.details);
      Value cause = Value::object();
      cause["reason"] = "NamespaceTerminating";
      cause["message"] = "namespace " + r.ns + " is being terminated";
      cause["field"] = "metadata.namespace";
      (*v)["details"]["causes"] = Value::array({cause});
      e.details = json::dump(*v);
      return e;
    }
    return ok();
  }

 private:
  Core* core_;
  WatchCache* namespaces_ = nullptr;
};

class DefaultStorageClass final : public AdmissionPlugin {
 public:
  explicit DefaultStorageClass(Core& core) : core_(&core) {}
  std::string_view name() const override { return "DefaultStorageClass"; }
  Status admit(AdmissionRequest& r) override {
    if (r.operation != Operation::kCreate || !r.is("", "persistentvolumeclaims") || !r.subresource.empty()) return ok();
    Value& spec = (*r.object)["spec"];
    if (spec.find("storageClassName") || std::as_const(*r.object)["metadata"]["annotations"].find("volume.beta.kubernetes.io/storage-class")) return ok();
    ServedTypePtr t = core_->types.find("storage.k8s.io", "v1", "storageclasses");
    if (!t) return ok();
    ValuePtr best;
    for (auto& [key, o] : t->storage->cache->objects()) {
      ValuePtr v = o->value();
      if (v->path({"metadata", "annotations", "storageclass.kubernetes.io/is-default-class"}).as_string() != "true") continue;
      if (!best || meta_string(*v, "creationTimestamp") > meta_string(*best, "creationTimestamp")) best = v;
    }
    if (best) spec["storageClassName"] = meta_string(*best, "name");
    return ok();
  }

 private:
  Core* core_;
};

class TaintNodesByCondition final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "TaintNodesByCondition"; }
  Status admit(AdmissionRequest& r) override {
    if (r.operation != Operation::kCreate || !r.is("", "nodes") || !r.subresource.empty()) return ok();
    Value& taints = (*r.object)["spec"]["taints"];
    for (auto& t : taints.as_array())
      if (t["key"].as_string() == "node.kubernetes.io/not-ready" && t["effect"].as_string() == "NoSchedule") return ok();
    Value t = Value::object();
    t["key"] = "node.kubernetes.io/not-ready";
    t["effect"] = "NoSchedule";
    taints.push_back(std::move(t));
    return ok();
  }
};

// A kubelet changes its own Node and the pods on it, nothing else.
class NodeRestriction final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "NodeRestriction"; }
  Status validate(const AdmissionRequest& r) override {
    if (!r.user || !r.user->in_group("system:nodes") || r.user->name.compare(0, 12, "system:node:") != 0) return ok();
    std::string node = r.user->name.substr(12);
    const kube::Resource& res = r.type->resource;
    auto forbid = [&](std::string why) -> Status { return status::forbidden(res, r.name, why); };
    if (r.is("", "nodes")) {
      if (r.name != node) return forbid("node \"" + node + "\" is not allowed to modify node \"" + r.name + "\"");
      if (r.operation == Operation::kUpdate && r.subresource.empty() && r.old && !((*r.object)["spec"]["taints"] == (*r.old)["spec"]["taints"]))
        return forbid("node \"" + node + "\" is not allowed to modify taints");
      if (r.object)
        for (auto& l : (*r.object)["metadata"]["labels"].as_object())
          if (l.key.find("node-restriction.kubernetes.io/") != std::string::npos &&
              !(r.old && r.old->path({"metadata", "labels"}).find(l.key) && r.old->path({"metadata", "labels"})[l.key] == l.value))
            return forbid("is not allowed to set the following labels: " + l.key);
      return ok();
    }
    if (r.is("", "pods")) {
      if (r.operation == Operation::kCreate && r.subresource.empty()) {
        if (!r.object->path({"metadata", "annotations"}).find("kubernetes.io/config.mirror"))
          return forbid("pod does not have \"kubernetes.io/config.mirror\" annotation, node \"" + node + "\" can only create mirror pods");
        if (r.object->path({"spec", "nodeName"}).as_string() != node) return forbid("node \"" + node + "\" can only create pods with spec.nodeName set to itself");
        return ok();
      }
      if (r.old && r.old->path({"spec", "nodeName"}).as_string() != node) {
        std::string what = r.operation == Operation::kDelete ? "delete pods" : r.subresource == "status" ? "update pod status for pods"
                                                                                                         : "update pods";
        return forbid("node \"" + node + "\" can only " + what + " with spec.nodeName set to itself");
      }
      return ok();
    }
    if (r.is("coordination.k8s.io", "leases")) {
      if (r.ns != "kube-node-lease" || r.name != node) return forbid("can only access node lease with the same name as the requesting node");
      return ok();
    }
    if (r.is("storage.k8s.io", "csinodes") && r.name != node) return forbid("can only access CSINode with the same name as the requesting node");
    return ok();
  }
};

// The requester's identity goes into a CSR; approving and signing need the right on the signer.
class CertificateRequests final : public AdmissionPlugin {
 public:
  explicit CertificateRequests(Core& core) : core_(&core) {}
  std::string_view name() const override { return "CertificateApproval"; }
  Status admit(AdmissionRequest& r) override {
    if (!r.is("certificates.k8s.io", "certificatesigningrequests") || !r.user) return ok();
    if (r.operation == Operation::kCreate) {
      Value& spec = (*r.object)["spec"];
      spec["username"] = r.user->name;
      if (!r.user->uid.empty()) spec["uid"] = r.user->uid;
      else spec.erase("uid");
      Value groups = Value::array();
      for (auto& g : r.user->groups) groups.push_back(g);
      spec["groups"] = std::move(groups);
      spec.erase("extra");
      for (auto& [k, values] : r.user->extra) {
        Value list = Value::array();
        for (auto& v : values) list.push_back(v);
        spec["extra"][k] = std::move(list);
      }
    } else if (r.operation == Operation::kUpdate && r.old) {
      (*r.object)["spec"] = (*r.old)["spec"];
    }
    return ok();
  }
  Status validate(const AdmissionRequest& r) override {
    if (r.operation == Operation::kCreate && r.is("certificates.k8s.io", "certificatesigningrequests")) return check_subject(r);
    if (!r.is("certificates.k8s.io", "certificatesigningrequests") || r.operation != Operation::kUpdate || !r.user) return ok();
    std::string_view verb = r.subresource == "approval" ? "approve" : r.subresource == "status" ? "sign"
                                                                                                : "";
    if (verb.empty()) return ok();
    if (verb == "sign" && (*r.object)["status"]["certificate"] == (*r.old)["status"]["certificate"]) return ok();
    const std::string& signer = (*r.old)["spec"]["signerName"].as_string();
    std::string domain = signer.substr(0, signer.find('/')) + "/*";
    for (std::string_view n : {std::string_view(signer), std::string_view(domain)}) {
      Attributes a;
      a.user = r.user.get();
      a.verb = verb;
      a.group = "certificates.k8s.io";
      a.version = "v1";
      a.plural = "signers";
      a.name = n;
      if (ask_access(*core_, r, a).allowed) return ok();
    }
    return status::forbidden(r.type->resource, r.name, "user not permitted to " + std::string(verb) + " requests with signerName " + json::quote(signer));
  }

 private:
  // CertificateSubjectRestriction: nobody asks to become system:masters.
  static Status check_subject(const AdmissionRequest& r) {
    const Value& spec = std::as_const(*r.object)["spec"];
    if (spec["signerName"].as_string() != "kubernetes.io/kube-apiserver-client") return ok();
    auto pem = base64_decode(spec["request"].as_string());
    auto csr = net::parse_csr(pem ? *pem : "");
    if (!csr.ok()) return ok();  // validation says what is wrong with it
    for (auto& o : csr->names.organizations)
      if (o == "system:masters")
        return status::forbidden(r.type->resource, r.name, "use of kubernetes.io/kube-apiserver-client signer with system:masters group is not allowed");
    return ok();
  }
  Core* core_;
};

// Nobody grants what he does not hold, unless he may "escalate" or "bind".
class RbacEscalation final : public AdmissionPlugin {
 public:
  explicit RbacEscalation(Core& core) : core_(&core) {}
  std::string_view name() const override { return "RbacEscalation"; }
  Status validate(const AdmissionRequest& r) override {
    if (r.type->resource.group != "rbac.authorization.k8s.io" || r.operation == Operation::kDelete || !r.object || !r.user) return ok();
    if (!core_->authorizer || r.user->in_group("system:masters")) return ok();
    const std::string& plural = r.type->resource.plural;
    if (plural == "roles" || plural == "clusterroles") {
      if (r.old && (*r.old)["rules"] == (*r.object)["rules"] && (*r.old)["aggregationRule"] == (*r.object)["aggregationRule"]) return ok();
      if (may(r, "escalate", plural, r.name)) return ok();
      std::vector<PolicyRule> wanted;
      for (auto& x : (*r.object)["rules"].as_array()) wanted.push_back(PolicyRule::from_json(x));
      return covered(r, wanted);
    }
    if (r.old && (*r.old)["subjects"] == (*r.object)["subjects"] && (*r.old)["roleRef"] == (*r.object)["roleRef"]) return ok();
    const std::string& kind = r.object->path({"roleRef", "kind"}).as_string();
    const std::string& role = r.object->path({"roleRef", "name"}).as_string();
    if (may(r, "bind", kind == "ClusterRole" ? "clusterroles" : "roles", role)) return ok();
    return covered(r, core_->authorizer->rules_of(kind, r.ns, role));
  }

 private:
  bool may(const AdmissionRequest& r, std::string_view verb, std::string_view plural, std::string_view name) const {
    Attributes a;
    a.user = r.user.get();
    a.verb = verb;
    a.group = "rbac.authorization.k8s.io";
    a.version = "v1";
    a.plural = plural;
    a.ns = r.ns;
    a.name = name;
    return ask_access(*core_, r, a).allowed;
  }
  Status covered(const AdmissionRequest& r, const std::vector<PolicyRule>& wanted) const {
    auto missing = core_->authorizer->not_covered(*r.user, r.ns, wanted);
    if (missing.empty()) return ok();
    auto list = [](const std::vector<std::string>& v) {
      std::vector<std::string> q;
      for (auto& s : v) q.push_back(json::quote(s));
      return "[" + join(q, " ") + "]";
    };
    std::string text;
    size_t shown = 0;
    for (auto& m : missing) {
      if (++shown > 20) break;
      text += "\n{";
      if (!m.groups.empty()) text += "APIGroups:" + list(m.groups) + ", Resources:" + list(m.resources) + (m.names.empty() ? "" : ", ResourceNames:" + list(m.names));
      else text += "NonResourceURLs:" + list(m.urls);
      text += ", Verbs:" + list(m.verbs) + "}";
    }
    std::vector<std::string> groups = r.user->groups;
    return status::forbidden(r.type->resource, r.name,
                             "user " + json::quote(r.user->name) + " (groups=" + list(groups) + ") is attempting to grant RBAC permissions not currently held:" + text);
  }
  Core* core_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_namespace_lifecycle(Core& core) { return std::make_unique<NamespaceLifecycle>(core); }
std::unique_ptr<AdmissionPlugin> make_default_storage_class(Core& core) { return std::make_unique<DefaultStorageClass>(core); }
std::unique_ptr<AdmissionPlugin> make_taint_nodes_by_condition() { return std::make_unique<TaintNodesByCondition>(); }
std::unique_ptr<AdmissionPlugin> make_node_restriction() { return std::make_unique<NodeRestriction>(); }
std::unique_ptr<AdmissionPlugin> make_certificate_request(Core& core) { return std::make_unique<CertificateRequests>(core); }
std::unique_ptr<AdmissionPlugin> make_rbac_escalation(Core& core) { return std::make_unique<RbacEscalation>(core); }

void add_builtin_admission(Core& core) {
  core.admission.add(make_namespace_lifecycle(core));
  core.admission.add(make_service_account(core));
  core.admission.add(make_limit_ranger(core));
  core.admission.add(make_taint_nodes_by_condition());
  core.admission.add(make_node_restriction());
  core.admission.add(make_priority(core));
  core.admission.add(make_default_toleration_seconds());
  core.admission.add(make_runtime_class(core));
  core.admission.add(make_pod_security(core));
  core.admission.add(make_default_storage_class(core));
  core.admission.add(make_default_ingress_class(core));
  core.admission.add(make_storage_in_use());
  core.admission.add(make_claim_resize(core));
  core.admission.add(make_certificate_request(core));
  core.admission.add(make_rbac_escalation(core));
}

}  // namespace caravel::apiserver
