// Defaults of built-in kinds that upstream sets in code rather than in its schemas.
#pragma once

#include <string_view>

#include "base/json.h"

namespace caravel::apiserver {

// `object` is of that kind, in that group's served version.
void set_builtin_defaults(std::string_view group, std::string_view version, std::string_view kind, json::Value& object);
// "Guaranteed", "Burstable" or "BestEffort".
std::string_view qos_class(const json::Value& pod);

}  // namespace caravel::apiserver
