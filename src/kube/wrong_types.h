// What is said about a document whose members do not have the types that its kind declares. Upstream reads documents in
// three ways, each with words of its own, and clients show them as they are:
//
//   bodies, JSON and merge patches   json: cannot unmarshal string into Go struct field DeploymentSpec.spec.replicas of type int32
//   strategic merge patches          unrecognized type: int32
//   applied configurations           .spec.replicas: expected numeric (int or float), got string
//
// The first is the codec's (codec_json.cc), with the names of types from here; the others are here.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "kube/schema.h"
#include "kube/type_info.h"

namespace caravel::kube {

// Go's name of a field's type, or of an item's: "v1.PullPolicy", "[]v1.Container", "int32". `root` is the kind that is
// read: it says which version of its group is meant.
std::string go_type(const TypeInfo& owner, const FieldInfo& f, bool element, const TypeInfo& root);
// "v1.PodSpec"
std::string go_type(const TypeInfo& type, const TypeInfo& root);
// What Go's time.Parse says about a text that is no RFC 3339 time; `micro`: with six digits of a second.
std::string go_time_problem(std::string_view text, bool micro);
// What Go's base64 says: the offset of the first byte that it cannot take.
std::string go_base64_problem(std::string_view text);
// As fmt's %v shows a decoded document: map[a:1 b:[x <nil>]].
std::string go_text(const json::Value& v);
// The names of the base structs that a member is reached through: {"VolumeSource"} for a Volume's emptyDir.
std::vector<std::string_view> inline_path(const TypeInfo& type, std::string_view member);

// How a merged document becomes a struct: numbers take their fields' types (large ones wrap, whole fractions become
// integers). The error says what could not.
Status convert_numbers(const TypeInfo& type, json::Value& document);

// What an applied configuration has against its schema, one sentence each, with fields that the schema does not have.
std::vector<std::string> typed_problems(const Schema& schema, const json::Value& config);

}  // namespace caravel::kube
