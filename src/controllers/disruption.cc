// PodDisruptionBudgets: how many pods may be evicted now. The eviction subresource reads it from the status.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/discovery.h"
#include "controllers/disruption_logic.h"
#include "kube/types/apps.h"
#include "kube/types/policy.h"

namespace caravel::controllers {

using kube::core::Pod;
using kube::policy::PodDisruptionBudget;

namespace {

// How soon a budget is looked at again whose pods' workloads could not be asked.
constexpr Duration kFailedRetry = 30s;

class DisruptionController final : public Runner {
 public:
  explicit DisruptionController(const Context& c)
      : ex_(c.ex),
        client_(c.client("disruption-controller")),
        events_(c.ex, client_, "controllermanager"),
        budgets_(c.informer<PodDisruptionBudget>()),
        pods_(c.informer<Pod>()),
        replica_sets_(c.informer<kube::apps::ReplicaSet>()),
        deployments_(c.informer<kube::apps::Deployment>()),
        stateful_sets_(c.informer<kube::apps::StatefulSet>()),
        replication_controllers_(c.informer<kube::core::ReplicationController>()),
        queue_(c.ex, "disruption-controller", [this](std::string key) { return sync(std::move(key)); }),
        targets_(c.ex, "disruption-targets", [this](std::string key) { return clear_target(std::move(key)); }) {
    budgets_.add_handler([this](auto& old, auto& now) {
      const PodDisruptionBudget& b = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{b.metadata.namespace_, b.metadata.name});
    });
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& any = now ? *now : *old;
      tell_many(any);
      for (auto& b : budgets_.in_namespace(any.metadata.namespace_))
        if ((old && matches(b->spec.selector, old->metadata.labels)) || (now && matches(b->spec.selector, now->metadata.labels)))
          queue_.enqueue_paced(kube::ObjectKey{b->metadata.namespace_, b->metadata.name}, kPace);
      if (now && condition(*now, "DisruptionTarget") && until_stale_disruption(*now, ex_.now())) targets_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
    deployments_.add_handler([this](auto& old, auto& now) {
      if (!now || (old && old->spec.replicas == now->spec.replicas)) return;
      for (auto& b : budgets_.in_namespace(now->metadata.namespace_)) queue_.enqueue(kube::ObjectKey{b->metadata.namespace_, b->metadata.name});
    });
  }
  void start(TaskScope& scope) override {
    queue_.start(scope);
    targets_.start(scope);
  }

 private:
  using Scale = std::pair<std::string, int>;  // a workload's uid, and how many pods it wants

  // Of the built-in workloads, which are known here.
  std::optional<Scale> known_scale(const Pod& p) const {
    const kube::meta::OwnerReference* o = controller_of(p.metadata);
    if (o->kind == "ReplicaSet") {
      auto rs = replica_sets_.get(p.metadata.namespace_, o->name);
      if (!rs || rs->metadata.uid != o->uid) return std::nullopt;
      const kube::meta::OwnerReference* d = controller_of(rs->metadata);
      if (d && d->kind == "Deployment")
        if (auto dep = deployments_.get(p.metadata.namespace_, d->name); dep && dep->metadata.uid == d->uid)
          return std::pair(dep->metadata.uid, static_cast<int>(dep->spec.replicas.value_or(1)));
      return std::pair(rs->metadata.uid, static_cast<int>(rs->spec.replicas.value_or(1)));
    }
    if (o->kind == "StatefulSet") {
      auto s = stateful_sets_.get(p.metadata.namespace_, o->name);
      if (s && s->metadata.uid == o->uid) return std::pair(s->metadata.uid, static_cast<int>(s->spec.replicas.value_or(1)));
    }
    if (o->kind == "ReplicationController") {
      auto rc = replication_controllers_.get(p.metadata.namespace_, o->name);
      if (rc && rc->metadata.uid == o->uid) return std::pair(rc->metadata.uid, static_cast<int>(rc->spec.replicas.value_or(1)));
    }
    return std::nullopt;
  }

  // Of anything else that has a scale, as custom workloads do.
  Task<Result<Scale>> served_scale(PodPtr p) {
    kube::meta::OwnerReference o = *controller_of(p->metadata);
    Result<kube::Resource> resource = co_await resource_of(client_, o.api_version, o.kind);
    if (!resource.ok()) co_return std::move(resource).error();
    Result<json::Value> scale = co_await client_.get(*resource, p->metadata.namespace_, o.name, "scale");
    if (!scale.ok() && scale.error().code != Code::kNotFound) co_return std::move(scale).error();
    if (scale.ok()) {
      const json::Value& v = *scale;
      if (v["metadata"]["uid"].as_string() == o.uid) co_return Scale(o.uid, static_cast<int>(v["spec"]["replicas"].as_int()));
    } else {
      Result<json::Value> owner = co_await client_.get(*resource, p->metadata.namespace_, o.name);
      if (owner.ok()) co_return invalid(resource->group_resource() + " does not implement the scale subresource");
    }
    co_return not_found("found no controllers for pod \"" + p->metadata.name + "\"");
  }

