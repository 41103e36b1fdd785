// Endpoints: what EndpointSlices tell, in one object of at most 1,000 addresses, for older clients.
#include "controllers/endpoint_plan.h"
#include "controllers/service_matcher.h"

namespace caravel::controllers {

namespace {

using kube::core::Endpoints;
using kube::core::Pod;
using kube::core::Service;

class EndpointsController final : public Runner {
 public:
  explicit EndpointsController(const Context& c)
      : client_(c.client("endpoint-controller")),
        events_(c.ex, client_, "endpoint-controller"),
        services_(c.informer<Service>()),
        pods_(c.informer<Pod>()),
        endpoints_(c.informer<Endpoints>()),
        queue_(
            c.ex, "endpoint-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers),
        matcher_(services_, pods_, queue_) {
    services_.add_handler([this](auto& old, auto& now) {
      if (old && !now) gone_.insert(kube::ObjectKey{old->metadata.namespace_, old->metadata.name}.text());
    });
    endpoints_.add_handler([this](auto& old, auto& now) {
      if (old && now) return;
      const Endpoints& e = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{e.metadata.namespace_, e.metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key);
    std::shared_ptr<const Service> svc = services_.get(k);
    std::shared_ptr<const Endpoints> had = endpoints_.get(k);
    if (!svc) {
      times_.forget(key);
      // Those of a Service that we saw go away are removed, whoever made them; without that only our own, since others
      // (elections, clusters beyond this one) keep Endpoints that never had a Service.
      if (had && !is_terminating(had->metadata) && (gone_.count(key) || had->metadata.labels.count(kEndpointsManagedBy))) {
        Status r = co_await client_.remove<Endpoints>(k.ns, k.name);
        if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
      }
      gone_.erase(key);
      co_return kube::Requeue::never();
    }
    gone_.erase(key);
    if (svc->spec.selector.empty() || svc->spec.type == "ExternalName" || is_terminating(svc->metadata)) co_return kube::Requeue::never();
    std::vector<PodPtr> pods = ServiceMatcher::selected(*svc, pods_);
    const Time changed = times_.observe(key, *svc, pods);
    Endpoints next;
    if (had) next = *had;
    next.metadata.name = k.name;
    next.metadata.namespace_ = k.ns;
    next.metadata.labels = endpoints_labels(*svc);
    bool truncated = false;
    next.subsets = plan_subsets(*svc, pods, &truncated);
    if (truncated) next.metadata.annotations[kEndpointsOverCapacity] = "truncated";
    else next.metadata.annotations.erase(kEndpointsOverCapacity);
    if (had && next == *had) co_return kube::Requeue::never();
    set_trigger_time(next.metadata, changed);
    if (had) {
      kube::ObjectReference about = kube::reference_to(*had);
      Result<Endpoints> r = co_await client_.update<Endpoints>(std::move(next));
      if (r.ok()) co_return kube::Requeue::never();
      if (r.error().code != Code::kConflict) events_.warning(about, "FailedToUpdateEndpoint", "Failed to update endpoint " + key + ": " + r.error().message);
      co_return std::move(r).error();
    }
    kube::ObjectReference about = kube::reference_to(next);
    Result<Endpoints> r = co_await client_.create<Endpoints>(std::move(next));
    if (r.ok() || r.error().code == Code::kAlreadyExists || r.error().message.find("is being terminated") != std::string::npos) co_return kube::Requeue::never();
    events_.warning(about, "FailedToCreateEndpoint", "Failed to create endpoint for service " + key + ": " + r.error().message);
    co_return std::move(r).error();
  }

  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Service>& services_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Endpoints>& endpoints_;
  TriggerTimes times_;
  std::set<std::string> gone_;  // keys of Services that were deleted while we watched
  kube::Controller queue_;
  ServiceMatcher matcher_;
};

}  // namespace

std::unique_ptr<Runner> make_endpoints(const Context& c) { return std::make_unique<EndpointsController>(c); }

}  // namespace caravel::controllers
