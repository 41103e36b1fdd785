#include "kube/wrong_types.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/type_facts.h"

namespace caravel::kube {

namespace {

// The Go package of a namespace's types is named for the version.
std::string package_of(std::string_view ns, const TypeInfo& root) {
  if (ns == root.ns && !root.api_version.empty()) return std::string(root.api_version.substr(root.api_version.rfind('/') + 1));
  return ns == "autoscaling" ? "v2" : "v1";
}

// Among base structs too.
const TypeInfo* declaring(const TypeInfo& type, const FieldInfo& f) {
  for (const FieldInfo& own : type.fields) {
    if (&own == &f) return &type;
    if (own.has(FieldInfo::kInline))
      if (const TypeInfo* inner = declaring(*own.type, f)) return inner;
  }
  return nullptr;
}

std::string string_type(const TypeInfo& owner, const FieldInfo& f, const TypeInfo& root) {
  const TypeInfo* by = declaring(owner, f);
  if (!by) return "string";
  const std::string field = std::string(by->ns) + "." + std::string(by->name) + "." + std::string(f.name);
  const auto all = tables::named_strings();
  auto it = std::lower_bound(all.begin(), all.end(), field, [](const tables::NamedString& n, const std::string& x) { return n.field < x; });
  if (it == all.end() || it->field != field) return f.name == "uid" ? "types.UID" : "string";
  const size_t dot = it->type.find('.');
  return package_of(it->type.substr(0, dot), root) + std::string(it->type.substr(dot));
}

}  // namespace

std::string go_type(const TypeInfo& type, const TypeInfo& root) { return package_of(type.ns, root) + "." + std::string(type.name); }

std::string go_type(const TypeInfo& owner, const FieldInfo& f, bool element, const TypeInfo& root) {
  std::string s;
  switch (f.scalar) {
    case Scalar::kString: s = string_type(owner, f, root); break;
    case Scalar::kBool: s = "bool"; break;
    case Scalar::kInt32: s = "int32"; break;
    case Scalar::kInt64:
    case Scalar::kInt: s = "int64"; break;
    case Scalar::kDouble: s = "float64"; break;
    case Scalar::kBytes: s = "[]uint8"; break;
    case Scalar::kTime:
    case Scalar::kMicroTime:
    case Scalar::kDuration: s = "string"; break;    // they read themselves from a text
    case Scalar::kIntOrString: s = "int32"; break;  // likewise, where it is no text
    case Scalar::kQuantity: s = "resource.Quantity"; break;
    case Scalar::kJson: s = "interface {}"; break;
    case Scalar::kObject: s = "map[string]interface {}"; break;
    case Scalar::kStrings: s = element ? "string" : "v1.ExtraValue"; break;
    case Scalar::kStruct: s = go_type(*f.type, root); break;
  }
  if (element) return s;
  if (f.shape == Shape::kList) return "[]" + s;
  if (f.shape == Shape::kMap && f.scalar == Scalar::kQuantity && owner.ns == "core") return "v1.ResourceList";
  if (f.shape == Shape::kMap) return "map[string]" + s;
  return s;
}

std::vector<std::string_view> inline_path(const TypeInfo& type, std::string_view member) {
  for (const FieldInfo& f : type.fields)
    if (!f.has(FieldInfo::kInline) && f.name == member) return {};
  for (const FieldInfo& f : type.fields) {
    if (!f.has(FieldInfo::kInline) || !f.type->find(member)) continue;
    std::vector<std::string_view> out = inline_path(*f.type, member);
    out.insert(out.begin(), f.type->name);
    return out;
  }
  return {};
}

std::string go_time_problem(std::string_view text, bool micro) {
  struct Part {
    std::string_view layout;
    int digits;  // 0: the text of the layout itself; -1: the zone
    int min = 0, max = 0;
    const char* range = nullptr;
  };
  static constexpr Part kParts[] = {{"2006", 4}, {"-", 0}, {"01", 2, 1, 12, "month"}, {"-", 0}, {"02", 2, 1, 31, "day"}, {"T", 0}, {"15", 2, 0, 23, "hour"}, {":", 0}, {"04", 2, 0, 59, "minute"}, {":", 0}, {"05", 2, 0, 59, "second"}, {"Z07:00", -1}};
  const std::string quoted = json::quote(text);
  const std::string layout = micro ? "2006-01-02T15:04:05.000000Z07:00" : "2006-01-02T15:04:05Z07:00";
  auto cannot = [&](std::string_view rest, std::string_view what) {
    return "parsing time " + quoted + " as \"" + layout + "\": cannot parse " + json::quote(rest) + " as \"" + std::string(what) + "\"";
  };
  auto digit = [](char c) { return c >= '0' && c <= '9'; };
  std::string_view rest = text;
  std::string out_of_range;
  for (const Part& p : kParts) {
    if (p.digits == 0) {
      if (!rest.starts_with(p.layout)) return cannot(rest, p.layout);
      rest.remove_prefix(1);
    } else if (p.digits > 0) {
      const size_t n = static_cast<size_t>(p.digits);
      if (rest.size() < n || !std::all_of(rest.begin(), rest.begin() + static_cast<std::ptrdiff_t>(n), digit)) return cannot(rest, p.layout);
      const int64_t value = parse_int(rest.substr(0, n)).value_or(0);
      if (p.range && (value < p.min || value > p.max)) return "parsing time " + quoted + ": " + p.range + " out of range";
      rest.remove_prefix(n);
      if (p.layout != "05") continue;
      if (micro && (rest.size() < 7 || rest[0] != '.' || !std::all_of(rest.begin() + 1, rest.begin() + 7, digit))) return cannot(rest, ".000000");
      if (rest.size() > 1 && (rest[0] == '.' || rest[0] == ',') && digit(rest[1])) {
        size_t end = 1;
        while (end < rest.size() && digit(rest[end])) ++end;
        rest.remove_prefix(end);
      }
    } else if (rest.starts_with("Z")) {
      rest.remove_prefix(1);
    } else {
      const bool offset = rest.size() >= 6 && (rest[0] == '+' || rest[0] == '-') && rest[3] == ':' && digit(rest[1]) && digit(rest[2]) && digit(rest[4]) && digit(rest[5]);
      if (!offset) return cannot(rest, p.layout);
      rest.remove_prefix(6);
    }
  }
  if (!rest.empty()) return "parsing time " + quoted + ": extra text: " + json::quote(rest);
  return "parsing time " + quoted + ": day out of range";
}

std::string go_base64_problem(std::string_view text) {
  auto letter = [](char c) { return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '+' || c == '/'; };
  size_t at = 0, in_group = 0;
  auto skip = [&] {
    while (at < text.size() && (text[at] == '\n' || text[at] == '\r')) ++at;
  };
  auto illegal = [](size_t where) { return "illegal base64 data at input byte " + std::to_string(where); };
  for (skip(); at < text.size(); ++at, skip()) {
    if (letter(text[at])) {
      in_group = (in_group + 1) % 4;
      continue;
    }
    if (text[at] != '=' || in_group < 2) return illegal(at);
    if (in_group == 2) {
      ++at;
      skip();
      if (at == text.size()) return illegal(text.size());
      if (text[at] != '=') return illegal(at);
    }
    ++at;
    skip();
    return illegal(at);  // something after the padding
  }
  return illegal(at >= in_group ? at - in_group : 0);
}

std::string go_text(const json::Value& v) {
  if (v.is_null()) return "<nil>";
  if (v.is_string()) return v.as_string();
  std::string out;
  if (v.is_array()) {
    for (auto& i : v.as_array()) out += (out.empty() ? "" : " ") + go_text(i);
    return "[" + out + "]";
  }
  if (!v.is_object()) return json::dump(v);
  std::vector<const json::Member*> sorted;
  for (auto& m : v.as_object()) sorted.push_back(&m);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return std::string_view(a->key) < std::string_view(b->key); });
  for (auto* m : sorted) out += (out.empty() ? "" : " ") + std::string(m->key) + ":" + go_text(m->value);
  return "map[" + out + "]";
}

