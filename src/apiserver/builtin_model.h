// TypeModel of a built-in kind: its schema is the generated table.
#pragma once

#include <memory>

#include "apiserver/resource_type.h"
#include "kube/kinds.h"

namespace caravel::apiserver {

std::shared_ptr<const TypeModel> make_builtin_model(const kube::KindInfo& kind);
// Any table-described type (review objects, subresource bodies): checks and names unknown fields.
Status accept_typed(const kube::TypeInfo& type, json::Value& object, std::vector<std::string>& unknown);

// A protobuf body (runtime.Unknown behind "k8s\\0") of that type.
Result<json::Value> decode_envelope(const kube::TypeInfo& type, std::string_view body);

}  // namespace caravel::apiserver
