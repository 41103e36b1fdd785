// What the API server serves, from its discovery documents: for controllers that work on all kinds.
#pragma once

#include <set>
#include <string>
#include <vector>

#include "kube/client.h"

namespace caravel::controllers {

struct ServedResource {
  kube::Resource resource;
  std::set<std::string> verbs;
  bool operator<(const ServedResource& o) const { return resource < o.resource; }
};

struct Discovered {
  std::vector<ServedResource> resources;   // the preferred version of each, without subresources
  std::vector<std::string> failed_groups;  // groups whose documents could not be had
};
Task<Result<Discovered>> discover(kube::Client client);

// The resource that a kind is served as: built-in ones are known, others the server is asked about.
Task<Result<kube::Resource>> resource_of(kube::Client client, std::string api_version, std::string kind);

}  // namespace caravel::controllers
