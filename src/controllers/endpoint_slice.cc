// EndpointSlice: the addresses behind every Service with a selector. endpoint_plan.h says which slices there should be,
// endpoint_hints.h who should use which endpoint; here is what they see and what is written.
#include "controllers/endpoint_hints.h"
#include "controllers/endpoint_plan.h"
#include "controllers/service_matcher.h"

namespace caravel::controllers {

namespace {

using kube::core::Node;
using kube::core::Pod;
using kube::core::Service;
using kube::discovery::EndpointSlice;

class EndpointSliceController final : public Runner {
 public:
  explicit EndpointSliceController(const Context& c)
      : client_(c.client("endpointslice-controller")),
        events_(c.ex, client_, "endpoint-slice-controller"),
        services_(c.informer<Service>()),
        pods_(c.informer<Pod>()),
        nodes_(c.informer<Node>()),
        slices_(c.informer<EndpointSlice>()),
        queue_(
            c.ex, "endpointslice-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers),
        matcher_(services_, pods_, queue_) {
    slices_.add_index("service", [](const EndpointSlice& s) {
      std::vector<std::string> out;
      auto it = s.metadata.labels.find(kSliceService);
      if (it != s.metadata.labels.end() && is_ours(s)) out.push_back(s.metadata.namespace_ + "/" + it->second);
      return out;
    });
    slices_.add_handler([this](auto& old, auto& now) {
      for (auto* s : {old.get(), now.get()}) {
        if (!s || !is_ours(*s)) continue;
        auto name = s->metadata.labels.find(kSliceService);
        if (name != s->metadata.labels.end()) queue_.enqueue(kube::ObjectKey{s->metadata.namespace_, name->second});
      }
    });
    nodes_.add_handler([this](auto& old, auto& now) { on_node(old, now); });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  static bool is_ours(const EndpointSlice& s) {
    auto by = s.metadata.labels.find(kSliceManagedBy);
    return by != s.metadata.labels.end() && by->second == kSliceManager;
  }
  static std::string zone_of(const Node& n) {
    auto it = n.metadata.labels.find("topology.kubernetes.io/zone");
    return it == n.metadata.labels.end() ? "" : it->second;
  }

  void on_node(const std::shared_ptr<const Node>& old, const std::shared_ptr<const Node>& now) {
    if (!old || !now || !(share_of(*old) == share_of(*now))) {
      shares_.reset();
      for (auto& [key, why] : shared_) queue_.enqueue_paced(key.substr(0, key.find(' ')), kPace);
    }
    if (!now || (old && zone_of(*old) == zone_of(*now))) return;
    if (!old) {  // pods can be heard of before their node
      for (auto& key : incomplete_) queue_.enqueue_paced(key, kPace);
      return;
    }
    for (auto& [key, s] : services_.all())
      if (!s->spec.selector.empty()) queue_.enqueue(key);
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const Service> svc = services_.get(kube::ObjectKey::parse(key));
    // Without a selector the endpoints are somebody else's; a Service that is gone leaves its slices to
    // the garbage collector.
    if (!svc) {
      for (const char* type : {" IPv4", " IPv6"}) shared_.erase(key + type);
      times_.forget(key);
      incomplete_.erase(key);
    }
    if (!svc || svc->spec.selector.empty() || svc->spec.type == "ExternalName") co_return kube::Requeue::never();
    if (!expect_.met(key, slices_)) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<PodPtr> pods = ServiceMatcher::selected(*svc, pods_);
    const Time changed = times_.observe(key, *svc, pods);
    const std::vector<std::string> types = address_types(*svc);
    std::map<std::string, std::vector<SlicePtr>> have;
    std::vector<SlicePtr> other_families;
    for (auto& s : slices_.by_index("service", key)) {
      if (is_terminating(s->metadata)) continue;
      if (std::find(types.begin(), types.end(), s->address_type) == types.end()) other_families.push_back(s);
      else have[s->address_type].push_back(s);
    }
    std::string left_out;
    for (auto& type : types) {
      SlicePlan plan = plan_slices(*svc, pods, have[type], type, [this](const std::string& node) -> std::optional<std::string> {
        auto n = nodes_.get("", node);
        return n ? std::optional(zone_of(*n)) : std::nullopt;
      });
      if (!plan.left_out.empty()) left_out = plan.left_out.front();
      set_hints(*svc, key + " " + type, plan);
      Status s = co_await write(svc, key, std::move(plan), changed);
      if (!s.ok()) {
        // A slice that has changed or gone meanwhile is no news.
        if (s.error().code != Code::kConflict && s.error().code != Code::kNotFound) complain(*svc, key, s.error().message);
        co_return std::move(s).error();
      }
    }
    Status s = co_await remove(std::move(other_families));
    if (!s.ok()) co_return std::move(s).error();
    // Said once; the nodes' arrival makes us look again.
    if (left_out.empty()) incomplete_.erase(key);
    else if (incomplete_.insert(key).second) complain(*svc, key, left_out);
    co_return kube::Requeue::never();
  }
  void complain(const Service& svc, const std::string& key, const std::string& why) {
    events_.warning(kube::reference_to(svc), "FailedToUpdateEndpointSlices", "Error updating Endpoint Slices for Service " + key + ": " + why);
  }

  Task<Status> write(std::shared_ptr<const Service> svc, std::string key, SlicePlan plan, Time changed) {
    // While the Service is being deleted new slices would race with the garbage collector.
    if (is_terminating(svc->metadata)) plan.create.clear();
    for (auto& s : plan.create) {
      set_trigger_time(s.metadata, changed);
      Result<EndpointSlice> r = co_await client_.create<EndpointSlice>(std::move(s));
      if (!r.ok()) {
        if (r.error().message.find("is being terminated") != std::string::npos) co_return ok();
        co_return std::move(r).error();
      }
      expect_.wrote(key, r->metadata.resource_version);
    }
    for (auto& [s, next] : plan.stay) {
      if (next == *s) continue;
      set_trigger_time(next.metadata, changed);
      Result<EndpointSlice> r = co_await client_.update<EndpointSlice>(std::move(next));
      if (!r.ok()) co_return std::move(r).error();
      expect_.wrote(key, r->metadata.resource_version);
    }
    co_return co_await remove(std::move(plan.remove));
  }
  Task<Status> remove(std::vector<SlicePtr> slices) {
    for (auto& s : slices) {
      Status r = co_await client_.remove<EndpointSlice>(s->metadata.namespace_, s->metadata.name);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return r;
    }
    co_return ok();
  }

  // `key` is the Service and the address family. What is said about hints is said once.
  void set_hints(const Service& svc, const std::string& key, SlicePlan& plan) {
    const std::string suffix = ", addressType: " + key.substr(key.find(' ') + 1);
    auto had = shared_.find(key);
    if (!wants_zone_shares(svc)) {
      for (auto& s : plan.create) set_close_hints(svc, s);
      for (auto& [s, next] : plan.stay) set_close_hints(svc, next);
      if (had == shared_.end()) return;
      if (had->second.empty()) events_.warning(kube::reference_to(svc), "TopologyAwareHintsDisabled", "Topology Aware Hints has been disabled" + suffix);
      shared_.erase(had);
      return;
    }
    std::vector<SharedSlice> all;
    for (auto& s : plan.create) all.push_back({&s, true});
    for (auto& [s, next] : plan.stay) all.push_back({&next, !(next == *s)});
    std::string why = set_shared_hints(all, shares());
    if (had != shared_.end() && had->second == why) return;
    if (why.empty()) events_.normal(kube::reference_to(svc), "TopologyAwareHintsEnabled", "Topology Aware Hints has been enabled" + suffix);
    else events_.warning(kube::reference_to(svc), "TopologyAwareHintsDisabled", why + suffix);
    shared_[key] = std::move(why);
  }
  const std::map<std::string, double>& shares() {
    if (shares_) return *shares_;
    std::vector<NodeShare> nodes;
    for (auto& [k, n] : nodes_.all()) nodes.push_back(share_of(*n));
    return shares_.emplace(zone_shares(nodes));
  }

  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Service>& services_;
  kube::Informer<Pod>& pods_;
  kube::Informer<Node>& nodes_;
  kube::Informer<EndpointSlice>& slices_;
  std::optional<std::map<std::string, double>> shares_;  // of the nodes as they are
  std::map<std::string, std::string> shared_;            // Services with hints by CPU, and why they have none
  std::set<std::string> incomplete_;                     // Services with pods whose nodes are not known
  TriggerTimes times_;
  Expectations expect_;
  kube::Controller queue_;
  ServiceMatcher matcher_;
};

}  // namespace

std::unique_ptr<Runner> make_endpoint_slice(const Context& c) { return std::make_unique<EndpointSliceController>(c); }

}  // namespace caravel::controllers
