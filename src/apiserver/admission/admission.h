// Admission: what may change or refuse a write after it is authorised and before it is stored.
// Plugins are synchronous and look only at caches; webhooks are a stage of their own.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/request.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

class AccessAnswers;

enum class Operation { kCreate,
                       kUpdate,
                       kDelete,
                       kConnect };
std::string_view operation_name(Operation o);

struct AdmissionRequest {
  Operation operation = Operation::kCreate;
  const ServedType* type = nullptr;
  std::string subresource;
  std::string ns, name;
  bool plain = true;                 // `object` is of `type`, not a Scale, a Binding or options
  bool name_generated = false;       // by the server, from generateName: webhooks do not see it
  json::Value* object = nullptr;     // null for deletes; of connections the options (PodExecOptions)
  const json::Value* old = nullptr;  // null for creates
  UserPtr user;
  bool dry_run = false;
  json::Value options;  // CreateOptions and the like; null: not known
  std::vector<std::string>* warnings = nullptr;
  mutable std::shared_ptr<AccessAnswers> access;  // authorization/answers.h; what has been asked so far
  AuditTrail* trail = nullptr;                    // takes notes for the audit log; null: nobody reads them

  bool is(std::string_view group, std::string_view plural) const { return type->resource.group == group && type->resource.plural == plural; }
};

class AdmissionPlugin {
 public:
  virtual ~AdmissionPlugin() = default;
  virtual std::string_view name() const = 0;
  // May change the object.
  virtual Status admit(AdmissionRequest&) { return ok(); }
  // After all changes.
  virtual Status validate(const AdmissionRequest&) { return ok(); }
};

class AdmissionChain {
 public:
  void add(std::unique_ptr<AdmissionPlugin> p) { plugins_.push_back(std::move(p)); }
  Status admit(AdmissionRequest& r) const {
    for (auto& p : plugins_) TRY_VOID(p->admit(r));
    return ok();
  }
  Status validate(const AdmissionRequest& r) const {
    for (auto& p : plugins_) TRY_VOID(p->validate(r));
    return ok();
  }
  std::vector<std::unique_ptr<AdmissionPlugin>>& plugins() { return plugins_; }

 private:
  std::vector<std::unique_ptr<AdmissionPlugin>> plugins_;
};

}  // namespace caravel::apiserver
