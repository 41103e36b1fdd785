// What the endpoints of a pod may change: the pod itself neither resources nor ephemeral containers,
// .../ephemeralcontainers and .../resize nothing else. And the same for a certificate request's approval.
//
// Pure functions: `live` is the stored object, `wanted` what the client sent; the result is what an update
// of that endpoint makes of them (metadata is the caller's matter), or the error that upstream answers.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/json.h"
#include "base/result.h"

namespace caravel::apiserver {

Result<json::Value> limited_pod_update(std::string_view subresource, const json::Value& live, json::Value wanted);

// Conditions of approval: their times are filled in; what was approved, denied or failed stays so.
Result<json::Value> approved_request(const json::Value& live, const json::Value& wanted, Time now);

}  // namespace caravel::apiserver
