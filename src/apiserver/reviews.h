// Kinds that ask a question rather than store an object: access reviews, token reviews, rules reviews.
#pragma once

#include "apiserver/request.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

class ApiServer;
Task<Response> serve_review(ApiServer& server, Request& r, ServedTypePtr t);

}  // namespace caravel::apiserver
