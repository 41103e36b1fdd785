// From a Service to one of its ready endpoints: the API server reaches services without the node's proxy.
#pragma once

#include <string>
#include <string_view>

#include "apiserver/core.h"

namespace caravel::apiserver {

// "address:port" of a ready endpoint. `port` is a port's name or number, "" the first. Errors are Status errors.
Result<std::string> service_endpoint(Core& core, const std::string& ns, const std::string& name, const std::string& port);

}  // namespace caravel::apiserver
