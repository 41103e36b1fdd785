#include "kube/table_printers.h"

#include <algorithm>

#include "base/strings.h"

namespace caravel::kube {

std::string age_text(const json::Value& timestamp, Time now) {
  auto t = parse_rfc3339(timestamp.as_string());
  if (!t.ok() || t->is_zero()) return "<unknown>";
  return human_duration(now - *t);
}

std::string or_none(std::string s) { return s.empty() ? "<none>" : s; }

std::string labels_text(const json::Value& labels) {
  std::vector<std::string> parts;
  for (auto& m : labels.as_object()) parts.push_back(m.key + "=" + m.value.as_string());
  std::sort(parts.begin(), parts.end());
  return or_none(join(parts, ","));
}

std::string selector_text(const json::Value& selector) {
  std::vector<std::string> parts;
  for (auto& m : selector["matchLabels"].as_object()) parts.push_back(m.key + "=" + m.value.as_string());
  std::sort(parts.begin(), parts.end());
  for (auto& e : selector["matchExpressions"].as_array()) {
    const std::string &key = e["key"].as_string(), &op = e["operator"].as_string();
    std::vector<std::string> values;
    for (auto& v : e["values"].as_array()) values.push_back(v.as_string());
    std::sort(values.begin(), values.end());
    if (op == "In") parts.push_back(key + " in (" + join(values, ",") + ")");
    else if (op == "NotIn") parts.push_back(key + " notin (" + join(values, ",") + ")");
    else if (op == "Exists") parts.push_back(key);
    else parts.push_back("!" + key);
  }
  return or_none(join(parts, ","));
}

json::Value print_cell(const KindInfo& kind, std::string_view name, const json::Value& o, Time now) {
  const std::string& k = kind.resource().kind;
  if (k == "Pod") return print_pod(name, o, now);
  json::Value v = print_workload(k, name, o, now);
  if (v.is_null()) v = print_network(k, name, o);
  if (v.is_null()) v = print_cluster(k, name, o, now);
  if (v.is_null()) v = print_storage(k, name, o);
  if (v.is_null()) v = print_policy(k, name, o, now);
  return v;
}

}  // namespace caravel::kube
