// Typed structs to and from JSON, by table.
#include <cstring>
#include <utility>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/informer.h"
#include "kube/int_or_string.h"
#include "kube/quantity.h"
#include "kube/type_info.h"
#include "kube/types/meta.h"
#include "kube/wrong_types.h"

namespace caravel::kube {

namespace {

template <class T>
const T& as(const void* p) {
  return *static_cast<const T*>(p);
}
template <class T>
T& as(void* p) {
  return *static_cast<T*>(p);
}
const void* at(const void* p, size_t offset) { return static_cast<const char*>(p) + offset; }
void* at(void* p, size_t offset) { return static_cast<char*>(p) + offset; }

json::Value encode_struct(const TypeInfo& type, const void* object, bool with_kind);

json::Value encode_scalar(const FieldInfo& f, const void* p, bool with_kind) {
  switch (f.scalar) {
    case Scalar::kString: return as<std::string>(p);
    case Scalar::kBool: return as<bool>(p);
    case Scalar::kInt32: return as<int32_t>(p);
    case Scalar::kInt64:
    case Scalar::kInt: return as<int64_t>(p);
    case Scalar::kDouble: return as<double>(p);
    case Scalar::kBytes: return base64_encode(as<std::string>(p));
    case Scalar::kTime: return as<Time>(p).is_zero() ? json::Value() : json::Value(format_rfc3339(as<Time>(p)));
    case Scalar::kMicroTime: return as<Time>(p).is_zero() ? json::Value() : json::Value(format_rfc3339_micro(as<Time>(p)));
    case Scalar::kDuration: return format_duration(as<Duration>(p));
    case Scalar::kQuantity: return as<Quantity>(p).text();
    case Scalar::kIntOrString: return as<IntOrString>(p).to_json();
    case Scalar::kJson:
    case Scalar::kObject: return as<json::Value>(p);
    case Scalar::kStrings: {
      json::Array a;
      for (auto& s : as<std::vector<std::string>>(p)) a.push_back(s);
      return a;
    }
    case Scalar::kStruct: return encode_struct(*f.type, p, with_kind);
  }
  return {};
}

bool is_empty(Scalar scalar, const void* p) {
  switch (scalar) {
    case Scalar::kString:
    case Scalar::kBytes: return as<std::string>(p).empty();
    case Scalar::kBool: return !as<bool>(p);
    case Scalar::kInt32: return as<int32_t>(p) == 0;
    case Scalar::kInt64:
    case Scalar::kInt: return as<int64_t>(p) == 0;
    case Scalar::kDouble: return as<double>(p) == 0;
    case Scalar::kJson:
    case Scalar::kObject: return as<json::Value>(p).is_null();
    case Scalar::kStrings: return as<std::vector<std::string>>(p).empty();
    // Go's omitempty never leaves out a struct held by value.
    default: return false;
  }
}

// A field that is written, as far as one can tell before its value is encoded.
struct Present {
  const FieldInfo* field;
  const void* at;
};
bool is_present(const FieldInfo& f, const void* p) {
  const bool omit = f.has(FieldInfo::kOmitEmpty);
  if (f.shape == Shape::kValue) return !omit || !is_empty(f.scalar, p);
  return !omit || f.ops->size(p) != 0;
}

void encode_field(const FieldInfo& f, const void* p, json::Object& out) {
  switch (f.shape) {
    case Shape::kValue: {
      json::Value v = encode_scalar(f, p, true);
      if (f.has(FieldInfo::kOmitZero) && (v.is_null() || (f.scalar == Scalar::kStruct && v.size() == 0))) return;
      out.append(f.name, std::move(v));
      return;
    }
    case Shape::kOptional:
    case Shape::kBox: out.append(f.name, f.ops->size(p) ? encode_scalar(f, f.ops->at(p, 0), true) : json::Value()); return;
    case Shape::kList: {
      const size_t n = f.ops->size(p);
      json::Array a;
      a.reserve(n);
      for (size_t i = 0; i < n; ++i) a.push_back(encode_scalar(f, f.ops->at(p, i), true));
      out.append(f.name, std::move(a));
      return;
    }
    case Shape::kMap: {
      struct Context {
        json::Object object;
        const FieldInfo* field;
      } c{{}, &f};
      c.object.reserve(f.ops->size(p));
      f.ops->each(p, &c, [](void* context, const std::string& key, const void* value) {
        auto& c = *static_cast<Context*>(context);
        c.object.append(key, encode_scalar(*c.field, value, true));
      });
      out.append(f.name, std::move(c.object));
      return;
    }
  }
}

// A list's items carry no kind of their own; other objects inside objects do (volumeClaimTemplates).
void encode_fields(const TypeInfo& type, const void* object, json::Object& out) {
  constexpr size_t kBatch = 64;
  Present batch[kBatch];  // few of a type's fields are set: room for just those
  size_t n = 0;
  auto write = [&] {
    out.reserve(out.size() + n);
    for (size_t i = 0; i < n; ++i) encode_field(*batch[i].field, batch[i].at, out);
    n = 0;
  };
  for (const FieldInfo& f : type.fields) {
    const void* p = at(object, f.offset);
    if (f.has(FieldInfo::kInline)) {
      write();
      encode_fields(*f.type, p, out);
    } else if (is_present(f, p)) {
      batch[n++] = {&f, p};
      if (n == kBatch) write();
    }
  }
  write();
}

json::Value encode_special(const TypeInfo& type, const void* object) {
  json::Object o;
  encode_fields(type, object, o);
  if (const json::Value* schema = o.find("Schema"); schema && !schema->is_null()) return *schema;
  if (type.special == Special::kSchemaOrBool) return o["Allows"].as_bool();
  if (type.special == Special::kSchemaOrArray) return o["JSONSchemas"];
  return o["Property"];
}

json::Value encode_struct(const TypeInfo& type, const void* object, bool with_kind) {
  if (type.special != Special::kNone) return encode_special(type, object);
  json::Object out;
  if (with_kind && !type.kind.empty()) {
    out.reserve(6);
    out.append("kind", type.kind);
    out.append("apiVersion", type.api_version);
  }
  encode_fields(type, object, out);
  return out;
}

// ---- decode ----

std::string_view json_type(const json::Value& v) {
  switch (v.type()) {
    case json::Type::kNull: return "null";
    case json::Type::kBool: return "bool";
    case json::Type::kInt:
    case json::Type::kDouble: return "number";
    case json::Type::kString: return "string";
    case json::Type::kArray: return "array";
    case json::Type::kObject: return "object";
  }
  return "";
}

// Where in the document a value is: a member, an item, or an entry of a map.
struct Step {
  const Step* up;
  const TypeInfo* type;  // of a member: the struct that has it
  std::string_view name;
  size_t index;
  enum { kMember,
         kItem,
         kEntry } what;
};

struct Decoder {
  const Step* here = nullptr;  // the member being read
  std::vector<std::string>* unknown = nullptr;
  const TypeInfo* root = nullptr;
  const TypeInfo* meta = nullptr;  // of ObjectMeta, when managedFields are left out
  Error error;
  bool failed = false;

