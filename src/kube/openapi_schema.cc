// OpenAPI schemas from the tables.
#include "kube/openapi_schema.h"

#include <algorithm>
#include <cmath>

#include "base/strings.h"
#include "kube/type_facts.h"

namespace caravel::kube {

namespace {

using json::Value;

constexpr std::string_view kMeta = "io.k8s.apimachinery.pkg.apis.meta.v1.";
constexpr std::string_view kQuantity = "io.k8s.apimachinery.pkg.api.resource.Quantity";
constexpr std::string_view kIntOrString = "io.k8s.apimachinery.pkg.util.intstr.IntOrString";

Value number(double d) {
  if (d == std::floor(d) && std::fabs(d) < 9e15) return static_cast<int64_t>(d);
  return d;
}

// A scalar that is a named schema of its own.
std::string_view named_scalar(Scalar s) {
  switch (s) {
    case Scalar::kTime: return "io.k8s.apimachinery.pkg.apis.meta.v1.Time";
    case Scalar::kMicroTime: return "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime";
    case Scalar::kQuantity: return kQuantity;
    case Scalar::kIntOrString: return kIntOrString;
    default: return "";
  }
}

Value named_scalar_schema(Scalar s, bool v3) {
  Value v = Value::object();
  if (s == Scalar::kTime || s == Scalar::kMicroTime) {
    v["type"] = "string";
    v["format"] = "date-time";
    v["description"] = "A date and time in RFC 3339.";
    return v;
  }
  v["description"] = s == Scalar::kQuantity ? "An exact number with a suffix, such as 100m or 1.5Gi." : "A number or a text, such as 80, http or 25%.";
  if (v3) {
    v["oneOf"] = s == Scalar::kQuantity ? Value::array({json::Object{{"type", "string"}}, json::Object{{"type", "number"}}})
                                        : Value::array({json::Object{{"type", "integer"}}, json::Object{{"type", "string"}}});
    if (s == Scalar::kIntOrString) v["format"] = "int-or-string";
  } else {
    v["type"] = "string";
    if (s == Scalar::kIntOrString) v["format"] = "int-or-string";
  }
  return v;
}

// What Go has where nothing is given; null for what has no such value of its own.
Value zero_value(const FieldInfo& f) {
  switch (f.scalar) {
    case Scalar::kString: return "";
    case Scalar::kBool: return false;
    case Scalar::kInt32:
    case Scalar::kInt64:
    case Scalar::kInt:
    case Scalar::kDouble: return 0;
    case Scalar::kStruct: return f.type->special == Special::kNone ? Value::object() : Value();
    default: return {};
  }
}

}  // namespace

std::string openapi_name(const TypeInfo& type) {
  std::string_view ns = type.ns;
  std::string name(type.name);
  if (ns == "meta") return std::string(kMeta) + name;
  if (ns == "apiextensions") return "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1." + name;
  if (ns == "apiregistration") return "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1." + name;
  std::string group(ns), version = "v1";
  if (ns == "autoscaling") version = "v2";
  else if (ns == "autoscaling_v1") group = "autoscaling";
  else if (ns == "node_v1") group = "node";
  else if (ns == "apidiscovery") version = "v2";
  return "io.k8s.api." + group + "." + version + "." + name;
}

OpenApiSchemas::OpenApiSchemas(bool v3) : v3_(v3), prefix_(v3 ? "#/components/schemas/" : "#/definitions/") {}

Value OpenApiSchemas::ref(const std::string& name) const { return json::Object{{"$ref", prefix_ + name}}; }

Value OpenApiSchemas::scalar(const FieldInfo& f) {
  if (std::string_view name = named_scalar(f.scalar); !name.empty()) {
    if (!schemas_.find(name)) schemas_[name] = named_scalar_schema(f.scalar, v3_);
    return ref(std::string(name));
  }
  Value v = Value::object();
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
    case Scalar::kDouble:
      v["type"] = "number";
      v["format"] = "double";
      break;
    case Scalar::kBytes:
      v["type"] = "string";
      v["format"] = "byte";
      break;
    case Scalar::kDuration: v["type"] = "string"; break;
    case Scalar::kObject: v["type"] = "object"; break;
    case Scalar::kJson:
      // Never an empty schema: kubectl explain --recursive takes that for no schema at all. Upstream's JSON
      // (defaults and examples of CRDs) is of any type, its RawExtension and FieldsV1 are objects.
      v["description"] = "Any JSON value.";
      if (f.name != "default" && f.name != "example" && f.name != "enum") v["type"] = "object";
      break;
    case Scalar::kStrings:
      v["type"] = "array";
      v["items"] = json::Object{{"type", "string"}};
      break;
    case Scalar::kStruct:
      add(*f.type);
      return ref(openapi_name(*f.type));
    default: break;
  }
  return v;
}

