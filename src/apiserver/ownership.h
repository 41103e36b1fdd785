// Server-side apply and field ownership for both kinds of type model.
#pragma once

#include "apiserver/resource_type.h"
#include "kube/schema.h"

namespace caravel::apiserver {

// The merged object with managedFields, or an apply conflict. `has_status`: the kind has a status subresource.
Result<json::Value> apply_owned(const kube::Schema& schema, const json::Value* live, const json::Value& config, const Writer& w, bool force, bool has_status);
void track_owned(const kube::Schema& schema, const json::Value* old, json::Value& object, const Writer& w, bool has_status);

}  // namespace caravel::apiserver
