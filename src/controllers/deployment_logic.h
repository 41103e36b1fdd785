// What a Deployment decides, as functions of the Deployment, its ReplicaSets and the time.
//
// Upstream's promises (rolling update): at most replicas+maxSurge pods exist, at least
// replicas-maxUnavailable are available; old pods that are not healthy are removed first; a change of
// `replicas` in the middle of a rollout is shared between the ReplicaSets by their sizes; the rollout
// counts as stuck when nothing has moved for progressDeadlineSeconds.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "kube/types/apps.h"

namespace caravel::controllers {

using SetPtr = std::shared_ptr<const kube::apps::ReplicaSet>;

inline constexpr const char* kRevision = "deployment.kubernetes.io/revision";
inline constexpr const char* kRevisionHistory = "deployment.kubernetes.io/revision-history";
inline constexpr const char* kDesiredReplicas = "deployment.kubernetes.io/desired-replicas";
inline constexpr const char* kMaxReplicas = "deployment.kubernetes.io/max-replicas";
inline constexpr const char* kPodTemplateHash = "pod-template-hash";

struct Bounds {
  int surge = 0, unavailable = 0;
};
// maxSurge (rounded up) and maxUnavailable (rounded down) as numbers; not both zero.
Bounds bounds_of(const kube::apps::Deployment& d);
int max_unavailable(const kube::apps::Deployment& d);  // never above replicas

int64_t revision_of(const kube::meta::ObjectMeta& m);
int total_replicas(const std::vector<SetPtr>& sets);   // spec
int actual_replicas(const std::vector<SetPtr>& sets);  // status
int ready_replicas(const std::vector<SetPtr>& sets);
int available_replicas(const std::vector<SetPtr>& sets);

// The ReplicaSet with the Deployment's template (the oldest if there are several), or null.
SetPtr find_new_set(const kube::apps::Deployment& d, const std::vector<SetPtr>& sets);

// A change of one ReplicaSet's size.
struct Resize {
  SetPtr set;
  int replicas = 0;
};
// How large the new ReplicaSet is to be in a rolling update.
int new_set_size(const kube::apps::Deployment& d, const std::vector<SetPtr>& all, const kube::apps::ReplicaSet& fresh);
// Scale-downs of the old ReplicaSets in a rolling update: first what is unhealthy, then what the budget allows.
std::vector<Resize> shrink_old(const kube::apps::Deployment& d, const std::vector<SetPtr>& all, const std::vector<SetPtr>& old, const kube::apps::ReplicaSet& fresh);
// Shares of a changed `replicas` while several ReplicaSets have pods, or while paused.
std::vector<Resize> scale_proportionally(const kube::apps::Deployment& d, const std::vector<SetPtr>& all, const std::vector<SetPtr>& old, const SetPtr& fresh);
// True when `replicas` changed since the ReplicaSets were last sized.
bool is_scaling_event(const kube::apps::Deployment& d, const std::vector<SetPtr>& all);

// A deadline of 2^31-1 seconds is none.
bool has_deadline(const kube::apps::Deployment& d);
// `revision` behind those that were before, the oldest of which go beyond 2000 characters.
std::string longer_history(const std::string& history, const std::string& revision);
// The name of a new ReplicaSet: a Deployment's name that is too long is cut.
std::string set_name(const std::string& deployment, const std::string& hash);

bool is_complete(const kube::apps::Deployment& d, const kube::apps::DeploymentStatus& s);
// The status with its conditions (Available, Progressing, ReplicaFailure). While it is paused, deleted or scaled in the middle of a
// rollout only Available is looked at, as upstream does: Progressing then says DeploymentPaused or what it said before.
kube::apps::DeploymentStatus deployment_status(const kube::apps::Deployment& d, const std::vector<SetPtr>& all, const SetPtr& fresh, int terminating, Time now);
// Time until the progress deadline could be missed, if one is running.
std::optional<Duration> until_deadline(const kube::apps::Deployment& d, const kube::apps::DeploymentStatus& s, Time now);

const kube::apps::DeploymentCondition* find(const kube::apps::DeploymentStatus& s, std::string_view type);
// A changed condition moves to the end, as upstream: readers see the latest news last.
void set_condition(kube::apps::DeploymentStatus& s, std::string type, std::string status, std::string reason, std::string message, Time now);

}  // namespace caravel::controllers
