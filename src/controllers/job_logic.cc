#include "controllers/job_logic.h"

#include "controllers/job_pods.h"

namespace caravel::controllers {

using kube::batch::Job;
using kube::batch::JobCondition;
using kube::batch::JobStatus;
using kube::core::Pod;

bool is_tracked(const Pod& p) { return std::find(p.metadata.finalizers.begin(), p.metadata.finalizers.end(), kJobTracking) != p.metadata.finalizers.end(); }

const JobCondition* find(const JobStatus& s, std::string_view type) {
  for (auto& c : s.conditions)
    if (c.type == type) return &c;
  return nullptr;
}

bool is_done(const JobStatus& s) {
  return std::any_of(s.conditions.begin(), s.conditions.end(), [](auto& c) { return (c.type == "Complete" || c.type == "Failed") && c.status == "True"; });
}

namespace {

bool is_suspended(const Job& job) { return job.spec.suspend.value_or(false); }
Time whole_second(Time t) { return Time::from_seconds(t.seconds()); }

// Adds the condition or changes it; false if nothing changed. A condition that never was true is not added as false.
bool ensure(JobStatus& s, const char* type, bool status, const std::string& reason, const std::string& message, Time now) {
  JobCondition c;
  c.type = type;
  c.status = status ? "True" : "False";
  c.reason = reason;
  c.message = message;
  c.last_probe_time = c.last_transition_time = whole_second(now);
  for (auto& old : s.conditions) {
    if (old.type != type) continue;
    if (old.status == c.status && old.reason == reason && old.message == message) return false;
    old = std::move(c);
    return true;
  }
  if (status) s.conditions.push_back(std::move(c));
  return status;
}

std::set<std::string> uids(const std::vector<std::string>& list) { return {list.begin(), list.end()}; }
bool holds_back(const JobInput& in, const Pod& p) { return is_tracked(p) && !in.released.count(p.metadata.uid); }
// Pods of an Indexed Job count only with an index that the Job (still) has.
bool has_valid_index(const Job& job, const Pod& p) {
  if (!is_indexed(job)) return true;
  std::optional<int> i = index_of(p);
  return i && *i < job.spec.completions.value_or(0);
}

// --- the decision

class Planner {
 public:
  Planner(const JobInput& in, Time now) : in_(in), job_(*in.job), now_(now) {}

  JobPlan run() {
    look_at_pods();
    out_.start_time = job_.status.start_time;
    if (!out_.start_time && !is_suspended(job_)) out_.start_time = whole_second(now_);
    out_.verdict = known_verdict();
    if (!out_.verdict) out_.verdict = policy_verdict();
    if (!out_.verdict) out_.verdict = limit_verdict();
    if (is_indexed(job_)) look_at_indexes();
    if (out_.verdict) {
      out_.remove = active_;
    } else if (!is_terminating(job_.metadata)) {
      out_.managed = true;
      manage();
    }
    return std::move(out_);
  }

 private:
  void look_at_pods() {
    const JobStatus& s = job_.status;
    std::set<std::string> had_succeeded, had_failed;
    if (s.uncounted_terminated_pods) {
      had_succeeded = uids(s.uncounted_terminated_pods->succeeded);
      had_failed = uids(s.uncounted_terminated_pods->failed);
    }
    std::vector<PodPtr> succeeded, failed;
    failed_ = s.failed + static_cast<int>(had_failed.size());
    for (auto& p : in_.pods) {
      if (is_active(*p)) {
        active_.push_back(p);
        out_.ready += controllers::is_ready(*p);
      }
      if (is_terminating(p->metadata) && !is_finished(*p)) ++out_.terminating;
      if (!holds_back(in_, *p) || !has_valid_index(job_, *p)) continue;
      if (p->status.phase == "Succeeded" && !had_succeeded.count(p->metadata.uid)) succeeded.push_back(p);
      if (has_failed(job_, *p) && !had_failed.count(p->metadata.uid)) {
        failed.push_back(p);
        failed_ += match_failure_policy(job_, *p).counts();
      }
    }
    out_.active = static_cast<int>(active_.size());
    out_.succeeded = s.succeeded + static_cast<int>(succeeded.size() + had_succeeded.size());
    out_.backoff = after_ends(in_.backoff, succeeded, failed);
  }

