// Validation of Job specs: completion mode, limits and the three policies, as upstream's batch validation.
#pragma once

#include "kube/validate_kinds.h"

namespace caravel::kube::check {

// `was`: the spec before, of an update.
void job_spec(const json::Value& spec, const json::Value* was, const FieldPath& p, FieldErrors& e);
// What only a Job obeys, not a CronJob's template: its selector, and the names of its pods.
void job_selector(const json::Value& job, FieldErrors& e);
// What an update of a Job may change.
void job_update(const json::Value& now, const json::Value& old, const FieldPath& p, FieldErrors& e);

}  // namespace caravel::kube::check
