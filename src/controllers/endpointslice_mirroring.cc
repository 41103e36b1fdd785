// EndpointSlice mirroring: Endpoints that somebody keeps by hand for a Service without a selector appear as
// slices too, one for each subset and address family, so that proxies need to look at slices only.
#include <algorithm>

#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/endpoint_plan.h"
#include "kube/types/discovery.h"

namespace caravel::controllers {

using kube::core::Endpoints;
using kube::core::Service;
using kube::discovery::Endpoint;
using kube::discovery::EndpointSlice;

namespace {

constexpr size_t kAddressesMax = 1000;  // of one subset, as upstream
constexpr const char* kManager = "endpointslicemirroring-controller.k8s.io";
constexpr const char* kSkip = "endpointslice.kubernetes.io/skip-mirror";
constexpr const char* kLeader = "control-plane.alpha.kubernetes.io/leader";
constexpr const char* kLastApplied = "kubectl.kubernetes.io/last-applied-configuration";

bool is_mirrored(const Endpoints& e) {
  auto skip = e.metadata.labels.find(kSkip);
  if (skip != e.metadata.labels.end() && skip->second == "true") return false;
  return !is_terminating(e.metadata) && !e.metadata.annotations.count(kLeader);
}

void add_endpoints(const std::vector<kube::core::EndpointAddress>& list, bool ready, bool v6, EndpointSlice& out) {
  for (auto& a : list) {
    if ((a.ip.find(':') != std::string::npos) != v6 || out.endpoints.size() >= kAddressesMax) continue;
    Endpoint e;
    e.addresses = {a.ip};
    e.conditions.ready = ready;
    if (!a.hostname.empty()) e.hostname = a.hostname;
    e.node_name = a.node_name;
    e.target_ref = a.target_ref;
    out.endpoints.push_back(std::move(e));
  }
}

// What the slices should be, without names. `skipped` addresses are too many.
std::vector<EndpointSlice> mirror(const Endpoints& from, size_t* skipped) {
  std::vector<EndpointSlice> out;
  for (auto& subset : from.subsets)
    for (bool v6 : {false, true}) {
      EndpointSlice s;
      s.metadata.namespace_ = from.metadata.namespace_;
      s.metadata.labels = from.metadata.labels;
      s.metadata.labels[kSliceService] = from.metadata.name;
      s.metadata.labels[kSliceManagedBy] = kManager;
      s.metadata.annotations = from.metadata.annotations;
      s.metadata.annotations.erase(kLastApplied);
      s.metadata.annotations.erase(kTriggerTime);
      s.metadata.owner_references = {owner_reference(from)};
      s.address_type = v6 ? "IPv6" : "IPv4";
      for (auto& p : subset.ports) {
        kube::discovery::EndpointPort port;
        port.name = p.name;
        port.port = p.port;
        port.protocol = p.protocol.empty() ? "TCP" : p.protocol;
        port.app_protocol = p.app_protocol;
        s.ports.push_back(std::move(port));
      }
      add_endpoints(subset.addresses, true, v6, s);
      add_endpoints(subset.not_ready_addresses, false, v6, s);
      for (auto* list : {&subset.addresses, &subset.not_ready_addresses})
        *skipped += static_cast<size_t>(std::count_if(list->begin(), list->end(), [&](auto& a) { return (a.ip.find(':') != std::string::npos) == v6; }));
      *skipped -= s.endpoints.size();
      if (!s.endpoints.empty()) out.push_back(std::move(s));
    }
  return out;
}

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
      if (manager == s.metadata.labels.end() || manager->second != kManager || service == s.metadata.labels.end()) return;
      queue_.enqueue(kube::ObjectKey{s.metadata.namespace_, service->second});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key);
    std::shared_ptr<const Service> svc = services_.get(k);
    std::shared_ptr<const Endpoints> from = endpoints_.get(k);
    std::vector<EndpointSlice> wanted;
    size_t skipped = 0;
    if (svc && from && svc->spec.selector.empty() && !is_terminating(svc->metadata) && is_mirrored(*from)) wanted = mirror(*from, &skipped);
    if (skipped > 0)
      events_.warning(kube::reference_to(*from), "TooManyAddressesToMirror",
                      "A max of " + std::to_string(kAddressesMax) + " addresses can be mirrored to EndpointSlices per Endpoints subset. " + std::to_string(skipped) + " addresses were skipped");
    std::vector<std::shared_ptr<const EndpointSlice>> spare;
    for (auto& s : slices_.in_namespace(k.ns)) {
      auto manager = s->metadata.labels.find(kSliceManagedBy);
      auto service = s->metadata.labels.find(kSliceService);
      if (manager == s->metadata.labels.end() || manager->second != kManager || service == s->metadata.labels.end() || service->second != k.name) continue;
      if (!is_terminating(s->metadata)) spare.push_back(s);
    }
    // Slices that are right already stay; the others are written over before any is made or removed.
    std::vector<EndpointSlice> missing;
    for (auto& w : wanted) {
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
      } else {
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
