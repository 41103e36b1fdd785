// When the finalizers kubernetes.io/pvc-protection, kubernetes.io/pv-protection and kubernetes.io/vac-protection come and go.
// Plain functions of the objects.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "kube/types/core.h"

namespace caravel::controllers {

inline constexpr const char* kClaimProtection = "kubernetes.io/pvc-protection";
inline constexpr const char* kVolumeProtection = "kubernetes.io/pv-protection";
inline constexpr const char* kAttributesProtection = "kubernetes.io/vac-protection";

// The pod is on a node and its volumes name the claim, or own it.
bool uses_claim(const kube::core::Pod& p, const kube::core::PersistentVolumeClaim& c);
// The VolumeAttributesClasses that hold for the claim, or are to.
std::vector<std::string> attributes_of(const kube::core::PersistentVolumeClaim& c);
// The finalizers that the object ought to have; nothing when it has them.
std::optional<std::vector<std::string>> protect(const kube::meta::ObjectMeta& m, const char* finalizer, bool in_use);

}  // namespace caravel::controllers
