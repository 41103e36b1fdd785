// What objects use of a ResourceQuota: one calculation for admission (what a write adds) and for the
// controller (what a namespace uses in all).
//
// Everything works on JSON objects in their storage version. Amounts are keyed by quota resource name
// ("pods", "requests.cpu", "count/deployments.apps", "gold.storageclass.storage.k8s.io/requests.storage").
// Pure functions; time is handed in (a pod that outlives its grace period is not counted).
#pragma once

#include <map>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "base/clock.h"
#include "base/json.h"
#include "kube/quantity.h"

namespace caravel::kube::quota {

using Amounts = std::map<std::string, Quantity>;

struct Kind {
  std::string group, plural;
  auto operator<=>(const Kind&) const = default;
};

Amounts amounts_of(const json::Value& resource_list);
json::Value to_json(const Amounts& a);
// "pods=1,requests.cpu=500m"
std::string text(const Amounts& a);

// A pod's "requests" or "limits" as a whole.
Amounts pod_total(const json::Value& pod, std::string_view what);
// What one object uses, under every name that a quota may count it by.
Amounts usage(const Kind& kind, const json::Value& object, Time now);
// A pod that a quota counts: not finished and not past its grace period.
bool counts(const json::Value& pod, Time now);
// Those of `names` that objects of this kind may use.
std::vector<std::string> matching(const Kind& kind, const std::vector<std::string>& names);
// The kinds that have to be counted for these names.
std::set<Kind> kinds_for(const std::vector<std::string>& names);
// All scopes of the quota hold for the object. Kinds without scopes are in no scoped quota.
bool in_scope(const json::Value& quota, const Kind& kind, const json::Value& object);
// The sentence for a pod whose containers leave out what a quota limits
// ("must specify limits.cpu for: c"), or "".
std::string missing(const std::vector<std::string>& required, const json::Value& pod);

// What a namespace's objects use of a quota, for all names in spec.hard that are known. `objects` are those
// of the kinds that kinds_for() named.
Amounts total(const json::Value& quota, const std::map<Kind, std::vector<const json::Value*>>& objects, Time now);

// --- one write against a namespace's quotas
struct Change {
  Kind kind;
  const json::Value* object = nullptr;
  const json::Value* old = nullptr;  // null: a create
};
struct Verdict {
  std::string refusal;                           // "" when the write may happen
  std::vector<std::pair<size_t, Amounts>> used;  // quotas by index with their new status.used
};
Verdict judge(const std::vector<const json::Value*>& quotas, const Change& change, Time now);

}  // namespace caravel::kube::quota
