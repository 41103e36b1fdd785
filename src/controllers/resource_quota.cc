// ResourceQuota controller: status.hard follows spec.hard, status.used what the namespace really uses.
//
// Admission reserves when objects are made; this gives back when they go, and corrects. Upstream's
// promises: a quota is counted again when its spec changes, when an object that it counts is deleted, when
// a pod finishes, and every few minutes. A count never loses a reservation: the quota is read first, then
// the objects, and the result is written only if nothing was reserved in between.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/discovery.h"
#include "kube/quota.h"
#include "kube/types/core.h"

namespace caravel::controllers {

using json::Value;
using kube::core::Pod;
using kube::core::ResourceQuota;

namespace {

constexpr Duration kResync = 5min;
constexpr Duration kQuotaPace = 50ms;
// A kind that nobody serves yet (its CRD is on the way) is looked for again after this time.
constexpr Duration kUnservedRetry = 5s;

class ResourceQuotaController final : public Runner {
 public:
  explicit ResourceQuotaController(const Context& c)
      : ex_(c.ex),
        client_(c.client("resourcequota-controller")),
        quotas_(c.informer<ResourceQuota>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, "resource-quota", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    quotas_.add_handler([this](auto& old, auto& now) {
      if (now && !(old && old->spec == now->spec)) queue_.enqueue(key_of(*now));
    });
    pods_.add_handler([this](auto& old, auto& now) {
      if (!old) return;  // admission has counted it
      if (now && is_finished(*old) == is_finished(*now) && old->spec == now->spec) return;
      replenish(old->metadata.namespace_);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  struct Monitor {
    std::unique_ptr<kube::Reflector> reflector;
    TaskScope scope;
  };
  static kube::ObjectKey key_of(const ResourceQuota& q) { return {q.metadata.namespace_, q.metadata.name}; }

  void replenish(const std::string& ns) {
    for (auto& q : quotas_.in_namespace(ns)) queue_.enqueue_paced(key_of(*q), kQuotaPace);
  }

  // Deletions (and changes, where usage can change) of a counted kind start a new count.
  void watch(const kube::quota::Kind& kind, const kube::Resource& r) {
    if (kind == kube::quota::Kind{"", "pods"} || monitors_.count(kind)) return;
    auto m = std::make_unique<Monitor>();
    bool changes = kind.group.empty() && (kind.plural == "services" || kind.plural == "persistentvolumeclaims");
    kube::Reflector::Callbacks cb;
    cb.replace = [this](const std::vector<Value>&) {
      for (auto& [key, q] : quotas_.all()) queue_.enqueue_paced(key, kQuotaPace);
    };
    cb.event = [this, changes](kube::WatchEventType t, kube::Document v) {
      if (t == kube::WatchEventType::kDeleted || (changes && t == kube::WatchEventType::kModified)) replenish((*v)["metadata"]["namespace"].as_string());
    };
    m->reflector = std::make_unique<kube::Reflector>(ex_, client_, r, kube::InformerOptions(), std::move(cb));
    m->scope.spawn(m->reflector->run());
    monitors_[kind] = std::move(m);
  }

  // The served resources of these kinds; unknown ones are left out.
  Task<Result<std::map<kube::quota::Kind, kube::Resource>>> resolve(std::set<kube::quota::Kind> kinds) {
    std::map<kube::quota::Kind, kube::Resource> out;
    bool all = true;
    for (auto& k : kinds) {
      auto it = served_.find(k);
      if (it == served_.end()) all = false;
      else out[k] = it->second;
    }
    if (all) co_return out;
    Result<Discovered> d = co_await discover(client_);
    if (!d.ok()) co_return std::move(d).error();
    served_.clear();
    for (auto& s : d->resources)
      if (s.resource.namespaced && s.verbs.count("list") && s.verbs.count("watch")) served_[{s.resource.group, s.resource.plural}] = s.resource;
    std::erase_if(monitors_, [this](auto& m) { return !served_.count(m.first); });
    out.clear();
    for (auto& k : kinds)
      if (auto it = served_.find(k); it != served_.end()) out[k] = it->second;
    co_return out;
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    size_t slash = key.find('/');
    std::string ns = key.substr(0, slash), name = key.substr(slash + 1);
    if (!quotas_.get(ns, name)) co_return kube::Requeue::never();
    kube::Resource self = ResourceQuota::resource();
    Result<Value> live = co_await client_.get(self, ns, name);
    if (!live.ok() && live.error().code == Code::kNotFound) co_return kube::Requeue::never();
    if (!live.ok()) co_return std::move(live).error();
    Value quota = std::move(*live);
    std::vector<std::string> names;
    for (auto& m : std::as_const(quota)["spec"]["hard"].as_object()) names.push_back(m.key);
    std::set<kube::quota::Kind> kinds = kube::quota::kinds_for(names);
    auto resources = co_await resolve(kinds);
    if (!resources.ok()) co_return std::move(resources).error();
    std::map<kube::quota::Kind, std::vector<Value>> lists;
    for (auto& [kind, resource] : *resources) {
      watch(kind, resource);
      kube::ListOptions o;
      o.ns = ns;
      Result<kube::ListResult<Value>> list = co_await client_.list(resource, o);
      if (!list.ok() && list.error().code == Code::kNotFound) {  // its CRD has gone
        served_.erase(kind);
        continue;
      }
      if (!list.ok()) co_return std::move(list).error();
      lists[kind] = std::move(list->items);
    }
    std::map<kube::quota::Kind, std::vector<const Value*>> objects;
    for (auto& [kind, items] : lists) {
      std::vector<const Value*>& v = objects[kind];
      for (auto& o : items) v.push_back(&o);
    }
    const Value& was = std::as_const(quota);
    kube::quota::Amounts used = kube::quota::total(was, objects, ex_.now());
    kube::quota::Amounts hard = kube::quota::amounts_of(was["spec"]["hard"]);
    bool same = kube::quota::amounts_of(was["status"]["hard"]) == hard && kube::quota::amounts_of(was["status"]["used"]) == used && was["status"]["hard"].is_object();
    if (!same) {
      Value hard_json = was["spec"]["hard"];
      Value status = Value::object();
      status["hard"] = std::move(hard_json);
      status["used"] = kube::quota::to_json(used);
      quota["status"] = std::move(status);
      kube::WriteOptions w;
      w.subresource = "status";
      Result<Value> r = co_await client_.update(self, std::move(quota), w);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    co_return kube::Requeue::in(lists.size() < kinds.size() ? kUnservedRetry : kResync);
  }

  Executor& ex_;
  kube::Client client_;
  kube::Informer<ResourceQuota>& quotas_;
  kube::Informer<Pod>& pods_;
  std::map<kube::quota::Kind, kube::Resource> served_;
  std::map<kube::quota::Kind, std::unique_ptr<Monitor>> monitors_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_resource_quota(const Context& c) { return std::make_unique<ResourceQuotaController>(c); }

}  // namespace caravel::controllers
