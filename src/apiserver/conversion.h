// Built-in kinds that are served in more than one version or group from one storage.
#pragma once

#include "apiserver/resource_type.h"

namespace caravel::apiserver {

// events.k8s.io/v1 <-> v1 Event; autoscaling/v1 <-> v2.
void set_builtin_conversion(ServedType& t);

}  // namespace caravel::apiserver
