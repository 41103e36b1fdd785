// metav1.Condition lists in documents: set keeps lastTransitionTime while the status stays the same, as
// apimachinery's meta.SetStatusCondition does.
#pragma once

#include <string_view>

#include "base/clock.h"
#include "base/json.h"

namespace caravel::kube {

// The condition of that type, or nullptr.
const json::Value* find_condition(const json::Value& conditions, std::string_view type);
bool condition_is(const json::Value& conditions, std::string_view type, std::string_view status);
// Sets or replaces; returns true when anything but the time changed. generation 0: not written.
bool set_condition(json::Value& conditions, std::string_view type, std::string_view status, std::string_view reason, std::string_view message, Time now,
                   int64_t generation = 0);
bool remove_condition(json::Value& conditions, std::string_view type);

}  // namespace caravel::kube
