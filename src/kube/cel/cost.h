// What evaluating an expression may cost at worst, before there is anything to evaluate it on. CRDs with rules
// that may become too expensive are refused when they are written, so the figures must be upstream's.
#pragma once

#include <cstdint>
#include <unordered_map>
#include <vector>

#include "kube/cel/ast.h"
#include "kube/cel/functions.h"
#include "kube/cel/object_schema.h"

namespace caravel::kube::cel {

// What the checker found out about a node: its type, and for calls the overloads that may be meant.
struct CheckedNode {
  TypePtr type;
  std::vector<const Function*> overloads;
};
using CheckedNodes = std::unordered_map<const Expr*, CheckedNode>;

// `self` is the schema of the variables self and oldSelf; its bounds on lists, maps and texts bound the cost.
// UINT64_MAX: without bound.
uint64_t worst_cost(const Expr& expr, const CheckedNodes& nodes, const ObjectSchema& self);

uint64_t saturating_add(uint64_t a, uint64_t b);
uint64_t saturating_multiply(uint64_t a, uint64_t b);

}  // namespace caravel::kube::cel
