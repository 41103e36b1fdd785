// The status of ValidatingAdmissionPolicies: which generation was looked at, and where expressions cannot fit the
// types that the policy is about. Level-triggered over the cache of policies.
#pragma once

#include <set>
#include <string>

#include "apiserver/core.h"
#include "apiserver/rest.h"
#include "base/scope.h"

namespace caravel::apiserver {

class PolicyStatus {
 public:
  PolicyStatus(Core& core, Rest& rest) : core_(&core), rest_(&rest), wake_(core.ex) {}
  void start(TaskScope& scope);

 private:
  Task<void> run();
  Task<Status> sync(std::string name);

  Core* core_;
  Rest* rest_;
  ServedTypePtr policies_;
  Event wake_;
  std::set<std::string> dirty_;
};

// status.typeChecking of a policy.
json::Value check_policy_types(const Core& core, const json::Value& policy);

}  // namespace caravel::apiserver
