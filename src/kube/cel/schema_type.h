// The CEL type of an API schema: what is known of `object` before there is one.
#pragma once

#include "kube/cel/type.h"
#include "kube/schema.h"

namespace caravel::kube::cel {

// Properties by the names that expressions use. What has no fixed shape (and what lies very deep) is dyn.
TypePtr type_of_schema(const Schema& schema);

}  // namespace caravel::kube::cel
