// Schema: what the tables of built-in kinds and the openAPIV3Schema of CRDs become at run time, so that
// one code prunes, defaults, checks, patches and tracks the fields of all of them.
//
// Schemas are immutable and shared. Those of built-in types are made once and cached.
#pragma once

#include <cmath>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/kinds.h"
#include "kube/type_info.h"

namespace caravel::kube {

struct Schema;
using SchemaPtr = std::shared_ptr<const Schema>;

struct Schema {
  enum class Type { kAny,
                    kObject,
                    kArray,
                    kString,
                    kInteger,
                    kNumber,
                    kBoolean,
                    kIntOrString };
  enum class List { kUnset,
                    kAtomic,
                    kSet,
                    kMap };

  Type type = Type::kAny;
  std::string format, description;
  bool nullable = false;

  // Objects. `properties` in declaration order; `additional` describes the values of maps.
  std::vector<std::pair<json::Key, SchemaPtr>> properties;
  SchemaPtr additional;
  bool preserve_unknown = false;
  bool embedded = false;    // x-kubernetes-embedded-resource
  bool atomic_map = false;  // x-kubernetes-map-type: atomic
  std::vector<std::string> required;
  int64_t min_properties = -1, max_properties = -1;

  // Lists.
  SchemaPtr items;
  List list = List::kUnset;  // unset means atomic
  std::vector<std::string> list_map_keys;
  int64_t min_items = -1, max_items = -1;
  bool unique_items = false;

  // Scalars.
  std::vector<json::Value> enum_values;
  std::string pattern;
  int64_t min_length = -1, max_length = -1;
  double minimum = NAN, maximum = NAN, multiple_of = NAN;
  bool exclusive_minimum = false, exclusive_maximum = false;

  bool has_default = false;
  json::Value default_value;

  // Strategic merge, of built-in types: "merge", "replace", "merge,retainKeys" and the merge key.
  std::string patch_strategy, merge_key;

  std::vector<SchemaPtr> all_of, any_of, one_of;
  SchemaPtr not_schema;

  const TypeInfo* built_in = nullptr;  // of object schemas made from a table

  const Schema* property(std::string_view name) const;
};

// Of a built-in (or our custom) type. apiVersion and kind are properties of kinds. Never null.
SchemaPtr schema_of(const TypeInfo& type);
// Of a CRD's openAPIV3Schema at the root of a version: apiVersion, kind and the full ObjectMeta are added.
// An error names what is not structural.
Result<SchemaPtr> schema_from_crd(const json::Value& open_api_v3_schema);
// Of any schema node.
Result<SchemaPtr> schema_from_openapi(const json::Value& node);

// Removes what the schema does not know and names it ("spec.foo", "spec.containers[0].bar"), in order of
// appearance. Strict decoding words it: unknown field "spec.foo".
void prune(const Schema& schema, json::Value& object, std::vector<std::string>* unknown = nullptr);
// Fills in schema defaults: absent members, and null ones that are not nullable. Null ones that are neither
// nullable nor have a default go.
void set_schema_defaults(const Schema& schema, json::Value& object);
// Checks that values have the types of the schema, in the words of upstream's decoder. For CRDs upstream
// reports wrong types through validate_schema instead.
Status check_types(const Schema& schema, const json::Value& object);

}  // namespace caravel::kube
