// PodDisruptionBudgets: how many pods may be evicted now. The eviction subresource reads it from the status.
#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/types/apps.h"
#include "kube/types/policy.h"

namespace caravel::controllers {

using kube::core::Pod;
using kube::policy::PodDisruptionBudget;

namespace {

// An eviction that has not led to a deletion after this time is forgotten.
constexpr Duration kDisruptedFor = 2min;

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
        queue_(c.ex, "disruption-controller", [this](std::string key) { return sync(std::move(key)); }) {
    budgets_.add_handler([this](auto& old, auto& now) {
      const PodDisruptionBudget& b = now ? *now : *old;
      queue_.enqueue(kube::ObjectKey{b.metadata.namespace_, b.metadata.name});
    });
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& any = now ? *now : *old;
      for (auto& b : budgets_.in_namespace(any.metadata.namespace_))
        if ((old && matches(b->spec.selector, old->metadata.labels)) || (now && matches(b->spec.selector, now->metadata.labels)))
          queue_.enqueue_paced(kube::ObjectKey{b->metadata.namespace_, b->metadata.name}, kPace);
    });
    deployments_.add_handler([this](auto& old, auto& now) {
      if (!now || (old && old->spec.replicas == now->spec.replicas)) return;
      for (auto& b : budgets_.in_namespace(now->metadata.namespace_)) queue_.enqueue(kube::ObjectKey{b->metadata.namespace_, b->metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  // Replicas wanted by the workload that controls the pod: its uid and scale. nullopt: it has none that is known.
  std::optional<std::pair<std::string, int>> scale_of(const Pod& p) const {
    const kube::meta::OwnerReference* o = controller_of(p.metadata);
    if (!o) return std::nullopt;
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
    return std::nullopt;
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const PodDisruptionBudget> b = budgets_.get(kube::ObjectKey::parse(key));
    if (!b) co_return kube::Requeue::never();
    Time now = ex_.now();
    std::vector<PodPtr> pods;
    for (auto& p : pods_.in_namespace(b->metadata.namespace_))
      if (matches(b->spec.selector, p->metadata.labels) && !is_finished(*p)) pods.push_back(p);
    if (pods.empty()) events_.normal(kube::reference_to(*b), "NoPods", "No matching pods found");

    kube::policy::PodDisruptionBudgetStatus s = b->status;
    std::string unmanaged;
    int expected = static_cast<int>(pods.size());
    bool by_scale = b->spec.max_unavailable || (b->spec.min_available && b->spec.min_available->is_string);
    if (by_scale) {
      std::map<std::string, int> scales;
      for (auto& p : pods) {
        auto sc = scale_of(*p);
        if (sc) scales[sc->first] = sc->second;
        else unmanaged = p->metadata.name;
      }
      expected = 0;
      for (auto& [uid, n] : scales) expected += n;
    }
    int desired = 0;
    if (b->spec.max_unavailable) desired = std::max(0, expected - b->spec.max_unavailable->scaled(expected, true).value_or(0));
    else if (b->spec.min_available) desired = b->spec.min_available->scaled(expected, true).value_or(0);

    Time look_again;
    std::map<std::string, Time> disrupted;
    for (auto& [name, when] : b->status.disrupted_pods) {
      PodPtr p = pods_.get(b->metadata.namespace_, name);
      if (!p || is_terminating(p->metadata)) continue;
      if (when + kDisruptedFor <= now) {
        events_.warning(kube::reference_to(*p), "NotDeleted", "Pod was expected by PDB " + key + " to be deleted but it wasn't");
        continue;
      }
      disrupted[name] = when;
      if (look_again.is_zero() || when + kDisruptedFor < look_again) look_again = when + kDisruptedFor;
    }
    int healthy = 0;
    for (auto& p : pods)
      if (is_ready(*p) && !is_terminating(p->metadata) && !disrupted.count(p->metadata.name)) ++healthy;
    s.disrupted_pods = std::move(disrupted);
    s.current_healthy = healthy;
    s.desired_healthy = desired;
    s.expected_pods = expected;
    s.disruptions_allowed = expected <= 0 || healthy < desired || !unmanaged.empty() ? 0 : healthy - desired;
    s.observed_generation = b->metadata.generation;
    set_condition(s, b->metadata.generation, unmanaged, now);
    if (!(s == b->status)) {
      PodDisruptionBudget next = *b;
      next.status = std::move(s);
      Result<PodDisruptionBudget> r = co_await client_.update_status<PodDisruptionBudget>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    if (!look_again.is_zero()) co_return kube::Requeue::in(look_again - now);
    co_return kube::Requeue::never();
  }

  static void set_condition(kube::policy::PodDisruptionBudgetStatus& s, int64_t generation, const std::string& unmanaged, Time now) {
    kube::meta::Condition c;
    c.type = "DisruptionAllowed";
    c.status = s.disruptions_allowed > 0 ? "True" : "False";
    c.reason = !unmanaged.empty() ? "SyncFailed" : s.disruptions_allowed > 0 ? "SufficientPods"
                                                                             : "InsufficientPods";
    if (!unmanaged.empty()) c.message = "pod " + unmanaged + " has no controller whose scale is known; use minAvailable with a number";
    c.observed_generation = generation;
    c.last_transition_time = Time::from_seconds(now.seconds());
    for (auto& old : s.conditions) {
      if (old.type != c.type) continue;
      if (old.status == c.status) c.last_transition_time = old.last_transition_time;
      old = c;
      return;
    }
    s.conditions.push_back(std::move(c));
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<PodDisruptionBudget>& budgets_;
  kube::Informer<Pod>& pods_;
  kube::Informer<kube::apps::ReplicaSet>& replica_sets_;
  kube::Informer<kube::apps::Deployment>& deployments_;
  kube::Informer<kube::apps::StatefulSet>& stateful_sets_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_disruption(const Context& c) { return std::make_unique<DisruptionController>(c); }

}  // namespace caravel::controllers
