#include "apiserver/columns.h"

namespace caravel::apiserver {

namespace {

template <class Columns>
json::Value make(const Columns& columns, const std::vector<ValuePtr>& objects, Time now) {
  json::Value t = json::Value::object();
  t["columnDefinitions"] = kube::table_columns(columns);
  json::Array rows;
  for (auto& o : objects) {
    json::Value row = json::Value::object();
    row["cells"] = kube::table_cells(columns, *o, now);
    rows.push_back(std::move(row));
  }
  t["rows"] = json::Value(std::move(rows));
  return t;
}

}  // namespace

json::Value table_of(const kube::KindInfo& kind, const std::vector<ValuePtr>& objects, Time now) { return make(kind, objects, now); }
json::Value table_of(const std::vector<kube::CustomColumn>& columns, const std::vector<ValuePtr>& objects, Time now) {
  return make(columns, objects, now);
}

}  // namespace caravel::apiserver
