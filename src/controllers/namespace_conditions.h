// What keeps a namespace that is being deleted, as conditions. Pure.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "kube/types/core.h"

namespace caravel::controllers {

struct Left {
  int objects = 0;
  std::map<std::string, int> by_resource, by_finalizer;  // resources as "pods." and "deployments.apps", like upstream
  std::vector<std::string> errors;
};

// All five in upstream's order and wording; a time changes with its status only.
void set_namespace_conditions(kube::core::NamespaceStatus& s, const std::vector<std::string>& failed_groups, const Left& left, Time now);

}  // namespace caravel::controllers