Value OpenApiSchemas::field(const FieldInfo& f) {
  const FieldFacts& x = f.facts();
  Value item = scalar(f), v;
  auto wrap = [&](Value& node) {
    // Facts beside a reference: OpenAPI 3.0 needs allOf, 2.0 tolerates siblings.
    if (v3_ && node.find("$ref")) node = json::Object{{"allOf", Value::array({node})}};
  };
  if (!x.enum_values.empty() && item.find("type")) {
    json::Array a;
    const bool integer = std::as_const(item)["type"].as_string() == "integer";
    std::vector<std::string_view> sorted(x.enum_values.begin(), x.enum_values.end());
    std::sort(sorted.begin(), sorted.end());
    for (auto value : sorted) a.push_back(integer ? json::Value(parse_int(value).value_or(0)) : json::Value(value));
    item["enum"] = std::move(a);
  }
  const bool entries = f.shape == Shape::kList || f.shape == Shape::kMap;
  if (v3_ && (entries || (f.shape == Shape::kValue && (f.scalar == Scalar::kStruct || !f.has(FieldInfo::kOmitEmpty)))))
    if (Value none = zero_value(f); !none.is_null()) {
      wrap(item);
      item["default"] = std::move(none);
    }
  if (f.shape == Shape::kList) {
    v["type"] = "array";
    v["items"] = std::move(item);
    if (!x.list_type.empty()) v["x-kubernetes-list-type"] = x.list_type;
    if (!x.list_map_keys.empty()) {
      json::Array keys;
      for (auto& k : split(x.list_map_keys, ',')) keys.push_back(k);
      v["x-kubernetes-list-map-keys"] = std::move(keys);
    }
  } else if (f.shape == Shape::kMap) {
    v["type"] = "object";
    v["additionalProperties"] = std::move(item);
  } else {
    v = std::move(item);
  }
  bool facts = v3_ || !x.description.empty() || !x.map_type.empty() || !x.patch_strategy.empty() || !x.default_json.empty() || !std::isnan(x.minimum);
  if (facts) wrap(v);
  if (!x.description.empty()) v["description"] = x.description;
  if (!x.map_type.empty()) v["x-kubernetes-map-type"] = x.map_type;
  if (!x.patch_strategy.empty()) v["x-kubernetes-patch-strategy"] = x.patch_strategy;
  if (!x.merge_key.empty()) v["x-kubernetes-patch-merge-key"] = x.merge_key;
  if (!std::isnan(x.minimum)) v["minimum"] = number(x.minimum);
  if (!std::isnan(x.maximum)) v["maximum"] = number(x.maximum);
  if (!x.default_json.empty())
    if (auto d = json::parse(x.default_json); d.ok()) v["default"] = *d;
  return v;
}

void OpenApiSchemas::fields(const TypeInfo& type, Value& properties, json::Array& required) {
  for (const FieldInfo& f : type.fields) {
    if (f.has(FieldInfo::kInline)) {
      fields(*f.type, properties, required);
      continue;
    }
    properties[f.name] = field(f);
    if (f.has(FieldInfo::kRequired)) required.push_back(f.name.view());
  }
}

