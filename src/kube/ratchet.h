// Ratcheting: an update of a custom resource is not refused for what was wrong before and stays as it was.
//
// An error goes when the value that it is about, or one around it, is the same in the old object. Elements of
// lists are matched by their keys in lists of type map; in other lists only the whole list counts. Pure.
#pragma once

#include "kube/field_error.h"
#include "kube/schema.h"

namespace caravel::kube {

void drop_unchanged(const Schema& schema, const json::Value& now, const json::Value& old, FieldErrors& errors);

}  // namespace caravel::kube
