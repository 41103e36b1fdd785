#include "apiserver/admission/dynamic.h"

namespace caravel::apiserver {

bool DynamicAdmission::interested(const AdmissionRequest& a) {
  if (exempt_from_admission(a)) return false;
  return policies_.mutating(a) || policies_.validating(a) || webhooks_.mutating(a) || webhooks_.validating(a);
}

Task<Status> DynamicAdmission::pass(AdmissionRequest& a, Reinvocation& state, bool again) {
  Status changed = co_await policies_.mutate(a, state, again);
  if (!changed.ok()) co_return changed;
  Status called = co_await webhooks_.mutate(a, state, again);
  co_return called;
}

Task<Status> DynamicAdmission::admit(AdmissionRequest& a) {
  Reinvocation state;
  Status first = co_await pass(a, state, false);
  if (!first.ok() || !state.any_change()) co_return first;
  // The server's own plugins see what was changed; what they change brings back those who asked to be called again.
  bool builtin = a.operation == Operation::kCreate || a.operation == Operation::kUpdate;
  if (builtin && a.object && a.plain) {
    json::Value before = *a.object;
    if (Status s = core_->admission.admit(a); !s.ok()) co_return s;
    if (!(before == *a.object)) state.changed();
  }
  if (!state.any_due()) co_return ok();
  Status second = co_await pass(a, state, true);
  co_return second;
}

Task<Status> DynamicAdmission::validate(AdmissionRequest& a) {
  Status judged = co_await policies_.validate(a);
  if (!judged.ok()) co_return judged;
  Status s = co_await webhooks_.validate(a);
  co_return s;
}

}  // namespace caravel::apiserver
