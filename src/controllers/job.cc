// Job: runs pods to completion. job_logic.h decides; here is what it sees and what is done about it.
//
// A decision must not rest on a copy from before our own writes. Versions of written Jobs and made pods are waited for;
// uids of deleted pods and of released finalizers are kept until the informer has heard of them.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/job_logic.h"
#include "controllers/job_pods.h"
#include "kube/types/batch.h"

namespace caravel::controllers {

namespace {

using kube::batch::Job;
using kube::batch::JobStatus;
using kube::core::Pod;

constexpr const char* kName = "job-controller";
constexpr const char* kOrphan = "pod:";  // keys of pods whose Job is gone

class JobController final : public Runner {
 public:
  explicit JobController(const Context& c)
      : ex_(c.ex),
        client_(c.client(kName)),
        events_(c.ex, client_, kName),
        jobs_(c.informer<Job>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, kName, [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(pods_);
    add_orphan_index(pods_);
    jobs_.add_handler([this](auto& old, auto& now) { on_job(old, now); });
    pods_.add_handler([this](auto& old, auto& now) { on_pod(old, now); });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  using JobPtr = std::shared_ptr<const Job>;
  static kube::ObjectKey key_of(const Job& j) { return {j.metadata.namespace_, j.metadata.name}; }
  static bool is_ours(const Job& j) { return !j.spec.managed_by || *j.spec.managed_by == "kubernetes.io/job-controller"; }

  // --- what has changed

  void on_job(const JobPtr& old, const JobPtr& now) {
    queue_.enqueue(key_of(now ? *now : *old));
    if (old && (!now || now->metadata.uid != old->metadata.uid)) {
      backoff_.erase(old->metadata.uid);
      for (auto& p : pods_.by_index(kOwnerIndex, old->metadata.uid)) enqueue_orphan(*p);
    }
  }

  void on_pod(const PodPtr& old, const PodPtr& now) {
    const Pod& p = now ? *now : *old;
    if (!now || is_terminating(now->metadata)) deleted_.erase(p.metadata.uid);
    if (!now || !is_tracked(*now)) released_.erase(p.metadata.uid);
    if (old && now && old->metadata.uid != now->metadata.uid) {
      deleted_.erase(old->metadata.uid);
      released_.erase(old->metadata.uid);
    }
    const kube::meta::OwnerReference* before = old ? controller_of(old->metadata) : nullptr;
    const kube::meta::OwnerReference* o = controller_of(p.metadata);
    if (o && o->kind == "Job") queue_.enqueue_paced(kube::ObjectKey{p.metadata.namespace_, o->name}, kPace);
    if (before && before->kind == "Job" && (!o || o->uid != before->uid)) queue_.enqueue_paced(kube::ObjectKey{p.metadata.namespace_, before->name}, kPace);
    if (!now) return;
    if (!o)
      for (auto& j : selecting(p)) queue_.enqueue(key_of(*j));
    if (is_tracked(p) && !owner_of(p)) enqueue_orphan(p);
  }

  void enqueue_orphan(const Pod& p) {
    if (is_tracked(p)) queue_.enqueue(kOrphan + p.metadata.namespace_ + "/" + p.metadata.name);
  }
  JobPtr owner_of(const Pod& p) const {
    const kube::meta::OwnerReference* o = controller_of(p.metadata);
    if (!o || o->kind != "Job") return nullptr;
    JobPtr j = jobs_.get(p.metadata.namespace_, o->name);
    return j && j->metadata.uid == o->uid ? j : nullptr;
  }
  std::vector<JobPtr> selecting(const Pod& p) const {
    std::vector<JobPtr> out;
    for (auto& j : jobs_.in_namespace(p.metadata.namespace_))
      if (matches(j->spec.selector, p.metadata.labels)) out.push_back(j);
    return out;
  }

  // --- finalizers

  Task<Status> untrack(PodPtr p) {
    if (!is_tracked(*p)) co_return ok();
    json::Value patch = json::Value::object();
    json::Value& m = patch["metadata"];
    m["uid"] = p->metadata.uid;
    m["$deleteFromPrimitiveList/finalizers"].push_back(kJobTracking);
    released_.insert(p->metadata.uid);
    Result<json::Value> r = co_await client_.patch(Pod::resource(), p->metadata.namespace_, p->metadata.name, kube::PatchType::kStrategic, std::move(patch));
    if (r.ok() || r.error().code == Code::kNotFound) {
      forget_if_known(*p);
      co_return ok();
    }
    released_.erase(p->metadata.uid);
    co_return std::move(r).error();
  }
  // At the answer the informer may have told of the change already, and will not do so again.
  void forget_if_known(const Pod& p) {
    PodPtr known = pods_.get(p.metadata.namespace_, p.metadata.name);
    bool gone = !known || known->metadata.uid != p.metadata.uid;
    if (gone || !is_tracked(*known)) released_.erase(p.metadata.uid);
    if (gone || is_terminating(known->metadata)) deleted_.erase(p.metadata.uid);
  }

  // The uids of those whose finalizer is gone; `error` is the first failure.
  Task<std::set<std::string>> untrack_all(std::vector<PodPtr> pods, std::optional<Error>* error) {
    std::vector<Task<Status>> tasks;
    for (auto& p : pods) tasks.push_back(untrack(p));
    std::vector<Status> results = co_await run_all<Status>(ex_, std::move(tasks));
    std::set<std::string> done;
    for (size_t i = 0; i < pods.size(); ++i) {
      if (results[i].ok()) done.insert(pods[i]->metadata.uid);
      else if (!*error) *error = results[i].error();
    }
    co_return done;
  }

  Task<Result<kube::Requeue>> release_orphan(std::string key) {
    PodPtr p = pods_.get(kube::ObjectKey::parse(key));
    if (!p || !is_tracked(*p) || released_.count(p->metadata.uid)) co_return kube::Requeue::never();
    const kube::meta::OwnerReference* o = controller_of(p->metadata);
    if (o && o->kind != "Job") co_return kube::Requeue::never();
    JobPtr owner = owner_of(*p);
    if (owner && (!is_ours(*owner) || !is_done(owner->status))) co_return kube::Requeue::never();
    if (!o && !selecting(*p).empty() && !is_terminating(p->metadata)) co_return kube::Requeue::never();  // about to be adopted
    Status s = co_await untrack(p);
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  // --- deletions

  Task<Status> remove_one(JobPtr job, PodPtr p, bool forget) {
    if (forget) {
      Status s = co_await untrack(p);
      if (!s.ok()) co_return std::move(s).error();
    }
    kube::DeleteOptions o;
    o.uid = p->metadata.uid;
    deleted_.insert(p->metadata.uid);
    Status s = co_await client_.remove<Pod>(p->metadata.namespace_, p->metadata.name, o);
    if (s.ok() || s.error().code == Code::kNotFound) {
      forget_if_known(*p);
      if (s.ok()) events_.normal(kube::reference_to(*job), "SuccessfulDelete", "Deleted pod: " + p->metadata.name);
      co_return ok();
    }
    deleted_.erase(p->metadata.uid);
    events_.warning(kube::reference_to(*job), "FailedDelete", "Error deleting: " + s.error().message);
    co_return std::move(s).error();
  }

  Task<std::set<std::string>> remove_all(JobPtr job, std::vector<PodPtr> pods, bool forget, std::optional<Error>* error) {
    std::vector<Task<Status>> tasks;
    for (auto& p : pods) tasks.push_back(remove_one(job, p, forget));
    std::vector<Status> results = co_await run_all<Status>(ex_, std::move(tasks));
    std::set<std::string> done;
    for (size_t i = 0; i < pods.size(); ++i) {
      if (results[i].ok()) done.insert(pods[i]->metadata.uid);
      else if (!*error) *error = results[i].error();
    }
    co_return done;
  }

  // --- one look

  Task<Result<kube::Requeue>> sync(std::string key) {
    if (key.starts_with(kOrphan)) co_return co_await release_orphan(key.substr(std::string_view(kOrphan).size()));
    JobPtr job = jobs_.get(kube::ObjectKey::parse(key));
    if (!job || !is_ours(*job)) co_return kube::Requeue::never();
    bool fresh = pods_written_.met(key, pods_) && jobs_written_.met(key, jobs_);
    if (!fresh) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<PodPtr> pods = co_await claim<Pod, Job>(client_, &pods_, job, job->spec.selector, kJobTracking);
    if (is_done(job->status)) {
      // Pods that ended after the Job did.
      backoff_.erase(job->metadata.uid);
      std::optional<Error> error;
      (void)co_await untrack_all(std::move(pods), &error);
      if (error) co_return *error;
      co_return kube::Requeue::never();
    }
    for (auto& p : pods)  // deleted by us, and not yet seen to be
      if (deleted_.count(p->metadata.uid)) co_return kube::Requeue::in(kExpectationRetry);
    Result<kube::Requeue> r = co_await run(job, std::move(pods), key);
    co_return r;
  }

  Task<Result<kube::Requeue>> run(JobPtr job, std::vector<PodPtr> pods, std::string key) {
    JobInput in;
    in.job = job;
    for (auto& p : pods)
      if (released_.count(p->metadata.uid)) in.released.insert(p->metadata.uid);
    in.pods = std::move(pods);
    in.backoff = backoff_[job->metadata.uid];
    JobPlan plan = plan_job(in, ex_.now());

    std::optional<Error> error;
    JobOutcome outcome;
    if (!plan.remove.empty()) outcome.removed = co_await remove_all(job, plan.remove, plan.forget_removed, &error);
    if (!plan.create.empty()) {
      std::vector<Pod> create = std::move(plan.create);
      Created made = co_await create_pods(ex_, client_, std::move(create));
      note_made(*job, key, made);
      outcome.created = static_cast<int>(made.pods.size());
      if (made.error && made.error->message.find("is being terminated") == std::string::npos) error = made.error;
    }

    JobAccount account = account_job(in, plan, outcome, ex_.now());
    Result<JobPtr> written = co_await write(job, account.status, key);
    if (!written.ok()) co_return gone_is_fine(std::move(written).error());
    say(*job, account);
    backoff_[job->metadata.uid] = plan.backoff;

    std::set<std::string> free = co_await untrack_all(account.untrack, &error);
    for (auto& uid : free) account.tracked.erase(uid);
    JobStatus last = finish_job(*job, account, ex_.now());
    Result<JobPtr> finished = co_await write(*written, std::move(last), key);
    if (!finished.ok()) co_return gone_is_fine(std::move(finished).error());
    say(*job, account);
    if (error) co_return *error;
    co_return plan.again ? kube::Requeue::in(*plan.again) : kube::Requeue::never();
  }

  void note_made(const Job& job, const std::string& key, const Created& made) {
    for (auto& p : made.pods) {
      pods_written_.wrote(key, p.metadata.resource_version);
      events_.normal(kube::reference_to(job), "SuccessfulCreate", "Created pod: " + p.metadata.name);
    }
    if (made.error) events_.warning(kube::reference_to(job), "FailedCreate", "Error creating: " + made.error->message);
  }
  void say(const Job& job, JobAccount& account) {
    for (auto& e : account.events) e.warning ? events_.warning(kube::reference_to(job), e.reason, e.message) : events_.normal(kube::reference_to(job), e.reason, e.message);
    account.events.clear();
  }
  static Result<kube::Requeue> gone_is_fine(Error e) {
    if (e.code == Code::kNotFound) return kube::Requeue::never();
    return e;
  }
  // The Job as it is then.
  Task<Result<JobPtr>> write(JobPtr job, JobStatus status, std::string key) {
    if (job->status == status) co_return job;
    Job next = *job;
    next.status = std::move(status);
    Result<Job> r = co_await client_.update_status<Job>(std::move(next));
    if (!r.ok()) co_return std::move(r).error();
    jobs_written_.wrote(key, r->metadata.resource_version);
    co_return std::make_shared<const Job>(std::move(*r));
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Job>& jobs_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, JobBackoff> backoff_;  // by uid of the Job
  Expectations pods_written_, jobs_written_;
  std::set<std::string> deleted_, released_;  // uids of pods
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_job(const Context& c) { return std::make_unique<JobController>(c); }

}  // namespace caravel::controllers
