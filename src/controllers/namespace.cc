// Namespace: deletes everything in a namespace that is being deleted, over all kinds that discovery
// names, and lifts the "kubernetes" finalizer once nothing is left. What is in the way shows as the
// namespace's conditions.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/discovery.h"
#include "controllers/namespace_conditions.h"

namespace caravel::controllers {

using kube::core::Namespace;

namespace {

constexpr const char* kFinalizer = "kubernetes";
constexpr Duration kLookAgain = 1s;
constexpr Duration kLookAgainMax = 15s;

bool is_pods(const kube::Resource& r) { return r.group.empty() && r.plural == "pods"; }

class NamespaceController final : public Runner {
 public:
  explicit NamespaceController(const Context& c)
      : ex_(c.ex),
        client_(c.client("namespace-controller")),
        namespaces_(c.informer<Namespace>()),
        queue_(
            c.ex, "namespace-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    namespaces_.add_handler([this](auto& old, auto& now) {
      if (!now || !is_terminating(now->metadata)) return;
      // Our own conditions are no news: each look would bring the next one.
      if (old && is_terminating(old->metadata) && old->metadata.uid == now->metadata.uid && old->spec == now->spec) return;
      queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    std::shared_ptr<const Namespace> cached = namespaces_.get("", name);
    if (!cached || !is_terminating(cached->metadata)) {
      tries_.erase(name);
      co_return kube::Requeue::never();
    }
    Result<Namespace> live = co_await client_.get<Namespace>("", name);
    if (!live.ok()) {
      if (live.error().code == Code::kNotFound) co_return kube::Requeue::never();
      co_return std::move(live).error();
    }
    Namespace ns = std::move(*live);
    if (!is_terminating(ns.metadata)) co_return kube::Requeue::never();
    bool ours = std::find(ns.spec.finalizers.begin(), ns.spec.finalizers.end(), kFinalizer) != ns.spec.finalizers.end();
    if (!ours) co_return kube::Requeue::never();

    Result<Discovered> served = co_await discover(client_);
    if (!served.ok()) co_return std::move(served).error();
    Left left;
    // Pods first, and nothing else while one is left: what they stand on (policies, Secrets, ConfigMaps) outlives them (KEP-5080).
    for (auto& r : served->resources)
      if (is_pods(r.resource)) co_await empty_resource(r, name, &left);
    const bool pods_gone = left.objects == 0 && left.errors.empty();
    for (auto& r : served->resources) {
      if (!pods_gone || is_pods(r.resource) || !r.resource.namespaced || !r.verbs.count("delete") || !r.verbs.count("list")) continue;
      co_await empty_resource(r, name, &left);
    }
    Time now = ex_.now();
    kube::core::NamespaceStatus before = ns.status;
    set_namespace_conditions(ns.status, served->failed_groups, left, now);
    if (!(ns.status == before)) {
      Namespace next = ns;
      Result<Namespace> r = co_await client_.update_status<Namespace>(std::move(next));
      if (!r.ok()) co_return std::move(r).error();
      ns = std::move(*r);
    }
    if (left.objects > 0 || !left.errors.empty() || !served->failed_groups.empty()) {
      int n = std::min(4, tries_[name]++);
      co_return kube::Requeue::in(std::min<Duration>(kLookAgain * (1 << n), kLookAgainMax));
    }
    std::erase(ns.spec.finalizers, kFinalizer);
    kube::WriteOptions o;
    o.subresource = "finalize";
    Result<Namespace> r = co_await client_.update<Namespace>(std::move(ns), o);
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    tries_.erase(name);
    co_return kube::Requeue::never();
  }

  Task<void> empty_resource(const ServedResource& r, std::string ns, Left* left) {
    kube::ListOptions in;
    in.ns = ns;
    Result<kube::ListResult<json::Value>> list = co_await client_.list(r.resource, in);
    if (!list.ok()) {
      if (list.error().code != Code::kNotFound && list.error().code != Code::kUnsupported)
        left->errors.push_back(r.resource.group_resource() + ": " + list.error().message);
      co_return;
    }
    if (list->items.empty()) co_return;
    kube::DeleteOptions background;
    background.propagation_policy = "Background";
    if (r.verbs.count("deletecollection")) {
      Result<json::Value> d = co_await client_.remove_collection(r.resource, in, background);
      if (!d.ok() && d.error().code != Code::kNotFound) left->errors.push_back(r.resource.group_resource() + ": " + d.error().message);
    } else {
      for (const json::Value& o : list->items) {
        std::string name = o["metadata"]["name"].as_string();
        Result<json::Value> d = co_await client_.remove(r.resource, ns, name, background);
        if (!d.ok() && d.error().code != Code::kNotFound && d.error().code != Code::kConflict)
          left->errors.push_back(r.resource.group_resource() + ": " + d.error().message);
      }
    }
    Result<kube::ListResult<json::Value>> rest = co_await client_.list(r.resource, in);
    if (!rest.ok()) {
      left->errors.push_back(r.resource.group_resource() + ": " + rest.error().message);
      co_return;
    }
    for (const json::Value& o : rest->items) {
      ++left->objects;
      ++left->by_resource[r.resource.plural + "." + r.resource.group];
      for (const json::Value& f : o["metadata"]["finalizers"].as_array()) ++left->by_finalizer[f.as_string()];
    }
  }

  Executor& ex_;
  kube::Client client_;
  kube::Informer<Namespace>& namespaces_;
  std::map<std::string, int> tries_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_namespace(const Context& c) { return std::make_unique<NamespaceController>(c); }

}  // namespace caravel::controllers
