// Types of CEL, as far as they are known before evaluation. `dyn` is everything that is not known.
#pragma once

#include <map>
#include <memory>
#include <string>

namespace caravel::kube::cel {

struct Type;
using TypePtr = std::shared_ptr<const Type>;

struct Type {
  enum class Kind { kDyn,
                    kNull,
                    kBool,
                    kInt,
                    kUint,
                    kDouble,
                    kString,
                    kBytes,
                    kList,
                    kMap,
                    kObject,
                    kDuration,
                    kTimestamp,
                    kType,
                    kOptional,
                    kQuantity,
                    kUrl,
                    kIp,
                    kCidr,
                    kSemver,
                    kFormat,
                    kOpaque };
  Kind kind = Kind::kDyn;
  TypePtr item;                           // of lists, maps and optionals; null: dyn
  TypePtr key;                            // of maps; null: dyn
  std::map<std::string, TypePtr> fields;  // of objects and opaque values, by the name that expressions use
  std::string name;                       // of objects and opaque values, where messages show one
  // Of opaque values. `arguments` are letters as functions.h has them; the result is looked up late, for types
  // may give themselves.
  struct Method {
    std::string arguments;
    TypePtr (*result)() = nullptr;
  };
  std::map<std::string, Method> methods;
};

TypePtr simple_type(Type::Kind kind);
TypePtr list_type(TypePtr item);
TypePtr map_type(TypePtr key, TypePtr value);
TypePtr optional_type(TypePtr item);

std::string type_text(const Type& t);  // "list(string)"
// A value of one may stand where the other is expected; dyn stands for anything.
bool compatible(const Type& a, const Type& b);

}  // namespace caravel::kube::cel
