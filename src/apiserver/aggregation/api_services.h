// APIService objects: which groups and versions there are, who serves them, in which order they are shown.
// Pure functions on the objects and the caches.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apiserver/core.h"

namespace caravel::apiserver {

inline constexpr std::string_view kAutomanaged = "kube-aggregator.kubernetes.io/automanaged";

struct ApiServicePriority {
  int64_t group = 1000, version = 100;  // of CRDs
};
// Of a built-in group and version, as upstream ranks them; others are those of CRDs.
ApiServicePriority builtin_priority(std::string_view group, std::string_view version);

// The local APIServices that should be there, by name ("v1.apps"): of built-in groups labelled onstart, of
// CRDs labelled true.
std::map<std::string, json::Value> local_api_services(const TypeTable& types);

struct Availability {
  std::string status, reason, message;
};
// What is known without asking the service itself. `Passed` means that it is to be asked.
Availability availability(Core& core, const json::Value& api_service);
// The object's status with this Available condition; the time of the last transition is kept when the status is.
json::Value with_available(const json::Value& status, const Availability& c, Time now);

}  // namespace caravel::apiserver
