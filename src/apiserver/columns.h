// Tables of objects: columnDefinitions and rows with cells.
#pragma once

#include <vector>

#include "apiserver/watch_cache.h"
#include "kube/kinds.h"

namespace caravel::apiserver {

struct TableColumn {
  std::string name, type, format, description, path;
  int priority = 0;
};
json::Value table_of(const kube::KindInfo& kind, const std::vector<ValuePtr>& objects, Time now);
json::Value table_of(const std::vector<TableColumn>& columns, const std::vector<ValuePtr>& objects, Time now);

}  // namespace caravel::apiserver
