// JSON Patch (RFC 6902) and JSON Merge Patch (RFC 7386), for kinds of any schema.
#pragma once

#include "base/json.h"
#include "base/result.h"

namespace caravel::apiserver {

// Errors are kInvalid with upstream's kind of message.
Result<json::Value> apply_json_patch(const json::Value& document, const json::Value& patch);
json::Value apply_merge_patch(json::Value document, const json::Value& patch);

}  // namespace caravel::apiserver
