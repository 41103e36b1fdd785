// Walks over objects with a schema that make field sets: shared by field_set.cc and apply.cc.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "kube/apply.h"

namespace caravel::kube::fields {

using Node = FieldSet::Node;

// How a value of this schema is owned: as a whole, by members, by keyed items, or by values.
enum class Kind { kLeaf,
                  kStruct,
                  kListMap,
                  kListSet };
Kind kind_of(const Schema* schema, const json::Value& value);
// The schema of a member; `declared` tells a struct's field from a map's key.
const Schema* member_schema(const Schema* schema, std::string_view name, bool* declared = nullptr);
// "k:{...}" or "v:..." of an item.
std::string item_key(const Schema& list, const json::Value& item, Kind kind);

// Adds every field of `value` under `node` (which stands for the value itself).
void collect(const Schema* schema, const json::Value& value, Node& node);
// The same as fieldsV1 text would have it, of a whole object and without members of the root and of its metadata that these
// lists name: what a creator owns, without a set in between. `base` is what an object has to which nothing was given. Null
// when keys come twice.
struct Unowned {
  std::vector<std::string_view> root, metadata;
};
json::Value created_fields_v1(const Schema& schema, const json::Value& object, const json::Value& base, const Unowned& unowned);
struct Difference {
  Node added, modified, removed;
};
// a and b may be null pointers (absent).
void compare(const Schema* schema, const json::Value& a, const json::Value& b, Difference& out);

bool empty(const Node& n);
Node unite(const Node& a, const Node& b);
void unite_into(Node& a, Node&& b);
Node intersect(const Node& a, const Node& b);
Node subtract(const Node& a, const Node& b);

}  // namespace caravel::kube::fields
