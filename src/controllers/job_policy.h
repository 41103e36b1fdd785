// What a Job's policies say of its pods: which failures count, when the whole has succeeded, how long a replacement waits.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "controllers/common.h"
#include "controllers/job_indexes.h"
#include "kube/types/batch.h"

namespace caravel::controllers {

// Replacements wait 10 s after a failure, doubling with each failure in a row.
inline constexpr Duration kJobBackoffMin = std::chrono::seconds(10);
inline constexpr Duration kJobBackoffMax = std::chrono::minutes(10);

// Only pods that have ended are replaced; those that are still being deleted are waited for.
bool replaces_only_ended(const kube::batch::Job& job);
// A pod that is deleted before its end has failed, unless the Job waits for its end.
bool has_failed(const kube::batch::Job& job, const kube::core::Pod& p);

// The first rule of the pod failure policy that a failed pod meets.
struct FailureMatch {
  std::string action;   // "" if none
  std::string message;  // why the Job fails, for FailJob
  bool counts() const { return action != "Ignore"; }
};
FailureMatch match_failure_policy(const kube::batch::Job& job, const kube::core::Pod& p);

// "Matched rules at index 0" if a rule of the success policy is met, else "".
std::string match_success_policy(const kube::batch::Job& job, const IndexSet& succeeded);

// When a pod came to its end: from its containers, else its Ready condition, else its deletion.
Time finished_time(const kube::core::Pod& p);
// Failures since the last success.
struct JobBackoff {
  int failures = 0;
  Time last;  // of these
  bool operator==(const JobBackoff&) const = default;
};
JobBackoff after_ends(JobBackoff b, const std::vector<PodPtr>& succeeded, const std::vector<PodPtr>& failed);
// How long a replacement still has to wait.
Duration backoff_left(const JobBackoff& b, Time now);

}  // namespace caravel::controllers
