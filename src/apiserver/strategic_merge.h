// Strategic merge patch: merges lists by the key that the kind's table names, and follows the directives
// $patch, $retainKeys, $setElementOrder/<list> and $deleteFromPrimitiveList/<list>.
#pragma once

#include "base/json.h"
#include "base/result.h"
#include "kube/type_info.h"

namespace caravel::apiserver {

Result<json::Value> apply_strategic_merge(const kube::TypeInfo& type, const json::Value& live, const json::Value& patch);

}  // namespace caravel::apiserver
