// What an aggregated server says it serves, in the form of aggregated discovery.
#pragma once

#include <string>

#include "base/json.h"

namespace caravel::apiserver {

// The resources of one version out of an APIGroupDiscoveryList; null when the version is not in it.
json::Value resources_of_group_list(const json::Value& list, const std::string& group, const std::string& version);
// The same out of an APIResourceList of older servers.
json::Value resources_of_resource_list(const json::Value& list, const std::string& group, const std::string& version);
// And back: the APIResourceList.
json::Value resource_list_of(const json::Value& resources, const std::string& group, const std::string& version);

}  // namespace caravel::apiserver
