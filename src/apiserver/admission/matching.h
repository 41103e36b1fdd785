// Which requests a webhook or a policy is about: rules over operations and resources, selectors over labels.
//
// Rules are matched against the resource as it was asked for and, where the policy is Equivalent, as each
// other version in which the same objects are served; the version that a rule names is the one in which the
// webhook or policy sees the object.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "apiserver/core.h"
#include "kube/selectors.h"

namespace caravel::apiserver {

struct ResourceRule {
  std::vector<std::string> operations, groups, versions, resources, names;
  std::string scope;  // "", "*", "Cluster", "Namespaced"
  static ResourceRule parse(const json::Value& v);
  bool matches(const AdmissionRequest& a, const ServedType& as) const;
};

struct MatchCriteria {
  std::vector<ResourceRule> rules, excluded;
  bool equivalent = true;
  kube::LabelSelector namespaces, objects;
  // `rules` and `excluded` name the members that hold them.
  static Result<MatchCriteria> parse(const json::Value& v, std::string_view rules, std::string_view excluded);

  // The served version in which a rule is met; null: none is.
  ServedTypePtr match_rules(const Core& core, const AdmissionRequest& a) const;
  bool excludes(const Core& core, const AdmissionRequest& a) const;
  // An error when the request's namespace is not known.
  Result<bool> match_selectors(const Core& core, const AdmissionRequest& a) const;
};

// Configurations of admission are not themselves subject to webhooks and policies.
bool exempt_from_admission(const AdmissionRequest& a);
// The namespace of the request, or null: {name and labels} of namespaces come from the request itself.
ObjectPtr namespace_of(const Core& core, const AdmissionRequest& a);

}  // namespace caravel::apiserver
