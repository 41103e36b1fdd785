// ServiceCIDRs: each gets a finalizer and the condition Ready; one that is being deleted goes when no address of
// its own is left, after a while in which every allocator has seen that it takes no more from it.
#include "controllers/service_cidr.h"

#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/ip_range.h"

namespace caravel::controllers {

using kube::networking::IPAddress;
using kube::networking::ServiceCIDR;

namespace {

constexpr Duration kGrace = std::chrono::seconds(10);
constexpr const char* kAllocator = "ipallocator.k8s.io";

std::vector<kube::IpRange> ranges(const ServiceCIDR& c) {
  std::vector<kube::IpRange> out;
  for (auto& text : c.spec.cidrs)
    if (auto r = kube::IpRange::parse(text)) out.push_back(*r);
  return out;
}

bool gives(const ServiceCIDR& c, uint32_t ip) {
  for (auto& r : ranges(c))
    if (r.holds(ip)) return true;
  return false;
}

}  // namespace

bool may_go(const ServiceCIDR& cidr, const std::vector<std::shared_ptr<const ServiceCIDR>>& all, const std::vector<std::shared_ptr<const IPAddress>>& addresses) {
  for (auto& a : addresses) {
    auto ip = kube::parse_ipv4(a->metadata.name);
    auto by = a->metadata.labels.find("ipaddress.kubernetes.io/managed-by");
    if (!ip || by == a->metadata.labels.end() || by->second != kAllocator || !gives(cidr, *ip)) continue;
    bool elsewhere = false;
    for (auto& other : all) elsewhere = elsewhere || (other->metadata.name != cidr.metadata.name && !is_terminating(other->metadata) && gives(*other, *ip));
    if (!elsewhere) return false;
  }
  return true;
}

namespace {

class ServiceCidrs final : public Runner {
 public:
  explicit ServiceCidrs(const Context& c)
      : ex_(c.ex),
        client_(c.client("service-cidr-controller")),
        cidrs_(c.informer<ServiceCIDR>()),
        addresses_(c.informer<IPAddress>()),
        queue_(c.ex, "service-cidr-controller", [this](std::string key) { return sync(std::move(key)); }) {
    cidrs_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
      for (auto& [k, other] : cidrs_.all())  // it may hold what another one waits for
        if (is_terminating(other->metadata)) queue_.enqueue(k.name);
    });
    addresses_.add_handler([this](auto& old, auto&) {
      if (!old) return;
      for (auto& [k, c] : cidrs_.all())
        if (is_terminating(c->metadata)) queue_.enqueue_paced(k.name, kPace);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    auto c = cidrs_.get("", name);
    if (!c) co_return kube::Requeue::never();
    bool held = std::find(c->metadata.finalizers.begin(), c->metadata.finalizers.end(), kServiceCidrFinalizer) != c->metadata.finalizers.end();
    if (!is_terminating(c->metadata)) {
      if (!held) {
        std::vector<std::string> f = c->metadata.finalizers;
        f.push_back(kServiceCidrFinalizer);
        Status s = co_await set_finalizers(c, std::move(f));
        if (!s.ok()) co_return std::move(s).error();
      }
      Status s = co_await say(c, "True", "", "Kubernetes Service CIDR is ready");
      if (!s.ok()) co_return std::move(s).error();
      co_return kube::Requeue::never();
    }
    if (!held) co_return kube::Requeue::never();
    std::vector<std::shared_ptr<const ServiceCIDR>> all;
    for (auto& [k, x] : cidrs_.all()) all.push_back(x);
    std::vector<std::shared_ptr<const IPAddress>> addresses;
    for (auto& [k, x] : addresses_.all()) addresses.push_back(x);
    if (!may_go(*c, all, addresses)) {
      Status s = co_await say(c, "False", "Terminating", "There are still IPAddresses referencing the ServiceCIDR, please remove them or create a new ServiceCIDR");
      if (!s.ok()) co_return std::move(s).error();
      co_return kube::Requeue::never();
    }
    Duration left = *c->metadata.deletion_timestamp + kGrace - ex_.now();
    if (left > Duration(0)) co_return kube::Requeue::in(left);
    std::vector<std::string> f;
    for (auto& x : c->metadata.finalizers)
      if (x != kServiceCidrFinalizer) f.push_back(x);
    Status s = co_await set_finalizers(c, std::move(f));
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  Task<Status> set_finalizers(std::shared_ptr<const ServiceCIDR> c, std::vector<std::string> finalizers) {
    json::Value patch = json::Value::object();
    patch["metadata"]["resourceVersion"] = c->metadata.resource_version;
    json::Value list = json::Value::array();
    for (auto& f : finalizers) list.push_back(f);
    patch["metadata"]["finalizers"] = std::move(list);
    Result<json::Value> r = co_await client_.patch(ServiceCIDR::resource(), "", c->metadata.name, kube::PatchType::kMerge, std::move(patch));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  // A condition that says the same already stays as it is; of a ready range only the status counts.
  Task<Status> say(std::shared_ptr<const ServiceCIDR> c, std::string status, std::string reason, std::string message) {
    json::Value kept = json::Value::array();
    for (auto& x : c->status.conditions) {
      if (x.type == "Ready" && x.status == status && x.reason == reason && (status == "True" || x.message == message)) co_return ok();
      if (x.type != "Ready") kept.push_back(kube::to_json(x));
    }
    json::Value ready = json::Value::object();
    ready["type"] = "Ready";
    ready["status"] = status;
    ready["reason"] = reason;
    ready["message"] = message;
    ready["lastTransitionTime"] = format_rfc3339(ex_.now());
    kept.push_back(std::move(ready));
    json::Value patch = json::Value::object();
    patch["status"]["conditions"] = std::move(kept);
    kube::WriteOptions w;
    w.subresource = "status";
    Result<json::Value> r = co_await client_.patch(ServiceCIDR::resource(), "", c->metadata.name, kube::PatchType::kMerge, std::move(patch), std::move(w));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::Informer<ServiceCIDR>& cidrs_;
  kube::Informer<IPAddress>& addresses_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_service_cidr(const Context& c) { return std::make_unique<ServiceCidrs>(c); }

}  // namespace caravel::controllers
