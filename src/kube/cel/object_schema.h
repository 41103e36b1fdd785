// openAPIV3Schema as CEL sees it: the type of `self`, and values of the API as values of CEL.
//
// Properties are named as expressions must write them ("foo-bar" is foo__dash__bar, "namespace" is
// __namespace__); a name that cannot be written is not visible, nor is what the schema does not know.
// Texts of format byte, date, date-time and duration are bytes, timestamps and durations; int-or-string is dyn.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "kube/cel/type.h"
#include "kube/cel/value.h"

namespace caravel::kube::cel {

inline constexpr uint64_t kMaxRequestBytes = 3 * 1024 * 1024;  // no value is longer

struct ObjectSchema {
  std::string type, format;
  bool int_or_string = false, preserve_unknown = false, nullable = false;
  struct Property {
    std::string name;
    std::optional<std::string> expression_name;  // none: not visible
    std::shared_ptr<const ObjectSchema> schema;
  };
  std::vector<Property> properties;
  std::shared_ptr<const ObjectSchema> additional, items;
  List::Style list = List::Style::kPlain;
  bool atomic = true;  // of lists: items of the old and the new one are not correlated
  std::vector<std::string> list_keys;
  TypePtr cel_type;  // null: nothing is known, rules cannot be declared here

  // Bounds, for estimates of cost. -1: not declared.
  int64_t max_items = -1, max_properties = -1, max_length = -1, longest_enum = -1;
  bool has_default = false;
  std::vector<std::string> required;
  uint64_t max_elements = 0;  // characters, items or entries that a request may hold here
  uint64_t min_bytes = 0;     // of the smallest value, as JSON

  const Property* property(std::string_view name) const;
};

// How expressions write a property's name.
std::optional<std::string> escape_property(std::string_view name);
// The node itself, without children: the caller adds them and calls finish_schema_node().
ObjectSchema read_schema_node(const json::Value& node);
// Adds apiVersion, kind and metadata{name, generateName}: at roots and in embedded resources.
void add_object_fields(ObjectSchema& schema);
// Sets cel_type, once the children are complete.
void finish_schema_node(ObjectSchema& schema);

Value to_cel(const ObjectSchema& schema, const json::Value& v);

}  // namespace caravel::kube::cel
