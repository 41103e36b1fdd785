#include "kube/cel/object_schema.h"

#include <algorithm>
#include <cmath>

#include "base/clock.h"
#include "base/strings.h"

namespace caravel::kube::cel {

namespace {

std::shared_ptr<const ObjectSchema> text_schema() {
  auto s = std::make_shared<ObjectSchema>();
  s->type = "string";
  finish_schema_node(*s);
  return s;
}

void add_property(ObjectSchema& s, const std::string& name, std::shared_ptr<const ObjectSchema> p) {
  auto old = std::find_if(s.properties.begin(), s.properties.end(), [&](auto& x) { return x.name == name; });
  if (old != s.properties.end()) old->schema = std::move(p);
  else s.properties.push_back({name, escape_property(name), std::move(p)});
}

Value text_value(const ObjectSchema& s, const std::string& text) {
  if (s.format == "byte") {
    if (auto b = base64_decode(text)) return Value::bytes(*b);
  } else if (s.format == "date-time" || s.format == "date") {
    auto t = parse_rfc3339(s.format == "date" ? text + "T00:00:00Z" : text);
    if (t.ok()) return Value::timestamp(t->ns);
  } else if (s.format == "duration") {
    auto d = parse_duration(text);
    if (d.ok()) return Value::duration(d->count());
  }
  return Value::string(text);
}

Value object_value(const ObjectSchema& s, const json::Value& v) {
  std::vector<std::pair<Value, Value>> out;
  for (auto& m : v.as_object()) {
    if (auto* p = s.property(m.key)) {
      if (!p->expression_name || (m.value.is_null() && !p->schema->nullable)) continue;
      out.emplace_back(Value::string(*p->expression_name), to_cel(*p->schema, m.value));
    } else if (s.additional) {
      out.emplace_back(Value::string(m.key), to_cel(*s.additional, m.value));
    } else if (s.preserve_unknown) {
      out.emplace_back(Value::string(m.key), from_json(m.value));
    }
  }
  return Value::map(std::move(out));
}

}  // namespace

const ObjectSchema::Property* ObjectSchema::property(std::string_view name) const {
  for (auto& p : properties)
    if (p.name == name) return &p;
  return nullptr;
}

std::optional<std::string> escape_property(std::string_view name) {
  static constexpr std::string_view kReserved[] = {"true", "false", "null", "in", "as", "break", "const", "continue", "else", "for", "function", "if",
                                                   "import", "let", "loop", "package", "namespace", "return", "var", "void", "while"};
  if (name.empty() || (name[0] >= '0' && name[0] <= '9')) return std::nullopt;
  if (std::find(std::begin(kReserved), std::end(kReserved), name) != std::end(kReserved)) return "__" + std::string(name) + "__";
  std::string out;
  for (size_t i = 0; i < name.size(); ++i) {
    char c = name[i];
    if (name.substr(i, 2) == "__") out += "__underscores__", ++i;
    else if (c == '.') out += "__dot__";
    else if (c == '-') out += "__dash__";
    else if (c == '/') out += "__slash__";
    else if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '_') out += c;
    else return std::nullopt;
  }
  return out;
}

ObjectSchema read_schema_node(const json::Value& node) {
  ObjectSchema s;
  s.type = node["type"].as_string();
  s.format = node["format"].as_string();
  s.int_or_string = node["x-kubernetes-int-or-string"].as_bool();
  s.preserve_unknown = node["x-kubernetes-preserve-unknown-fields"].as_bool();
  s.nullable = node["nullable"].as_bool();
  const std::string& list = node["x-kubernetes-list-type"].as_string();
  if (list == "set") s.list = List::Style::kSet;
  if (list == "map") s.list = List::Style::kMap;
  s.atomic = list != "map";
  for (auto& k : node["x-kubernetes-list-map-keys"].as_array()) s.list_keys.push_back(k.as_string());
  auto bound = [&](const char* name) { return node.find(name) ? std::max<int64_t>(node[name].as_int(), 0) : -1; };
  s.max_items = bound("maxItems");
  s.max_properties = bound("maxProperties");
  s.max_length = bound("maxLength");
  for (auto& x : node["enum"].as_array()) s.longest_enum = std::max<int64_t>(s.longest_enum, static_cast<int64_t>(x.as_string().size()));
  s.has_default = node.find("default") != nullptr;
  for (auto& r : node["required"].as_array()) s.required.push_back(r.as_string());
  return s;
}

