#include "controllers/statefulset_logic.h"

#include <algorithm>
#include <tuple>

namespace caravel::controllers {

bool has_identity(const kube::core::Pod& p) {
  auto it = p.metadata.labels.find(kStatefulPodName);
  return it != p.metadata.labels.end() && it->second == p.metadata.name;
}

std::vector<int> condemned_to_delete(std::vector<StatefulPod> pods, bool ordered) {
  std::sort(pods.begin(), pods.end(), [](auto& a, auto& b) { return std::tie(a.condemned, a.ordinal) < std::tie(b.condemned, b.ordinal); });
  auto unhealthy = std::find_if(pods.begin(), pods.end(), [](auto& p) { return p.terminating || !p.available; });
  std::vector<int> out;
  for (auto p = pods.rbegin(); p != pods.rend() && p->condemned; ++p) {
    if (p->terminating) {
      if (ordered) return out;
      continue;
    }
    if (ordered && !p->available && p->ordinal != unhealthy->ordinal) return out;
    out.push_back(p->ordinal);
    if (ordered) return out;
  }
  return out;
}

}  // namespace caravel::controllers
