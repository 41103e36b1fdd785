// When a claim that was made larger is handed to the resizer of its driver, and in what words. Plain functions.
#pragma once

#include <string>

#include "kube/types/core.h"

namespace caravel::controllers {

inline constexpr const char* kStorageResizer = "volume.kubernetes.io/storage-resizer";

// Whether a change of a bound claim is worth a look: it is new to us, asks for more, or has become larger.
bool may_have_grown(const kube::core::PersistentVolumeClaim* old, const kube::core::PersistentVolumeClaim& now);

struct ExpansionPlan {
  std::string message;  // of the event ExternalExpanding; empty: nothing is to be done
  std::string resizer;  // what the claim's annotation must say; empty: nothing
};
// Nothing here can make a volume larger; drivers bring a resizer that watches claims. Volumes of drivers that used to be part of
// Kubernetes name the driver that took them over.
ExpansionPlan plan_expansion(const kube::core::PersistentVolumeClaim& c, const kube::core::PersistentVolume& v);

}  // namespace caravel::controllers
