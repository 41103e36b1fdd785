// Whether a node suits a pod's node selector, required node affinity and tolerations.
#pragma once

#include "kube/types/core.h"

namespace caravel::controllers {

bool tolerates(const std::vector<kube::core::Toleration>& tolerations, const kube::core::Taint& taint);
bool matches(const kube::core::NodeSelector& s, const kube::core::Node& n);
bool node_affinity_matches(const kube::core::PodSpec& p, const kube::core::Node& n);

}  // namespace caravel::controllers
