// What expressions of admission may name: object, oldObject, request, namespaceObject and, where asked for,
// params, authorizer and variables. Used when configurations are checked and when they are applied.
#pragma once

#include <string>

#include "kube/cel/program.h"

namespace caravel::kube::cel {

struct AdmissionVariables {
  bool params = false;
  bool authorizer = true;
  TypePtr variables;  // null: there are none
};
Environment admission_environment(const AdmissionVariables& wanted);

// The expressions of one policy: a variable is known to those after it, by its type.
class PolicyCompiler {
 public:
  // `object`: the type of object and oldObject where it is known.
  explicit PolicyCompiler(bool params, TypePtr object = nullptr);
  void allow_mutations() { env_.mutations = true; }
  Result<Program> compile(std::string_view text) const { return Program::compile(text, env_); }
  void add_variable(const std::string& name, TypePtr type) { variables_->fields[name] = std::move(type); }

 private:
  std::shared_ptr<Type> variables_;
  Environment env_;
};

// kubernetes.authorization.*: Authorizer, PathCheck, GroupCheck, ResourceCheck, Decision.
TypePtr authorizer_type();

}  // namespace caravel::kube::cel
