// HorizontalPodAutoscaler: looks at every autoscaler each 15 s, reads metrics through the API, sets the scale of its target.
#include "controllers/context.h"
#include "controllers/discovery.h"
#include "controllers/horizontal_pod_autoscaler_logic.h"
#include "controllers/horizontal_pod_autoscaler_metrics.h"
#include "kube/selectors.h"
#include "kube/types/autoscaling.h"

namespace caravel::controllers {

namespace {

using kube::autoscaling::HorizontalPodAutoscaler;
using kube::core::Pod;

constexpr const char* kName = "horizontal-pod-autoscaler";
constexpr Duration kSyncPeriod = std::chrono::seconds(15);
constexpr int kRescaleTries = 5;

class HpaController final : public Runner {
 public:
  explicit HpaController(const Context& c)
      : ex_(c.ex),
        client_(c.client(kName)),
        events_(c.ex, client_, kName),
        autoscalers_(c.informer<HorizontalPodAutoscaler>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, "horizontal-pod-autoscaler-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    autoscalers_.add_handler([this](auto& old, auto& now) {
      const HorizontalPodAutoscaler& h = now ? *now : *old;
      std::string key = kube::ObjectKey{h.metadata.namespace_, h.metadata.name}.text();
      if (!now || (old && old->metadata.uid != now->metadata.uid)) memory_.erase(key), selectors_.erase(key);
      // Our own status is no reason to look again.
      if (!now || !old || !(old->spec == now->spec) || old->metadata.uid != now->metadata.uid) queue_.enqueue(key);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  struct Controlled {
    std::string ns;
    kube::LabelSelector selector;
  };

  Task<Result<kube::Requeue>> sync(std::string key) {
    HpaPtr hpa = autoscalers_.get(kube::ObjectKey::parse(key));
    if (!hpa || is_terminating(hpa->metadata)) co_return kube::Requeue::never();
    const auto& ref = hpa->spec.scale_target_ref;
    Result<kube::Resource> resource = co_await resource_of(client_, ref.api_version, ref.kind);
    Result<json::Value> scale = resource.ok() ? Result<json::Value>(json::Value()) : Result<json::Value>(resource.error());
    if (resource.ok()) {
      Result<json::Value> got = co_await client_.get(*resource, hpa->metadata.namespace_, ref.name, "scale");
      scale = std::move(got);
    }
    if (!scale.ok()) {
      HpaDecision d = without_scale(*hpa, scale.error().message, ex_.now());
      co_await write(hpa, d);
      co_return kube::Requeue::in(kSyncPeriod);
    }
    HpaInput in = co_await look(hpa, *scale, key);
    HpaDecision d = decide(in, memory_[key], ex_.now());
    if (d.rescale) {
      Result<json::Value> r = co_await rescale(*resource, std::move(*scale), *d.rescale);
      if (r.ok()) note_rescaled(in, memory_[key], d, ex_.now());
      else note_rescale_failed(in, d, r.error().message, ex_.now());
    }
    co_await write(hpa, d);
    co_return kube::Requeue::in(kSyncPeriod);
  }

  // A target that changed since we read it (a rollout writes its status all the time) is read and written again.
  Task<Result<json::Value>> rescale(kube::Resource resource, json::Value scale, int replicas) {
    for (int left = kRescaleTries;; --left) {
      const std::string ns = std::as_const(scale)["metadata"]["namespace"].as_string(), name = std::as_const(scale)["metadata"]["name"].as_string();
      scale["spec"]["replicas"] = replicas;
      kube::WriteOptions o;
      o.subresource = "scale";
      json::Value body = std::move(scale);
      Result<json::Value> r = co_await client_.update(resource, std::move(body), std::move(o));
      if (r.ok() || r.error().code != Code::kConflict || left <= 1) co_return std::move(r);
      Result<json::Value> latest = co_await client_.get(resource, ns, name, "scale");
      if (!latest.ok()) co_return std::move(r);
      scale = std::move(*latest);
    }
  }

  // All that the decision rests on.
  Task<HpaInput> look(HpaPtr hpa, json::Value scale_object, std::string key) {
    const json::Value& scale = scale_object;
    HpaInput in;
    in.hpa = hpa;
    in.target.reference = hpa->spec.scale_target_ref.kind + "/" + hpa->metadata.namespace_ + "/" + hpa->spec.scale_target_ref.name;
    in.target.spec_replicas = static_cast<int>(scale["spec"]["replicas"].as_int());
    in.target.status_replicas = static_cast<int>(scale["status"]["replicas"].as_int());
    in.target.selector = scale["status"]["selector"].as_string();
    if (in.target.selector.empty()) co_return in;
    Result<kube::LabelSelector> selector = kube::LabelSelector::parse(in.target.selector);
    if (!selector.ok()) {
      in.bad_selector = selector.error().message;
      co_return in;
    }
    for (auto& p : pods_.in_namespace(hpa->metadata.namespace_))
      if (selector->matches(p->metadata.labels)) in.pods.push_back(p);
    selectors_[key] = {hpa->metadata.namespace_, *selector};
    in.sharers = sharers(in.pods);
    if (in.sharers.size() > 1 || !needs_metrics(*hpa, in.target)) co_return in;
    for (auto& m : hpa->spec.metrics) {
      std::string object_resource;
      if (m.object) {
        const auto& o = m.object->described_object;
        Result<kube::Resource> r = co_await resource_of(client_, o.api_version, o.kind);
        if (!r.ok()) {
          in.metrics.push_back(std::move(r).error());
          continue;
        }
        object_resource = r->group_resource();
      }
      std::string ns = hpa->metadata.namespace_, text = in.target.selector;
      kube::autoscaling::MetricSpec spec = m;
      Result<Measured> got = co_await measure(client_, std::move(ns), std::move(text), std::move(spec), std::move(object_resource));
      in.metrics.push_back(std::move(got));
    }
    co_return in;
  }

  // Keys of all autoscalers that control any of these pods.
  std::vector<std::string> sharers(const std::vector<PodPtr>& pods) const {
    std::vector<std::string> out;
    for (auto& [key, c] : selectors_)
      if (std::any_of(pods.begin(), pods.end(), [&](auto& p) { return p->metadata.namespace_ == c.ns && c.selector.matches(p->metadata.labels); })) out.push_back(key);
    return out;
  }

  Task<void> write(HpaPtr hpa, HpaDecision d) {
    for (auto& e : d.events) e.warning ? events_.warning(kube::reference_to(*hpa), e.reason, e.message) : events_.normal(kube::reference_to(*hpa), e.reason, e.message);
    if (d.status == hpa->status) co_return;
    HorizontalPodAutoscaler next = *hpa;
    next.status = std::move(d.status);
    // What we know may be older than our own last status: the next look has it.
    Result<HorizontalPodAutoscaler> r = co_await client_.update_status<HorizontalPodAutoscaler>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound && r.error().code != Code::kConflict)
      Log(kName).warn("the status of an autoscaler cannot be written", {{"autoscaler", hpa->metadata.namespace_ + "/" + hpa->metadata.name}, {"error", r.error().message}});
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<HorizontalPodAutoscaler>& autoscalers_;
  kube::Informer<Pod>& pods_;
  std::map<std::string, HpaMemory> memory_;      // by key
  std::map<std::string, Controlled> selectors_;  // by key
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_horizontal_pod_autoscaler(const Context& c) { return std::make_unique<HpaController>(c); }

}  // namespace caravel::controllers
