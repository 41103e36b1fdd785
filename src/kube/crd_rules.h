// x-kubernetes-validations: the rules in CEL that a CRD's schema holds, checked when the CRD is written and
// applied when its resources are.
//
// A rule that names oldSelf is a transition rule: it applies only where there is an old value to compare with,
// or always when it says optionalOldSelf. What an update left as it was is not refused by a rule (ratcheting).
// All rules of one object share a budget. On purpose not here: upstream's estimate of a rule's worst cost.
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
  // rules are left out. Null when there are no rules.
  static std::shared_ptr<const CrdRules> make(const json::Value& schema, const FieldPath& path, FieldErrors& errors);
  // `old` is null for a create.
  void validate(const json::Value& object, const json::Value* old, FieldErrors& errors) const;

  struct Node;

 private:
  std::shared_ptr<const Node> root_;
};

// All versions of a CustomResourceDefinition.
void validate_crd_rules(const json::Value& crd, FieldErrors& errors);

}  // namespace caravel::kube
