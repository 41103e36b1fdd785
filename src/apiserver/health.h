// /healthz, /livez and /readyz, with ?verbose, ?exclude=NAME and a path of its own for every check.
#pragma once

#include <optional>

#include "apiserver/request.h"

namespace caravel::apiserver {

// `ready`: all that the server does at its start is done. nullopt: the path is none of these.
std::optional<Response> serve_health(const Request& r, bool ready);

}  // namespace caravel::apiserver
