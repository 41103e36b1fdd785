// ReplicaSet and its predecessor ReplicationController: keep `spec.replicas` equal pods. Upstream's promises: orphans that match are
// adopted, owned pods that match no longer are released, the pods that serve least are deleted first, failures to create or delete
// show as the condition ReplicaFailure.
#include <cmath>

#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/types/apps.h"

namespace caravel::controllers {

using kube::apps::ReplicaSet;
using kube::core::Pod;
using kube::core::ReplicationController;

namespace {

// At most this many creations or deletions in one look.
constexpr size_t kBurst = 500;

// Where the two kinds differ.
template <class Set>
struct Kind;
template <>
struct Kind<ReplicaSet> {
  using Condition = kube::apps::ReplicaSetCondition;
  static constexpr const char* kController = "replicaset-controller";
  static const kube::core::PodTemplateSpec& pod_template(const ReplicaSet& rs) { return rs.spec.template_; }
  static std::optional<kube::meta::LabelSelector> selector(const ReplicaSet& rs) { return rs.spec.selector; }
  static void set_terminating(kube::apps::ReplicaSetStatus& s, int32_t n) { s.terminating_replicas = n; }
};
template <>
struct Kind<ReplicationController> {
  using Condition = kube::core::ReplicationControllerCondition;
  static constexpr const char* kController = "replication-controller";
  static const kube::core::PodTemplateSpec& pod_template(const ReplicationController& rc) {
    static const kube::core::PodTemplateSpec none;
    return rc.spec.template_ ? *rc.spec.template_ : none;
  }
  static std::optional<kube::meta::LabelSelector> selector(const ReplicationController& rc) {
    if (rc.spec.selector.empty()) return std::nullopt;  // selects nothing
    kube::meta::LabelSelector s;
    s.match_labels = rc.spec.selector;
    return s;
  }
  static void set_terminating(kube::core::ReplicationControllerStatus&, int32_t) {}
};

template <class Set>
auto status_of(const Set& rs, const std::vector<PodPtr>& pods, int32_t terminating, const Status& managed, bool scaling_up, Time now) {
  auto s = rs.status;
  s.replicas = s.fully_labeled_replicas = s.ready_replicas = s.available_replicas = 0;
  for (auto& p : pods) {
    ++s.replicas;
    if (matches(Kind<Set>::pod_template(rs).metadata.labels, p->metadata.labels)) ++s.fully_labeled_replicas;
    if (is_ready(*p)) {
      ++s.ready_replicas;
      if (is_available(*p, rs.spec.min_ready_seconds, now)) ++s.available_replicas;
    }
  }
  Kind<Set>::set_terminating(s, terminating);
  s.observed_generation = rs.metadata.generation;
  auto it = std::find_if(s.conditions.begin(), s.conditions.end(), [](auto& c) { return c.type == "ReplicaFailure"; });
  if (!managed.ok() && it == s.conditions.end()) {
    typename Kind<Set>::Condition c;
    c.type = "ReplicaFailure";
    c.status = "True";
    c.reason = scaling_up ? "FailedCreate" : "FailedDelete";
    c.message = managed.error().message;
    c.last_transition_time = Time::from_seconds(now.seconds());
    s.conditions.push_back(std::move(c));
  } else if (managed.ok() && it != s.conditions.end()) {
    s.conditions.erase(it);
  }
  return s;
}

template <class Set>
class ReplicaController final : public Runner {
 public:
  explicit ReplicaController(const Context& c)
      : ex_(c.ex),
        client_(c.client(Kind<Set>::kController)),
        events_(c.ex, client_, Kind<Set>::kController),
        sets_(c.informer<Set>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, Kind<Set>::kController, [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(pods_);
    add_orphan_index(pods_);
    add_owner_index(sets_);
    sets_.add_handler([this](auto& old, auto& now) { queue_.enqueue(key_of(now ? *now : *old)); });
    pods_.add_handler([this](auto& old, auto& now) { on_pod(old, now); });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  static kube::ObjectKey key_of(const Set& rs) { return {rs.metadata.namespace_, rs.metadata.name}; }

  void on_pod(const PodPtr& old, const PodPtr& now) {
    if (!now) expect_.gone(old->metadata.uid);
    for (const PodPtr& p : {old, now}) {
      if (!p) continue;
      if (const kube::meta::OwnerReference* c = controller_of(p->metadata)) {
        if (c->kind == Set::resource().kind) queue_.enqueue_paced(kube::ObjectKey{p->metadata.namespace_, c->name}, kPace);
      } else if (p == now && !p->metadata.labels.empty()) {
        for (auto& rs : sets_.in_namespace(p->metadata.namespace_))
          if (matches(Kind<Set>::selector(*rs), p->metadata.labels)) queue_.enqueue(key_of(*rs));
      }
    }
    if (!now) return;
    // A pod that becomes ready becomes available later, without an event.
    const kube::meta::OwnerReference* c = controller_of(now->metadata);
    if (!c || c->kind != Set::resource().kind || !is_ready(*now) || (old && is_ready(*old))) return;
    auto rs = sets_.get(now->metadata.namespace_, c->name);
    if (rs && rs->spec.min_ready_seconds > 0) queue_.enqueue_after(key_of(*rs).text(), std::chrono::seconds(rs->spec.min_ready_seconds) + 1s);
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    std::shared_ptr<const Set> rs = sets_.get(kube::ObjectKey::parse(key));
    if (!rs) co_return kube::Requeue::never();
    if (!expect_.met(key, pods_)) co_return kube::Requeue::in(kExpectationRetry);
    std::vector<PodPtr> claimed = co_await claim<Pod, Set>(client_, &pods_, rs, Kind<Set>::selector(*rs));
    std::vector<PodPtr> active;
    int32_t terminating = 0;
    for (auto& p : claimed) {
      if (is_finished(*p)) continue;
      if (is_terminating(p->metadata) || expect_.is_deleted(p->metadata.uid)) ++terminating;
      else active.push_back(p);
    }
    int want = rs->spec.replicas.value_or(1);
    int diff = want - static_cast<int>(active.size());
    Status managed = ok();
    if (!is_terminating(rs->metadata) && diff != 0) managed = co_await manage(rs, active, diff, key);
    auto status = status_of(*rs, active, terminating, managed, diff > 0, ex_.now());
    // Upstream leaves an equal status alone; observedGeneration counts too.
    if (!(status == rs->status)) {
      Set next = *rs;
      next.status = status;
      Result<Set> r = co_await client_.update_status<Set>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    if (!managed.ok()) co_return std::move(managed).error();
    if (status.available_replicas < status.ready_replicas && rs->spec.min_ready_seconds > 0)
      co_return kube::Requeue::in(std::chrono::seconds(rs->spec.min_ready_seconds));
    co_return kube::Requeue::never();
  }

  Task<Status> manage(std::shared_ptr<const Set> rs, std::vector<PodPtr> active, int diff, std::string key) {
    if (diff > 0) {
      Result<bool> stays = co_await still_there<Set>(client_, rs);
      if (!stays.ok()) co_return std::move(stays).error();
      if (!*stays) co_return ok();  // the watch will tell
      std::vector<Pod> fresh;
      kube::meta::OwnerReference owner = owner_reference(*rs);
      for (size_t i = 0; i < std::min<size_t>(diff, kBurst); ++i) {
        Pod p = pod_from_template(Kind<Set>::pod_template(*rs), rs->metadata.namespace_, rs->metadata.name + "-");
        p.metadata.owner_references.push_back(owner);
        fresh.push_back(std::move(p));
      }
      size_t asked = fresh.size();
      Created made = co_await create_pods(ex_, client_, std::move(fresh));
      for (auto& p : made.pods) {
        expect_.wrote(key, p.metadata.resource_version);
        events_.normal(kube::reference_to(*rs), "SuccessfulCreate", "Created pod: " + p.metadata.name);
      }
      if (made.error) {
        events_.warning(kube::reference_to(*rs), "FailedCreate", "Error creating: " + made.error->message);
        // In a namespace that is going away nothing can be created; that is no failure.
        if (made.error->message.find("is being terminated") != std::string::npos) co_return ok();
        co_return *made.error;
      }
      if (asked < static_cast<size_t>(diff)) queue_.enqueue_after(key, 10ms);
      co_return ok();
    }
    // Pods of all ReplicaSets of the same Deployment crowd a node. Upstream does not count those of a set without an owner.
    std::map<std::string, int> on_node;
    if (const kube::meta::OwnerReference* o = controller_of(rs->metadata))
      for (auto& sibling : sets_.by_index(kOwnerIndex, o->uid))
        for (auto& p : pods_.by_index(kOwnerIndex, sibling->metadata.uid))
          if (is_active(*p)) ++on_node[p->spec.node_name];
    Time now = ex_.now();
    std::sort(active.begin(), active.end(), [&](auto& a, auto& b) { return delete_before(*a, *b, on_node, now); });
    active.resize(std::min<size_t>(-diff, kBurst));
    for (auto& p : active) expect_.deleted(p->metadata.uid);
    Status s = co_await delete_pods(ex_, client_, active);
    if (!s.ok()) {
      for (auto& p : active) expect_.gone(p->metadata.uid);
      events_.warning(kube::reference_to(*rs), "FailedDelete", "Error deleting: " + s.error().message);
      co_return wrap(std::move(s).error(), "unable to delete pods");
    }
    for (auto& p : active) events_.normal(kube::reference_to(*rs), "SuccessfulDelete", "Deleted pod: " + p->metadata.name);
    if (static_cast<size_t>(-diff) > kBurst) queue_.enqueue_after(key, 10ms);
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Set>& sets_;
  kube::Informer<Pod>& pods_;
  Expectations expect_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_replicaset(const Context& c) { return std::make_unique<ReplicaController<ReplicaSet>>(c); }
std::unique_ptr<Runner> make_replication_controller(const Context& c) { return std::make_unique<ReplicaController<ReplicationController>>(c); }

}  // namespace caravel::controllers
