// Plugins about storage and classes: the default IngressClass, claims that grow,
// and the finalizers that keep storage in use from disappearing.
#include "apiserver/admission/builtin.h"
#include "apiserver/object_meta.h"
#include "base/strings.h"
#include "kube/quantity.h"

namespace caravel::apiserver {

namespace {

using json::Value;

bool creates(const AdmissionRequest& r, std::string_view group, std::string_view plural) {
  return r.operation == Operation::kCreate && r.subresource.empty() && r.is(group, plural);
}

ObjectPtr find_object(const Core& core, std::string_view group, std::string_view plural, std::string_view name) {
  ServedTypePtr t = core.types.find(group, "v1", plural);
  return t && t->storage ? t->storage->cache->get("", name) : nullptr;
}

kube::Quantity amount(const Value& v) { return kube::Quantity::of(v.is_string() ? v.as_string() : v.is_number() ? json::dump(v)
                                                                                                                : "0"); }

class DefaultIngressClass final : public AdmissionPlugin {
 public:
  explicit DefaultIngressClass(Core& core) : core_(&core) {}
  std::string_view name() const override { return "DefaultIngressClass"; }
  Status admit(AdmissionRequest& r) override {
    if (!creates(r, "networking.k8s.io", "ingresses")) return ok();
    const Value& read = std::as_const(*r.object);
    if (read["spec"]["ingressClassName"].is_string() || read["metadata"]["annotations"].find("kubernetes.io/ingress.class")) return ok();
    ServedTypePtr t = core_->types.find("networking.k8s.io", "v1", "ingressclasses");
    if (!t) return ok();
    ValuePtr best;  // the newest; of equally old ones the first by name
    for (auto& [key, o] : t->storage->cache->objects()) {
      ValuePtr v = o->value();
      if ((*v)["metadata"]["annotations"]["ingressclass.kubernetes.io/is-default-class"].as_string() != "true") continue;
      if (!best || meta_string(*v, "creationTimestamp") > meta_string(*best, "creationTimestamp")) best = v;
    }
    if (best) (*r.object)["spec"]["ingressClassName"] = meta_string(*best, "name");
    return ok();
  }

 private:
  Core* core_;
};

class ClaimResize final : public AdmissionPlugin {
 public:
  explicit ClaimResize(Core& core) : core_(&core) {}
  std::string_view name() const override { return "PersistentVolumeClaimResize"; }
  Status validate(const AdmissionRequest& r) override {
    if (r.operation != Operation::kUpdate || !r.subresource.empty() || !r.old || !r.is("", "persistentvolumeclaims")) return ok();
    const Value& now = std::as_const(*r.object);
    const Value& was = *r.old;
    if (amount(now["spec"]["resources"]["requests"]["storage"]) <= amount(was["spec"]["resources"]["requests"]["storage"])) return ok();
    if (was["status"]["phase"].as_string() != "Bound") return status::forbidden(r.type->resource, r.name, "Only bound persistent volume claims can be expanded");
    std::string storage_class = now["metadata"]["annotations"]["volume.beta.kubernetes.io/storage-class"].as_string();
    if (storage_class.empty()) storage_class = now["spec"]["storageClassName"].as_string();
    ObjectPtr o = storage_class.empty() ? nullptr : find_object(*core_, "storage.k8s.io", "storageclasses", storage_class);
    if (o && (*o->value())["allowVolumeExpansion"].as_bool()) return ok();
    return status::forbidden(r.type->resource, r.name,
                             "only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
  }

 private:
  Core* core_;
};

class StorageInUse final : public AdmissionPlugin {
 public:
  std::string_view name() const override { return "StorageObjectInUseProtection"; }
  Status admit(AdmissionRequest& r) override {
    if (creates(r, "", "persistentvolumeclaims")) add_finalizer(*r.object, "kubernetes.io/pvc-protection");
    if (creates(r, "", "persistentvolumes")) add_finalizer(*r.object, "kubernetes.io/pv-protection");
    return ok();
  }
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_default_ingress_class(Core& core) { return std::make_unique<DefaultIngressClass>(core); }
std::unique_ptr<AdmissionPlugin> make_claim_resize(Core& core) { return std::make_unique<ClaimResize>(core); }
std::unique_ptr<AdmissionPlugin> make_storage_in_use() { return std::make_unique<StorageInUse>(); }

}  // namespace caravel::apiserver
