// Renders a CRD kind of schema/ as the manifest that installs it.
#include <cmath>

#include "base/strings.h"
#include "kube/int_or_string.h"
#include "kube/kinds.h"

namespace caravel::kube {

namespace {

constexpr std::string_view kQuantityPattern =
    R"(^(\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))(([KMGTPE]i)|[numkMGTPE]|([eE](\+|-)?(([0-9]+(\.[0-9]*)?)|(\.[0-9]+))))?$)";

json::Value number(double d) {
  if (d == std::floor(d) && std::fabs(d) < 9e15) return static_cast<int64_t>(d);
  return d;
}

json::Value object_schema(const TypeInfo& type, bool root);

json::Value int_or_string() {
  json::Value v = json::Value::object();
  v["anyOf"] = json::Value::array({json::Object{{"type", "integer"}}, json::Object{{"type", "string"}}});
  v["x-kubernetes-int-or-string"] = true;
  return v;
}

json::Value scalar_schema(const FieldInfo& f) {
  json::Value v = json::Value::object();
  switch (f.scalar) {
    case Scalar::kString: v["type"] = "string"; break;
    case Scalar::kBool: v["type"] = "boolean"; break;
    case Scalar::kInt32:
      v["type"] = "integer";
      v["format"] = "int32";
      break;
    case Scalar::kInt64:
      v["type"] = "integer";
      v["format"] = "int64";
      break;
    case Scalar::kInt: v["type"] = "integer"; break;
    case Scalar::kDouble: v["type"] = "number"; break;
    case Scalar::kBytes:
      v["type"] = "string";
      v["format"] = "byte";
      break;
    case Scalar::kTime:
    case Scalar::kMicroTime:
      v["type"] = "string";
      v["format"] = "date-time";
      break;
    case Scalar::kDuration: v["type"] = "string"; break;
    case Scalar::kQuantity:
      v = int_or_string();
      v["pattern"] = kQuantityPattern;
      break;
    case Scalar::kIntOrString: v = int_or_string(); break;
    case Scalar::kJson: v["x-kubernetes-preserve-unknown-fields"] = true; break;
    case Scalar::kObject:
      v["type"] = "object";
      v["x-kubernetes-preserve-unknown-fields"] = true;
      break;
    case Scalar::kStrings:
      v["type"] = "array";
      v["items"] = json::Object{{"type", "string"}};
      break;
    case Scalar::kStruct: v = object_schema(*f.type, false); break;
  }
  return v;
}

json::Value field_schema(const FieldInfo& f) {
  const FieldFacts& x = f.facts();
  json::Value item = scalar_schema(f);
  bool list = f.shape == Shape::kList, map = f.shape == Shape::kMap;
  if (!x.enum_values.empty()) {
    json::Array a;
    const bool integer = std::as_const(item)["type"].as_string() == "integer";
    for (auto e : x.enum_values) a.push_back(integer ? json::Value(parse_int(e).value_or(0)) : json::Value(e));
    item["enum"] = std::move(a);
  }
  if (list || map) {
    if (!x.item_pattern.empty()) item["pattern"] = x.item_pattern;
    if (!x.item_map_type.empty()) item["x-kubernetes-map-type"] = x.item_map_type;
    if (x.item_min_length >= 0) item["minLength"] = x.item_min_length;
    if (x.item_max_length >= 0) item["maxLength"] = x.item_max_length;
    // Lengths and patterns of a list of strings are about its items.
    if (!x.pattern.empty()) item["pattern"] = x.pattern;
    if (x.min_length >= 0) item["minLength"] = x.min_length;
    if (x.max_length >= 0) item["maxLength"] = x.max_length;
  }
  json::Value v;
  if (list) {
    v["type"] = "array";
    v["items"] = std::move(item);
    if (!x.list_type.empty()) v["x-kubernetes-list-type"] = x.list_type;
    if (!x.list_map_keys.empty()) {
      json::Array keys;
      for (auto& k : split(x.list_map_keys, ',')) keys.push_back(k);
      v["x-kubernetes-list-map-keys"] = std::move(keys);
    }
  } else if (map) {
    v["type"] = "object";
    v["additionalProperties"] = std::move(item);
  } else {
    v = std::move(item);
    if (!x.pattern.empty()) v["pattern"] = x.pattern;
    if (x.min_length >= 0) v["minLength"] = x.min_length;
    if (x.max_length >= 0) v["maxLength"] = x.max_length;
    if (!x.format.empty()) v["format"] = x.format;
  }
  if (!x.map_type.empty()) v["x-kubernetes-map-type"] = x.map_type;
  if (!std::isnan(x.minimum)) v["minimum"] = number(x.minimum);
  if (!std::isnan(x.maximum)) v["maximum"] = number(x.maximum);
  if (x.min_items >= 0) v["minItems"] = x.min_items;
  if (x.max_items >= 0) v["maxItems"] = x.max_items;
  if (x.min_properties >= 0) v["minProperties"] = x.min_properties;
  if (x.max_properties >= 0) v["maxProperties"] = x.max_properties;
  if (!x.description.empty()) v["description"] = x.description;
  if (f.has(FieldInfo::kPreserve)) v["x-kubernetes-preserve-unknown-fields"] = true;
  if (f.has(FieldInfo::kEmbedded)) v["x-kubernetes-embedded-resource"] = true;
  if (f.has(FieldInfo::kNullable)) v["nullable"] = true;
  if (!x.default_json.empty())
    if (auto d = json::parse(x.default_json); d.ok()) v["default"] = *d;
  return v;
}

void add_fields(const TypeInfo& type, bool root, json::Value& properties, json::Array& required) {
  for (const FieldInfo& f : type.fields) {
    if (f.has(FieldInfo::kInline)) {
      add_fields(*f.type, root, properties, required);
      continue;
    }
    if (root && f.name == "metadata") {
      properties["metadata"] = json::Object{{"type", "object"}};
      continue;
    }
    properties[f.name] = field_schema(f);
    if (f.has(FieldInfo::kRequired)) required.push_back(f.name.view());
  }
}

json::Value object_schema(const TypeInfo& type, bool root) {
  json::Value v = json::Value::object();
  if (!type.description.empty()) v["description"] = type.description;
  v["type"] = "object";
  json::Value properties = json::Value::object();
  json::Array required;
  if (root) {
    properties["apiVersion"] = json::Object{{"type", "string"}};
    properties["kind"] = json::Object{{"type", "string"}};
  }
  add_fields(type, root, properties, required);
  v["properties"] = std::move(properties);
  if (!required.empty()) v["required"] = std::move(required);
  return v;
}

json::Value version_entry(const KindInfo& kind, const std::string& name, bool storage) {
  json::Value v = json::Value::object();
  v["name"] = name;
  v["served"] = true;
  v["storage"] = storage;
  v["schema"]["openAPIV3Schema"] = object_schema(*kind.type, true);
  for (const Subresource& s : kind.subresources) {
    if (s.name == "status") v["subresources"]["status"] = json::Value::object();
    if (s.name == "scale") {
      json::Value scale = json::Object{{"specReplicasPath", s.spec_path}, {"statusReplicasPath", s.status_path}};
      if (!s.selector_path.empty()) scale["labelSelectorPath"] = s.selector_path;
      v["subresources"]["scale"] = std::move(scale);
    }
  }
  json::Array columns;
  for (const Column& c : kind.columns) {
    json::Value col = json::Object{{"name", c.name}, {"type", c.type}, {"jsonPath", c.source}};
    if (c.priority) col["priority"] = c.priority;
    columns.push_back(std::move(col));
  }
  if (!columns.empty()) v["additionalPrinterColumns"] = std::move(columns);
  json::Array selectable;
  for (auto s : kind.selectable_fields) selectable.push_back(json::Object{{"jsonPath", s}});
  if (!selectable.empty()) v["selectableFields"] = std::move(selectable);
  return v;
}

}  // namespace

json::Value crd_manifest(const KindInfo& kind) {
  const Resource& r = kind.resource();
  json::Value crd = json::Value::object();
  crd["apiVersion"] = "apiextensions.k8s.io/v1";
  crd["kind"] = "CustomResourceDefinition";
  crd["metadata"]["name"] = r.plural + "." + r.group;
  // Groups under k8s.io and kubernetes.io need an approval note.
  if (r.group.ends_with(".k8s.io"))
    crd["metadata"]["annotations"]["api-approved.kubernetes.io"] = "unapproved, packaged with Caravel";
  json::Value spec = json::Value::object();
  spec["group"] = r.group;
  spec["scope"] = r.namespaced ? "Namespaced" : "Cluster";
  json::Value names = json::Object{{"kind", r.kind}, {"listKind", r.kind + "List"}, {"plural", r.plural}, {"singular", kind.singular}};
  auto strings = [](std::string_view list) {
    json::Array a;
    for (auto& s : split(list, ',')) a.push_back(s);
    return a;
  };
  if (!kind.short_names.empty()) names["shortNames"] = strings(kind.short_names);
  if (!kind.categories.empty()) names["categories"] = strings(kind.categories);
  spec["names"] = std::move(names);
  json::Array versions;
  std::string storage = kind.storage_version.empty() ? r.version : std::string(kind.storage_version);
  versions.push_back(version_entry(kind, r.version, storage == r.version));
  if (!kind.also_versions.empty())
    for (auto& v : split(kind.also_versions, ',')) versions.push_back(version_entry(kind, v, storage == v));
  spec["versions"] = std::move(versions);
  crd["spec"] = std::move(spec);
  return crd;
}

}  // namespace caravel::kube
