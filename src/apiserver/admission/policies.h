// ValidatingAdmissionPolicy and MutatingAdmissionPolicy: admission written as expressions, put to use by bindings.
//
// Policies and bindings are read from the watch cache and compiled once per change; a stored one is in force for
// the next request. A policy is applied once per binding and per parameter object. Variables are evaluated when they
// are first used. All expressions of one application share a budget.
// Threading: one executor.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/admission/cel_input.h"
#include "apiserver/admission/matching.h"
#include "apiserver/admission/webhooks.h"
#include "kube/kinds.h"

namespace caravel::apiserver {

struct PolicyExpression {
  std::string name, text;  // of variables the name, of audit annotations the key
  kube::cel::Program program;
};
struct PolicyValidation {
  std::string text, message, reason;
  kube::cel::Program program;
  std::optional<kube::cel::Program> message_program;
};
struct PolicyMutation {
  bool json_patch = false;
  PolicyExpression expression;
};

struct Policy {
  std::string name;
  MatchCriteria criteria;
  bool ignore_failures = false, reinvoke = false;
  bool has_params = false;
  kube::GroupVersion param_version;
  std::string param_kind;
  std::vector<Condition> conditions;
  std::vector<PolicyExpression> variables, annotations;
  std::vector<PolicyValidation> validations;
  std::vector<PolicyMutation> mutations;
};

struct PolicyBinding {
  std::string name, policy;
  std::optional<MatchCriteria> criteria;
  bool has_param_ref = false, params_needed = false;
  std::string param_name, param_ns;
  std::optional<kube::LabelSelector> param_selector;
  std::vector<std::string> actions;
};

struct BoundPolicy {
  std::shared_ptr<const Policy> policy;
  std::vector<std::shared_ptr<const PolicyBinding>> bindings;
};

Result<std::shared_ptr<const Policy>> parse_policy(const json::Value& object);
Result<std::shared_ptr<const PolicyBinding>> parse_binding(const json::Value& object);

class Policies {
 public:
  explicit Policies(Core& core);
  bool mutating(const AdmissionRequest& a);
  bool validating(const AdmissionRequest& a);
  Task<Status> mutate(AdmissionRequest& a, Reinvocation& state, bool again);
  Task<Status> validate(AdmissionRequest& a);

 private:
  using List = std::vector<BoundPolicy>;
  struct Source {
    WatchCache *policies = nullptr, *bindings = nullptr;
    bool dirty = true;
    std::shared_ptr<const List> list;
  };
  const std::shared_ptr<const List>& current(Source& s);
  bool interested(Source& s, const AdmissionRequest& a);
  Result<bool> bound(const PolicyBinding& b, const AdmissionRequest& a) const;
  // The parameter objects, a null value where the policy runs without.
  Result<std::vector<ValuePtr>> params(const Policy& p, const PolicyBinding& b, const AdmissionRequest& a) const;

  Core* core_;
  Source validating_, mutating_;
};

}  // namespace caravel::apiserver
