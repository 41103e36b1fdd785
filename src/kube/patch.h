// Patches on JSON: RFC 6902, RFC 7386, Kubernetes' strategic merge patch, and the three-way patch that
// client-side apply sends. The patch type of a request is kube::PatchType (kube/client.h).
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "kube/schema.h"

namespace caravel::kube {

// As Go's decoder names it: object, array, string, number, bool.
std::string json_type_name(const json::Value& v);

// kInvalid with upstream's kind of message; kTooLarge beyond 10000 operations; kBadRequest where the patch has the wrong
// shape: `lenient` readers say so in other words, and look only at what they use.
Result<json::Value> json_patch(const json::Value& document, const json::Value& patch, bool lenient = false);
json::Value merge_patch(json::Value document, const json::Value& patch);
// A patched document as upstream's libraries write it, which messages show: members are sorted where the patch went.
json::Value in_json_patch_order(json::Value patched, const json::Value& patch);
json::Value in_merge_patch_order(json::Value patched, const json::Value& live, const json::Value& patch);
// All directives: $patch, $retainKeys, $setElementOrder/x, $deleteFromPrimitiveList/x; null deletes.
Result<json::Value> strategic_merge_patch(const Schema& schema, const json::Value& original, const json::Value& patch);

// The merge patch that leads from `from` to `to`.
json::Value create_merge_patch(const json::Value& from, const json::Value& to);
// kubectl apply's patch: what changed from `live` to `modified`, and deletions of what `last_applied` had
// and `modified` has no more. Strategic where the schema is built in, else a merge patch.
json::Value three_way_merge_patch(const json::Value& last_applied, const json::Value& modified, const json::Value& live);
Result<json::Value> three_way_strategic_patch(const Schema& schema, const json::Value& last_applied, const json::Value& modified,
                                              const json::Value& live);

}  // namespace caravel::kube
