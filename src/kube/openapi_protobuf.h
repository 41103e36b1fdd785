// The OpenAPI v2 document in protobuf (package openapi.v2 of google/gnostic), which client-go of every
// version asks for first and kubectl before 1.27 insists on.
#pragma once

#include <string>
#include <string_view>

#include "base/json.h"

namespace caravel::kube {

inline constexpr std::string_view kOpenApiV2Protobuf = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf";
// What clients before 1.23 ask for.
inline constexpr std::string_view kOpenApiV2ProtobufOld = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";

// Encodes what openapi_v2() made. Members that the format does not know are left out.
std::string openapi_v2_protobuf(const json::Value& document);

}  // namespace caravel::kube
