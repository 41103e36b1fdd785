#include "base/hash.h"

#include "karpenter/controllers.h"

namespace caravel::karpenter {

std::string node_pool_hash(const json::Value& np) {
  const json::Value& t = np.path({"spec", "template"});
  json::Value part;
  part["labels"] = t.path({"metadata", "labels"});
  part["annotations"] = t.path({"metadata", "annotations"});
  for (const char* k : {"taints", "startupTaints", "nodeClassRef", "terminationGracePeriod", "expireAfter"}) part[k] = t["spec"][k];
  return std::to_string(fnv64a(json::dump_sorted(part)));
}

std::string node_class_hash(const json::Value& nc) {
  json::Value part = nc["spec"];
  // Selectors drift by what they resolve to, not by how they are written.
  for (const char* k : {"subnetSelectorTerms", "securityGroupSelectorTerms", "amiSelectorTerms", "capacityReservationSelectorTerms", "ipPrefixCount"}) part.erase(k);
  return std::to_string(fnv64a(json::dump_sorted(part)));
}

}  // namespace caravel::karpenter
