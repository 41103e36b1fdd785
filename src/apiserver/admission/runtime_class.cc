// RuntimeClass: a pod takes its class's overhead, node selector and tolerations.
#include <algorithm>
#include <utility>

#include "apiserver/admission/builtin.h"
#include "kube/quantity.h"

namespace caravel::apiserver {

namespace {

using json::Array;
using json::Value;

bool same_amounts(const Value& a, const Value& b) {
  if (a.size() != b.size()) return false;
  for (auto& m : a.as_object()) {
    const Value* other = b.find(m.key);
    if (!other || !(kube::Quantity::of(m.value.as_string()) == kube::Quantity::of(other->as_string()))) return false;
  }
  return true;
}

// Whether `wide` tolerates all that `narrow` does.
bool tolerates_all(const Value& wide, const Value& narrow) {
  if (wide == narrow) return true;
  const std::string &op = wide["operator"].as_string(), &effect = wide["effect"].as_string();
  if (narrow["key"].as_string() != wide["key"].as_string() && (!wide["key"].as_string().empty() || op != "Exists")) return false;
  if (!effect.empty() && narrow["effect"].as_string() != effect) return false;
  if (const Value& most = wide["tolerationSeconds"]; effect == "NoExecute" && most.is_int())
    if (const Value& mine = narrow["tolerationSeconds"]; !mine.is_int() || mine.as_int() > most.as_int()) return false;
  if (op.empty() || op == "Equal") return narrow["operator"].as_string() == "Equal" && narrow["value"].as_string() == wide["value"].as_string();
  return op == "Exists";
}

// The pod's and the class's, without those that another one covers; of equal ones the first stays.
Array merged_tolerations(const Value& first, const Value& second) {
  Array all = first.as_array(), out;
  all.insert(all.end(), second.as_array().begin(), second.as_array().end());
  for (size_t i = 0; i < all.size(); ++i) {
    const bool covered = std::any_of(out.begin(), out.end(), [&](const Value& t) { return tolerates_all(t, all[i]); }) ||
                         std::any_of(all.begin() + static_cast<long>(i) + 1, all.end(), [&](const Value& t) { return !(t == all[i]) && tolerates_all(t, all[i]); });
    if (!covered) out.push_back(all[i]);
  }
  return out;
}

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
    const Value& overhead = (*found)["overhead"];
    if (overhead.is_object()) {
      const Value& had = std::as_const(spec)["overhead"];
      if (had.size() && !same_amounts(overhead["podFixed"], had))
        return status::forbidden(r.type->resource, r.name, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
      if (overhead["podFixed"].size()) spec["overhead"] = overhead["podFixed"];
      else spec.erase("overhead");
    }
    if (!(*found)["scheduling"].is_object()) return ok();
    for (auto& m : found->path({"scheduling", "nodeSelector"}).as_object()) {
      const Value& had = std::as_const(spec)["nodeSelector"][m.key];
      if (!had.is_null() && !(had == m.value))
        return status::forbidden(r.type->resource, r.name, "conflict: runtimeClass.scheduling.nodeSelector[" + m.key + "] = " + m.value.as_string() + "; pod.spec.nodeSelector[" + m.key + "] = " + had.as_string());
      spec["nodeSelector"][m.key] = m.value;
    }
    Array merged = merged_tolerations(std::as_const(spec)["tolerations"], found->path({"scheduling", "tolerations"}));
    if (!merged.empty()) spec["tolerations"] = std::move(merged);
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
    if (!(*found)["overhead"].is_object() && overhead.size()) return status::forbidden(r.type->resource, r.name, "pod rejected: Pod Overhead set without corresponding RuntimeClass defined Overhead");
    if ((*found)["overhead"].is_object() && !same_amounts(fixed, overhead)) return status::forbidden(r.type->resource, r.name, "pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead");
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