// ---- merged documents ----

namespace {

// reflect's name of what a decoded value is.
std::string_view reflect_kind(const json::Value& v) {
  if (v.is_object()) return "map";
  if (v.is_array()) return "slice";
  if (v.is_string()) return "string";
  if (v.is_bool()) return "bool";
  return v.is_int() ? "int64" : "float64";
}

class Converter {
 public:
  explicit Converter(const TypeInfo& root) : root_(root) {}

  Status object(const TypeInfo& type, json::Value& v) {
    if (type.special != Special::kNone) return ok();
    if (!v.is_object()) return bad("cannot restore struct from: " + std::string(reflect_kind(v)));
    for (const FieldInfo& f : type.fields) {
      if (f.has(FieldInfo::kInline)) {
        TRY_VOID(object(*f.type, v));
      } else if (json::Value* member = v.find(f.name); member && !member->is_null()) {
        TRY_VOID(field(type, f, *member));
      }
    }
    return ok();
  }

 private:
  static Error bad(std::string why) { return make_error(Code::kBadRequest, std::move(why)); }
  Status field(const TypeInfo& owner, const FieldInfo& f, json::Value& v) {
    if (f.shape == Shape::kList) {
      if (!v.is_array()) return bad("cannot restore slice from " + std::string(reflect_kind(v)));
      for (auto& item : v.arr())
        if (!item.is_null()) TRY_VOID(scalar(owner, f, item));
      return ok();
    }
    if (f.shape == Shape::kMap) {
      if (!v.is_object()) return bad("cannot restore map from " + std::string(reflect_kind(v)));
      for (auto& m : v.obj())
        if (!m.value.is_null()) TRY_VOID(scalar(owner, f, m.value));
      return ok();
    }
    return scalar(owner, f, v);
  }
  Status number(std::string_view to, json::Value& v) {
    if (v.is_string() || v.is_bool() || !v.is_number()) return bad("unrecognized type: " + std::string(to));
    if (!v.is_int()) {
      const double d = v.as_double();
      if (d != std::trunc(d)) return bad("cannot convert float64 to " + std::string(to));
      v = d >= 0x1p63 || d < -0x1p63 ? INT64_MIN : static_cast<int64_t>(d);
    }
    if (to == "int32") v = static_cast<int64_t>(static_cast<int32_t>(v.as_int()));
    return ok();
  }
  static Status own_reader(const json::Value& v, const char* type) {
    return bad("json: cannot unmarshal " + std::string(v.is_object() ? "object" : v.is_array() ? "array"
                                                                              : v.is_bool()    ? "bool"
                                                                              : v.is_string()  ? "string"
                                                                              : type[0] == 'i' ? "number " + json::dump(v)
                                                                                               : "number") +
               " into Go value of type " + type);
  }
  Status scalar(const TypeInfo& owner, const FieldInfo& f, json::Value& v) {
    switch (f.scalar) {
      case Scalar::kString:
        if (v.is_string()) return ok();
        return bad(v.is_int() ? "cannot convert int64 to " + go_type(owner, f, true, root_) : "unrecognized type: string");
      case Scalar::kBool: return v.is_bool() ? ok() : Status(bad("unrecognized type: bool"));
      case Scalar::kInt32: return number("int32", v);
      case Scalar::kInt64:
      case Scalar::kInt: return number("int64", v);
      case Scalar::kDouble: return v.is_number() ? ok() : Status(bad("unrecognized type: float64"));
      case Scalar::kBytes:
        if (!v.is_string()) return v.is_array() ? ok() : Status(bad("cannot restore slice from " + std::string(reflect_kind(v))));
        return base64_decode(v.as_string()) ? ok() : Status(bad("error decoding from json: " + go_base64_problem(v.as_string())));
      case Scalar::kTime:
      case Scalar::kMicroTime:
        if (!v.is_string()) return own_reader(v, "string");
        return parse_rfc3339(v.as_string()).ok() ? ok() : Status(bad(go_time_problem(v.as_string(), f.scalar == Scalar::kMicroTime)));
      case Scalar::kDuration: return v.is_string() ? ok() : own_reader(v, "string");
      case Scalar::kQuantity: {
        auto q = Quantity::parse(v.is_string() ? std::string(trim(v.as_string())) : json::dump(v));
        return q.ok() ? ok() : Status(bad(q.error().message));
      }
      case Scalar::kIntOrString: {
        const int64_t n = v.as_int(INT64_MIN);
        return v.is_string() || (v.is_int() && n >= INT32_MIN && n <= INT32_MAX) ? ok() : own_reader(v, "int32");
      }
      case Scalar::kStrings:
        if (!v.is_array()) return bad("cannot restore slice from " + std::string(reflect_kind(v)));
        for (auto& i : v.as_array())
          if (!i.is_string()) return bad(i.is_int() ? "cannot convert int64 to string" : "unrecognized type: string");
        return ok();
      case Scalar::kStruct: return object(*f.type, v);
      case Scalar::kJson:
      case Scalar::kObject: return ok();
    }
    return ok();
  }

