// Typed structs to and from JSON, by table.
#include <cstring>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/int_or_string.h"
#include "kube/quantity.h"
#include "kube/type_info.h"

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

void encode_fields(const TypeInfo& type, const void* object, json::Object& out) {
  // A list's items carry no kind of their own; other objects inside objects do (volumeClaimTemplates).
  for (const FieldInfo& f : type.fields) {
    const void* p = at(object, f.offset);
    if (f.has(FieldInfo::kInline)) {
      encode_fields(*f.type, p, out);
      continue;
    }
    bool omit = f.has(FieldInfo::kOmitEmpty);
    switch (f.shape) {
      case Shape::kValue: {
        if (omit && is_empty(f.scalar, p)) continue;
        json::Value v = encode_scalar(f, p, true);
        if (f.has(FieldInfo::kOmitZero) && (v.is_null() || (f.scalar == Scalar::kStruct && v.size() == 0))) continue;
        out.append(std::string(f.name), std::move(v));
        break;
      }
      case Shape::kOptional:
      case Shape::kBox:
        if (f.ops->size(p)) out.append(std::string(f.name), encode_scalar(f, f.ops->at(p, 0), true));
        else if (!omit) out.append(std::string(f.name), json::Value());
        break;
      case Shape::kList: {
        size_t n = f.ops->size(p);
        if (n == 0 && omit) continue;
        json::Array a;
        a.reserve(n);
        for (size_t i = 0; i < n; ++i) a.push_back(encode_scalar(f, f.ops->at(p, i), true));
        out.append(std::string(f.name), std::move(a));
        break;
      }
      case Shape::kMap: {
        if (f.ops->size(p) == 0 && omit) continue;
        struct Context {
          json::Object object;
          const FieldInfo* field;
        } c{{}, &f};
        f.ops->each(p, &c, [](void* context, const std::string& key, const void* value) {
          auto& c = *static_cast<Context*>(context);
          c.object.append(key, encode_scalar(*c.field, value, true));
        });
        out.append(std::string(f.name), std::move(c.object));
        break;
      }
    }
  }
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
    out.append("kind", type.kind);
    out.append("apiVersion", type.api_version);
  }
  encode_fields(type, object, out);
  return out;
}

// ---- decode ----

std::string go_type(const FieldInfo& f, bool element) {
  std::string s;
  switch (f.scalar) {
    case Scalar::kString: s = "string"; break;
    case Scalar::kBool: s = "bool"; break;
    case Scalar::kInt32: s = "int32"; break;
    case Scalar::kInt64:
    case Scalar::kInt: s = "int64"; break;
    case Scalar::kDouble: s = "float64"; break;
    case Scalar::kBytes: s = "[]uint8"; break;
    case Scalar::kTime: s = "v1.Time"; break;
    case Scalar::kMicroTime: s = "v1.MicroTime"; break;
    case Scalar::kDuration: s = "v1.Duration"; break;
    case Scalar::kQuantity: s = "resource.Quantity"; break;
    case Scalar::kIntOrString: s = "intstr.IntOrString"; break;
    case Scalar::kJson: s = "interface {}"; break;
    case Scalar::kObject: s = "map[string]interface {}"; break;
    case Scalar::kStrings: s = "[]string"; break;
    case Scalar::kStruct: s = "v1." + std::string(f.type->name); break;
  }
  if (element) return s;
  if (f.shape == Shape::kList) return "[]" + s;
  if (f.shape == Shape::kMap) return "map[string]" + s;
  return s;
}

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

struct Decoder {
  std::string path;  // of the member being read: "spec.template.spec.containers"
  Error error;
  bool failed = false;

  bool wrong(const TypeInfo& owner, const FieldInfo& f, const json::Value& v, bool element) {
    std::string what(json_type(v));
    if (v.is_number()) what += " " + json::dump(v);
    if (v.is_number() && (f.scalar == Scalar::kString || f.shape != Shape::kValue)) what = "number";
    return fail("json: cannot unmarshal " + what + " into Go struct field " + std::string(owner.name) + "." + path + " of type " +
                go_type(f, element));
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
        if (!bytes) return fail("illegal base64 data in " + path);
        as<std::string>(p) = std::move(*bytes);
        return true;
      }
      case Scalar::kTime:
      case Scalar::kMicroTime: {
        if (!v.is_string()) return wrong(owner, f, v, element);
        auto t = parse_rfc3339(v.as_string());
        if (!t.ok())
          return fail("parsing time \"" + v.as_string() + "\" as \"2006-01-02T15:04:05Z07:00\": cannot parse \"" + v.as_string() + "\" (" + path + ")");
        as<Time>(p) = f.scalar == Scalar::kTime ? Time{t->ns - t->ns % 1'000'000'000} : *t;
        return true;
      }
      case Scalar::kDuration: {
        auto d = parse_duration(v.as_string());
        if (!v.is_string() || !d.ok()) return wrong(owner, f, v, element);
        as<Duration>(p) = *d;
        return true;
      }
      case Scalar::kQuantity: {
        if (!v.is_string() && !v.is_number()) return wrong(owner, f, v, element);
        auto q = Quantity::parse(v.is_string() ? trim(v.as_string()) : json::dump(v));
        if (!q.ok()) return fail(q.error().message + " (" + path + ")");
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
        for (auto& i : v.as_array()) {
          if (!i.is_string()) return wrong(owner, f, i, element);
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
    return object(type, o, p);
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
        for (auto& item : v.as_array()) {
          void* slot = f.ops->append(p);
          if (item.is_null() && f.scalar != Scalar::kJson) continue;
          if (!scalar(owner, f, item, slot, true)) return false;
        }
        return true;
      }
      case Shape::kMap: {
        f.ops->clear(p);
        if (v.is_null()) return true;
        if (!v.is_object()) return wrong(owner, f, v, false);
        for (auto& m : v.as_object()) {
          void* slot = f.ops->insert(p, m.key);
          if (m.value.is_null() && f.scalar != Scalar::kJson) continue;
          if (!scalar(owner, f, m.value, slot, true)) return false;
        }
        return true;
      }
    }
    return true;
  }

  bool object(const TypeInfo& type, const json::Object& o, void* p) {
    for (auto& m : o) {
      size_t base = 0;
      const FieldInfo* f = type.find(m.key, &base);
      if (!f) continue;
      size_t size = path.size();
      if (!path.empty()) path += '.';
      path += m.key;
      if (!field(type, *f, m.value, at(p, base + f->offset))) return false;
      path.resize(size);
    }
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
    } else if (f.name.size() == json_name.size() && f.name[0] == json_name[0] && f.name == json_name) {  // most differ before memcmp
      if (base) *base = 0;
      return &f;
    }
  }
  return nullptr;
}

json::Value encode_json(const TypeInfo& type, const void* object) { return encode_struct(type, object, true); }

Status decode_json(const TypeInfo& type, const json::Value& value, void* object) {
  Decoder d;
  if (type.special != Special::kNone) {
    d.special(type, value, object);
  } else if (!value.is_object()) {
    d.fail("json: cannot unmarshal " + std::string(json_type(value)) + " into Go value of type v1." + std::string(type.name));
  } else {
    d.object(type, value.as_object(), object);
  }
  if (d.failed) return std::move(d.error);
  return ok();
}

Result<json::Value> canonical_json(const TypeInfo& type, const json::Value& value) {
  void* object = type.create();
  Status s = decode_json(type, value, object);
  Result<json::Value> out = s.ok() ? Result<json::Value>(encode_json(type, object)) : Result<json::Value>(std::move(s).error());
  type.destroy(object);
  return out;
}

}  // namespace caravel::kube
