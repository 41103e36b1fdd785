// The service-cidr-controller's decision. Pure.
#pragma once

#include <memory>
#include <vector>

#include "kube/types/networking.h"

namespace caravel::controllers {

inline constexpr const char* kServiceCidrFinalizer = "networking.k8s.io/service-cidr-finalizer";

// Whether a ServiceCIDR that is being deleted may go: every allocated address in it is also in another that stays.
bool may_go(const kube::networking::ServiceCIDR& cidr, const std::vector<std::shared_ptr<const kube::networking::ServiceCIDR>>& all,
            const std::vector<std::shared_ptr<const kube::networking::IPAddress>>& addresses);

}  // namespace caravel::controllers