  const TypeInfo& root_;
};

}  // namespace

Status convert_numbers(const TypeInfo& type, json::Value& document) { return Converter(type).object(type, document); }

// ---- applied configurations ----

namespace {

// fmt's %#v of a decoded value.
std::string go_syntax(const json::Value& v) {
  if (v.is_null()) return "interface {}(nil)";
  std::string out;
  if (v.is_array()) {
    for (auto& i : v.as_array()) out += (out.empty() ? "" : ", ") + go_syntax(i);
    return "[]interface {}{" + out + "}";
  }
  if (!v.is_object()) return json::dump(v);
  std::vector<const json::Member*> sorted;
  for (auto& m : v.as_object()) sorted.push_back(&m);
  std::sort(sorted.begin(), sorted.end(), [](auto* a, auto* b) { return std::string_view(a->key) < std::string_view(b->key); });
  for (auto* m : sorted) out += (out.empty() ? "" : ", ") + json::quote(std::string_view(m->key)) + ":" + go_syntax(m->value);
  return "map[string]interface {}{" + out + "}";
}
// %T
std::string_view go_kind(const json::Value& v) {
  if (v.is_object()) return "map[string]interface {}";
  if (v.is_array()) return "[]interface {}";
  return reflect_kind(v);
}

class TypedReader {
 public:
  std::vector<std::string> problems;

