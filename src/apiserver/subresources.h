// Subresources that are more than a part of their object: scale, binding, eviction, token, finalize.
#pragma once

#include "apiserver/request.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

class ApiServer;
Task<Response> serve_special_subresource(ApiServer& server, Request& r, ServedTypePtr t);
Task<Response> finalize_namespace(ApiServer& server, Request& r, ServedTypePtr t);

}  // namespace caravel::apiserver
