// What upstream tells the writer of an object that it accepts all the same: deprecated fields and labels, entries
// that hide each other, addresses in odd spellings. The texts become Warning headers.
//
// Pure. `old` is null for a create. Pods are not looked at when they are updated: people seldom do that by hand.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/field_error.h"

namespace caravel::kube {

using Warnings = std::vector<std::string>;

Warnings object_warnings(std::string_view group, std::string_view kind, const json::Value& object, const json::Value* old, std::string_view subresource = "");

// The parts.
void pod_warnings(const json::Value& metadata, const json::Value& spec, const FieldPath& p, bool in_template, Warnings& out);
// Amounts of bytes that are no whole number.
void fractional_bytes_warning(const json::Value& amounts, std::string_view resource, const FieldPath& p, Warnings& out);
void claim_size_warnings(const json::Value& claim_spec, const FieldPath& p, Warnings& out);
void ip_warnings(const FieldPath& p, const std::string& text, Warnings& out);
void cidr_warnings(const FieldPath& p, const std::string& text, Warnings& out);
// "" unless the label of nodes is deprecated; else what to use instead.
std::string_view deprecated_node_label(std::string_view key);
void node_term_warnings(const json::Value& term, bool values_too, const FieldPath& p, Warnings& out);
// "" unless volumes of this plugin are deprecated; else since when. `name` is what upstream calls its field.
struct OldVolume {
  std::string_view plugin, name, why;
  bool persistent = true;  // also told of PersistentVolumes
};
std::span<const OldVolume> old_volumes();
// The AppArmor profile that an annotation of the old kind stands for; null: none.
json::Value apparmor_of_annotation(const std::string& annotation);
inline constexpr std::string_view kAppArmorAnnotation = "container.apparmor.security.beta.kubernetes.io/";  // and the container's name
inline constexpr std::string_view kAppArmorWarning = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

}  // namespace caravel::kube
