// Validation of Job specs: completion mode, limits and the three policies, as upstream's batch validation.
#pragma once

#include "kube/validate_kinds.h"

namespace caravel::kube::check {

void job_spec(const json::Value& spec, const FieldPath& p, FieldErrors& e);
// What an update of a Job may change.
void job_update(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e);

}  // namespace caravel::kube::check