void OpenApiSchemas::add(const TypeInfo& type) {
  std::string name = openapi_name(type);
  if (schemas_.find(name)) return;
  schemas_[name] = Value::object();  // recursion ends here
  Value v = Value::object();
  if (!type.description.empty()) v["description"] = type.description;
  if (type.special != Special::kNone) {
    v["description"] = "A schema, or a simpler form of it.";
    schemas_[name] = std::move(v);
    return;
  }
  v["type"] = "object";
  Value properties = Value::object();
  json::Array required;
  if (!type.kind.empty()) {
    properties["apiVersion"] = json::Object{{"description", "APIVersion defines the group and version of this object's schema."}, {"type", "string"}};
    properties["kind"] = json::Object{{"description", "Kind of this object."}, {"type", "string"}};
  }
  fields(type, properties, required);
  if (properties.size() || !v3_) v["properties"] = std::move(properties);
  if (is_atomic(type)) v["x-kubernetes-map-type"] = "atomic";
  if (!required.empty()) v["required"] = std::move(required);
  if (!type.kind.empty()) {
    GroupVersion gv = parse_group_version(type.api_version);
    v["x-kubernetes-group-version-kind"] = Value::array({json::Object{{"group", gv.group}, {"kind", type.kind}, {"version", gv.version}}});
  }
  schemas_[name] = std::move(v);
}

Value OpenApiSchemas::by_value(Value reference, bool with_default) const {
  if (!v3_ || !with_default) return reference;
  return json::Object{{"default", Value::object()}, {"allOf", Value::array({std::move(reference)})}};
}

std::string OpenApiSchemas::add_list(const std::string& item, const Resource& r, const TypeInfo& list_meta, bool built_in) {
  std::string name = item + "List";
  add(list_meta);
  Value v = Value::object();
  v["description"] = "A list of " + r.kind + " objects.";
  v["type"] = "object";
  v["properties"] = json::Object{
      {"apiVersion", json::Object{{"type", "string"}}},
      {"items", json::Object{{"type", "array"}, {"items", by_value(ref(item), built_in)}}},
      {"kind", json::Object{{"type", "string"}}},
      {"metadata", by_value(ref(openapi_name(list_meta)), built_in)},
  };
  v["required"] = Value::array({"items"});
  v["x-kubernetes-group-version-kind"] = Value::array({json::Object{{"group", r.group}, {"kind", r.kind + "List"}, {"version", r.version}}});
  schemas_[name] = std::move(v);
  return name;
}

std::string OpenApiSchemas::add_custom(const OpenApiCustomKind& k, const TypeInfo& object_meta) {
  // karpenter.sh/v1 NodePool -> sh.karpenter.v1.NodePool
  auto parts = split(k.resource.group, '.');
  std::string name;
  for (size_t i = parts.size(); i-- > 0;) name += parts[i] + ".";
  name += k.resource.version + "." + k.resource.kind;
  add(object_meta);
  Value v = k.schema.is_object() ? k.schema : Value(json::Object{{"type", "object"}});
  const Value gvk = Value::array({json::Object{{"group", k.resource.group}, {"kind", k.resource.kind}, {"version", k.resource.version}}});
  // kubectl takes the properties that a version 2 document names for all there are: upstream names none where any is kept.
  if (!v3_ && std::as_const(v)["x-kubernetes-preserve-unknown-fields"].as_bool()) {
    schemas_[name] = json::Object{{"type", "object"}, {"x-kubernetes-group-version-kind", gvk}};
    return name;
  }
  Value properties = json::Object{
      {"apiVersion", json::Object{{"type", "string"}, {"description", "APIVersion defines the group and version of this object's schema."}}},
      {"kind", json::Object{{"type", "string"}, {"description", "Kind of this object."}}},
      {"metadata", v3_ ? Value(json::Object{{"allOf", Value::array({ref(openapi_name(object_meta))})}, {"description", "Standard object's metadata."}}) : ref(openapi_name(object_meta))},
  };
  for (auto& m : v["properties"].as_object())
    if (m.key != "apiVersion" && m.key != "kind" && m.key != "metadata") properties[m.key] = m.value;
  v["properties"] = std::move(properties);
  v["x-kubernetes-group-version-kind"] = gvk;
  schemas_[name] = std::move(v);
  return name;
}

}  // namespace caravel::kube
