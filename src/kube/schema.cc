#include "kube/schema.h"

#include <mutex>
#include <unordered_map>

#include "base/strings.h"
#include "kube/type_facts.h"
#include "kube/types/meta.h"

namespace caravel::kube {

namespace {

// Recursive types (JSONSchemaProps) end in a node that takes anything.
struct Builder {
  std::unordered_map<const TypeInfo*, std::shared_ptr<Schema>> open;

  SchemaPtr object(const TypeInfo& type) {
    auto s = std::make_shared<Schema>();
    s->built_in = &type;
    if (type.special != Special::kNone || open.count(&type)) {
      s->preserve_unknown = true;
      return s;
    }
    open[&type] = s;
    s->type = Schema::Type::kObject;
    s->atomic_map = is_atomic(type);
    s->description = std::string(type.description);
    if (!type.kind.empty()) {
      s->properties.emplace_back("kind", text());
      s->properties.emplace_back("apiVersion", text());
    }
    add(type, *s);
    open.erase(&type);
    return s;
  }

  static SchemaPtr text() {
    static const SchemaPtr t = [] {
      auto s = std::make_shared<Schema>();
      s->type = Schema::Type::kString;
      return s;
    }();
    return t;
  }

  void add(const TypeInfo& type, Schema& into) {
    for (const FieldInfo& f : type.fields) {
      if (f.has(FieldInfo::kInline)) {
        add(*f.type, into);
        continue;
      }
      into.properties.emplace_back(f.name, field(f));
      if (f.has(FieldInfo::kRequired)) into.required.emplace_back(f.name.view());
    }
  }

  std::shared_ptr<Schema> scalar(const FieldInfo& f) {
    if (f.scalar == Scalar::kStruct) return std::make_shared<Schema>(*object(*f.type));
    auto s = std::make_shared<Schema>();
    using T = Schema::Type;
    switch (f.scalar) {
      case Scalar::kString: s->type = T::kString; break;
      case Scalar::kBool: s->type = T::kBoolean; break;
      case Scalar::kInt32:
        s->type = T::kInteger;
        s->format = "int32";
        break;
      case Scalar::kInt64:
        s->type = T::kInteger;
        s->format = "int64";
        break;
      case Scalar::kInt: s->type = T::kInteger; break;
      case Scalar::kDouble:
        s->type = T::kNumber;
        s->format = "double";
        break;
      case Scalar::kBytes:
        s->type = T::kString;
        s->format = "byte";
        break;
      case Scalar::kTime:
      case Scalar::kMicroTime:
        s->type = T::kString;
        s->format = "date-time";
        s->nullable = true;
        break;
      case Scalar::kDuration: s->type = T::kString; break;
      case Scalar::kQuantity:
        s->type = T::kIntOrString;
        s->format = "quantity";
        break;
      case Scalar::kIntOrString: s->type = T::kIntOrString; break;
      case Scalar::kJson:
        s->type = T::kAny;
        s->preserve_unknown = true;
        break;
      case Scalar::kObject:
        s->type = T::kObject;
        s->preserve_unknown = true;
        break;
      case Scalar::kStrings:
        s->type = T::kArray;
        s->items = text();
        break;
      case Scalar::kStruct: break;
    }
    return s;
  }

