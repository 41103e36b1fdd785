// kubectl's tables: columnDefinitions and rows for any kind, built in or custom.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"
#include "kube/kinds.h"

namespace caravel::kube {

// A column of a custom resource (additionalPrinterColumns).
struct CustomColumn {
  std::string name, type, format, description, json_path;
  int priority = 0;
};
std::vector<CustomColumn> custom_columns(const json::Value& additional_printer_columns);  // none given: Age

// columnDefinitions of a meta.k8s.io/v1 Table.
json::Value table_columns(const KindInfo& kind);
json::Value table_columns(const std::vector<CustomColumn>& columns);
// The cells of a row (a JSON array), in the order of the columns.
json::Value table_cells(const KindInfo& kind, const json::Value& object, Time now);
json::Value table_cells(const std::vector<CustomColumn>& columns, const json::Value& object, Time now);

// kubectl's JSONPath: .spec.x, [0], [*], ..x, [?(@.type=="Ready")], escaped dots; without braces.
class JsonPath {
 public:
  static Result<JsonPath> parse(std::string_view text);
  std::vector<const json::Value*> find(const json::Value& root) const;

 private:
  struct Step {
    enum Kind { kField,
                kIndex,
                kWildcard,
                kFilter,
                kRecursive } kind = kField;
    std::string name;  // field, or the left side of a filter
    int64_t index = 0;
    std::string op;  // of a filter: "==", "!=", "" (exists)
    json::Value value;
    std::vector<std::string> filter_path;
  };
  std::vector<Step> steps_;
};

}  // namespace caravel::kube
