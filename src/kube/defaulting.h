// Defaults that upstream sets in code for built-in kinds (those of CRDs are in their schemas).
#pragma once

#include <string_view>

#include "base/json.h"
#include "kube/kinds.h"

namespace caravel::kube {

void set_builtin_defaults(const KindInfo& kind, json::Value& object);

}  // namespace caravel::kube
