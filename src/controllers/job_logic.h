// What the Job controller does about one Job, as functions of the Job, its pods and the time. Wording as upstream's.
//
// A pod is counted exactly once, whatever dies when: it carries the finalizer batch.kubernetes.io/job-tracking until its
// end is on record. The order of writes is
//   1. pods are deleted or made                                    plan_job
//   2. the status names the ended pods as uncounted                account_job
//   3. their finalizers go
//   4. the status counts those without finalizer, and the Job ends finish_job
// so a crash between any two leaves a state from which the same functions go on. Indexed Jobs count successes by index
// instead. A verdict (FailureTarget, SuccessCriteriaMet) is in the status before the final condition, which waits for the
// last pod to end.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "controllers/job_indexes.h"
#include "controllers/job_policy.h"

namespace caravel::controllers {

inline constexpr const char* kJobTracking = "batch.kubernetes.io/job-tracking";
inline constexpr int kJobPodsPerSync = 500;      // made or deleted at a time
inline constexpr size_t kJobUncountedMax = 500;  // uids in the status

struct JobInput {
  std::shared_ptr<const kube::batch::Job> job;
  std::vector<PodPtr> pods;        // that it controls
  std::set<std::string> released;  // uids whose finalizer is gone although our copy of the pod still has it
  JobBackoff backoff;
};

// How the Job is going to end.
struct JobVerdict {
  bool failed = false;
  std::string reason, message;
  bool operator==(const JobVerdict&) const = default;
};

struct JobEvent {
  bool warning = false;
  std::string reason, message;
};

struct JobPlan {
  std::vector<PodPtr> remove;   // active ones
  bool forget_removed = false;  // their finalizer goes first: they do not count as failed
  std::vector<kube::core::Pod> create;
  std::optional<Duration> again;      // when to look again
  std::optional<JobVerdict> verdict;  // holds once `remove` is gone
  JobBackoff backoff;                 // to be kept once the status is written
  // What it was decided on.
  std::optional<Time> start_time;
  bool managed = false;  // the number of pods was looked at
  int active = 0, ready = 0, terminating = 0, succeeded = 0;
  IndexSet succeeded_indexes;
  std::optional<IndexSet> failed_indexes;
  std::map<int, PodPtr> to_replace;  // the last failed pod of an index; it stays until its replacement has its count
};
JobPlan plan_job(const JobInput& in, Time now);

// What became of the plan.
struct JobOutcome {
  std::set<std::string> removed;  // uids
  int created = 0;
};
struct JobAccount {
  kube::batch::JobStatus status;      // to be written now
  std::vector<PodPtr> untrack;        // then their finalizers go
  std::set<std::string> tracked;      // uids of pods with finalizer until then
  std::optional<JobVerdict> verdict;  // the Job ends when all is counted
  std::vector<JobEvent> events;
};
JobAccount account_job(const JobInput& in, const JobPlan& plan, const JobOutcome& outcome, Time now);

// The status once the finalizers are gone; `account.tracked` without those. Adds events of the end.
kube::batch::JobStatus finish_job(const kube::batch::Job& job, JobAccount& account, Time now);

bool is_tracked(const kube::core::Pod& p);
bool is_done(const kube::batch::JobStatus& s);  // Complete or Failed
const kube::batch::JobCondition* find(const kube::batch::JobStatus& s, std::string_view type);

}  // namespace caravel::controllers
