// What a container sees of its pod: environment variables, expanded commands, downward-API values.
// Pure functions; the caller hands in the ConfigMaps, Secrets and Services.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kube/types/core.h"

namespace caravel::node {

namespace core = kube::core;

// The objects that a pod's specification names, by name, in the pod's namespace. Null: it does not exist.
struct PodSources {
  std::map<std::string, std::shared_ptr<const core::ConfigMap>> config_maps;
  std::map<std::string, std::shared_ptr<const core::Secret>> secrets;
};
// The names that a pod's containers and volumes refer to.
struct PodReferences {
  std::vector<std::string> config_maps, secrets;
};
PodReferences references(const core::Pod& pod);

// What is known of the pod only at run time.
struct PodFacts {
  std::string pod_ip, host_ip;
  std::vector<std::string> pod_ips;
  std::map<std::string, kube::Quantity> allocatable;  // of the node, for limits that are not set
};

// $(NAME) becomes the value, $$ becomes $, a name that is not there stays as written.
std::string expand(std::string_view text, const std::map<std::string, std::string>& variables);

// "metadata.labels['x']", "status.podIP", ...: the error names the path.
Result<std::string> field_value(const core::Pod& pod, std::string_view path, const PodFacts& facts);
// "limits.cpu" of the container, in units of the divisor, rounded up.
Result<std::string> resource_value(const core::Container& container, const core::ResourceFieldSelector& selector, const PodFacts& facts);
Result<std::string> resource_value(const core::Pod& pod, const core::ResourceFieldSelector& selector, const PodFacts& facts);

using Environment = std::vector<std::pair<std::string, std::string>>;

// NAME_SERVICE_HOST and the like for the services of the pod's namespace and for `kubernetes`.
Environment service_environment(const std::vector<std::shared_ptr<const core::Service>>& services, const std::string& ns, bool service_links);
// The container's environment in order, later entries winning; errors read like upstream's
// CreateContainerConfigError messages.
Result<Environment> container_environment(const core::Pod& pod, const core::Container& container, const PodSources& sources,
                                          const std::vector<std::shared_ptr<const core::Service>>& services, const PodFacts& facts);

}  // namespace caravel::node
