// Tables that describe the generated structs: what the codecs, patches, schemas and OpenAPI walk over.
// They are constants, built at compile time from schema/*.schema; nothing here owns memory.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "kube/codec.h"

namespace caravel::kube {

// What a value is. kInt is an int64 whose OpenAPI has no format; kJson is any JSON, kObject any JSON
// object; kStrings is a list of strings that protobuf wraps in a message of its own.
enum class Scalar : uint8_t {
  kString,
  kBool,
  kInt32,
  kInt64,
  kInt,
  kDouble,
  kBytes,
  kTime,
  kMicroTime,
  kDuration,
  kQuantity,
  kIntOrString,
  kJson,
  kObject,
  kStrings,
  kStruct
};
// How it is held: T, std::optional<T>, Box<T>, std::vector<T>, std::map<std::string, T>.
enum class Shape : uint8_t { kValue,
                             kOptional,
                             kBox,
                             kList,
                             kMap };

// Type-erased access to a container member.
struct ContainerOps {
  size_t (*size)(const void*);                                                                                   // items; 0 or 1 for optional and Box
  const void* (*at)(const void*, size_t);                                                                        // of a list, optional, Box
  void* (*append)(void*);                                                                                        // list: adds one; optional, Box: emplaces
  void* (*insert)(void*, std::string key);                                                                       // map: adds or finds
  void (*each)(const void*, void* context, void (*)(void* context, const std::string& key, const void* value));  // map, in key order
  void (*clear)(void*);
  void (*reserve)(void*, size_t);  // room in a list
};

struct TypeInfo;

// Facts that few fields have.
struct FieldFacts {
  static constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  std::string_view description;
  std::string_view default_json;                  // JSON text; "" when there is none
  std::span<const std::string_view> enum_values;  // of the value, or of the items of a list
  std::string_view patch_strategy, merge_key;     // strategic merge: "merge", "replace", "merge,retainKeys"
  std::string_view list_type, list_map_keys;      // "atomic" "set" "map"; "port,protocol"
  std::string_view map_type;                      // "atomic" "granular"
  std::string_view format, pattern, item_pattern, item_map_type;
  double minimum = kNone, maximum = kNone;
  int64_t min_length = -1, max_length = -1, item_min_length = -1, item_max_length = -1;
  int64_t min_items = -1, max_items = -1, min_properties = -1, max_properties = -1;
};

struct FieldInfo {
  enum Flags : uint16_t {
    kRequired = 1,   // must be given
    kOmitEmpty = 2,  // left out of JSON when empty (structs held by value are written all the same, as Go does)
    kOmitZero = 4,   // left out when it is a struct or time held by value and empty
    kInline = 8,     // a base struct whose members appear as ours in JSON, and as message `number` in protobuf
    kPreserve = 16,  // unknown members are kept
    kEmbedded = 32,  // a whole object with apiVersion and kind
    kNullable = 64,
  };
  json::Name name;  // in JSON
  size_t offset;
  uint16_t number;  // in protobuf; 0: not there
  Scalar scalar;
  Shape shape;
  uint16_t flags;
  const TypeInfo* type;     // of kStruct
  const ContainerOps* ops;  // null for kValue
  const FieldFacts* more;   // null when there are none

  bool has(Flags f) const { return (flags & f) != 0; }
  const FieldFacts& facts() const {
    static constexpr FieldFacts none;
    return more ? *more : none;
  }
};

// Types whose JSON is not an object of their members.
enum class Special : uint8_t { kNone,
                               kSchemaOrArray,
                               kSchemaOrBool,
                               kSchemaOrStrings };

struct TypeInfo {
  std::string_view name;         // "PodSpec"
  std::string_view ns;           // "core": the generated namespace
  std::string_view api_version;  // "v1" for kinds and other top-level objects, else ""
  std::string_view kind;         // likewise
  std::span<const FieldInfo> fields;
  void* (*create)();
  void (*destroy)(void*);
  Special special;
  std::string_view description;

  // By JSON name, also among inlined members; `base` gets the offset to add to the field's own.
  const FieldInfo* find(std::string_view json_name, size_t* base = nullptr) const;
  // The same for members of a document one after another: `next` is where the last one was found and the next one is likely.
  const FieldInfo* find(const json::Key& json_name, size_t* base, size_t& next) const;
};

// Decodes into a fresh struct of the type and encodes it again: the canonical form in which upstream's
// server stores and returns a built-in object (order of fields, unknown ones dropped, empty ones left
// out or written as its types do).
// `unknown`, when given, gets the paths of the fields that the types do not have ("spec.containers[0].foo"), in their order.
Result<json::Value> canonical_json(const TypeInfo& type, const json::Value& value, std::vector<std::string>* unknown = nullptr);

// ---- used by generated code ----

template <class T>
void* create_of() {
  return new T();
}
template <class T>
void destroy_of(void* p) {
  delete static_cast<T*>(p);
}

template <class C>
struct OpsOf {
  static constexpr bool kIsMap = requires { typename C::mapped_type; };
  static constexpr bool kIsOptional = !kIsMap && requires(C c) { c.has_value(); };

  static size_t size(const void* p) {
    const C& c = *static_cast<const C*>(p);
    if constexpr (kIsOptional) return c.has_value() ? 1 : 0;
    else return c.size();
  }
  static const void* at(const void* p, size_t i) {
    const C& c = *static_cast<const C*>(p);
    if constexpr (kIsMap) return (void)c, (void)i, nullptr;
    else if constexpr (kIsOptional) return (void)i, &*c;
    else return &c[i];
  }
  static void* append(void* p) {
    C& c = *static_cast<C*>(p);
    if constexpr (kIsMap) return (void)c, nullptr;
    else if constexpr (kIsOptional) return &c.emplace();
    else return c.emplace_back(), &c.back();
  }
  static void* insert(void* p, std::string key) {
    C& c = *static_cast<C*>(p);
    if constexpr (kIsMap) return &c[std::move(key)];
    else return (void)c, nullptr;
  }
  static void each(const void* p, void* context, void (*f)(void*, const std::string&, const void*)) {
    const C& c = *static_cast<const C*>(p);
    if constexpr (kIsMap) {
      for (auto& [k, v] : c) f(context, k, &v);
    } else {
      (void)c, (void)context, (void)f;
    }
  }
  static void clear(void* p) {
    C& c = *static_cast<C*>(p);
    if constexpr (kIsOptional) c.reset();
    else c.clear();
  }
  static void reserve(void* p, size_t n) {
    if constexpr (requires(C c) { c.reserve(n); }) static_cast<C*>(p)->reserve(n);
    else (void)p, (void)n;
  }
};
template <class C>
inline constexpr ContainerOps ops_of{&OpsOf<C>::size, &OpsOf<C>::at, &OpsOf<C>::append, &OpsOf<C>::insert, &OpsOf<C>::each, &OpsOf<C>::clear, &OpsOf<C>::reserve};

}  // namespace caravel::kube
