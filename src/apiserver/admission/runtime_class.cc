// RuntimeClass: a pod takes its class's overhead, node selector and tolerations.
#include "apiserver/admission/builtin.h"

namespace caravel::apiserver {

namespace {

using json::Value;

class RuntimeClassPlugin final : public AdmissionPlugin {
 public:
  explicit RuntimeClassPlugin(Core& core) : core_(&core) {}
  std::string_view name() const override { return "RuntimeClass"; }

  Status admit(AdmissionRequest& r) override {
    if (!new_pod(r)) return ok();
    const std::string wanted = r.object->path({"spec", "runtimeClassName"}).as_string();
    if (wanted.empty()) return ok();
    ValuePtr found;
    TRY(found, runtime_class(r, wanted));
    Value& spec = (*r.object)["spec"];
    const Value& overhead = found->path({"overhead", "podFixed"});
    if (overhead.size()) spec["overhead"] = overhead;
    for (auto& m : found->path({"scheduling", "nodeSelector"}).as_object()) {
      const Value& had = std::as_const(spec)["nodeSelector"][m.key];
      if (!had.is_null() && !(had == m.value))
        return status::forbidden(r.type->resource, r.name, "conflict: runtimeClass.scheduling.nodeSelector[" + m.key + "] = " + m.value.as_string() + "; pod.spec.nodeSelector[" + m.key + "] = " + had.as_string());
      spec["nodeSelector"][m.key] = m.value;
    }
    for (auto& t : found->path({"scheduling", "tolerations"}).as_array()) {
      bool there = false;
      for (auto& had : std::as_const(spec)["tolerations"].as_array()) there = there || had == t;
      if (!there) spec["tolerations"].push_back(t);
    }
    return ok();
  }

  Status validate(const AdmissionRequest& r) override {
    if (!new_pod(r)) return ok();
    const Value& pod = *r.object;
    const std::string& wanted = pod["spec"]["runtimeClassName"].as_string();
    const Value& overhead = pod["spec"]["overhead"];
    if (wanted.empty()) {
      if (overhead.size()) return status::forbidden(r.type->resource, r.name, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
      return ok();
    }
    ValuePtr found;
    TRY(found, runtime_class(r, wanted));
    const Value& fixed = found->path({"overhead", "podFixed"});
    if (!fixed.size() && overhead.size()) return status::forbidden(r.type->resource, r.name, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    if (fixed.size() && !(fixed == overhead)) return status::forbidden(r.type->resource, r.name, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
    return ok();
  }

 private:
  static bool new_pod(const AdmissionRequest& r) {
    return r.operation == Operation::kCreate && r.subresource.empty() && r.type->resource.kind == "Pod" && r.type->resource.group.empty();
  }
  Result<ValuePtr> runtime_class(const AdmissionRequest& r, const std::string& wanted) const {
    ServedTypePtr t = core_->types.find("node.k8s.io", "v1", "runtimeclasses");
    ObjectPtr o = t ? t->storage->cache->get("", wanted) : nullptr;
    if (!o) return status::forbidden(r.type->resource, r.name, "pod rejected: RuntimeClass \"" + wanted + "\" not found");
    return o->value();
  }
  Core* core_;
};

}  // namespace

std::unique_ptr<AdmissionPlugin> make_runtime_class(Core& core) { return std::make_unique<RuntimeClassPlugin>(core); }

}  // namespace caravel::apiserver
