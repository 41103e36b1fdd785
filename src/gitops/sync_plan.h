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

// Objects with hook annotations appear once for each of their phases; Skip ones not at all. Sorted in the
// order in which they are applied: phase, wave, kind, name.
std::vector<SyncItem> plan_sync(const std::vector<json::Value>& objects);
// Argo CD's kind order: Namespaces first, custom resources after their definitions, APIServices last.
int kind_order(const std::string& kind);
bool has_sync_option(const json::Value& object, const std::string& option);

}  // namespace caravel::gitops
