// Tables: generic part. The printers of built-in kinds are in table_printers.cc.
#include "kube/table.h"

#include <map>

#include "base/strings.h"
#include "kube/table_printers.h"

namespace caravel::kube {

namespace {

json::Value column(std::string_view name, std::string_view type, std::string_view format, std::string_view description, int priority) {
  json::Value c = json::Value::object();
  c["name"] = name;
  c["type"] = type;
  c["format"] = format;
  c["description"] = description;
  c["priority"] = priority;
  return c;
}

constexpr std::string_view kNameDescription = "Name must be unique within a namespace; it cannot be changed.";

std::string age(const json::Value& timestamp, Time now) {
  auto t = parse_rfc3339(timestamp.as_string());
  if (!t.ok() || t->is_zero()) return "<unknown>";
  return human_duration(now - *t);
}

// The first value that a path finds, as a cell of a type.
json::Value cell(const JsonPath& path, std::string_view type, const json::Value& object, Time now, bool custom) {
  auto found = path.find(object);
  if (type == "date") {
    if (found.empty() || !found[0]->is_string()) return custom && found.empty() ? json::Value() : json::Value("<unknown>");
    return age(*found[0], now);
  }
  if (found.empty() || found[0]->is_null()) return {};
  const json::Value& v = *found[0];
  if (type == "string") {
    // Several values are shown one after the other.
    std::string text;
    for (auto* f : found) {
      if (f->is_null()) continue;
      if (!text.empty()) text += ",";
      text += f->is_string() ? f->as_string() : json::dump(*f);
      if (found.size() == 1) break;
    }
    return text;
  }
  if (type == "integer" && v.is_number()) return v.as_int();
  if (type == "number" && v.is_number()) return v;
  if (type == "boolean" && v.is_bool()) return v;
  return {};
}

}  // namespace

std::vector<CustomColumn> custom_columns(const json::Value& columns) {
  std::vector<CustomColumn> out;
  for (auto& c : columns.as_array())
    out.push_back({c["name"].as_string(), c["type"].as_string(), c["format"].as_string(), c["description"].as_string(), c["jsonPath"].as_string(),
                   static_cast<int>(c["priority"].as_int())});
  if (out.empty()) out.push_back({"Age", "date", "", "When the object was created.", ".metadata.creationTimestamp", 0});
  return out;
}

json::Value table_columns(const KindInfo& kind) {
  json::Array a;
  if (kind.resource().kind != "Event") a.push_back(column("Name", "string", "name", kNameDescription, 0));
  bool age_given = false;
  for (const Column& c : kind.columns) {
    age_given = true;
    a.push_back(column(c.name, !kind.crd && c.type == "date" ? "string" : c.type, c.name == "Name" ? "name" : "", "", c.priority));
  }
  if (!age_given) a.push_back(column("Age", kind.crd ? "date" : "string", "", "When the object was created.", 0));
  return a;
}

json::Value table_columns(const std::vector<CustomColumn>& columns) {
  json::Array a;
  a.push_back(column("Name", "string", "name", kNameDescription, 0));
  for (auto& c : columns) a.push_back(column(c.name, c.type, c.format, c.description, c.priority));
  return a;
}

json::Value table_cells(const KindInfo& kind, const json::Value& object, Time now) {
  json::Array cells;
  if (kind.resource().kind != "Event") cells.push_back(object["metadata"]["name"].as_string());
  if (kind.columns.empty()) {
    cells.push_back(age(object["metadata"]["creationTimestamp"], now));
    return cells;
  }
  thread_local std::map<const char*, JsonPath> parsed;
  for (const Column& c : kind.columns) {
    if (c.source.starts_with("@")) {
      cells.push_back(print_cell(kind, c.source.substr(1), object, now));
      continue;
    }
    auto it = parsed.find(c.source.data());
    if (it == parsed.end()) {
      auto p = JsonPath::parse(c.source);
      it = parsed.emplace(c.source.data(), p.ok() ? std::move(*p) : JsonPath()).first;
    }
    if (!kind.crd && c.name == "Created At") cells.push_back(object["metadata"]["creationTimestamp"]);
    else cells.push_back(cell(it->second, c.type, object, now, kind.crd));
  }
  return cells;
}

json::Value table_cells(const std::vector<CustomColumn>& columns, const json::Value& object, Time now) {
  json::Array cells;
  cells.push_back(object["metadata"]["name"].as_string());
  for (auto& c : columns) {
    auto p = JsonPath::parse(c.json_path);
    cells.push_back(p.ok() ? cell(*p, c.type, object, now, true) : json::Value());
  }
  return cells;
}

}  // namespace caravel::kube
