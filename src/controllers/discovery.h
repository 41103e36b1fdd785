// What the API server serves, from its discovery documents: for controllers that work on all kinds.
#pragma once

#include <memory>
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

// For those who ask again and again: while the server answers with the very same documents (one in this process does, as long
// as nothing changes), so does this with what it made of them.
struct Discovery {
  std::vector<std::shared_ptr<const json::Value>> documents;
  std::shared_ptr<const Discovered> result;
};
Task<Result<std::shared_ptr<const Discovered>>> rediscover(kube::Client client, Discovery* known);

// The resource that a kind is served as: built-in ones are known, others the server is asked about.
Task<Result<kube::Resource>> resource_of(kube::Client client, std::string api_version, std::string kind);

}  // namespace caravel::controllers
