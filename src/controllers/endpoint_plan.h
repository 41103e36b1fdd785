// Which EndpointSlices (and Endpoints) a Service should have, as functions of the Service, its pods and what is there.
//
// A slice holds at most 100 endpoints and those of one set of ports and one address family. Every proxy reads every change
// of a slice, so as few as possible change: endpoints stay where they are, new ones go into slices that change anyhow
// (fullest first), what is left into one other slice if all of it fits there, else into new slices; and a slice that is to
// go is written over when one is to be made. Slices are therefore not packed again after endpoints have gone, as upstream.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "controllers/common.h"
#include "kube/types/discovery.h"

namespace caravel::controllers {

inline constexpr size_t kSliceMax = 100;
inline constexpr size_t kEndpointsMax = 1000;  // addresses of one Endpoints object
inline constexpr const char* kSliceService = "kubernetes.io/service-name";
inline constexpr const char* kSliceManagedBy = "endpointslice.kubernetes.io/managed-by";
inline constexpr const char* kSliceManager = "endpointslice-controller.k8s.io";
inline constexpr const char* kEndpointsManagedBy = "endpoints.kubernetes.io/managed-by";
inline constexpr const char* kEndpointsManager = "endpoint-controller";
inline constexpr const char* kEndpointsOverCapacity = "endpoints.kubernetes.io/over-capacity";
// When what the object tells of happened: dashboards measure from it how long the network takes to follow.
inline constexpr const char* kTriggerTime = "endpoints.kubernetes.io/last-change-trigger-time";
inline constexpr const char* kHeadlessService = "service.kubernetes.io/headless";

using SlicePtr = std::shared_ptr<const kube::discovery::EndpointSlice>;

// "IPv4" and "IPv6", as far as the Service has them.
std::vector<std::string> address_types(const kube::core::Service& svc);

// The zone of a node, "" without one; nothing when the node is not known.
using ZoneOf = std::function<std::optional<std::string>(const std::string& node)>;

struct SlicePlan {
  std::vector<kube::discovery::EndpointSlice> create;
  std::vector<std::pair<SlicePtr, kube::discovery::EndpointSlice>> stay;  // as they are, and as they should be
  std::vector<SlicePtr> remove;
  std::vector<std::string> left_out;  // why pods are missing: their nodes are not known (yet)
};
// `have` are the controller's slices of the Service's name and of this address type that are not being deleted. Hints are
// not decided on here: endpoints that stay keep theirs, others have none.
SlicePlan plan_slices(const kube::core::Service& svc, const std::vector<PodPtr>& pods, const std::vector<SlicePtr>& have, const std::string& type, const ZoneOf& zone_of);

// The same for Endpoints. More than kEndpointsMax are cut off, those that are not ready first, in proportion to the subsets.
std::vector<kube::core::EndpointSubset> plan_subsets(const kube::core::Service& svc, const std::vector<PodPtr>& pods, bool* truncated);
std::map<std::string, std::string> endpoints_labels(const kube::core::Service& svc);

// The earliest change since the last look that a Service's endpoints follow: its creation, or a pod's becoming (un)ready.
// Where several happened to one object between two looks only the last is seen, as upstream.
class TriggerTimes {
 public:
  // Zero when nothing has changed.
  Time observe(const std::string& key, const kube::core::Service& svc, const std::vector<PodPtr>& pods);
  void forget(const std::string& key) { seen_.erase(key); }

 private:
  struct Seen {
    Time service;
    std::map<std::string, Time> pods;
  };
  std::map<std::string, Seen> seen_;
};
void set_trigger_time(kube::meta::ObjectMeta& m, Time t);

}  // namespace caravel::controllers
