// x-kubernetes-validations: the rules in CEL that a CRD's schema holds, checked when the CRD is written and
// applied when its resources are.
//
// A rule that names oldSelf is a transition rule: it applies only where there is an old value to compare with,
// or always when it says optionalOldSelf. What an update left as it was is not refused by a rule (ratcheting).
// All rules of one object share a budget. So is what they may cost at worst, which is
// estimated when the CRD is written.
// Threading: immutable once made.
#pragma once

#include <memory>
#include <string>

#include "base/json.h"
#include "kube/field_error.h"

namespace caravel::kube {

class CrdRules {
 public:
  // `schema` is an openAPIV3Schema, `path` where it stands. What is wrong with its rules goes to `errors`; wrong
  // rules are left out, those that may become too expensive are not. `bound_each` is false for a schema that did not
  // change: then only the sum is bounded. Null when there are no rules.
  static std::shared_ptr<const CrdRules> make(const json::Value& schema, const FieldPath& path, FieldErrors& errors, bool bound_each = true);
  // `old` is null for a create.
  void validate(const json::Value& object, const json::Value* old, FieldErrors& errors) const;

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
};

// All versions of a CustomResourceDefinition; `old` is null for a create.
void validate_crd_rules(const json::Value& crd, const json::Value* old, FieldErrors& errors);

}  // namespace caravel::kube