void add_object_fields(ObjectSchema& s) {
  add_property(s, "apiVersion", text_schema());
  add_property(s, "kind", text_schema());
  auto meta = std::make_shared<ObjectSchema>();
  meta->type = "object";
  add_property(*meta, "name", text_schema());
  add_property(*meta, "generateName", text_schema());
  finish_schema_node(*meta);
  add_property(s, "metadata", std::move(meta));
}

namespace {

// max_elements and min_bytes.
void measure(ObjectSchema& s) {
  auto bounded = [](int64_t declared, uint64_t otherwise) { return declared < 0 ? otherwise : static_cast<uint64_t>(declared); };
  constexpr uint64_t kLongestText = kMaxRequestBytes - 2;
  const uint64_t in_bytes = s.max_length < 0 ? kLongestText : static_cast<uint64_t>(s.max_length) * 4;
  if (s.int_or_string) {
    s.min_bytes = 1;
    s.max_elements = in_bytes;
  } else if (s.type == "object" && s.properties.empty() && s.additional) {
    s.min_bytes = 2;
    s.max_elements = bounded(s.max_properties, (kMaxRequestBytes - 2) / (s.additional->min_bytes + 6));
  } else if (s.type == "object") {
    s.min_bytes = 2;
    for (auto& p : s.properties)
      if (p.schema->cel_type && !p.schema->has_default && std::find(s.required.begin(), s.required.end(), p.name) != s.required.end())
        s.min_bytes += p.name.size() + p.schema->min_bytes + 4;
  } else if (s.type == "array" && s.items) {
    s.min_bytes = 2;
    s.max_elements = bounded(s.max_items, (kMaxRequestBytes - 2) / (s.items->min_bytes + 1));
  } else if (s.type == "string") {
    bool moment = s.format == "date-time", day = s.format == "date", duration = s.format == "duration";
    s.min_bytes = moment ? 21 : day    ? 12
                            : duration ? 3
                                       : 2;
    if (moment || duration) s.max_elements = 32;
    else if (day) s.max_elements = 12;
    else if (s.format == "byte") s.max_elements = bounded(s.max_length, kLongestText);
    else s.max_elements = s.max_length < 0 && s.longest_enum >= 0 ? static_cast<uint64_t>(s.longest_enum) : in_bytes;
  } else {
    s.min_bytes = s.type == "boolean" ? 4 : 1;
  }
}

}  // namespace

void finish_schema_node(ObjectSchema& s) {
  measure(s);
  if (s.int_or_string) {
    s.cel_type = simple_type(Type::Kind::kDyn);
  } else if (s.type == "object") {
    if (s.properties.empty() && s.additional) {
      if (s.additional->cel_type) s.cel_type = map_type(simple_type(Type::Kind::kString), s.additional->cel_type);
      return;
    }
    auto t = std::make_shared<Type>();
    t->kind = Type::Kind::kObject;
    for (auto& p : s.properties)
      if (p.expression_name && p.schema->cel_type) t->fields[*p.expression_name] = p.schema->cel_type;
    s.cel_type = std::move(t);
  } else if (s.type == "array") {
    if (s.items && s.items->cel_type) s.cel_type = list_type(s.items->cel_type);
  } else if (s.type == "string") {
    bool time = s.format == "date-time" || s.format == "date";
    s.cel_type = simple_type(time ? Type::Kind::kTimestamp : s.format == "byte"   ? Type::Kind::kBytes
                                                         : s.format == "duration" ? Type::Kind::kDuration
                                                                                  : Type::Kind::kString);
  } else if (s.type == "integer") {
    s.cel_type = simple_type(Type::Kind::kInt);
  } else if (s.type == "number") {
    s.cel_type = simple_type(Type::Kind::kDouble);
  } else if (s.type == "boolean") {
    s.cel_type = simple_type(Type::Kind::kBool);
  }
}

Value to_cel(const ObjectSchema& s, const json::Value& v) {
  if (v.is_string() && s.type == "string") return text_value(s, v.as_string());
  if (v.is_number() && s.type == "number") return Value::number(v.as_double());
  if (v.type() == json::Type::kDouble && s.type == "integer" && v.as_double() == std::floor(v.as_double()) && std::fabs(v.as_double()) < 9e18)
    return Value::integer(static_cast<int64_t>(v.as_double()));
  if (v.is_array() && s.items) {
    List out;
    out.style = s.list;
    out.keys = s.list_keys;
    for (auto& x : v.as_array()) out.items.push_back(to_cel(*s.items, x));
    return Value::list(std::move(out));
  }
  if (v.is_object() && s.type == "object") return object_value(s, v);
  return from_json(v);
}

}  // namespace caravel::kube::cel
