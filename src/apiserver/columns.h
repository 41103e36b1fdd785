// Tables of objects: columnDefinitions and rows with cells.
#pragma once

#include <vector>

#include "apiserver/watch_cache.h"
#include "kube/kinds.h"
#include "kube/table.h"

namespace caravel::apiserver {

json::Value table_of(const kube::KindInfo& kind, const std::vector<ValuePtr>& objects, Time now);
json::Value table_of(const std::vector<kube::CustomColumn>& columns, const std::vector<ValuePtr>& objects, Time now);

}  // namespace caravel::apiserver
