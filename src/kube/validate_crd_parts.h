// Parts of a CustomResourceDefinition's validation that need no walk through the schema.
#pragma once

#include "kube/field_error.h"
#include "kube/warnings.h"

namespace caravel::kube::check {

// Why a regular expression does not compile, as Go says it; "": it does.
std::string regex_fault(const std::string& pattern);
// Each names a string, boolean or integer of the schema, outside metadata. `keeps`: the list is as it was stored.
void crd_selectable_fields(const json::Value& list, const json::Value& schema, bool keeps, const FieldPath& p, FieldErrors& e);
// Groups of the Kubernetes community need a note that their reviewers agreed. `old` is null for a create.
void crd_approval(const json::Value& o, const json::Value* old, FieldErrors& e);
// With a status of its own the root may say only what splitting the status off keeps true.
void crd_root_with_status(const json::Value& schema, const FieldPath& p, FieldErrors& e);
void crd_stored_versions(const json::Value& o, FieldErrors& e);

}  // namespace caravel::kube::check
