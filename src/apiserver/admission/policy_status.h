// The status of ValidatingAdmissionPolicies: which generation was looked at, and where expressions cannot fit the
// types that the policy is about. Level-triggered over the cache of policies.
#pragma once

#include <string>

#include "apiserver/core.h"
#include "apiserver/rest.h"
#include "base/scope.h"
#include "kube/controller.h"

namespace caravel::apiserver {

class PolicyStatus {
 public:
  PolicyStatus(Core& core, Rest& rest);
  void start(TaskScope& scope);

 private:
  Task<Result<kube::Requeue>> reconcile(std::string name);
  Task<Status> sync(std::string name);

  Core* core_;
  Rest* rest_;
  ServedTypePtr policies_;
  kube::Controller queue_;
};

// status.typeChecking of a policy.
json::Value check_policy_types(const Core& core, const json::Value& policy);

}  // namespace caravel::apiserver
