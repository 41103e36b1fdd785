// Which EndpointSlices mirror Endpoints that somebody keeps by hand. Pure.
#pragma once

#include <string>
#include <vector>

#include "kube/types/core.h"
#include "kube/types/discovery.h"

namespace caravel::controllers {

inline constexpr size_t kMirroredMax = 1000;  // addresses of one subset, as upstream
inline constexpr const char* kMirrorManager = "endpointslicemirroring-controller.k8s.io";

// Not those that are to be left alone, nor the locks of leader elections.
bool is_mirrored(const kube::core::Endpoints& e);

// The same addresses and ports in canonical subsets: those that offer the same ports stand together once, and an address that is
// not ready in one place is not ready.
std::vector<kube::core::EndpointSubset> repack(const std::vector<kube::core::EndpointSubset>& subsets);

struct Mirror {
  std::vector<kube::discovery::EndpointSlice> slices;  // without names
  size_t skipped = 0;                                  // addresses that are too many
};
// One slice for each subset and address family that has addresses.
Mirror mirror_of(const kube::core::Endpoints& from);
// Sentence of the event TooManyAddressesToMirror.
std::string skipped_text(size_t skipped);

}  // namespace caravel::controllers
