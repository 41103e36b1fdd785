// The order of a sync: phases, waves, kinds, names. Pure.
#pragma once

#include <string>
#include <vector>

#include "base/json.h"

namespace caravel::gitops {

enum class Phase { kPreSync,
                   kSync,
                   kPostSync,
                   kSyncFail,
                   kSkip };

struct SyncItem {
  const json::Value* object = nullptr;
  Phase phase = Phase::kSync;
  int wave = 0;
  bool hook = false;
};

// Objects with hook annotations (Argo CD's, else Helm's) appear once for each of their phases; Skip ones not at all. Sorted in the
// order in which they are applied: phase, wave, kind, name.
std::vector<SyncItem> plan_sync(const std::vector<json::Value>& objects);
// What is to be deleted, in order: the last wave first, in it the last kind first. Live hooks are never pruned; objects
// with the option Prune=false stay in the plan, so that the result can say that they were left alone.
std::vector<SyncItem> plan_prune(const std::vector<json::Value>& live);
// Does an object go when its Application is deleted? Definitions of custom resources and those marked Delete=false stay.
bool deleted_with_application(const json::Value& live);
// Is an object a hook, by annotation of Argo CD's or Helm's?
bool is_hook(const json::Value& object);
// Argo CD's kind order: Namespaces first, custom resources after their definitions, APIServices last.
int kind_order(const std::string& kind);
// An option of the annotation argocd.argoproj.io/sync-options.
bool has_sync_option(const json::Value& object, const std::string& option);
// An option of argocd.argoproj.io/compare-options; IgnoreExtraneous: being there unwanted is no drift of the Application.
bool has_compare_option(const json::Value& object, const std::string& option);

}  // namespace caravel::gitops