  // How many pods the workloads of these want together. Pods without a workload are not counted, and said to be there.
  Task<Result<int>> expected_by_scale(std::vector<PodPtr> pods, bool* unmanaged) {
    std::map<std::string, int> scales;
    std::set<std::string> seen;
    for (auto& p : pods) {
      const kube::meta::OwnerReference* o = controller_of(p->metadata);
      if (!o) *unmanaged = true;
      if (!o || !seen.insert(o->uid).second) continue;
      std::optional<Scale> known = known_scale(*p);
      if (!known) {
        Result<Scale> served = co_await served_scale(p);
        if (!served.ok()) co_return std::move(served).error();
        known = *served;
      }
      scales[known->first] = known->second;
    }
    int n = 0;
    for (auto& [uid, replicas] : scales) n += replicas;
    co_return n;
  }

  Task<Result<kube::Requeue>> clear_target(std::string key) {
    PodPtr p = pods_.get(kube::ObjectKey::parse(key));
    std::optional<Duration> left;
    if (p) left = until_stale_disruption(*p, ex_.now());
    if (!left) co_return kube::Requeue::never();
    if (*left > Duration(0)) co_return kube::Requeue::in(*left);
    Pod next = *p;
    for (auto& c : next.status.conditions)
      if (c.type == "DisruptionTarget") {
        c.status = "False";
        c.reason.clear();
        c.message.clear();
        c.observed_generation = p->metadata.generation;
        c.last_transition_time = Time::from_seconds(ex_.now().seconds());
      }
    Result<Pod> r = co_await client_.update_status<Pod>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }

  Task<Result<kube::Requeue>> fail_safe(std::shared_ptr<const PodDisruptionBudget> b, std::string why) {
    events_.warning(kube::reference_to(*b), "CalculateExpectedPodCountFailed", "Failed to calculate the number of expected pods: " + why);
    PodDisruptionBudget next = *b;
    next.status = failed_budget(*b, why, ex_.now());
    if (next.status == b->status) co_return kube::Requeue::in(kFailedRetry);
    Result<PodDisruptionBudget> r = co_await client_.update_status<PodDisruptionBudget>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const PodDisruptionBudget> b = budgets_.get(kube::ObjectKey::parse(key));
    if (!b) co_return kube::Requeue::never();
    std::vector<PodPtr> pods;
    for (auto& p : pods_.in_namespace(b->metadata.namespace_))
      if (matches(b->spec.selector, p->metadata.labels)) pods.push_back(p);
    if (pods.empty()) events_.normal(kube::reference_to(*b), "NoPods", "No matching pods found");
    int scale = 0;
    if (counts_by_scale(*b)) {
      bool unmanaged = false;
      std::vector<PodPtr> list = pods;
      Result<int> n = co_await expected_by_scale(std::move(list), &unmanaged);
      if (!n.ok()) {
        Result<kube::Requeue> failed = co_await fail_safe(b, n.error().message);
        co_return failed;
      }
      scale = *n;
      if (unmanaged) events_.warning(kube::reference_to(*b), "UnmanagedPods", unmanaged_text(*b));
    }
    BudgetPlan plan = plan_budget(*b, pods, scale, ex_.now());
    for (auto& p : plan.not_deleted) events_.warning(kube::reference_to(*p), "NotDeleted", not_deleted_text(*b));
    if (!(plan.status == b->status)) {
      PodDisruptionBudget next = *b;
      next.status = std::move(plan.status);
      Result<PodDisruptionBudget> r = co_await client_.update_status<PodDisruptionBudget>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    if (plan.again) co_return kube::Requeue::in(*plan.again);
    co_return kube::Requeue::never();
  }

  // A pod in several budgets cannot be evicted: the eviction asks that there be one.
  void tell_many(const Pod& p) {
    std::string chosen;
    int n = 0;
    for (auto& b : budgets_.in_namespace(p.metadata.namespace_))
      if (matches(b->spec.selector, p.metadata.labels) && ++n == 1) chosen = b->metadata.name;
    if (n > 1) events_.warning(kube::reference_to(p), "MultiplePodDisruptionBudgets", many_budgets_text(p, chosen));
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<PodDisruptionBudget>& budgets_;
  kube::Informer<Pod>& pods_;
  kube::Informer<kube::apps::ReplicaSet>& replica_sets_;
  kube::Informer<kube::apps::Deployment>& deployments_;
  kube::Informer<kube::apps::StatefulSet>& stateful_sets_;
  kube::Informer<kube::core::ReplicationController>& replication_controllers_;
  kube::Controller queue_, targets_;
};

}  // namespace

std::unique_ptr<Runner> make_disruption(const Context& c) { return std::make_unique<DisruptionController>(c); }

}  // namespace caravel::controllers