  void read(const Schema& s, const json::Value& v, const std::string& path) {
    if (v.is_null()) return;
    switch (s.type) {
      case Schema::Type::kAny: return;
      case Schema::Type::kObject: return object(s, v, path);
      case Schema::Type::kArray: return list(s, v, path);
      case Schema::Type::kInteger:
      case Schema::Type::kNumber:
        if (!v.is_number()) say(path, "expected numeric (int or float), got " + std::string(go_kind(v)));
        return;
      case Schema::Type::kBoolean:
        if (!v.is_bool()) say(path, "expected boolean, got &{" + go_text(v) + "}");
        return;
      case Schema::Type::kString:
        if (!s.format.empty() && s.format != "byte") return any_scalar(v, path);
        if (!v.is_string()) say(path, "expected string, got &value.valueUnstructured{Value:" + go_syntax(v) + "}");
        return;
      case Schema::Type::kIntOrString: return any_scalar(v, path);
    }
  }

 private:
  void say(const std::string& path, const std::string& what) { problems.push_back((path.empty() ? "" : path + ": ") + what); }
  void any_scalar(const json::Value& v, const std::string& path) {
    if (v.is_object() || v.is_array()) say(path, "expected any scalar, got &{" + go_text(v) + "}");
  }
  void object(const Schema& s, const json::Value& v, const std::string& path) {
    if (!v.is_object()) return say(path, "expected map, got &{" + go_text(v) + "}");
    for (auto& m : v.as_object()) {
      const std::string at = path + "." + std::string(m.key);
      if (const Schema* p = s.property(m.key)) read(*p, m.value, at);
      else if (s.additional) read(*s.additional, m.value, at);
      else if (!s.preserve_unknown && !(s.properties.empty() && !s.built_in)) say(at, "field not declared in schema");
    }
  }
  void list(const Schema& s, const json::Value& v, const std::string& path) {
    if (!v.is_array()) return say(path, "expected list, got &{" + go_text(v) + "}");
    std::vector<std::string> seen;
    for (size_t i = 0; i < v.size(); ++i) {
      const json::Value& item = v.as_array()[i];
      std::string key = "[" + std::to_string(i) + "]";
      if (s.list == Schema::List::kMap || s.list == Schema::List::kSet) {
        const std::string wrong = s.list == Schema::List::kMap ? keys_of(s, item, key) : value_of(item, key);
        if (!wrong.empty()) return say(path, "element " + std::to_string(i) + ": " + wrong);
        if (std::find(seen.begin(), seen.end(), key) != seen.end()) say(path, "duplicate entries for key " + key);
        seen.push_back(key);
      }
      if (s.items) read(*s.items, item, path + key);
    }
  }
  // The error, or "" and the element's name in paths.
  static std::string keys_of(const Schema& s, const json::Value& item, std::string& key) {
    if (item.is_null()) return "associative list with keys may not have a null element";
    if (!item.is_object()) return "associative list with keys may not have non-map elements";
    std::vector<std::string> names = s.list_map_keys;
    std::sort(names.begin(), names.end());
    std::string out;
    for (auto& n : names) {
      const json::Value* id = item.find(n);
      const Schema* p = s.items ? s.items->property(n) : nullptr;
      if (!id && p && p->has_default) id = &p->default_value;
      if (id) out += (out.empty() ? "" : ",") + n + "=" + json::dump(*id);
    }
    if (out.empty()) {
      std::string all;
      for (auto& n : s.list_map_keys) all += (all.empty() ? "" : " ") + json::quote(n);
      return "associative list with keys has an element that omits all key fields [" + all + "] (and doesn't have default values for any key fields)";
    }
    key = "[" + out + "]";
    return "";
  }
  static std::string value_of(const json::Value& item, std::string& key) {
    if (item.is_object()) return "associative list without keys has an element that's a map type";
    if (item.is_array()) return "not supported: associative list with lists as elements";
    if (item.is_null()) return "associative list without keys has an element that's an explicit null";
    key = "[=" + json::dump(item) + "]";
    return "";
  }
};

}  // namespace

std::vector<std::string> typed_problems(const Schema& schema, const json::Value& config) {
  TypedReader r;
  r.read(schema, config, "");
  return std::move(r.problems);
}

}  // namespace caravel::kube