  std::optional<JobVerdict> known_verdict() const {
    const JobCondition* c = find(job_.status, "SuccessCriteriaMet");
    if (c && c->status == "True") return JobVerdict{false, c->reason, c->message};
    c = find(job_.status, "FailureTarget");
    if (c && c->status == "True") return JobVerdict{true, c->reason, c->message};
    return std::nullopt;
  }

  std::optional<JobVerdict> policy_verdict() const {
    for (auto& p : in_.pods) {
      if (!has_failed(job_, *p)) continue;
      FailureMatch m = match_failure_policy(job_, *p);
      if (m.action == "FailJob") return JobVerdict{true, "PodFailurePolicy", m.message};
    }
    return std::nullopt;
  }

  std::optional<JobVerdict> limit_verdict() {
    if (failed_ > job_.spec.backoff_limit.value_or(6) || too_many_restarts()) return JobVerdict{true, "BackoffLimitExceeded", "Job has reached the specified backoff limit"};
    if (!job_.spec.active_deadline_seconds || is_suspended(job_) || !out_.start_time) return std::nullopt;
    Time deadline = *out_.start_time + std::chrono::seconds(*job_.spec.active_deadline_seconds);
    if (now_ >= deadline) return JobVerdict{true, "DeadlineExceeded", "Job was active longer than specified deadline"};
    look_again(deadline - now_);
    return std::nullopt;
  }

  // Containers that restart in place count against the limit too.
  bool too_many_restarts() const {
    if (job_.spec.template_.spec.restart_policy != "OnFailure") return false;
    int64_t restarts = 0;
    for (auto& p : in_.pods) {
      if (p->status.phase != "Running" && p->status.phase != "Pending") continue;
      for (auto& c : p->status.init_container_statuses) restarts += c.restart_count;
      for (auto& c : p->status.container_statuses) restarts += c.restart_count;
    }
    int limit = job_.spec.backoff_limit.value_or(6);
    return limit == 0 ? restarts > 0 : restarts >= limit;
  }

  bool fails_its_index(const Pod& p) const {
    if (!has_failed(job_, p)) return false;
    FailureMatch m = match_failure_policy(job_, p);
    return m.action == "FailIndex" || (m.counts() && index_failures(p) >= *job_.spec.backoff_limit_per_index);
  }

  void look_at_indexes() {
    const int completions = job_.spec.completions.value_or(0);
    out_.succeeded_indexes = IndexSet::parse(job_.status.completed_indexes, completions);
    for (auto& p : in_.pods)
      if (p->status.phase == "Succeeded" && is_tracked(*p) && has_valid_index(job_, *p)) out_.succeeded_indexes.insert(*index_of(*p));
    out_.succeeded = out_.succeeded_indexes.size();
    if (job_.spec.backoff_limit_per_index) {
      look_at_failed_indexes(completions);
      const int failed = out_.failed_indexes->size();
      if (out_.verdict) {
      } else if (job_.spec.max_failed_indexes && failed > *job_.spec.max_failed_indexes) {
        out_.verdict = {true, "MaxFailedIndexesExceeded", "Job has exceeded the specified maximal number of failed indexes"};
      } else if (failed > 0 && failed + out_.succeeded >= completions) {
        out_.verdict = {true, "FailedIndexes", "Job has failed indexes"};
      }
    }
    if (out_.verdict) return;
    std::string met = match_success_policy(job_, out_.succeeded_indexes);
    if (!met.empty()) out_.verdict = {false, "SuccessPolicy", met};
  }

  void look_at_failed_indexes(int completions) {
    out_.failed_indexes = IndexSet::parse(job_.status.failed_indexes.value_or(""), completions);
    for (auto& p : in_.pods)
      if (is_tracked(*p) && has_valid_index(job_, *p) && fails_its_index(*p)) out_.failed_indexes->insert(*index_of(*p));
    std::set<int> running;
    for (auto& p : active_)
      if (auto i = index_of(*p)) running.insert(*i);
    for (auto& p : in_.pods) {
      if (!holds_back(in_, *p) || !has_valid_index(job_, *p) || !has_failed(job_, *p)) continue;
      int i = *index_of(*p);
      if (running.count(i) || out_.succeeded_indexes.has(i) || out_.failed_indexes->has(i)) continue;
      auto failures = [](const Pod& x) { return index_failures(x) + index_ignored_failures(x); };
      PodPtr& last = out_.to_replace[i];
      if (!last || (failures(*last) <= failures(*p) && finished_time(*last) <= finished_time(*p))) last = p;
    }
  }