  SchemaPtr field(const FieldInfo& f) {
    const FieldFacts& x = f.facts();
    auto item = scalar(f);
    for (auto e : x.enum_values) item->enum_values.push_back(item->type == Schema::Type::kInteger ? json::Value(parse_int(e).value_or(0)) : json::Value(e));
    std::shared_ptr<Schema> s = item;
    bool list = f.shape == Shape::kList, map = f.shape == Shape::kMap;
    if (list || map) {
      item->pattern = std::string(x.item_pattern.empty() ? x.pattern : x.item_pattern);
      item->min_length = x.item_min_length >= 0 ? x.item_min_length : x.min_length;
      item->max_length = x.item_max_length >= 0 ? x.item_max_length : x.max_length;
      item->atomic_map |= x.item_map_type == "atomic";
      s = std::make_shared<Schema>();
      if (list) {
        s->type = Schema::Type::kArray;
        s->items = item;
        s->list = x.list_type == "map" ? Schema::List::kMap : x.list_type == "set"  ? Schema::List::kSet
                                                          : x.list_type == "atomic" ? Schema::List::kAtomic
                                                                                    : Schema::List::kUnset;
        if (!x.list_map_keys.empty()) s->list_map_keys = split(x.list_map_keys, ',');
        s->min_items = x.min_items;
        s->max_items = x.max_items;
      } else {
        s->type = Schema::Type::kObject;
        s->additional = item;
      }
    } else {
      s->pattern = std::string(x.pattern);
      s->min_length = x.min_length;
      s->max_length = x.max_length;
      s->minimum = x.minimum;
      s->maximum = x.maximum;
      if (!x.format.empty()) s->format = std::string(x.format);
    }
    s->description = std::string(x.description);
    s->min_properties = x.min_properties;
    s->max_properties = x.max_properties;
    s->atomic_map |= x.map_type == "atomic";
    if (x.map_type == "granular") s->atomic_map = false;
    s->nullable |= f.has(FieldInfo::kNullable);
    s->preserve_unknown |= f.has(FieldInfo::kPreserve) && !list;
    s->embedded = f.has(FieldInfo::kEmbedded);
    s->patch_strategy = std::string(x.patch_strategy);
    s->merge_key = std::string(x.merge_key);
    if (!x.default_json.empty())
      if (auto d = json::parse(x.default_json); d.ok()) {
        s->has_default = true;
        s->default_value = *d;
      }
    return s;
  }
};

void take_int(const json::Value& node, const char* key, int64_t& into) {
  if (const json::Value* v = node.find(key)) into = v->as_int(-1);
}
void take_double(const json::Value& node, const char* key, double& into) {
  if (const json::Value* v = node.find(key)) into = v->as_double(NAN);
}

Result<SchemaPtr> parse_node(const json::Value& node, const std::string& path, int depth) {
  auto s = std::make_shared<Schema>();
  if (depth > 100) return invalid(path + ": the schema is nested too deeply");
  using T = Schema::Type;
  const std::string& type = node["type"].as_string();
  if (node["x-kubernetes-int-or-string"].as_bool()) s->type = T::kIntOrString;
  else if (type == "object") s->type = T::kObject;
  else if (type == "array") s->type = T::kArray;
  else if (type == "string") s->type = T::kString;
  else if (type == "integer") s->type = T::kInteger;
  else if (type == "number") s->type = T::kNumber;
  else if (type == "boolean") s->type = T::kBoolean;
  else if (!type.empty()) return invalid(path + ".type: Unsupported value: " + json::quote(type) + ": supported values: \"array\", \"boolean\", \"integer\", \"number\", \"object\", \"string\"");
  s->format = node["format"].as_string();
  s->description = node["description"].as_string();
  s->nullable = node["nullable"].as_bool();
  s->preserve_unknown = node["x-kubernetes-preserve-unknown-fields"].as_bool();
  s->embedded = node["x-kubernetes-embedded-resource"].as_bool();
  s->atomic_map = node["x-kubernetes-map-type"].as_string() == "atomic";
  for (auto& r : node["required"].as_array()) s->required.push_back(r.as_string());
  for (auto& p : node["properties"].as_object()) {
    TRY(SchemaPtr child, parse_node(p.value, path + ".properties[" + p.key + "]", depth + 1));
    s->properties.emplace_back(p.key, std::move(child));
  }
  if (const json::Value* a = node.find("additionalProperties")) {
    if (a->is_object()) {
      TRY(s->additional, parse_node(*a, path + ".additionalProperties", depth + 1));
    } else if (a->as_bool()) {
      s->preserve_unknown = true;
    }
  }
  if (const json::Value* i = node.find("items"); i && i->is_object()) {
    TRY(s->items, parse_node(*i, path + ".items", depth + 1));
  } else if (s->type == T::kArray) {
    return invalid(path + ".items: Required value: must be specified");
  }
  const std::string& list = node["x-kubernetes-list-type"].as_string();
  s->list = list == "map" ? Schema::List::kMap : list == "set"  ? Schema::List::kSet
                                             : list == "atomic" ? Schema::List::kAtomic
                                                                : Schema::List::kUnset;
  for (auto& k : node["x-kubernetes-list-map-keys"].as_array()) s->list_map_keys.push_back(k.as_string());
  take_int(node, "minItems", s->min_items);
  take_int(node, "maxItems", s->max_items);
  take_int(node, "minLength", s->min_length);
  take_int(node, "maxLength", s->max_length);
  take_int(node, "minProperties", s->min_properties);
  take_int(node, "maxProperties", s->max_properties);
  take_double(node, "minimum", s->minimum);
  take_double(node, "maximum", s->maximum);
  take_double(node, "multipleOf", s->multiple_of);
  s->exclusive_minimum = node["exclusiveMinimum"].as_bool();
  s->exclusive_maximum = node["exclusiveMaximum"].as_bool();
  s->unique_items = node["uniqueItems"].as_bool();
  s->pattern = node["pattern"].as_string();
  s->enum_values = node["enum"].as_array();
  if (const json::Value* d = node.find("default"); d && !d->is_null()) {
    s->has_default = true;
    s->default_value = *d;
  }
  std::pair<const char*, std::vector<SchemaPtr>*> lists[] = {{"allOf", &s->all_of}, {"anyOf", &s->any_of}, {"oneOf", &s->one_of}};
  for (auto& [name, into] : lists) {
    // int-or-string says its two types in anyOf: known already.
    if (s->type == T::kIntOrString && std::string_view(name) != "oneOf" && !node["pattern"].is_string() && node["anyOf"].is_array()) continue;
    for (auto& n : node[name].as_array()) {
      TRY(SchemaPtr child, parse_node(n, path + "." + name, depth + 1));
      into->push_back(std::move(child));
    }
  }
  if (const json::Value* n = node.find("not"); n && n->is_object()) {
    TRY(s->not_schema, parse_node(*n, path + ".not", depth + 1));
  }
  return SchemaPtr(s);
}

SchemaPtr object_meta() { return schema_of(meta::ObjectMeta::type_info()); }

}  // namespace

const Schema* Schema::property(std::string_view name) const {
  const json::Key::Probe probe(name);
  for (auto& [n, s] : properties)
    if (probe.is(n)) return s.get();
  return nullptr;
}

SchemaPtr schema_of(const TypeInfo& type) {
  static std::mutex mutex;
  static std::unordered_map<const TypeInfo*, SchemaPtr> cache;
  std::lock_guard lock(mutex);
  SchemaPtr& s = cache[&type];
  if (!s) s = Builder{}.object(type);
  return s;
}

Result<SchemaPtr> schema_from_openapi(const json::Value& node) { return parse_node(node, "openAPIV3Schema", 0); }

Result<SchemaPtr> schema_from_crd(const json::Value& node) {
  TRY(SchemaPtr parsed, schema_from_openapi(node));
  if (parsed->type != Schema::Type::kObject)
    return invalid("openAPIV3Schema.type: Invalid value: " + json::quote(node["type"].as_string()) + ": must be object at the root");
  auto root = std::make_shared<Schema>(*parsed);
  auto put = [&](const char* name, SchemaPtr s) {
    for (auto& p : root->properties)
      if (p.first == name) {
        p.second = std::move(s);
        return;
      }
    root->properties.insert(root->properties.begin(), {name, std::move(s)});
  };
  put("metadata", object_meta());
  put("kind", Builder::text());
  put("apiVersion", Builder::text());
  return SchemaPtr(root);
}

// ---- prune, default ----

namespace {

void prune_at(const Schema& s, json::Value& v, const std::string& path, std::vector<std::string>* unknown) {
  if (v.is_array()) {
    if (!s.items) return;
    for (size_t i = 0; i < v.arr().size(); ++i) prune_at(*s.items, v.arr()[i], path + "[" + std::to_string(i) + "]", unknown);
    return;
  }
  if (!v.is_object()) return;
  if (s.type != Schema::Type::kObject && s.properties.empty() && !s.additional) return;
  static const SchemaPtr meta_schema = object_meta();
  std::vector<std::string> gone;
  for (auto& m : v.obj()) {
    std::string at = path.empty() ? m.key.str() : path + "." + m.key;
    const Schema* child = s.property(m.key);
    if (s.embedded) {
      if (m.key == "apiVersion" || m.key == "kind") continue;
      if (m.key == "metadata") child = meta_schema.get();  // whatever the schema says of it
    }
    if (!child && s.additional) child = s.additional.get();
    if (child) {
      prune_at(*child, m.value, at, unknown);
    } else if (!s.preserve_unknown) {
      gone.push_back(m.key);
      if (unknown) unknown->push_back(std::move(at));
    }
  }
  for (auto& k : gone) v.erase(k);
}

}  // namespace

void prune(const Schema& schema, json::Value& object, std::vector<std::string>* unknown) { prune_at(schema, object, "", unknown); }

void set_schema_defaults(const Schema& s, json::Value& v) {
  if (v.is_array()) {
    if (s.items)
      for (auto& i : v.arr()) set_schema_defaults(*s.items, i);
    return;
  }
  if (!v.is_object()) return;
  for (auto& [name, child] : s.properties) {
    json::Value* m = v.find(name);
    if (m && m->is_null() && !child->nullable && !s.built_in) {
      if (child->has_default) {
        *m = child->default_value;
      } else if (child->type != Schema::Type::kAny) {
        v.erase(name);
        m = nullptr;
      }
    } else if (!m && child->has_default) {
      v[name] = child->default_value;
      m = v.find(name);
    }
    if (m) set_schema_defaults(*child, *m);
  }
  if (s.additional)
    for (auto& m : v.obj())
      if (!s.property(m.key)) set_schema_defaults(*s.additional, m.value);
}

Status check_types(const Schema& schema, const json::Value& object) {
  if (schema.built_in) {
    void* p = schema.built_in->create();
    Status s = decode_json(*schema.built_in, object, p);
    schema.built_in->destroy(p);
    return s;
  }
  if (!object.is_object()) return make_error(Code::kBadRequest, "json: the object is not a JSON object");
  return ok();
}

}  // namespace caravel::kube
