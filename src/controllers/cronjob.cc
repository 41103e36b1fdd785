// CronJob: starts Jobs on a schedule. What to do is decided in cronjob_logic.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/cronjob_logic.h"
#include "kube/cron.h"

namespace caravel::controllers {

using kube::batch::CronJob;
using kube::batch::Job;

namespace {

class CronJobController final : public Runner {
 public:
  explicit CronJobController(const Context& c)
      : ex_(c.ex),
        client_(c.client("cronjob-controller")),
        events_(c.ex, client_, "cronjob-controller"),
        cronjobs_(c.informer<CronJob>()),
        jobs_(c.informer<Job>()),
        queue_(
            c.ex, "cronjob-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(jobs_);
    cronjobs_.add_handler([this](auto& old, auto& now) {
      if (now) queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
      else said_.erase(old->metadata.uid);
    });
    jobs_.add_handler([this](auto& old, auto& now) {
      for (auto& j : {old, now}) {
        if (!j) continue;
        const kube::meta::OwnerReference* o = controller_of(j->metadata);
        if (o && o->kind == "CronJob") queue_.enqueue(kube::ObjectKey{j->metadata.namespace_, o->name});
      }
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  // Read from the system's files once, when it is first asked for.
  const Result<TimeZone>& zone(const std::string& name) {
    auto it = zones_.find(name);
    if (it == zones_.end() || !it->second.ok()) it = zones_.insert_or_assign(name, kube::load_time_zone(name)).first;
    return it->second;
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const CronJob> cron = cronjobs_.get(kube::ObjectKey::parse(key));
    if (!cron) co_return kube::Requeue::never();
    if (!jobs_seen_.met(key, jobs_) || !status_seen_.met(key, cronjobs_)) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<Job> jobs;
    for (auto& j : jobs_.by_index(kOwnerIndex, cron->metadata.uid))
      if (j->metadata.namespace_ == cron->metadata.namespace_) jobs.push_back(*j);
    CronJobDecision d = decide(*cron, std::move(jobs), zone(cron->spec.time_zone.value_or("")), ex_.now());
    Status failure = ok();
    for (auto& j : d.remove) {
      kube::DeleteOptions o;
      o.propagation_policy = "Background";
      o.uid = j.metadata.uid;
      Status removed = co_await client_.remove<Job>(j.metadata.namespace_, j.metadata.name, std::move(o));
      if (removed.ok() || removed.error().code == Code::kNotFound) continue;
      std::erase_if(d.events, [&](auto& e) { return e.message == "Deleted job " + j.metadata.name; });
      d.events.push_back({true, "FailedDelete", "Deleted job: " + removed.error().message});
      failure = std::move(removed);
    }
    if (d.create && failure.ok()) {
      Status made = co_await create(*cron, d, key);
      if (!made.ok()) failure = std::move(made);
    }
    tell(*cron, d.events);
    if (!(d.status == cron->status)) {
      CronJob next = *cron;
      next.status = d.status;
      Result<CronJob> wrote = co_await client_.update_status<CronJob>(std::move(next));
      if (wrote.ok()) status_seen_.wrote(key, wrote->metadata.resource_version);
      else if (wrote.error().code != Code::kNotFound) co_return std::move(wrote).error();
    }
    if (!failure.ok()) co_return std::move(failure).error();
    co_return d.again ? kube::Requeue::in(*d.again) : kube::Requeue::never();
  }

  // Enters the Job into the status, also when it is there already: then we were stopped between its creation and the status.
  Task<Status> create(const CronJob& cron, CronJobDecision& d, std::string key) {
    Job job = std::move(*d.create);
    const std::string ns = job.metadata.namespace_, name = job.metadata.name;
    Result<Job> made = co_await client_.create<Job>(std::move(job));
    if (!made.ok() && made.error().code == Code::kAlreadyExists) {
      made = co_await client_.get<Job>(ns, name);
      if (made.ok() && !is_controlled_by(made->metadata, cron.metadata.uid)) {
        d.events.push_back({true, "FailedCreate", "Error creating job: jobs.batch \"" + name + "\" already exists"});
        co_return ok();  // another's: the next scheduled time has another name
      }
      if (made.ok() && !finished_as(*made).empty()) {
        d.status.last_schedule_time = d.scheduled;
        co_return ok();
      }
    } else if (made.ok()) {
      d.events.push_back({false, "SuccessfulCreate", "Created job " + name});
    }
    if (!made.ok()) {
      // In a namespace that is going away nothing can be created; that is no failure.
      if (made.error().message.find("is being terminated") != std::string::npos) co_return ok();
      d.events.push_back({true, "FailedCreate", "Error creating job: " + made.error().message});
      co_return std::move(made).error();
    }
    jobs_seen_.wrote(key, made->metadata.resource_version);
    kube::core::ObjectReference ref;
    ref.kind = "Job";
    ref.api_version = "batch/v1";
    ref.name = name;
    ref.namespace_ = ns;
    ref.uid = made->metadata.uid;
    ref.resource_version = made->metadata.resource_version;
    d.status.active.push_back(std::move(ref));
    d.status.last_schedule_time = d.scheduled;
    co_return ok();
  }

  // An event that says the same as the last look's is not repeated: looks are many, news are few.
  void tell(const CronJob& cron, const std::vector<CronJobEvent>& events) {
    std::set<std::string>& before = said_[cron.metadata.uid];
    std::set<std::string> said;
    for (auto& e : events) {
      std::string text = e.reason + e.message;
      if (before.count(text) == 0) {
        if (e.warning) events_.warning(kube::reference_to(cron), e.reason, e.message);
        else events_.normal(kube::reference_to(cron), e.reason, e.message);
      }
      said.insert(std::move(text));
    }
    before = std::move(said);
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<CronJob>& cronjobs_;
  kube::Informer<Job>& jobs_;
  Expectations jobs_seen_, status_seen_;
  std::map<std::string, std::set<std::string>> said_;  // by uid
  std::map<std::string, Result<TimeZone>> zones_;      // by name
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_cronjob(const Context& c) { return std::make_unique<CronJobController>(c); }

}  // namespace caravel::controllers
