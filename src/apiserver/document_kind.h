// apiVersion and kind of a document that a client sent, before anything else of it is read.
#pragma once

#include <string>

#include "apiserver/resource_type.h"

namespace caravel::apiserver {

// What upstream's registry of types has against a built-in kind in the place of another; "" when it can be read as `t`,
// perhaps from another version.
std::string registry_problem(const ServedType& t, const std::string& api_version, const std::string& kind);

// Why a document is none: "json: cannot unmarshal array into Go value of type struct {...}"; "" for one that may be read.
std::string header_problem(const json::Value& document);

// "apps/v1, Kind=Deployment", "/v1, Kind=Pod"
std::string kind_text(std::string_view api_version, std::string_view kind);

}  // namespace caravel::apiserver
