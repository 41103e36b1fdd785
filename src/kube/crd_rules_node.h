// What crd_rules.cc applies and crd_rules_compile.cc makes.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "kube/cel/object_schema.h"
#include "kube/cel/program.h"
#include "kube/crd_rules.h"

namespace caravel::kube {

struct Rule {
  std::string rule, message, reason, field_path;
  bool optional_old_self = false, uses_old = false;
  cel::Program program;
  std::optional<cel::Program> message_program;
};

struct CrdRules::Node {
  std::shared_ptr<const cel::ObjectSchema> schema;
  std::vector<Rule> rules;
  std::map<std::string, std::shared_ptr<const Node>, std::less<>> properties;
  std::shared_ptr<const Node> additional, items;
  bool any_rules = false;  // here or below
};

}  // namespace caravel::kube
