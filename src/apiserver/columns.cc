#include "apiserver/columns.h"

namespace caravel::apiserver {

using json::Value;

Value table_of(const std::vector<TableColumn>& columns, const std::vector<ValuePtr>& objects, Time now) {
  Value t = Value::object();
  auto column = [&](const TableColumn& x) {
    Value c = Value::object();
    c["name"] = x.name;
    c["type"] = x.type;
    c["format"] = x.format;
    c["description"] = x.description;
    c["priority"] = x.priority;
    t["columnDefinitions"].push_back(std::move(c));
  };
  TableColumn first;
  first.name = "Name";
  first.type = "string";
  first.format = "name";
  column(first);
  for (auto& c : columns) column(c);
  t["rows"] = Value::array();
  for (auto& o : objects) {
    Value row = Value::object();
    Value cells = Value::array({(*o)["metadata"]["name"]});
    for (auto& c : columns) {
      const Value* v = o.get();
      std::string_view rest = c.path;
      while (v && rest.size() > 1) {
        rest.remove_prefix(1);
        size_t dot = rest.find('.');
        v = v->find(rest.substr(0, dot));
        rest = dot == rest.npos ? std::string_view() : rest.substr(dot);
      }
      if (v && c.type == "date") {
        auto when = parse_rfc3339(v->as_string());
        cells.push_back(when.ok() ? human_duration(now - *when) : "<unknown>");
      } else {
        cells.push_back(v ? *v : Value());
      }
    }
    row["cells"] = std::move(cells);
    t["rows"].push_back(std::move(row));
  }
  return t;
}

Value table_of(const kube::KindInfo& kind, const std::vector<ValuePtr>& objects, Time now) {
  std::vector<TableColumn> columns;
  for (auto& c : kind.columns) {
    if (c.source.empty() || c.source[0] != '.') continue;
    TableColumn t;
    t.name = std::string(c.name);
    t.type = std::string(c.type);
    t.path = std::string(c.source);
    t.priority = c.priority;
    columns.push_back(std::move(t));
  }
  return table_of(columns, objects, now);
}

}  // namespace caravel::apiserver