  // "spec.template.spec.containers"; as upstream's decoder has it, with base structs ("volumes.VolumeSource.emptyDir") and
  // without items and entries, unless these are `all` wanted.
  static void path_to(const Step* s, bool all, std::string& out) {
    if (!s) return;
    path_to(s->up, all, out);
    if (s->what == Step::kItem) {
      if (all) out += "[" + std::to_string(s->index) + "]";
    } else if (all || s->what == Step::kMember) {
      if (!all)
        for (auto base : inline_path(*s->type, s->name)) out += (out.empty() ? "" : ".") + std::string(base);
      if (!out.empty()) out += '.';
      out += s->name;
    }
  }
  std::string path(bool all = false) const {
    std::string out;
    path_to(here, all, out);
    return out;
  }

  bool wrong(const TypeInfo& owner, const FieldInfo& f, const json::Value& v, bool element) {
    const bool takes_number = f.scalar == Scalar::kInt32 || f.scalar == Scalar::kInt64 || f.scalar == Scalar::kInt || f.scalar == Scalar::kDouble || f.scalar == Scalar::kIntOrString;
    const bool whole = !element && (f.shape == Shape::kList || f.shape == Shape::kMap);
    std::string what(json_type(v));
    if (v.is_number() && takes_number && !whole) what += " " + json::dump(v);
    return fail("json: cannot unmarshal " + what + " into Go struct field " + std::string(owner.name) + "." + path() + " of type " +
                go_type(owner, f, element || !whole, *root));
  }
  bool fail(std::string message) {
    failed = true;
    error = make_error(Code::kBadRequest, std::move(message));
    return false;
  }

