// Which pods a Job has too many of, and what new ones look like.
#pragma once

#include <vector>

#include "controllers/job_logic.h"

namespace caravel::controllers {

bool is_indexed(const kube::batch::Job& job);
// At least `at_least` active pods to delete: those without a valid index and all but one of each index first, then
// those that serve least.
std::vector<PodPtr> job_pods_to_remove(const kube::batch::Job& job, std::vector<PodPtr> active, int at_least, Time now);
kube::core::Pod new_job_pod(const kube::batch::Job& job);
// `replaced`: the last pod of this index that failed, or null.
kube::core::Pod new_job_pod(const kube::batch::Job& job, int index, const PodPtr& replaced);

}  // namespace caravel::controllers
