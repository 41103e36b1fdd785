// TTL-after-finished: a Job that has ended goes, with its pods, ttlSecondsAfterFinished later.
#include "controllers/context.h"
#include "controllers/job_logic.h"
#include "kube/types/batch.h"

namespace caravel::controllers {

namespace {

using kube::batch::Job;

class TtlController final : public Runner {
 public:
  explicit TtlController(const Context& c)
      : ex_(c.ex), client_(c.client("ttl-after-finished-controller")), jobs_(c.informer<Job>()), queue_(c.ex, "ttl-after-finished-controller", [this](std::string key) { return sync(std::move(key)); }) {
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
    o.resource_version = j->metadata.resource_version;  // its TTL may just have been changed
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

std::unique_ptr<Runner> make_ttl_after_finished(const Context& c) { return std::make_unique<TtlController>(c); }

}  // namespace caravel::controllers
