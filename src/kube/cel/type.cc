#include "kube/cel/type.h"

namespace caravel::kube::cel {

namespace {
TypePtr composite(Type::Kind kind, TypePtr key, TypePtr item) {
  auto t = std::make_shared<Type>();
  t->kind = kind;
  t->key = std::move(key);
  t->item = std::move(item);
  return t;
}
bool compatible_parts(const TypePtr& a, const TypePtr& b) { return !a || !b || compatible(*a, *b); }
std::string part(const TypePtr& t) { return t ? type_text(*t) : "dyn"; }
}  // namespace

TypePtr simple_type(Type::Kind kind) { return composite(kind, nullptr, nullptr); }
TypePtr list_type(TypePtr item) { return composite(Type::Kind::kList, nullptr, std::move(item)); }
TypePtr map_type(TypePtr key, TypePtr value) { return composite(Type::Kind::kMap, std::move(key), std::move(value)); }
TypePtr optional_type(TypePtr item) { return composite(Type::Kind::kOptional, nullptr, std::move(item)); }

std::string type_text(const Type& t) {
  switch (t.kind) {
    case Type::Kind::kDyn: return "dyn";
    case Type::Kind::kNull: return "null";
    case Type::Kind::kBool: return "bool";
    case Type::Kind::kInt: return "int";
    case Type::Kind::kUint: return "uint";
    case Type::Kind::kDouble: return "double";
    case Type::Kind::kString: return "string";
    case Type::Kind::kBytes: return "bytes";
    case Type::Kind::kList: return "list(" + part(t.item) + ")";
    case Type::Kind::kMap: return "map(" + part(t.key) + ", " + part(t.item) + ")";
    case Type::Kind::kObject: return t.name.empty() ? "object" : t.name;
    case Type::Kind::kOpaque: return t.name;
    case Type::Kind::kDuration: return "google.protobuf.Duration";
    case Type::Kind::kTimestamp: return "google.protobuf.Timestamp";
    case Type::Kind::kType: return "type";
    case Type::Kind::kOptional: return "optional_type(" + part(t.item) + ")";
    case Type::Kind::kQuantity: return "kubernetes.Quantity";
    case Type::Kind::kUrl: return "kubernetes.URL";
    case Type::Kind::kIp: return "net.IP";
    case Type::Kind::kCidr: return "net.CIDR";
    case Type::Kind::kSemver: return "kubernetes.Semver";
    case Type::Kind::kFormat: return "kubernetes.NamedFormat";
  }
  return "dyn";
}

bool compatible(const Type& a, const Type& b) {
  using enum Type::Kind;
  if (a.kind == kDyn || b.kind == kDyn) return true;
  auto takes_null = [](const Type& t) { return t.kind == kObject || t.kind == kDuration || t.kind == kTimestamp || t.kind == kOptional; };
  if (a.kind == kNull) return b.kind == kNull || takes_null(b);
  if (b.kind == kNull) return takes_null(a);
  if (a.kind != b.kind) return false;
  if (a.kind == kOpaque) return a.name == b.name;
  if (a.kind == kObject) return &a == &b || (!a.name.empty() && a.name == b.name) || a.fields.size() == b.fields.size();
  return compatible_parts(a.key, b.key) && compatible_parts(a.item, b.item);
}

}  // namespace caravel::kube::cel
