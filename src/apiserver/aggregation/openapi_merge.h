// OpenAPI v2 of aggregated servers within ours.
//
// Of a service's document its group's and version's paths count, with the definitions that they need: what else it
// says (its own /version, other versions) is not served there through us. A definition that both have with different
// contents keeps its name here; the service's gets one of its own ("NAME_v2"), and what refers to it says so.
// Pure.
#pragma once

#include <string>

#include "base/json.h"

namespace caravel::apiserver {

// {paths, definitions}; null: it says nothing of them.
json::Value openapi_part(const json::Value& document, const std::string& group, const std::string& version);
void merge_openapi(json::Value& into, const json::Value& part);

}  // namespace caravel::apiserver
