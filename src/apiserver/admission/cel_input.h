// The variables of admission's expressions: object, oldObject, request, namespaceObject, authorizer.
// Threading: one executor. The request and the view outlive the values only for the call in which they are used.
#pragma once

#include <vector>

#include "apiserver/admission/review.h"
#include "apiserver/core.h"
#include "kube/cel/admission.h"
#include "kube/cel/program.h"

namespace caravel::apiserver {

std::vector<kube::cel::Variable> admission_variables(Core& core, const AdmissionRequest& a, const AdmissionView& view);

// The conditions under which a webhook or policy looks at a request.
struct Condition {
  std::string name, expression;
  kube::cel::Program program;
};
// matchConditions of a webhook or policy.
Result<std::vector<Condition>> parse_conditions(const kube::cel::PolicyCompiler& compiler, const json::Value& list);
// False as soon as one is false; an error when none is and one cannot be judged.
Result<bool> conditions_hold(const std::vector<Condition>& conditions, const std::vector<kube::cel::Variable>& variables);

}  // namespace caravel::apiserver
