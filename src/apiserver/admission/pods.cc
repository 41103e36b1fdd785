// Plugins about pods: their ServiceAccount and its token volume, tolerations, priority.
#include <algorithm>

#include "apiserver/admission/builtin.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr std::string_view kTokenMount = "/var/run/secrets/kubernetes.io/serviceaccount";
constexpr std::string_view kMirrorPod = "kubernetes.io/config.mirror";

bool new_pod(const AdmissionRequest& r) { return r.operation == Operation::kCreate && r.subresource.empty() && r.is("", "pods"); }
bool is_mirror(const Value& pod) { return pod["metadata"]["annotations"].find(kMirrorPod) != nullptr; }

template <class F>
void each_container(Value& pod, F f) {
  for (std::string_view list : {"initContainers", "containers"})
    if (Value* cs = pod["spec"].find(list); cs && cs->is_array())
      for (auto& c : cs->arr()) f(c);
}

// What every pod's token volume is made of. Pods share the one document.
const ValuePtr& token_volume() {
  static const ValuePtr kProjected = json::share(*json::parse(R"({"defaultMode":420,"sources":[{"serviceAccountToken":{"expirationSeconds":3607,"path":"token"}},)"
                                                              R"({"configMap":{"items":[{"key":"ca.crt","path":"ca.crt"}],"name":"kube-root-ca.crt"}},)"
                                                              R"({"downwardAPI":{"items":[{"fieldRef":{"apiVersion":"v1","fieldPath":"metadata.namespace"},"path":"namespace"}]}}]})"));
  return kProjected;
}

class ServiceAccountPlugin final : public AdmissionPlugin {
 public:
  explicit ServiceAccountPlugin(Core& core) : core_(&core) {}
  std::string_view name() const override { return "ServiceAccount"; }
  Status admit(AdmissionRequest& r) override {
    if (!new_pod(r) || is_mirror(*r.object)) return ok();
    Value& spec = (*r.object)["spec"];
    if (spec["serviceAccountName"].as_string().empty()) spec["serviceAccountName"] = "default";
    const std::string account = spec["serviceAccountName"].as_string();
    spec["serviceAccount"] = account;
    ServedTypePtr t = core_->types.find("", "v1", "serviceaccounts");
    ObjectPtr sa = t ? t->storage->cache->get(r.ns, account) : nullptr;
    if (!sa)
      return status::forbidden(r.type->resource, r.name, "error looking up service account " + r.ns + "/" + account + ": serviceaccount \"" + account + "\" not found");
    ValuePtr v = sa->value();
    if (std::as_const(spec)["imagePullSecrets"].size() == 0 && (*v)["imagePullSecrets"].size()) spec["imagePullSecrets"] = (*v)["imagePullSecrets"];
    bool mount = (*v)["automountServiceAccountToken"].as_bool(true);
    if (auto* p = spec.find("automountServiceAccountToken"); p && p->is_bool()) mount = p->as_bool();
    if (!mount) return ok();
    bool needed = false;
    auto mounted = [](const Value& c) {
      for (auto& m : c["volumeMounts"].as_array())
        if (m["mountPath"].as_string() == kTokenMount) return true;
      return false;
    };
    each_container(*r.object, [&](Value& c) { needed = needed || !mounted(c); });
    if (!needed) return ok();
    const std::string volume = "kube-api-access-" + random_suffix(core_->ex);
    each_container(*r.object, [&](Value& c) {
      if (mounted(c)) return;
      Value m = Value::object();
      m["name"] = volume;
      m["readOnly"] = true;
      m["mountPath"] = kTokenMount;
      c["volumeMounts"].push_back(std::move(m));
    });
    Value vol = Value::object();
    vol["name"] = volume;
    vol["projected"] = *token_volume();
    spec["volumes"].push_back(std::move(vol));
    return ok();
  }

 private:
  Core* core_;
};

ValuePtr default_toleration(std::string_view key) {
  Value t = Value::object();
  t["key"] = key;
  t["operator"] = "Exists";
  t["effect"] = "NoExecute";
  t["tolerationSeconds"] = 300;
  return json::share(std::move(t));
}

class TolerationSecondsPlugin final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "DefaultTolerationSeconds"; }
  Status admit(AdmissionRequest& r) override {
    // An update, too: who replaces a pod's tolerations does not mean to take these away.
    if (!r.is("", "pods") || !r.subresource.empty() || (r.operation != Operation::kCreate && r.operation != Operation::kUpdate)) return ok();
    Value& spec = (*r.object)["spec"];
    for (std::string_view key : {"node.kubernetes.io/not-ready", "node.kubernetes.io/unreachable"}) {
      bool tolerated = false;
      for (auto& t : spec["tolerations"].as_array()) {
        const std::string& effect = t["effect"].as_string();
        const std::string& k = t["key"].as_string();
        if ((k == key || k.empty()) && (effect == "NoExecute" || effect.empty())) tolerated = true;
      }
      if (tolerated) continue;
      static const ValuePtr kShared[] = {default_toleration("node.kubernetes.io/not-ready"), default_toleration("node.kubernetes.io/unreachable")};
      spec["tolerations"].push_back(*kShared[key != "node.kubernetes.io/not-ready"]);
    }
    return ok();
  }
};

class PriorityPlugin final : public AdmissionPlugin {
 public:
  explicit PriorityPlugin(Core& core) : core_(&core) {}
  std::string_view name() const override { return "Priority"; }
  Status admit(AdmissionRequest& r) override {
    if (!new_pod(r)) return ok();
    Value& spec = (*r.object)["spec"];
    ServedTypePtr t = core_->types.find("scheduling.k8s.io", "v1", "priorityclasses");
    if (!t) return ok();
    std::string wanted = std::as_const(spec)["priorityClassName"].as_string();
    int64_t value = 0;
    std::string policy = "PreemptLowerPriority";
    ValuePtr found;
    if (wanted.empty()) {
      for (auto& [key, o] : t->storage->cache->objects()) {
        if (o->bytes->find("\"globalDefault\":true") == std::string::npos) continue;
        ValuePtr v = o->value();
        if (!found || (*v)["value"].as_int() < (*found)["value"].as_int()) found = v, wanted = o->name;
      }
      if (found) spec["priorityClassName"] = wanted;
    } else {
      ObjectPtr o = t->storage->cache->get("", wanted);
      if (!o) return status::forbidden(r.type->resource, r.name, "no PriorityClass with name " + wanted + " was found");
      found = o->value();
    }
    if (found) {
      value = (*found)["value"].as_int();
      if (!(*found)["preemptionPolicy"].as_string().empty()) policy = (*found)["preemptionPolicy"].as_string();
    }
    if (auto* p = spec.find("priority"); p && p->is_int() && p->as_int() != value)
      return status::forbidden(r.type->resource, r.name,
                               "the integer value of priority (" + std::to_string(p->as_int()) + ") must not be provided in pod spec; priority admission controller computed " +
                                   std::to_string(value) + " from the given PriorityClass name");
    spec["priority"] = value;
    if (found) spec["preemptionPolicy"] = policy;
    return ok();
  }

 private:
  Core* core_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_service_account(Core& core) { return std::make_unique<ServiceAccountPlugin>(core); }
std::unique_ptr<AdmissionPlugin> make_default_toleration_seconds() { return std::make_unique<TolerationSecondsPlugin>(); }
std::unique_ptr<AdmissionPlugin> make_priority(Core& core) { return std::make_unique<PriorityPlugin>(core); }

}  // namespace caravel::apiserver
