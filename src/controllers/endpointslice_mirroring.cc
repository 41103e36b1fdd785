// EndpointSlice mirroring: Endpoints that somebody keeps by hand for a Service without a selector appear as
// slices too, one for each subset and address family, so that proxies need to look at slices only.
#include <algorithm>

#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/endpoint_mirror.h"
#include "controllers/endpoint_plan.h"

namespace caravel::controllers {

using kube::core::Endpoints;
using kube::core::Service;
using kube::discovery::EndpointSlice;

namespace {

bool tells_the_same(const EndpointSlice& a, const EndpointSlice& b) {
  return a.address_type == b.address_type && a.ports == b.ports && a.endpoints == b.endpoints && a.metadata.labels == b.metadata.labels && a.metadata.annotations == b.metadata.annotations;
}

class MirroringController final : public Runner {
 public:
  explicit MirroringController(const Context& c)
      : client_(c.client("endpointslicemirroring-controller")),
        events_(c.ex, client_, "endpoint-slice-mirroring-controller"),
        services_(c.informer<Service>()),
        endpoints_(c.informer<Endpoints>()),
        slices_(c.informer<EndpointSlice>()),
        queue_(
            c.ex, "endpointslicemirroring-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    services_.add_handler([this](auto& old, auto& now) {
      const Service& s = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{s.metadata.namespace_, s.metadata.name});
    });
    endpoints_.add_handler([this](auto& old, auto& now) {
      const Endpoints& e = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{e.metadata.namespace_, e.metadata.name});
    });
    slices_.add_handler([this](auto& old, auto& now) {
      const EndpointSlice& s = now ? *now : *old;
      auto manager = s.metadata.labels.find(kSliceManagedBy);
      auto service = s.metadata.labels.find(kSliceService);
      if (manager == s.metadata.labels.end() || manager->second != kMirrorManager || service == s.metadata.labels.end()) return;
      queue_.enqueue(kube::ObjectKey{s.metadata.namespace_, service->second});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key);
    std::shared_ptr<const Service> svc = services_.get(k);
    std::shared_ptr<const Endpoints> from = endpoints_.get(k);
    Mirror mirror;
    if (svc && from && svc->spec.selector.empty() && is_mirrored(*from)) mirror = mirror_of(*from);
    if (mirror.skipped > 0) events_.warning(kube::reference_to(*from), "TooManyAddressesToMirror", skipped_text(mirror.skipped));
    std::vector<std::shared_ptr<const EndpointSlice>> spare;
    for (auto& s : slices_.in_namespace(k.ns)) {
      auto manager = s->metadata.labels.find(kSliceManagedBy);
      auto service = s->metadata.labels.find(kSliceService);
      if (manager == s->metadata.labels.end() || manager->second != kMirrorManager || service == s->metadata.labels.end() || service->second != k.name) continue;
      if (!is_terminating(s->metadata)) spare.push_back(s);
    }
    // Slices that are right already stay; the others are written over before any is made or removed.
    std::vector<EndpointSlice> missing;
    for (auto& w : mirror.slices) {
      auto right = std::find_if(spare.begin(), spare.end(), [&](auto& s) { return tells_the_same(*s, w); });
      if (right != spare.end()) spare.erase(right);
      else missing.push_back(std::move(w));
    }
    for (auto& w : missing) {
      auto other = std::find_if(spare.begin(), spare.end(), [&](auto& s) { return s->address_type == w.address_type; });
      Status done;
      if (other != spare.end()) {
        w.metadata.name = (*other)->metadata.name;
        w.metadata.resource_version = (*other)->metadata.resource_version;
        spare.erase(other);
        Result<EndpointSlice> r = co_await client_.update<EndpointSlice>(std::move(w));
        if (!r.ok()) done = std::move(r).error();
      } else if (!is_terminating(from->metadata)) {
        w.metadata.generate_name = k.name + "-";
        Result<EndpointSlice> r = co_await client_.create<EndpointSlice>(std::move(w));
        if (!r.ok() && r.error().message.find("is being terminated") == std::string::npos) done = std::move(r).error();
      }
      if (!done.ok()) co_return std::move(done).error();
    }
    for (auto& s : spare) {
      Status r = co_await client_.remove<EndpointSlice>(k.ns, s->metadata.name);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    co_return kube::Requeue::never();
  }

  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Service>& services_;
  kube::Informer<Endpoints>& endpoints_;
  kube::Informer<EndpointSlice>& slices_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_endpoint_slice_mirroring(const Context& c) { return std::make_unique<MirroringController>(c); }

}  // namespace caravel::controllers