  void manage() {
    if (is_suspended(job_)) {
      out_.remove = active_;
      out_.forget_removed = true;
      return;
    }
    const int parallelism = job_.spec.parallelism.value_or(1);
    int want;
    if (job_.spec.completions) want = std::clamp(*job_.spec.completions - out_.succeeded, 0, parallelism);
    else want = out_.succeeded > 0 ? out_.active : parallelism;
    out_.remove = job_pods_to_remove(job_, active_, std::max(0, out_.active - want), now_);
    if (out_.remove.size() > kJobPodsPerSync) out_.remove.resize(kJobPodsPerSync);
    out_.forget_removed = true;
    if (!out_.remove.empty()) return;
    int missing = want - out_.active - (replaces_only_ended(job_) ? out_.terminating : 0);
    if (missing > 0) make(std::min(missing, kJobPodsPerSync));
  }

  void make(int count) {
    if (!job_.spec.backoff_limit_per_index) {
      Duration wait = backoff_left(out_.backoff, now_);
      if (wait > Duration(0)) return look_again(wait);
    }
    if (!is_indexed(job_)) {
      for (int i = 0; i < count; ++i) out_.create.push_back(new_job_pod(job_));
      return;
    }
    IndexSet taken = out_.succeeded_indexes;
    if (out_.failed_indexes) taken.insert(*out_.failed_indexes);
    for (auto& p : in_.pods) {
      std::optional<int> i = index_of(*p);
      if (i && (is_active(*p) || (replaces_only_ended(job_) && is_terminating(p->metadata) && !is_finished(*p)))) taken.insert(*i);
    }
    for (int i : taken.first_missing(count, job_.spec.completions.value_or(0))) {
      auto failed = out_.to_replace.find(i);
      PodPtr replaced = failed == out_.to_replace.end() ? nullptr : failed->second;
      if (replaced) {
        Duration wait = backoff_left({index_failures(*replaced) + index_ignored_failures(*replaced) + 1, finished_time(*replaced)}, now_);
        if (wait > Duration(0)) {
          look_again(wait);
          continue;
        }
      }
      out_.create.push_back(new_job_pod(job_, i, replaced));
    }
  }

  void look_again(Duration d) { out_.again = out_.again ? std::min(*out_.again, d) : d; }

