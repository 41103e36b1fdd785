// Keeps Services and their IPAddresses in step when somebody changes an IPAddress by hand, and the default
// ServiceCIDR "kubernetes" in place.
//
// plan_ip_repair is pure: (services, addresses, ranges, now) → actions. The shell runs it when one of the kinds
// changes and every kRepairPeriod.
// Invariant after a run: every cluster address of a Service has an IPAddress of the allocator that names it, and no
// IPAddress of the allocator names something else.
// Threading: the server's executor.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "base/scope.h"
#include "kube/ip_range.h"

namespace caravel::apiserver {

class ApiServer;

constexpr Duration kRepairPeriod = std::chrono::minutes(3);
// An IPAddress whose Service is not there yet is left alone for so long.
constexpr Duration kOrphanGrace = std::chrono::seconds(60);

struct IpRepair {
  enum Kind { kCreate,
              kRecreate,
              kDelete,
              kTell } kind = kTell;
  std::string ip;
  const json::Value* about = nullptr;    // the Service or IPAddress that the event is about
  const json::Value* service = nullptr;  // kCreate, kRecreate: whose address it is
  std::string reason, message;           // of the event; "" for none
};
struct IpRepairPlan {
  std::vector<IpRepair> actions;
  Duration again = kRepairPeriod;
};

IpRepairPlan plan_ip_repair(const std::vector<const json::Value*>& services, const std::vector<const json::Value*>& addresses,
                            const std::vector<kube::IpRange>& ranges, Time now);

// Runs for ever.
Task<void> keep_service_ips(ApiServer& server);

}  // namespace caravel::apiserver