  bool scalar(const TypeInfo& owner, const FieldInfo& f, const json::Value& v, void* p, bool element) {
    switch (f.scalar) {
      case Scalar::kString:
        if (!v.is_string()) return wrong(owner, f, v, element);
        as<std::string>(p) = v.as_string();
        return true;
      case Scalar::kBool:
        if (!v.is_bool()) return wrong(owner, f, v, element);
        as<bool>(p) = v.as_bool();
        return true;
      case Scalar::kInt32:
      case Scalar::kInt64:
      case Scalar::kInt: {
        if (!v.is_number()) return wrong(owner, f, v, element);
        int64_t n = v.as_int(INT64_MIN);
        if (!v.is_int() && n == INT64_MIN) return wrong(owner, f, v, element);
        if (f.scalar == Scalar::kInt32) {
          if (n < INT32_MIN || n > INT32_MAX) return wrong(owner, f, v, element);
          as<int32_t>(p) = static_cast<int32_t>(n);
        } else {
          as<int64_t>(p) = n;
        }
        return true;
      }
      case Scalar::kDouble:
        if (!v.is_number()) return wrong(owner, f, v, element);
        as<double>(p) = v.as_double();
        return true;
      case Scalar::kBytes: {
        if (!v.is_string()) return wrong(owner, f, v, element);
        auto bytes = base64_decode(v.as_string());
        if (!bytes) return fail(go_base64_problem(v.as_string()));
        as<std::string>(p) = std::move(*bytes);
        return true;
      }
      case Scalar::kTime:
      case Scalar::kMicroTime: {
        if (!v.is_string()) return wrong(owner, f, v, element);
        auto t = parse_rfc3339(v.as_string());
        if (!t.ok()) return fail(go_time_problem(v.as_string(), f.scalar == Scalar::kMicroTime));
        as<Time>(p) = f.scalar == Scalar::kTime ? Time{t->ns - t->ns % 1'000'000'000} : *t;
        return true;
      }
      case Scalar::kDuration: {
        if (!v.is_string()) return wrong(owner, f, v, element);
        auto d = parse_duration(v.as_string());
        if (!d.ok()) return fail("time: invalid duration " + json::quote(v.as_string()));
        as<Duration>(p) = *d;
        return true;
      }
      case Scalar::kQuantity: {
        auto q = Quantity::parse(v.is_string() ? trim(v.as_string()) : json::dump(v));
        if (!q.ok()) return fail(q.error().message);
        as<Quantity>(p) = *q;
        return true;
      }
      case Scalar::kIntOrString:
        if (v.is_string()) {
          as<IntOrString>(p) = IntOrString(v.as_string());
        } else {
          int64_t n = v.as_int(INT64_MIN);
          if (!v.is_number() || n < INT32_MIN || n > INT32_MAX) return wrong(owner, f, v, element);
          as<IntOrString>(p) = IntOrString(static_cast<int>(n));
        }
        return true;
      case Scalar::kObject:
        if (!v.is_object() && !v.is_null()) return wrong(owner, f, v, element);
        [[fallthrough]];
      case Scalar::kJson: as<json::Value>(p) = v; return true;
      case Scalar::kStrings: {
        if (!v.is_array()) return wrong(owner, f, v, element);
        auto& out = as<std::vector<std::string>>(p);
        out.clear();
        out.reserve(v.size());
        for (auto& i : v.as_array()) {
          if (!i.is_string()) return wrong(owner, f, i, true);
          out.push_back(i.as_string());
        }
        return true;
      }
      case Scalar::kStruct:
        if (f.type->special != Special::kNone) return special(*f.type, v, p);
        if (!v.is_object()) return wrong(owner, f, v, element);
        return object(*f.type, v.as_object(), p);
    }
    return true;
  }

  bool special(const TypeInfo& type, const json::Value& v, void* p) {
    json::Object o;
    if (v.is_bool()) o.append("Allows", v);
    else if (v.is_array()) o.append(type.special == Special::kSchemaOrArray ? "JSONSchemas" : "Property", v);
    else {
      if (type.special == Special::kSchemaOrBool) o.append("Allows", true);
      o.append("Schema", v);
    }
    auto* const reported = std::exchange(unknown, nullptr);  // schemas are checked by themselves
    const bool good = object(type, o, p);
    unknown = reported;
    return good;
  }

  bool field(const TypeInfo& owner, const FieldInfo& f, const json::Value& v, void* p) {
    // null leaves what is there, as in Go; for JSON values it is a value.
    if (v.is_null() && f.scalar != Scalar::kJson) {
      if (f.shape != Shape::kValue) f.ops->clear(p);
      return true;
    }
    switch (f.shape) {
      case Shape::kValue: return scalar(owner, f, v, p, false);
      case Shape::kOptional:
      case Shape::kBox: return v.is_null() ? true : scalar(owner, f, v, f.ops->append(p), false);
      case Shape::kList: {
        f.ops->clear(p);
        if (v.is_null()) return true;
        if (!v.is_array()) return wrong(owner, f, v, false);
        f.ops->reserve(p, v.size());
        Step step{here, nullptr, {}, 0, Step::kItem};
        here = &step;
        for (auto& item : v.as_array()) {
          void* slot = f.ops->append(p);
          if ((!item.is_null() || f.scalar == Scalar::kJson) && !scalar(owner, f, item, slot, true)) return false;
          ++step.index;
        }
        here = step.up;
        return true;
      }
      case Shape::kMap: {
        f.ops->clear(p);
        if (v.is_null()) return true;
        if (!v.is_object()) return wrong(owner, f, v, false);
        Step step{here, nullptr, {}, 0, Step::kEntry};
        here = &step;
        for (auto& m : v.as_object()) {
          step.name = m.key;
          void* slot = f.ops->insert(p, m.key);
          if ((!m.value.is_null() || f.scalar == Scalar::kJson) && !scalar(owner, f, m.value, slot, true)) return false;
        }
        here = step.up;
        return true;
      }
    }
    return true;
  }

  bool object(const TypeInfo& type, const json::Object& o, void* p) {
    Step step{here, &type, {}, 0, Step::kMember};
    size_t next = 0;
    for (auto& m : o) {
      size_t base = 0;
      const FieldInfo* f = type.find(m.key, &base, next);
      step.name = m.key;
      here = &step;
      if (f) {
        if (&type == meta && m.key == "managedFields") continue;
        if (!field(type, *f, m.value, at(p, base + f->offset))) return false;
      } else if (unknown && m.key != "kind" && m.key != "apiVersion") {
        unknown->push_back(path(true));
      }
    }
    here = step.up;
    return true;
  }
};

}  // namespace

const FieldInfo* TypeInfo::find(std::string_view json_name, size_t* base) const {
  for (const FieldInfo& f : fields) {
    if (f.has(FieldInfo::kInline)) {
      size_t inner = 0;
      if (const FieldInfo* g = f.type->find(json_name, &inner)) {
        if (base) *base = f.offset + inner;
        return g;
      }
    } else if (f.name == json_name) {
      if (base) *base = 0;
      return &f;
    }
  }
  return nullptr;
}

const FieldInfo* TypeInfo::find(const json::Key& json_name, size_t* base, size_t& next) const {
  for (size_t i = 0, n = fields.size(); i < n; ++i) {
    const size_t at = next + i < n ? next + i : next + i - n;
    const FieldInfo& f = fields[at];
    if (f.has(FieldInfo::kInline)) {
      size_t inner = 0, first = 0;
      const FieldInfo* g = f.type->find(json_name, &inner, first);
      if (!g) continue;
      *base = f.offset + inner;
      next = at;
      return g;
    }
    if (json_name.is(f.name)) {
      *base = 0;
      next = at + 1 < n ? at + 1 : 0;
      return &f;
    }
  }
  return nullptr;
}

json::Value encode_json(const TypeInfo& type, const void* object) { return encode_struct(type, object, true); }

static Status decode_reporting(const TypeInfo& type, const json::Value& value, void* object, std::vector<std::string>* unknown) {
  Decoder d;
  d.root = &type;
  d.unknown = unknown;
  if (type.special != Special::kNone) {
    d.special(type, value, object);
  } else if (!value.is_object()) {
    d.fail("json: cannot unmarshal " + std::string(json_type(value)) + " into Go value of type " + go_type(type, type));
  } else {
    d.object(type, value.as_object(), object);
  }
  if (d.failed) return std::move(d.error);
  return ok();
}

Status decode_for_readers(const TypeInfo& type, const json::Value& value, void* object) {
  Decoder d;
  d.root = &type;
  d.meta = &meta::ObjectMeta::type_info();
  if (!value.is_object()) d.fail("json: cannot unmarshal " + std::string(json_type(value)) + " into Go value of type " + go_type(type, type));
  else d.object(type, value.as_object(), object);
  if (d.failed) return std::move(d.error);
  return ok();
}

Status decode_json(const TypeInfo& type, const json::Value& value, void* object) { return decode_reporting(type, value, object, nullptr); }

Result<json::Value> canonical_json(const TypeInfo& type, const json::Value& value, std::vector<std::string>* unknown) {
  void* object = type.create();
  Status s = decode_reporting(type, value, object, unknown);
  Result<json::Value> out = s.ok() ? Result<json::Value>(encode_json(type, object)) : Result<json::Value>(std::move(s).error());
  type.destroy(object);
  return out;
}

}  // namespace caravel::kube
