// ComponentStatus: what `kubectl get componentstatuses` shows. Nothing is stored; the components are asked
// each time. Deprecated upstream, but still listed by people.
// Threading: the server's executor.
#pragma once

#include "apiserver/request.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

class Rest;

// get and list. Core::components says whom to ask.
Response serve_component_statuses(const Rest& rest, const Request& r, const ServedType& t);

}  // namespace caravel::apiserver
