// Job: runs pods to completion. A pod is counted once: it carries the finalizer
// batch.kubernetes.io/job-tracking until its end is in the Job's status, so that a deleted pod is not lost.
// Also TTL-after-finished.
#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/types/batch.h"

namespace caravel::controllers {

using kube::batch::Job;
using kube::batch::JobStatus;
using kube::core::Pod;

namespace {

constexpr const char* kTracking = "batch.kubernetes.io/job-tracking";
constexpr const char* kIndex = "batch.kubernetes.io/job-completion-index";
constexpr size_t kBurst = 500;
constexpr Duration kBackoffMin = 10s;
constexpr Duration kBackoffMax = 10min;

bool is_indexed(const Job& j) { return j.spec.completion_mode == "Indexed"; }
const kube::batch::JobCondition* find(const JobStatus& s, std::string_view type) {
  for (auto& c : s.conditions)
    if (c.type == type) return &c;
  return nullptr;
}
bool is_done(const JobStatus& s) {
  auto* c = find(s, "Complete");
  auto* f = find(s, "Failed");
  return (c && c->status == "True") || (f && f->status == "True");
}
void set_condition(JobStatus& s, std::string type, std::string status, std::string reason, std::string message, Time now) {
  now = Time::from_seconds(now.seconds());
  std::erase_if(s.conditions, [&](auto& c) { return c.type == type; });
  kube::batch::JobCondition c;
  c.type = std::move(type);
  c.status = std::move(status);
  c.reason = std::move(reason);
  c.message = std::move(message);
  c.last_probe_time = c.last_transition_time = now;
  s.conditions.push_back(std::move(c));
}
int index_of(const Pod& p) {
  auto it = p.metadata.annotations.find(kIndex);
  return it == p.metadata.annotations.end() ? -1 : std::atoi(it->second.c_str());
}
bool is_tracked(const Pod& p) { return std::find(p.metadata.finalizers.begin(), p.metadata.finalizers.end(), kTracking) != p.metadata.finalizers.end(); }
// A pod that is being deleted before its end counts as failed.
bool is_failed(const Pod& p) { return p.status.phase == "Failed" || (is_terminating(p.metadata) && p.status.phase != "Succeeded"); }

// "0-2,5" <-> {0,1,2,5}
std::set<int> parse_indexes(const std::string& text) {
  std::set<int> out;
  const char* s = text.c_str();
  while (*s) {
    char* e = nullptr;
    long a = std::strtol(s, &e, 10), b = a;
    if (e == s) break;
    if (*e == '-') b = std::strtol(e + 1, &e, 10);
    for (long i = a; i <= b && i - a < 100'000; ++i) out.insert(static_cast<int>(i));
    s = *e == ',' ? e + 1 : e;
  }
  return out;
}
std::string format_indexes(const std::set<int>& set) {
  std::string out;
  for (auto it = set.begin(); it != set.end();) {
    int a = *it, b = a;
    for (++it; it != set.end() && *it == b + 1; ++it) b = *it;
    out += (out.empty() ? "" : ",") + std::to_string(a);
    if (b > a) out += (b == a + 1 ? "," : "-") + std::to_string(b);
  }
  return out;
}

class JobController final : public Runner {
 public:
  explicit JobController(const Context& c)
      : ex_(c.ex),
        client_(c.client("job-controller")),
        events_(c.ex, client_, "job-controller"),
        jobs_(c.informer<Job>()),
        pods_(c.informer<Pod>()),
        queue_(c.ex, "job-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(pods_);
    add_orphan_index(pods_);
    jobs_.add_handler([this](auto& old, auto& now) { queue_.enqueue(key_of(now ? *now : *old)); });
    pods_.add_handler([this](auto& old, auto& now) {
      if (!now) expect_.gone(old->metadata.uid);
      const Pod& p = now ? *now : *old;
      const kube::meta::OwnerReference* o = controller_of(p.metadata);
      if (o && o->kind == "Job") queue_.enqueue_paced(kube::ObjectKey{p.metadata.namespace_, o->name}, kPace);
      // The Job is gone but its finalizer is still on the pod.
      if (now && is_tracked(p) && is_terminating(p.metadata) && (!o || !jobs_.get(p.metadata.namespace_, o->name)))
        queue_.enqueue("pod:" + p.metadata.namespace_ + "/" + p.metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  using JobPtr = std::shared_ptr<const Job>;
  static kube::ObjectKey key_of(const Job& j) { return {j.metadata.namespace_, j.metadata.name}; }

  Task<Status> untrack(PodPtr p) {
    if (!is_tracked(*p)) co_return ok();
    json::Value patch = json::Value::object();
    json::Value& m = patch["metadata"];
    m["uid"] = p->metadata.uid;
    json::Array drop;
    drop.push_back(kTracking);
    m["$deleteFromPrimitiveList/finalizers"] = json::Value(std::move(drop));
    Result<json::Value> r = co_await client_.patch(Pod::resource(), p->metadata.namespace_, p->metadata.name, kube::PatchType::kStrategic, std::move(patch));
    if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict) co_return std::move(r).error();
    co_return ok();
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    if (key.starts_with("pod:")) {
      kube::ObjectKey k = kube::ObjectKey::parse(std::string_view(key).substr(4));
      PodPtr p = pods_.get(k);
      const kube::meta::OwnerReference* o = p ? controller_of(p->metadata) : nullptr;
      JobPtr owner = o ? jobs_.get(k.ns, o->name) : nullptr;
      if (!p || (owner && owner->metadata.uid == o->uid)) co_return kube::Requeue::never();
      Status s = co_await untrack(p);
      if (!s.ok()) co_return std::move(s).error();
      co_return kube::Requeue::never();
    }
    JobPtr job = jobs_.get(kube::ObjectKey::parse(key));
    if (!job) co_return kube::Requeue::never();
    if (job->spec.managed_by && *job->spec.managed_by != "kubernetes.io/job-controller") co_return kube::Requeue::never();
    if (!expect_.met(key, pods_) || !expect_.met(key, jobs_)) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<PodPtr> pods = co_await claim<Pod, Job>(client_, &pods_, job, job->spec.selector);
    if (is_done(job->status)) {
      // Pods that ended after the Job did.
      for (auto& p : pods) {
        Status s = co_await untrack(p);
        if (!s.ok()) co_return std::move(s).error();
      }
      co_return kube::Requeue::never();
    }
    Result<kube::Requeue> r = co_await run(job, pods, key);
    co_return r;
  }

  Task<Result<kube::Requeue>> run(JobPtr job, std::vector<PodPtr> pods, std::string key) {
    Time now = ex_.now();
    bool deleting = is_terminating(job->metadata);
    bool suspended = job->spec.suspend.value_or(false);
    JobStatus s = job->status;
    Duration again(-1);
    if (!s.start_time && !suspended) s.start_time = Time::from_seconds(now.seconds());

    // Count ends. The status remembers the uids until their finalizers are gone, so that a crash between
    // the two writes neither loses nor repeats a count.
    std::set<std::string> counted;
    if (s.uncounted_terminated_pods) {
      for (auto& u : s.uncounted_terminated_pods->succeeded) counted.insert(u);
      for (auto& u : s.uncounted_terminated_pods->failed) counted.insert(u);
    }
    std::set<int> done_indexes = parse_indexes(s.completed_indexes);
    std::vector<PodPtr> active, ended;
    int terminating = 0, ready = 0;
    kube::batch::UncountedTerminatedPods uncounted;
    for (auto& p : pods) {
      bool succeeded = p->status.phase == "Succeeded", failed = is_failed(*p);
      if (is_terminating(p->metadata) && !is_finished(*p)) ++terminating;
      if (!succeeded && !failed) {
        if (!expect_.is_deleted(p->metadata.uid)) active.push_back(p);
        ready += is_ready(*p);
        continue;
      }
      if (!is_tracked(*p)) continue;  // counted before
      ended.push_back(p);
      bool fresh = !counted.count(p->metadata.uid);
      if (is_indexed(*job)) {
        int i = index_of(*p);
        if (succeeded && i >= 0 && i < job->spec.completions.value_or(0)) done_indexes.insert(i);
      } else if (succeeded && fresh) {
        ++s.succeeded;
      }
      if (failed && fresh) {
        ++s.failed;
        last_failure_[job->metadata.uid] = now;
      }
      (succeeded ? uncounted.succeeded : uncounted.failed).push_back(p->metadata.uid);
    }
    if (is_indexed(*job)) {
      s.completed_indexes = format_indexes(done_indexes);
      s.succeeded = static_cast<int32_t>(done_indexes.size());
    }
    if (uncounted.succeeded.empty() && uncounted.failed.empty()) s.uncounted_terminated_pods.emplace();
    else s.uncounted_terminated_pods = uncounted;

    int parallelism = job->spec.parallelism.value_or(1);
    int64_t total_restarts = 0;
    if (job->spec.template_.spec.restart_policy == "OnFailure")
      for (auto& p : active)
        for (auto& c : p->status.container_statuses) total_restarts += c.restart_count;
    bool complete = false;
    std::string fail_reason, fail_message;
    if (job->spec.completions) complete = s.succeeded >= *job->spec.completions && active.empty();
    else complete = s.succeeded > 0 && active.empty();
    if (job->spec.completions && *job->spec.completions == 0) complete = true;
    int limit = job->spec.backoff_limit.value_or(6);
    if (!complete) {
      if (s.failed > limit || (total_restarts > 0 && total_restarts > limit)) {
        fail_reason = "BackoffLimitExceeded";
        fail_message = "Job has reached the specified backoff limit";
      } else if (job->spec.active_deadline_seconds && s.start_time && !suspended) {
        Time deadline = *s.start_time + std::chrono::seconds(*job->spec.active_deadline_seconds);
        if (deadline <= now) {
          fail_reason = "DeadlineExceeded";
          fail_message = "Job was active longer than specified deadline";
        } else {
          again = deadline - now;
        }
      }
      if (fail_reason.empty()) failure_policy(*job, ended, fail_reason, fail_message);
    }

    std::vector<PodPtr> remove;
    std::vector<Pod> create;
    if (!fail_reason.empty() || (suspended && !complete) || (job->spec.completions && s.succeeded >= *job->spec.completions)) {
      remove = active;
    } else if (!complete && !deleting) {
      int want = parallelism;
      if (job->spec.completions) want = std::min(parallelism, *job->spec.completions - s.succeeded);
      else if (s.succeeded > 0) want = static_cast<int>(active.size());
      int have = static_cast<int>(active.size());
      bool replace_failed_only = job->spec.pod_replacement_policy == "Failed" || job->spec.pod_failure_policy.has_value();
      if (replace_failed_only) want = std::max(0, want - terminating);
      if (have > want) {
        std::map<std::string, int> none;
        std::sort(active.begin(), active.end(), [&](auto& a, auto& b) { return delete_before(*a, *b, none, now); });
        remove.assign(active.begin(), active.begin() + (have - want));
      } else if (have < want) {
        Duration wait = backoff_left(*job, s, now);
        if (wait > Duration(0)) {
          again = again < Duration(0) ? wait : std::min(again, wait);
        } else {
          std::set<int> taken = done_indexes;
          for (auto& p : active) taken.insert(index_of(*p));
          int index = 0;
          for (int n = 0; n < want - have && create.size() < kBurst; ++n) {
            if (is_indexed(*job)) {
              while (taken.count(index)) ++index;
              if (index >= job->spec.completions.value_or(0)) break;
              taken.insert(index);
            }
            create.push_back(new_pod(*job, index));
          }
        }
      }
    }

    if (!remove.empty()) {
      for (auto& p : remove) expect_.deleted(p->metadata.uid);
      Status d = co_await delete_pods(ex_, client_, remove);
      if (!d.ok()) {
        for (auto& p : remove) expect_.gone(p->metadata.uid);
        co_return std::move(d).error();
      }
      for (auto& p : remove) events_.normal(kube::reference_to(*job), "SuccessfulDelete", "Deleted pod: " + p->metadata.name);
    }
    int created = 0;
    std::optional<Error> failure;
    if (!create.empty()) {
      Created made = co_await create_pods(ex_, client_, std::move(create));
      created = static_cast<int>(made.pods.size());
      for (auto& p : made.pods) {
        expect_.wrote(key, p.metadata.resource_version);
        events_.normal(kube::reference_to(*job), "SuccessfulCreate", "Created pod: " + p.metadata.name);
      }
      failure = made.error;
      if (failure) events_.warning(kube::reference_to(*job), "FailedCreate", "Error creating: " + failure->message);
    }
    s.active = static_cast<int32_t>(active.size() - remove.size()) + created;
    s.terminating = terminating + static_cast<int32_t>(remove.size());
    s.ready = ready;

    if (complete) {
      set_condition(s, "SuccessCriteriaMet", "True", "CompletionsReached", "Reached expected number of succeeded pods", now);
      set_condition(s, "Complete", "True", "CompletionsReached", "Reached expected number of succeeded pods", now);
      s.completion_time = Time::from_seconds(now.seconds());
    } else if (!fail_reason.empty()) {
      set_condition(s, "FailureTarget", "True", fail_reason, fail_message, now);
      if (s.active == 0 && terminating == 0 && remove.empty()) {
        set_condition(s, "Failed", "True", fail_reason, fail_message, now);
      } else {
        again = again < Duration(0) ? Duration(1s) : std::min<Duration>(again, 1s);
      }
    } else {
      suspend_condition(*job, s, suspended, now);
    }
    if (!(s == job->status)) {
      Job next = *job;
      next.status = s;
      Result<Job> r = co_await client_.update_status<Job>(std::move(next));
      if (!r.ok()) {
        if (r.error().code == Code::kNotFound) co_return kube::Requeue::never();
        co_return std::move(r).error();
      }
      expect_.wrote(key, r->metadata.resource_version);
      if (complete) events_.normal(kube::reference_to(*job), "Completed", "Job completed");
      if (!fail_reason.empty() && find(s, "Failed")) events_.warning(kube::reference_to(*job), fail_reason, fail_message);
    }
    // Their ends are in the status now.
    for (auto& p : ended) {
      Status u = co_await untrack(p);
      if (!u.ok()) co_return std::move(u).error();
    }
    if (failure && failure->message.find("is being terminated") == std::string::npos) co_return *failure;
    co_return kube::Requeue{again};
  }

  static void failure_policy(const Job& job, const std::vector<PodPtr>& ended, std::string& reason, std::string& message) {
    if (!job.spec.pod_failure_policy) return;
    for (auto& p : ended) {
      if (p->status.phase != "Failed") continue;
      for (auto& rule : job.spec.pod_failure_policy->rules) {
        bool hit = false;
        if (rule.on_exit_codes)
          for (auto& c : p->status.container_statuses) {
            if (!c.state.terminated || c.state.terminated->exit_code == 0) continue;
            if (rule.on_exit_codes->container_name && *rule.on_exit_codes->container_name != c.name) continue;
            bool in = std::find(rule.on_exit_codes->values.begin(), rule.on_exit_codes->values.end(), c.state.terminated->exit_code) != rule.on_exit_codes->values.end();
            hit = hit || in == (rule.on_exit_codes->operator_ == "In");
          }
        for (auto& pattern : rule.on_pod_conditions) {
          const kube::core::PodCondition* c = condition(*p, pattern.type);
          hit = hit || (c && c->status == (pattern.status.empty() ? "True" : pattern.status));
        }
        if (!hit) continue;
        if (rule.action == "FailJob") {
          reason = "PodFailurePolicy";
          message = "Pod " + p->metadata.namespace_ + "/" + p->metadata.name + " failed and a rule of the pod failure policy asks to fail the job";
        }
        break;
      }
    }
  }

  void suspend_condition(const Job& job, JobStatus& s, bool suspended, Time now) {
    auto* c = find(s, "Suspended");
    bool is = c && c->status == "True";
    if (suspended == is) return;
    if (suspended) {
      set_condition(s, "Suspended", "True", "JobSuspended", "Job suspended", now);
      s.start_time.reset();
      events_.normal(kube::reference_to(job), "Suspended", "Job suspended");
    } else {
      set_condition(s, "Suspended", "False", "JobResumed", "Job resumed", now);
      s.start_time = Time::from_seconds(now.seconds());
      events_.normal(kube::reference_to(job), "Resumed", "Job resumed");
    }
  }

  Duration backoff_left(const Job& job, const JobStatus& s, Time now) const {
    auto it = last_failure_.find(job.metadata.uid);
    if (it == last_failure_.end() || s.failed == 0) return Duration(0);
    Duration d = std::min<Duration>(kBackoffMin * (1 << std::min(10, s.failed - 1)), kBackoffMax);
    return it->second + d - now;
  }

  Pod new_pod(const Job& job, int index) const {
    std::string prefix = job.metadata.name + "-";
    if (is_indexed(job)) prefix += std::to_string(index) + "-";
    Pod p = pod_from_template(job.spec.template_, job.metadata.namespace_, prefix);
    p.metadata.owner_references.push_back(owner_reference(job));
    p.metadata.finalizers.push_back(kTracking);
    if (is_indexed(job)) {
      p.metadata.annotations[kIndex] = p.metadata.labels[kIndex] = std::to_string(index);
      p.spec.hostname = job.metadata.name + "-" + std::to_string(index);
      for (auto* list : {&p.spec.containers, &p.spec.init_containers})
        for (auto& c : *list) {
          bool has = false;
          for (auto& e : c.env) has = has || e.name == "JOB_COMPLETION_INDEX";
          if (has) continue;
          kube::core::EnvVar e;
          e.name = "JOB_COMPLETION_INDEX";
          e.value_from.emplace();
          e.value_from->field_ref.emplace();
          e.value_from->field_ref->field_path = "metadata.labels['batch.kubernetes.io/job-completion-index']";
          c.env.push_back(std::move(e));
        }
    }
    return p;
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Job>& jobs_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, Time> last_failure_;
  Expectations expect_;
  kube::Controller queue_;
};

class TtlController final : public Runner {
 public:
  explicit TtlController(const Context& c)
      : ex_(c.ex), client_(c.client("ttl-after-finished-controller")), jobs_(c.informer<Job>()),
        queue_(c.ex, "ttl-after-finished-controller", [this](std::string key) { return sync(std::move(key)); }) {
    jobs_.add_handler([this](auto&, auto& now) {
      if (now && now->spec.ttl_seconds_after_finished && is_done(now->status)) queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const Job> j = jobs_.get(kube::ObjectKey::parse(key));
    if (!j || !j->spec.ttl_seconds_after_finished || !is_done(j->status) || is_terminating(j->metadata)) co_return kube::Requeue::never();
    Time finished;
    for (auto& c : j->status.conditions)
      if ((c.type == "Complete" || c.type == "Failed") && c.status == "True") finished = c.last_transition_time;
    Time due = finished + std::chrono::seconds(*j->spec.ttl_seconds_after_finished);
    if (due > ex_.now()) co_return kube::Requeue::in(due - ex_.now());
    kube::DeleteOptions o;
    o.uid = j->metadata.uid;
    o.propagation_policy = "Foreground";
    Status s = co_await client_.remove<Job>(j->metadata.namespace_, j->metadata.name, o);
    if (!s.ok() && s.error().code != Code::kNotFound) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }
  Executor& ex_;
  kube::Client client_;
  kube::Informer<Job>& jobs_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_job(const Context& c) { return std::make_unique<JobController>(c); }
std::unique_ptr<Runner> make_ttl_after_finished(const Context& c) { return std::make_unique<TtlController>(c); }

}  // namespace caravel::controllers
