// What the server makes of a new pod after admission has changed it: its first status, label keys as selectors,
// profiles of old annotations as fields.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace caravel::apiserver {

void prepare_new_pod(json::Value& pod, std::vector<std::string>& warnings);

}  // namespace caravel::apiserver
