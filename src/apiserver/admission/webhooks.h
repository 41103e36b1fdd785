// Admission webhooks: MutatingWebhookConfigurations one after the other, ValidatingWebhookConfigurations at once.
//
// Configurations are read from the watch cache, in the order of their names, so a stored one is in force for the
// next request. A mutating webhook's JSON patch is applied, brought to canonical form and defaulted before the
// next one sees the object; when something changed, the server's own plugins run again and then, once, those
// earlier webhooks whose reinvocationPolicy is IfNeeded.
// Threading: one executor.
#pragma once

#include <memory>
#include <set>
#include <string>
#include <vector>

#include "apiserver/admission/cel_input.h"
#include "apiserver/admission/matching.h"
#include "apiserver/webhook_transport.h"

namespace caravel::apiserver {

struct Webhook {
  std::string configuration, name;
  MatchCriteria criteria;
  WebhookTarget target;
  bool ignore_failures = false, no_side_effects = false, reinvoke = false;
  Duration timeout = std::chrono::seconds(10);
  std::string review_version;  // v1 or v1beta1
  std::vector<Condition> conditions;
};
using WebhookList = std::vector<std::shared_ptr<const Webhook>>;

// What a later pass has to do again.
class Reinvocation {
 public:
  void changed() {
    due_.insert(called_.begin(), called_.end());
    called_.clear();
    any_change_ = true;
  }
  void called(const void* w) { called_.insert(w); }
  bool due(const void* w) const { return due_.count(w) > 0; }
  bool any_change() const { return any_change_; }
  bool any_due() const { return !due_.empty(); }

 private:
  std::set<const void*> called_, due_;  // webhooks and policies
  bool any_change_ = false;
};

class Webhooks {
 public:
  explicit Webhooks(Core& core);
  // By rules alone: cheap, and false for nearly all requests.
  bool mutating(const AdmissionRequest& a);
  bool validating(const AdmissionRequest& a);
  // One pass; `again` is the second.
  Task<Status> mutate(AdmissionRequest& a, Reinvocation& state, bool again);
  Task<Status> validate(AdmissionRequest& a);

 private:
  struct Source {
    WatchCache* cache = nullptr;
    bool dirty = true;
    std::shared_ptr<const WebhookList> list;
  };
  const std::shared_ptr<const WebhookList>& current(Source& s);
  bool interested(Source& s, const AdmissionRequest& a);
  // In which version the webhook is to see the request; null: not at all.
  Result<ServedTypePtr> wants(const Webhook& w, const AdmissionRequest& a, const std::vector<kube::cel::Variable>* variables) const;
  struct Outcome {
    Status status;
    ReviewAnswer answer;
    bool called = false;
  };
  Task<Outcome> ask(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, bool mutating);
  Task<Result<bool>> change(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, json::Value patch);
  void take(const Webhook& w, AdmissionRequest& a, const ReviewAnswer& answer) const;
  struct Gathering;
  Task<void> ask_into(std::shared_ptr<const Webhook> w, AdmissionRequest* a, ServedTypePtr as, Outcome* out, Gathering* all);

  Core* core_;
  Source mutating_, validating_;
};

// The request's object and old object as one webhook or policy sees them.
Task<Result<AdmissionView>> admission_view(Core& core, const AdmissionRequest& a, ServedTypePtr as, bool mutating);
// Puts what became of the view's object into the request, in its version and defaulted; tells whether it differs.
Task<Result<bool>> take_changed(Core& core, AdmissionRequest* a, ServedTypePtr as, json::Value object);
// The same object in another served version of its resource.
Task<Result<json::Value>> in_version(Core& core, const ServedType& from, const ServedType& to, json::Value object);

}  // namespace caravel::apiserver
