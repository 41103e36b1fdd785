// CustomResourceDefinitions: names, versions, conversion, columns, subresources, and that schemas are structural.
#include <algorithm>
#include <set>

#include "base/strings.h"
#include "kube/crd_rules.h"
#include "kube/validate_admission_rules.h"
#include "kube/validate_crd_parts.h"

namespace caravel::kube::check {

namespace {

using json::Value;

const FieldPath kCrdSpec("spec");
constexpr size_t kDeprecationWarningMax = 256;

void crd_conversion(const Value& spec, FieldErrors& e) {
  const Value& c = spec["conversion"];
  if (!c.is_object()) return;
  const FieldPath p = kCrdSpec.child("conversion");
  one_of(c["strategy"], {"None", "Webhook"}, p.child("strategy"), e);
  bool webhook = c["strategy"].as_string() == "Webhook";
  const Value& config = c["webhook"]["clientConfig"];
  const Value& versions = c["webhook"]["conversionReviewVersions"];
  if (!webhook) {
    if (config.is_object()) e.push_back(forbidden_error(p.child("webhookClientConfig"), "should not be set when strategy is not set to Webhook"));
    if (versions.size()) e.push_back(forbidden_error(p.child("conversionReviewVersions"), "should not be set when strategy is not set to Webhook"));
    return;
  }
  if (spec["preserveUnknownFields"].as_bool()) e.push_back(invalid_error(p.child("strategy"), c["strategy"], "must be None if spec.preserveUnknownFields is true"));
  if (!config.is_object()) e.push_back(required_error(p.child("webhookClientConfig"), "required when strategy is set to Webhook"));
  else webhook_client_config(config, p.child("webhookClientConfig"), e, true);
  if (versions.size() == 0) {
    e.push_back(required_error(p.child("conversionReviewVersions")));
    return;
  }
  bool known = false;
  std::set<std::string> seen;
  for (size_t i = 0; i < versions.size(); ++i) {
    const std::string& v = versions.at(i).as_string();
    known = known || v == "v1" || v == "v1beta1";
    if (!seen.insert(v).second) e.push_back(invalid_error(p.child("conversionReviewVersions").index(i), v, "duplicate version"));
    else text_must(check_dns1035_label, v, p.child("conversionReviewVersions").index(i), e);
  }
  if (!known) e.push_back(invalid_error(p.child("conversionReviewVersions"), versions, "must include at least one of v1, v1beta1"));
}

void crd_names(const Value& names, FieldErrors& e) {
  const FieldPath p = kCrdSpec.child("names");
  // A kind in any case, whose lower case is a label; what was not defaulted is no error.
  auto name = [&](const char* f, bool must, bool mixed_case) {
    const Value& v = names[f];
    const std::string& s = v.as_string();
    if (s.empty()) {
      if (must || v.is_string()) e.push_back(required_error(p.child(f)));
      return;
    }
    const std::string why = check_dns1035_label(mixed_case ? to_lower(s) : s);
    if (!why.empty()) e.push_back(invalid_error(p.child(f), v, (mixed_case ? "may have mixed case, but should otherwise match: " : "") + why));
  };
  name("plural", true, false);
  name("singular", false, false);
  name("kind", true, true);
  name("listKind", false, true);
  for (auto list : {"shortNames", "categories"})
    for (size_t i = 0; i < names[list].size(); ++i) text_must(check_dns1035_label, names[list].at(i), p.child(list).index(i), e);
  if (!names["kind"].as_string().empty() && names["kind"] == names["listKind"]) e.push_back(invalid_error(p.child("listKind"), names["listKind"], "kind and listKind may not be the same"));
}

// Whether a path is written as they are; which of `under` it must begin with, none: any.
void replicas_path(const Value& v, bool must, Words under, std::string_view where, const FieldPath& p, FieldErrors& e) {
  const std::string& path = v.as_string();
  if (path.empty()) {
    if (must) e.push_back(required_error(p));
  } else if (path[0] != '.') {
    e.push_back(invalid_error(p, path, "must be a simple json path starting with ."));
  } else if (std::none_of(under.begin(), under.end(), [&](std::string_view u) { return path.starts_with(u); })) {
    e.push_back(invalid_error(p, path, "should be a json path under " + std::string(where)));
  }
}

void crd_subresources(const Value& s, const FieldPath& p, FieldErrors& e) {
  const Value& scale = s["scale"];
  if (!scale.is_object()) return;
  replicas_path(scale["specReplicasPath"], true, {".spec."}, ".spec", p.child("scale.specReplicasPath"), e);
  replicas_path(scale["statusReplicasPath"], true, {".status."}, ".status", p.child("scale.statusReplicasPath"), e);
  replicas_path(scale["labelSelectorPath"], false, {".spec.", ".status."}, "either .spec or .status", p.child("scale.labelSelectorPath"), e);
}

constexpr std::string_view kColumnFormats[] = {"byte", "date", "date-time", "double", "float", "int32", "int64", "password"};

void crd_columns(const Value& list, const FieldPath& p, FieldErrors& e) {
  constexpr const char* kTypes = "must be one of boolean,date,integer,number,string";
  for (size_t i = 0; i < list.size(); ++i) {
    const Value& c = list.at(i);
    const FieldPath at = p.index(i);
    const std::string& type = c["type"].as_string();
    must_have(c, {"name"}, at, e);
    if (type.empty()) e.push_back(required_error(at.child("type"), kTypes));
    else if (type != "boolean" && type != "date" && type != "integer" && type != "number" && type != "string") e.push_back(invalid_error(at.child("type"), type, kTypes));
    if (const std::string& f = c["format"].as_string(); !f.empty() && std::find(std::begin(kColumnFormats), std::end(kColumnFormats), f) == std::end(kColumnFormats))
      e.push_back(invalid_error(at.child("format"), f, "must be one of byte,date,date-time,double,float,int32,int64,password"));
    const std::string& path = c["jsonPath"].as_string();
    if (path.empty()) e.push_back(required_error(at.child("JSONPath")));
    else if (path[0] != '.') e.push_back(invalid_error(at.child("JSONPath"), path, "must be a simple json path starting with ."));
  }
}

void deprecation_warning(const Value& v, const FieldPath& p, FieldErrors& e) {
  const Value& warning = v["deprecationWarning"];
  if (!warning.is_string()) return;
  const std::string& s = warning.as_string();
  auto bad = [&](const std::string& why) { e.push_back(invalid_error(p.child("deprecationWarning"), warning, why)); };
  if (!v["deprecated"].as_bool()) return bad("can only be set for deprecated versions");
  if (s.size() > kDeprecationWarningMax) bad("must be <= 256 characters long");
  if (s.empty()) bad("must not be an empty string");
  const auto odd = std::find_if(s.begin(), s.end(), [](unsigned char c) { return c < 0x20 || c == 0x7f; });
  if (odd != s.end()) bad("must only contain printable UTF-8 characters; non-printable character found at index " + std::to_string(odd - s.begin()));
}

enum class Level { kRoot,
                   kItem,
                   kField };

bool set(const Value& schema, std::string_view member) {
  const Value& v = schema[member];
  return v.is_bool() ? v.as_bool() : v.is_string()               ? !v.as_string().empty()
                                 : v.is_array() || v.is_object() ? v.size() > 0
                                                                 : !v.is_null();
}

bool int_or_string_choice(const Value& any_of) {
  auto only = [](const Value& v, const char* type) { return v.size() == 1 && v["type"].as_string() == type; };
  return any_of.size() == 2 && only(any_of.at(0), "integer") && only(any_of.at(1), "string");
}

void nested_value(const Value& s, bool skip_any_of, const FieldPath& p, FieldErrors& e);

// anyOf, allOf, oneOf and not may restrict values, but not say what there is.
void value_validation(const Value& s, bool skip_any_of, bool skip_first, const FieldPath& p, FieldErrors& e) {
  if (!skip_any_of)
    for (size_t i = 0; i < s["anyOf"].size(); ++i) nested_value(s["anyOf"].at(i), false, p.child("anyOf").index(i), e);
  for (size_t i = 0; i < s["allOf"].size(); ++i) nested_value(s["allOf"].at(i), skip_first && i == 0, p.child("allOf").index(i), e);
  for (size_t i = 0; i < s["oneOf"].size(); ++i) nested_value(s["oneOf"].at(i), false, p.child("oneOf").index(i), e);
  if (s["not"].is_object()) nested_value(s["not"], false, p.child("not"), e);
  if (const std::string& pattern = s["pattern"].as_string(); !pattern.empty())
    if (const std::string why = regex_fault(pattern); !why.empty()) e.push_back(invalid_error(p.child("pattern"), pattern, "must be a valid regular expression, but isn't: " + why));
}

void nested_value(const Value& s, bool skip_any_of, const FieldPath& p, FieldErrors& e) {
  static constexpr std::pair<std::string_view, std::string_view> kForbidden[] = {
      {"type", "must be empty to be structural"}, {"additionalProperties", "must be undefined to be structural"}, {"default", "must be undefined to be structural"}, {"title", "must be empty to be structural"}, {"description", "must be empty to be structural"}, {"nullable", "must be false to be structural"}, {"x-kubernetes-preserve-unknown-fields", "must be false to be structural"}, {"x-kubernetes-embedded-resource", "must be false to be structural"}, {"x-kubernetes-int-or-string", "must be false to be structural"}, {"x-kubernetes-list-map-keys", "must be empty to be structural"}, {"x-kubernetes-list-type", "must be undefined to be structural"}, {"x-kubernetes-map-type", "must be undefined to be structural"}, {"x-kubernetes-validations", "must be empty to be structural"}};
  value_validation(s, skip_any_of, false, p, e);
  if (s["items"].is_object()) nested_value(s["items"], false, p.child("items"), e);
  for (auto& m : s["properties"].as_object()) nested_value(m.value, false, p.child("properties").key(m.key), e);
  for (auto& [member, why] : kForbidden)
    if (set(s, member)) e.push_back(forbidden_error(p.child(member), why));
  if (s["properties"].find("metadata")) e.push_back(forbidden_error(p.child("properties").key("metadata"), "must not be specified in a nested context"));
}

// How lists and maps are merged.
void merge_extensions(const Value& s, const FieldPath& p, FieldErrors& e) {
  const std::string& type = s["type"].as_string();
  const Value &map = s["x-kubernetes-map-type"], &list = s["x-kubernetes-list-type"], &keys = s["x-kubernetes-list-map-keys"], &items = s["items"];
  auto wants = [&](const char* wanted, const std::string& why) {
    if (type.empty()) e.push_back(required_error(p.child("type"), why));
    else if (type != wanted) e.push_back(invalid_error(p.child("type"), type, why));
  };
  if (map.is_string()) {
    wants("object", "must be object if x-kubernetes-map-type is specified");
    supported(map, {"atomic", "granular"}, p.child("x-kubernetes-map-type"), e);
  }
  if (list.is_string()) {
    wants("array", "must be array if x-kubernetes-list-type is specified");
    supported(list, {"atomic", "set", "map"}, p.child("x-kubernetes-list-type"), e);
  }
  if (list.as_string() == "set" && items.is_object()) {
    constexpr const char* kAtomic = "must be atomic as item of a list with x-kubernetes-list-type=set";
    if (items["type"].as_string() == "array" && items["x-kubernetes-list-type"].is_string() && items["x-kubernetes-list-type"].as_string() != "atomic")
      e.push_back(invalid_error(p.child("items").child("x-kubernetes-list-type"), items["x-kubernetes-list-type"], kAtomic));
    if (items["type"].as_string() == "object" && items["x-kubernetes-map-type"].as_string() != "atomic")
      e.push_back(invalid_error(p.child("items").child("x-kubernetes-map-type"), items["x-kubernetes-map-type"], kAtomic));
  }
  if (const std::string& kind = list.as_string(); (kind == "set" || kind == "map") && items["nullable"].as_bool())
    e.push_back(forbidden_error(p.child("items").child("nullable"), "cannot be nullable when x-kubernetes-list-type is " + kind));
  if (keys.size() && list.as_string() != "map") {
    constexpr const char* kMap = "must be map if x-kubernetes-list-map-keys is non-empty";
    if (list.is_null()) e.push_back(required_error(p.child("x-kubernetes-list-type"), kMap));
    else e.push_back(invalid_error(p.child("x-kubernetes-list-type"), list, kMap));
  }
  if (list.as_string() != "map") return;
  if (keys.size() == 0) e.push_back(required_error(p.child("x-kubernetes-list-map-keys"), "must not be empty if x-kubernetes-list-type is map"));
  if (!items.is_object()) return e.push_back(required_error(p.child("items"), "must have a schema if x-kubernetes-list-type is map"));
  if (items["type"].as_string() != "object") e.push_back(invalid_error(p.child("items").child("type"), items["type"], "must be object if parent array's x-kubernetes-list-type is map"));
  const auto& required = items["required"].as_array();
  std::set<std::string_view> seen;
  for (const Value& key : keys.as_array()) {
    const Value* property = items["properties"].find(key.as_string());
    const FieldPath at = p.child("items").child("properties").key(key.as_string());
    if (property && ((*property)["type"].as_string() == "array" || (*property)["type"].as_string() == "object"))
      e.push_back(invalid_error(at.child("type"), items["type"], "must be a scalar type if parent array's x-kubernetes-list-type is map"));
    if (!seen.insert(key.as_string()).second) e.push_back(invalid_error(p.child("x-kubernetes-list-map-keys"), keys, "must not contain duplicate entries"));
    if (property && (*property)["nullable"].as_bool()) e.push_back(forbidden_error(at.child("nullable"), "this property is in x-kubernetes-list-map-keys, so it cannot be nullable"));
    if (!property) {
      e.push_back(invalid_error(p.child("x-kubernetes-list-map-keys"), keys, "entries must all be names of item properties"));
    } else if ((*property)["default"].is_null() && std::find(required.begin(), required.end(), key) == required.end()) {
      e.push_back(required_error(p.child("items").child("properties").key(key.as_string()).child("default"),
                                 "this property is in x-kubernetes-list-map-keys, so it must have a default or be a required property"));
    }
  }
}

// A default must be what the schema allows, with the defaults inside it.
void default_value(const Value& s, const Value& given, const FieldPath& p, FieldErrors& e) {
  auto schema = schema_from_openapi(s);
  if (!schema.ok()) return;
  Value whole = given;
  prune(**schema, whole);
  if (!(whole == given)) e.push_back(invalid_error(p, given, "must not have unknown fields"));
  set_schema_defaults(**schema, whole);
  // The value is checked as a document of its own: messages name what is inside it.
  FieldErrors inside;
  validate_schema(**schema, whole, FieldPath(), inside);
  for (FieldError& x : inside) {
    x.field = p.text() + (x.field.empty() || x.field[0] == '[' ? "" : ".") + x.field;
    e.push_back(std::move(x));
  }
}

// `type_meta`: which of the root's apiVersion, kind and metadata this is in; their defaults would never be used.
void structural(const Value& s, Level level, std::string_view type_meta, const FieldPath& p, FieldErrors& e) {
  const std::string& type = s["type"].as_string();
  const bool any = s["x-kubernetes-preserve-unknown-fields"].as_bool(), both = s["x-kubernetes-int-or-string"].as_bool(), embedded = s["x-kubernetes-embedded-resource"].as_bool();
  if (type == "array" && s["items"].is_null()) e.push_back(required_error(p.child("items"), "must be specified"));
  if (s["items"].is_array()) e.push_back(forbidden_error(p.child("items"), "items must be a schema object and not an array"));
  if (s["items"].is_object()) structural(s["items"], Level::kItem, type_meta, p.child("items"), e);
  for (auto& m : s["properties"].as_object()) structural(m.value, Level::kField, level == Level::kRoot && (m.key == "metadata" || m.key == "kind" || m.key == "apiVersion") ? m.key.view() : type_meta, p.child("properties").key(m.key), e);
  const Value& more = s["additionalProperties"];
  if (more.is_object() || more.is_bool()) {
    if (level == Level::kRoot) e.push_back(forbidden_error(p.child("additionalProperties"), "must not be used at the root"));
    if (more.is_object()) structural(more, Level::kField, type_meta, p.child("additionalProperties"), e);
    if (s["properties"].size() && more.is_object()) e.push_back(forbidden_error(p.child("additionalProperties"), "additionalProperties and properties are mutual exclusive"));
    if (embedded) e.push_back(forbidden_error(p.child("additionalProperties"), "must not be used if x-kubernetes-embedded-resource is set"));
  }
  for (auto f : {"id", "additionalItems", "patternProperties", "definitions", "dependencies", "$ref"})
    if (!s[f].is_null()) e.push_back(forbidden_error(p.child(f), std::string(f) + " is not supported"));
  if (s["uniqueItems"].as_bool()) e.push_back(forbidden_error(p.child("uniqueItems"), "uniqueItems cannot be set to true since the runtime complexity becomes quadratic"));
  if (both && any) e.push_back(invalid_error(p.child("x-kubernetes-preserve-unknown-fields"), true, "must be false if x-kubernetes-int-or-string is true"));
  if (both && embedded) e.push_back(invalid_error(p.child("x-kubernetes-embedded-resource"), true, "must be false if x-kubernetes-int-or-string is true"));
  value_validation(s, int_or_string_choice(s["anyOf"]), int_or_string_choice(s["allOf"].at(0)["anyOf"]), p, e);
  merge_extensions(s, p, e);
  if (!type.empty()) supported(s["type"], {"array", "boolean", "integer", "number", "object", "string"}, p.child("type"), e);
  if (type == "null") e.push_back(forbidden_error(p.child("type"), "type cannot be set to null, use nullable as an alternative"));
  if (const Value& v = s["x-kubernetes-preserve-unknown-fields"]; v.is_bool() && !v.as_bool()) e.push_back(invalid_error(p.child("x-kubernetes-preserve-unknown-fields"), v, "must be true or undefined"));
  if (embedded && type != "object") {
    constexpr const char* kObject = "must be object if x-kubernetes-embedded-resource is true";
    e.push_back(type.empty() ? required_error(p.child("type"), kObject) : invalid_error(p.child("type"), type, kObject));
  } else if (type.empty() && !both && !any) {
    e.push_back(required_error(p.child("type"), level == Level::kRoot   ? "must not be empty at the root"
                                                : level == Level::kItem ? "must not be empty for specified array items"
                                                                        : "must not be empty for specified object fields"));
  }
  if (level == Level::kRoot && s["nullable"].as_bool()) e.push_back(forbidden_error(p.child("nullable"), "nullable cannot be true at the root"));
  if (!type_meta.empty() && !s["default"].is_null()) e.push_back(forbidden_error(p.child("default"), "must not be set in top-level " + std::string(type_meta)));
  else if (const Value& given = s["default"]; !given.is_null() && level != Level::kRoot) default_value(s, given, p.child("default"), e);
  if (level == Level::kRoot && !type.empty() && type != "object") e.push_back(invalid_error(p.child("type"), type, "must be object at the root"));
  if (level == Level::kRoot || embedded) {
    for (auto f : {"kind", "apiVersion"})
      if (const Value* v = s["properties"].find(f); v && (*v)["type"].as_string() != "string") e.push_back(invalid_error(p.child("properties").key(f).child("type"), (*v)["type"].as_string(), "must be string"));
    if (const Value* meta = s["properties"].find("metadata")) {
      const FieldPath at = p.child("properties").key("metadata");
      if ((*meta)["type"].as_string() != "object") e.push_back(invalid_error(at.child("type"), (*meta)["type"].as_string(), "must be object"));
      const auto& inside = (*meta)["properties"].as_object();
      const bool only_names = std::all_of(inside.begin(), inside.end(), [](auto& m) { return m.key == "name" || m.key == "generateName"; });
      if (level == Level::kRoot && !only_names) e.push_back(forbidden_error(at, "must not specify anything other than name and generateName, but metadata is implicitly specified"));
    }
  }
  if (embedded && !any && s["properties"].size() == 0)
    e.push_back(required_error(p.child("properties"), "must not be empty if x-kubernetes-embedded-resource is true without x-kubernetes-preserve-unknown-fields"));
}

// Whether all versions have the same there: upstream then has it once for all, and its path says so.
bool same_in_all(const Value& versions, std::string_view member) {
  for (const Value& v : versions.as_array())
    if (!same(v[member], versions.at(0)[member])) return false;
  return true;
}

void crd_versions(const Value& s, const Value* was, FieldErrors& e) {
  const bool create = !was;
  const FieldPath p = kCrdSpec.child("versions");
  const auto& versions = s["versions"].as_array();
  std::set<std::string> names;
  int storage = 0;
  bool unique = true;
  const bool one_schema = same_in_all(s["versions"], "schema"), one_scale = same_in_all(s["versions"], "subresources"), one_fields = same_in_all(s["versions"], "selectableFields"), one_table = same_in_all(s["versions"], "additionalPrinterColumns");
  for (size_t i = 0; i < versions.size(); ++i) {
    const Value& v = versions[i];
    const FieldPath at = p.index(i);
    const std::string& name = v["name"].as_string();
    if (!text_must(check_dns1035_label, name, at.child("name"), e) && i == 0 && !name.empty()) text_must(check_dns1035_label, name, kCrdSpec.child("version"), e);
    unique = names.insert(name).second && unique;
    if (v["storage"].as_bool() && storage++ > 0 && create) e.push_back(invalid_error(FieldPath("status").child("storedVersions"), Value::array(), "must have the storage version " + name));
    deprecation_warning(v, at, e);
    if (i == 0 || !one_scale) crd_subresources(v["subresources"], one_scale ? kCrdSpec.child("subresources") : at.child("subresources"), e);
    if (i == 0 || !one_table) crd_columns(v["additionalPrinterColumns"], (one_table ? kCrdSpec : at).child("additionalPrinterColumns"), e);
    const Value& schema = v["schema"]["openAPIV3Schema"];
    if (!schema.is_object()) {
      e.push_back(required_error(at.child("schema").child("openAPIV3Schema")));
      continue;
    }
    const size_t before = e.size();
    const FieldPath root = (one_schema ? kCrdSpec.child("validation") : at.child("schema")).child("openAPIV3Schema");
    if (v["subresources"]["status"].is_object() && (i == 0 || !one_schema)) crd_root_with_status(schema, root, e);
    if (i == 0 || !one_fields)
      crd_selectable_fields(v["selectableFields"], schema, was && same(v["selectableFields"], was->path({"versions"}).at(i)["selectableFields"]), (one_fields ? kCrdSpec : at).child("selectableFields"), e);
    if (i == 0 || !one_schema) structural(schema, Level::kRoot, "", root, e);
    if (e.size() > before) continue;
    if (auto parsed = schema_from_crd(schema); !parsed.ok()) e.push_back(invalid_error(at.child("schema").child("openAPIV3Schema"), "", parsed.error().message));
  }
  if (!unique) e.push_back(invalid_error(p, s["versions"], "must contain unique version names"));
  if (storage != 1) e.push_back(invalid_error(p, s["versions"], "must have exactly one version marked as storage version"));
  if (storage == 0 && create) e.push_back(invalid_error(FieldPath("status").child("storedVersions"), Value::array(), "must have at least one stored version"));
}

}  // namespace

void crd(const Value& o, const Value* old, FieldErrors& e) {
  const Value& s = o["spec"];
  const Value* was = old ? &(*old)["spec"] : nullptr;
  crd_approval(o, old, e);
  if (was && s == *was) return;
  const Value& names = s["names"];
  const std::string &group = s["group"].as_string(), &plural = names["plural"].as_string();
  if (group.empty()) e.push_back(required_error(kCrdSpec.child("group")));
  else if (!text_must(check_dns1123_subdomain, group, kCrdSpec.child("group"), e)) {
  } else if (group.find('.') == group.npos) e.push_back(invalid_error(kCrdSpec.child("group"), group, "should be a domain with at least one dot"));
  if (!old && o["metadata"]["name"].as_string() != plural + "." + group)
    e.push_back(invalid_error(FieldPath("metadata").child("name"), o["metadata"]["name"], "must be spec.names.plural+\".\"+spec.group"));
  one_of(s["scope"], {"Cluster", "Namespaced"}, kCrdSpec.child("scope"), e);
  if (s["preserveUnknownFields"].as_bool() && !was)
    e.push_back(invalid_error(kCrdSpec.child("preserveUnknownFields"), true, "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead"));
  crd_names(names, e);
  if (!was || !(s["versions"] == (*was)["versions"])) crd_versions(s, was, e);
  crd_conversion(s, e);
  // Rules that are stored already are not refused when something else changes.
  if (e.empty() && (!was || !(s["versions"] == (*was)["versions"]))) validate_crd_rules(o, old, e);
  if (!was) return;
  crd_stored_versions(o, e);
  immutable(s["group"], (*was)["group"], kCrdSpec.child("group"), e);
  bool established = false;  // before that nobody can have relied on them
  for (auto& c : (*old)["status"]["conditions"].as_array()) established = established || (c["type"].as_string() == "Established" && c["status"].as_string() == "True");
  if (established) {
    immutable(s["scope"], (*was)["scope"], kCrdSpec.child("scope"), e);
    immutable(names["kind"], (*was)["names"]["kind"], kCrdSpec.child("names").child("kind"), e);
  }
  immutable(names["plural"], (*was)["names"]["plural"], kCrdSpec.child("names").child("plural"), e);
}

}  // namespace caravel::kube::check
