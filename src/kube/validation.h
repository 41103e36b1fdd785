// Validation of objects: names, metadata, built-in kinds, and structural validation from a Schema.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/field_error.h"
#include "kube/schema.h"

namespace caravel::kube {

// Each gives "" when the text is valid, else upstream's sentence, or several with a line feed between.
std::string check_dns1123_label(std::string_view s);
std::string check_dns1123_subdomain(std::string_view s);
std::string check_dns1035_label(std::string_view s);
std::string check_qualified_name(std::string_view s);  // [prefix/]name, of labels and annotations
std::string check_label_value(std::string_view s);
std::string check_path_segment_name(std::string_view s);  // RBAC objects
std::string check_config_map_key(std::string_view s);
std::string check_env_var_name(std::string_view s);
std::string check_ip(std::string_view s);
std::string check_port_name(std::string_view s);
std::string check_wildcard_subdomain(std::string_view s);
std::string check_dns1123_subdomain_with_underscore(std::string_view s);
std::string check_dns1123_subdomain_prefix(std::string_view s);  // of a name that something is added to
std::string check_http_header_name(std::string_view s);

// A text by a format of JSON schema ("date-time", "uuid"); unknown formats hold.
bool format_ok(const std::string& format, const std::string& text);

// How names of a kind are checked.
using NameCheck = std::string (*)(std::string_view);
NameCheck name_check(std::string_view group, std::string_view kind);

void validate_object_meta(const json::Value& metadata, bool namespaced, NameCheck check, const FieldPath& path, FieldErrors& errors);
// What an update must not change: name, namespace, uid, creationTimestamp, deletionTimestamp.
void validate_object_meta_update(const json::Value& now, const json::Value& old, const FieldPath& path, FieldErrors& errors);
void validate_annotations(const json::Value& annotations, const FieldPath& path, FieldErrors& errors);
void validate_labels(const json::Value& labels, const FieldPath& path, FieldErrors& errors);
void validate_label_selector(const json::Value& selector, const FieldPath& path, FieldErrors& errors);

// Everything that upstream checks in code for a built-in kind, metadata included. `old` is null for a
// create; an update may keep the faults that the stored object has. `subresource` "" or "status". Kinds without
// rules of their own have their metadata checked.
FieldErrors validate_builtin(const KindInfo& kind, const json::Value& object, const json::Value* old, std::string_view subresource = "");

// Types, required, enum, bounds, patterns, formats, list uniqueness, of a custom resource.
void validate_schema(const Schema& schema, const json::Value& value, const FieldPath& path, FieldErrors& errors);

}  // namespace caravel::kube
