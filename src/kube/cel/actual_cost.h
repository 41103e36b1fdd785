// What a call cost, once it is done: by what it read and made, as upstream counts it.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "kube/cel/value.h"

namespace caravel::kube::cel {

int64_t actual_cost(std::string_view name, bool member, const std::vector<Value>& args, const Value& result);

}  // namespace caravel::kube::cel
