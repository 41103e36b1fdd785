// Admission that objects configure: policies, then webhooks; first those that change, then those that judge.
#pragma once

#include "apiserver/admission/policies.h"
#include "apiserver/admission/webhooks.h"

namespace caravel::apiserver {

class DynamicAdmission final : public RemoteAdmission {
 public:
  explicit DynamicAdmission(Core& core) : core_(&core), policies_(core), webhooks_(core) {}
  bool interested(const AdmissionRequest& a) override;
  Task<Status> admit(AdmissionRequest& a) override;
  Task<Status> validate(AdmissionRequest& a) override;

 private:
  Core* core_;
  Task<Status> pass(AdmissionRequest& a, Reinvocation& state, bool again);
  Policies policies_;
  Webhooks webhooks_;
};

}  // namespace caravel::apiserver