  const JobInput& in_;
  const Job& job_;
  Time now_;
  JobPlan out_;
  std::vector<PodPtr> active_;
  int failed_ = 0;  // with those that are not in the status yet
};

// Moves uids whose finalizer is gone from uncounted to the counters.
void count_released(JobStatus& s, const std::set<std::string>& tracked) {
  auto& u = *s.uncounted_terminated_pods;
  auto is_free = [&](const std::string& uid) { return !tracked.count(uid); };
  s.succeeded += static_cast<int32_t>(std::erase_if(u.succeeded, is_free));
  s.failed += static_cast<int32_t>(std::erase_if(u.failed, is_free));
}

void note_suspension(const Job& job, JobAccount& a, Time now) {
  if (is_suspended(job)) {
    if (!ensure(a.status, "Suspended", true, "JobSuspended", "Job suspended", now)) return;
    a.status.start_time.reset();
    a.events.push_back({false, "Suspended", "Job suspended"});
  } else if (ensure(a.status, "Suspended", false, "JobResumed", "Job resumed", now)) {
    a.status.start_time = whole_second(now);  // the deadline counts from here
    a.events.push_back({false, "Resumed", "Job resumed"});
  }
}

bool may_untrack(const JobInput& in, const JobPlan& plan, bool ends, const Pod& p) {
  if (ends || is_terminating(in.job->metadata) || p.status.phase == "Succeeded") return true;
  if (!has_failed(*in.job, p)) return false;
  std::optional<int> i = index_of(p);
  auto waits = i ? plan.to_replace.find(*i) : plan.to_replace.end();
  return waits == plan.to_replace.end() || waits->second->metadata.uid != p.metadata.uid;
}

// Ended pods become uncounted ones, up to the limit of a status.
void note_ends(const JobInput& in, const JobPlan& plan, JobAccount& a) {
  const Job& job = *in.job;
  auto& u = *a.status.uncounted_terminated_pods;
  const std::set<std::string> succeeded = uids(u.succeeded), failed = uids(u.failed);
  for (auto& p : in.pods) {
    const std::string& uid = p->metadata.uid;
    if (!a.tracked.count(uid) || !may_untrack(in, plan, a.verdict.has_value(), *p)) continue;
    if (u.succeeded.size() + u.failed.size() >= kJobUncountedMax || a.untrack.size() >= kJobUncountedMax) {
      a.verdict.reset();  // the rest first
      return;
    }
    a.untrack.push_back(p);
    if (p->status.phase == "Succeeded" && !failed.count(uid)) {
      if (!is_indexed(job) && !succeeded.count(uid)) u.succeeded.push_back(uid);
    } else if (has_failed(job, *p) || (a.verdict && a.verdict->failed)) {
      if (!failed.count(uid) && has_valid_index(job, *p) && match_failure_policy(job, *p).counts()) u.failed.push_back(uid);
    }
  }
}

}  // namespace

JobPlan plan_job(const JobInput& in, Time now) { return Planner(in, now).run(); }

JobAccount account_job(const JobInput& in, const JobPlan& plan, const JobOutcome& outcome, Time now) {
  const Job& job = *in.job;
  JobAccount a;
  a.status = job.status;
  if (!a.status.uncounted_terminated_pods) a.status.uncounted_terminated_pods.emplace();
  for (auto& p : in.pods)
    if (holds_back(in, *p)) a.tracked.insert(p->metadata.uid);
  count_released(a.status, a.tracked);

  int ready = plan.ready;
  for (auto& p : plan.remove) ready -= outcome.removed.count(p->metadata.uid) && is_ready(*p);
  const int removed = static_cast<int>(outcome.removed.size()), active = plan.active - removed + outcome.created;
  a.status.start_time = plan.start_time;
  a.status.active = active;
  a.status.ready = ready;
  a.status.terminating = plan.terminating + removed;

  if (plan.verdict) {
    // With a pod that could not be deleted the Job cannot end yet.
    if (outcome.removed.size() == plan.remove.size()) a.verdict = plan.verdict;
  } else if (plan.succeeded >= job.spec.completions.value_or(1) && active == 0) {
    a.verdict = {false, "CompletionsReached", "Reached expected number of succeeded pods"};
  } else if (plan.managed) {
    note_suspension(job, a, now);
  }
  if (a.verdict) ensure(a.status, a.verdict->failed ? "FailureTarget" : "SuccessCriteriaMet", true, a.verdict->reason, a.verdict->message, now);
  note_ends(in, plan, a);
  if (is_indexed(job)) {
    a.status.completed_indexes = plan.succeeded_indexes.text();
    a.status.succeeded = plan.succeeded_indexes.size();
    a.status.failed_indexes.reset();
    if (plan.failed_indexes) a.status.failed_indexes = plan.failed_indexes->text();
  }
  return a;
}

JobStatus finish_job(const Job& job, JobAccount& a, Time now) {
  JobStatus s = a.status;
  count_released(s, a.tracked);
  auto& u = *s.uncounted_terminated_pods;
  if (!a.verdict || !u.succeeded.empty() || !u.failed.empty() || s.terminating.value_or(0) > 0) return s;
  ensure(s, a.verdict->failed ? "Failed" : "Complete", true, a.verdict->reason, a.verdict->message, now);
  if (a.verdict->failed) {
    a.events.push_back({true, a.verdict->reason, a.verdict->message});
    return s;
  }
  s.completion_time = whole_second(now);
  if (job.spec.completions && s.succeeded > *job.spec.completions)
    a.events.push_back({true, "TooManySucceededPods", "Too many succeeded pods running after completion count reached"});
  a.events.push_back({false, "Completed", "Job completed"});
  return s;
}

}  // namespace caravel::controllers
