#include "kube/cel/schema_type.h"

#include "kube/cel/object_schema.h"

namespace caravel::kube::cel {

namespace {

constexpr int kDeepest = 16;  // schemas of schemas have no end

TypePtr of(const Schema& s, int depth) {
  using K = Type::Kind;
  if (depth > kDeepest) return simple_type(K::kDyn);
  switch (s.type) {
    case Schema::Type::kBoolean: return simple_type(K::kBool);
    case Schema::Type::kInteger: return simple_type(K::kInt);
    case Schema::Type::kNumber: return simple_type(K::kDouble);
    case Schema::Type::kString: return s.format.empty() ? simple_type(K::kString) : simple_type(K::kDyn);
    case Schema::Type::kArray: return list_type(s.items ? of(*s.items, depth + 1) : nullptr);
    case Schema::Type::kObject: break;
    case Schema::Type::kAny:
    case Schema::Type::kIntOrString: return simple_type(K::kDyn);
  }
  if (s.preserve_unknown || s.embedded) return simple_type(K::kDyn);
  if (s.additional) return map_type(simple_type(K::kString), of(*s.additional, depth + 1));
  if (s.properties.empty()) return simple_type(K::kDyn);
  auto t = std::make_shared<Type>();
  t->kind = K::kObject;
  t->name = "object";
  for (auto& [name, p] : s.properties)
    if (auto expression_name = escape_property(name)) t->fields[*expression_name] = of(*p, depth + 1);
  return t;
}

}  // namespace

TypePtr type_of_schema(const Schema& schema) { return of(schema, 0); }

}  // namespace caravel::kube::cel
