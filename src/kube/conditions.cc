#include "kube/conditions.h"

namespace caravel::kube {

const json::Value* find_condition(const json::Value& conditions, std::string_view type) {
  for (auto& c : conditions.as_array())
    if (c["type"].as_string() == type) return &c;
  return nullptr;
}

bool condition_is(const json::Value& conditions, std::string_view type, std::string_view status) {
  auto* c = find_condition(conditions, type);
  return c && (*c)["status"].as_string() == status;
}

bool set_condition(json::Value& conditions, std::string_view type, std::string_view status, std::string_view reason, std::string_view message, Time now,
                   int64_t generation) {
  json::Value* c = const_cast<json::Value*>(find_condition(conditions, type));
  bool fresh = !c;
  if (fresh) {
    conditions.push_back(json::Value::object());
    c = &conditions.arr().back();
    (*c)["type"] = type;
  }
  bool flipped = fresh || (*c)["status"].as_string() != status;
  bool changed = flipped || (*c)["reason"].as_string() != reason || (*c)["message"].as_string() != message ||
                 (generation && (*c)["observedGeneration"].as_int() != generation);
  if (!changed) return false;
  if (flipped) (*c)["lastTransitionTime"] = format_rfc3339(now);
  (*c)["status"] = status;
  (*c)["reason"] = reason;
  (*c)["message"] = message;
  if (generation) (*c)["observedGeneration"] = generation;
  return true;
}

bool remove_condition(json::Value& conditions, std::string_view type) {
  if (!conditions.is_array()) return false;
  auto& arr = conditions.arr();
  for (auto it = arr.begin(); it != arr.end(); ++it)
    if ((*it)["type"].as_string() == type) {
      arr.erase(it);
      return true;
    }
  return false;
}

}  // namespace caravel::kube
