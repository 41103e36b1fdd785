// StatefulSet: pods with stable names and storage. Ordered by default: pod n starts when n-1 is ready,
// pods stop from the highest down, one at a time; Parallel drops the order. Rolling updates go from the
// highest ordinal down to `partition`. PVC templates become claims that outlive their pods unless the
// retention policy says otherwise.
#include "base/strings.h"
#include "controllers/claim_retention.h"
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/history.h"
#include "controllers/statefulset_logic.h"

namespace caravel::controllers {

using kube::apps::ControllerRevision;
using kube::apps::StatefulSet;
using kube::core::PersistentVolumeClaim;
using kube::core::Pod;

namespace {

constexpr const char* kPodIndex = "apps.kubernetes.io/pod-index";

int ordinal_of(const std::string& set, const std::string& pod) {
  if (pod.size() <= set.size() + 1 || pod.compare(0, set.size(), set) != 0 || pod[set.size()] != '-') return -1;
  std::string n = pod.substr(set.size() + 1);
  if (n.find_first_not_of("0123456789") != std::string::npos || n.size() > 9) return -1;
  return std::atoi(n.c_str());
}

std::string claim_name(const PersistentVolumeClaim& t, const StatefulSet& s, int ordinal) {
  return t.metadata.name + "-" + s.metadata.name + "-" + std::to_string(ordinal);
}

void set_identity(const StatefulSet& s, int ordinal, const std::string& hash, Pod& p) {
  p.metadata.name = s.metadata.name + "-" + std::to_string(ordinal);
  p.metadata.namespace_ = s.metadata.namespace_;
  p.metadata.generate_name = s.metadata.name + "-";
  p.metadata.labels[kStatefulPodName] = p.metadata.name;
  p.metadata.labels[kPodIndex] = std::to_string(ordinal);
  p.metadata.labels[kRevisionHash] = hash;
  p.spec.hostname = p.metadata.name;
  p.spec.subdomain = s.spec.service_name;
  for (auto& t : s.spec.volume_claim_templates) {
    std::erase_if(p.spec.volumes, [&](auto& v) { return v.name == t.metadata.name; });
    kube::core::Volume v;
    v.name = t.metadata.name;
    v.persistent_volume_claim.emplace();
    v.persistent_volume_claim->claim_name = claim_name(t, s, ordinal);
    p.spec.volumes.push_back(std::move(v));
  }
}

std::string pod_event(const char* verb, const StatefulSet& s, const std::string& pod) {
  return std::string(verb) + " Pod " + pod + " in StatefulSet " + s.metadata.name + " ";
}

class StatefulSetController final : public Runner {
 public:
  explicit StatefulSetController(const Context& c)
      : ex_(c.ex),
        client_(c.client("statefulset-controller")),
        events_(c.ex, client_, "statefulset-controller"),
        sets_(c.informer<StatefulSet>()),
        pods_(c.informer<Pod>()),
        claims_(c.informer<PersistentVolumeClaim>()),
        revisions_(c.informer<ControllerRevision>()),
        queue_(
            c.ex, "statefulset-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(pods_);
    add_orphan_index(pods_);
    add_owner_index(revisions_);
    sets_.add_handler([this](auto& old, auto& now) { queue_.enqueue(key_of(now ? *now : *old)); });
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& p = now ? *now : *old;
      const kube::meta::OwnerReference* o = controller_of(p.metadata);
      if (o && o->kind == "StatefulSet") queue_.enqueue(kube::ObjectKey{p.metadata.namespace_, o->name});
      if (!o && now)
        for (auto& s : sets_.in_namespace(p.metadata.namespace_))
          if (matches(s->spec.selector, p.metadata.labels)) queue_.enqueue(key_of(*s));
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  using SetPtr = std::shared_ptr<const StatefulSet>;
  static kube::ObjectKey key_of(const StatefulSet& s) { return {s.metadata.namespace_, s.metadata.name}; }

  struct State {
    std::string current, update;  // revision names
    std::string current_hash, update_hash;
    kube::core::PodTemplateSpec current_template;
    std::map<int, PodPtr> pods;  // by ordinal
    std::optional<Duration> again;
    int created = 0;
  };

  Task<Result<kube::Requeue>> sync(std::string key) {
    SetPtr s = sets_.get(kube::ObjectKey::parse(key));
    if (!s) co_return kube::Requeue::never();
    if (!expect_.met(key, pods_)) co_return kube::Requeue::in(kExpectationRetry);
    if (is_terminating(s->metadata)) co_return kube::Requeue::never();
    std::vector<PodPtr> claimed = co_await claim<Pod, StatefulSet>(client_, &pods_, s, s->spec.selector);
    std::optional<int32_t> collisions = s->status.collision_count;
    std::map<std::string, std::string> labels = s->spec.template_.metadata.labels;
    if (s->spec.selector) labels = s->spec.selector->match_labels;
    Result<History> h = co_await sync_history(client_, revisions_.by_index(kOwnerIndex, s->metadata.uid), owner_reference(*s), s->metadata.namespace_,
                                              labels, s->spec.template_, &collisions);
    if (!h.ok()) {
      if (collisions != s->status.collision_count) {
        StatefulSet next = *s;
        next.status.collision_count = collisions;
        Result<StatefulSet> r = co_await client_.update_status<StatefulSet>(std::move(next));
        (void)r;
      }
      co_return std::move(h).error();
    }
    State st;
    st.update = st.current = h->update->metadata.name;
    st.update_hash = st.current_hash = h->update->metadata.name;
    st.current_template = s->spec.template_;
    for (auto& r : h->all)
      if (r->metadata.name == s->status.current_revision) {
        auto t = template_of(*r);
        if (!t.ok()) continue;
        st.current = st.current_hash = r->metadata.name;
        st.current_template = std::move(*t);
      }
    for (auto& p : claimed)
      if (int n = ordinal_of(s->metadata.name, p->metadata.name); n >= 0) st.pods[n] = p;

    Status done = co_await converge(s, key, &st);
    Status status = co_await write_status(s, key, &st);
    if (!done.ok()) co_return std::move(done).error();
    if (!status.ok()) co_return std::move(status).error();
    std::set<std::string> live{st.current, st.update};
    for (auto& [n, p] : st.pods)
      if (auto it = p->metadata.labels.find(kRevisionHash); it != p->metadata.labels.end()) live.insert(it->second);
    Status trimmed = co_await trim_history(client_, h->all, live, s->spec.revision_history_limit.value_or(10));
    if (!trimmed.ok()) co_return std::move(trimmed).error();
    if (st.again) co_return kube::Requeue::in(*st.again);
    co_return kube::Requeue::never();
  }

  static std::string revision_of(const Pod& p) {
    auto it = p.metadata.labels.find(kRevisionHash);
    return it == p.metadata.labels.end() ? "" : it->second;
  }

  Task<Status> converge(SetPtr s, std::string key, State* st) {
    bool ordered = s->spec.pod_management_policy != "Parallel";
    int start = s->spec.ordinals ? s->spec.ordinals->start : 0;
    int end = start + s->spec.replicas.value_or(1);
    int partition = 0;
    bool rolling = s->spec.update_strategy.type != "OnDelete";
    if (rolling && s->spec.update_strategy.rolling_update) partition = s->spec.update_strategy.rolling_update->partition.value_or(0);
    Time now = ex_.now();

    for (auto& [n, p] : st->pods) {
      const bool condemned = n < start || n >= end;
      Result<bool> owned = co_await own_claims(s, p, n, condemned);
      Status told = ok();
      if (!owned.ok()) told = std::move(owned).error();
      if (!told.ok() || *owned) tell_update(*s, p->metadata.name, told);
      if (!told.ok()) co_return told;
    }
    // Pods that are wanted, in order.
    for (int n = start; n < end; ++n) {
      auto it = st->pods.find(n);
      PodPtr p = it == st->pods.end() ? nullptr : it->second;
      if (p && is_finished(*p) && !is_terminating(p->metadata)) {
        Status d = co_await remove_pod(s, p);
        if (!d.ok()) co_return d;
        if (ordered) co_return ok();
        continue;
      }
      // A pod that waits for its claims gets what is missing.
      if (p && p->status.phase == "Pending") {
        Status c = co_await keep_claims(s, n);
        if (!c.ok()) co_return c;
      }
      if (!p) {
        if (claims_stale(*s, n)) {  // they go with the last pod of this name
          st->again = kExpectationRetry;
          co_return ok();
        }
        // Below the partition pods come back as they were.
        bool old = rolling && n < partition && st->current != st->update;
        Status c = co_await create_pod(s, key, n, old, st);
        if (!c.ok()) co_return c;
        if (ordered) co_return ok();
        continue;
      }
      if (is_terminating(p->metadata)) {
        if (ordered) co_return ok();
        continue;
      }
      if (ordered && (p->status.phase != "Running" || !is_ready(*p))) {
        // A pod of an old revision that cannot start must not block its own repair.
        if (!rolling || n < partition || revision_of(*p) == st->update) co_return ok();
        break;
      }
      if (ordered && !is_available(*p, s->spec.min_ready_seconds, now)) {
        st->again = std::chrono::seconds(std::max(1, s->spec.min_ready_seconds));
        co_return ok();
      }
      Status c = co_await keep_identity(s, p);
      if (!c.ok()) co_return c;
    }
    std::vector<StatefulPod> states;
    bool surplus = false;
    for (auto& [n, p] : st->pods) {
      states.push_back({n, n < start || n >= end, is_terminating(p->metadata), p->status.phase == "Running" && is_available(*p, s->spec.min_ready_seconds, now)});
      surplus |= states.back().condemned;
    }
    for (int n : condemned_to_delete(std::move(states), ordered)) {
      Status d = co_await remove_pod(s, st->pods[n]);
      if (!d.ok()) co_return d;
    }
    if (surplus && ordered) {
      if (s->spec.min_ready_seconds > 0) st->again = std::chrono::seconds(s->spec.min_ready_seconds);
      co_return ok();
    }
    if (!rolling) co_return ok();
    // Updates, from the highest down to the partition; one unavailable pod at a time (or maxUnavailable).
    int budget = 1;
    if (s->spec.update_strategy.rolling_update && s->spec.update_strategy.rolling_update->max_unavailable)
      budget = std::max(1, s->spec.update_strategy.rolling_update->max_unavailable->scaled(s->spec.replicas.value_or(1), true).value_or(1));
    int unavailable = 0;
    for (int n = start; n < end; ++n) {
      auto it = st->pods.find(n);
      if (it == st->pods.end() || is_terminating(it->second->metadata) || !is_available(*it->second, s->spec.min_ready_seconds, now)) ++unavailable;
    }
    for (int n = end - 1; n >= std::max(start, partition); --n) {
      auto it = st->pods.find(n);
      if (it == st->pods.end()) continue;
      PodPtr p = it->second;
      if (is_terminating(p->metadata)) {
        if (unavailable >= budget) co_return ok();
        continue;
      }
      bool available = is_available(*p, s->spec.min_ready_seconds, now);
      if (revision_of(*p) != st->update) {
        if (available && unavailable >= budget) co_return ok();
        Status d = co_await remove_pod(s, p);
        if (!d.ok()) co_return d;
        if (available) ++unavailable;
        if (unavailable >= budget) co_return ok();
        continue;
      }
      if (!available && unavailable >= budget) {
        if (is_ready(*p)) st->again = std::chrono::seconds(std::max(1, s->spec.min_ready_seconds));
        co_return ok();
      }
    }
    co_return ok();
  }

  Task<Status> create_pod(SetPtr s, std::string key, int n, bool old, State* st) {
    Result<bool> stays = co_await still_there<StatefulSet>(client_, s);
    if (!stays.ok()) co_return std::move(stays).error();
    if (!*stays) co_return ok();  // the watch will tell
    Status c = co_await keep_claims(s, n);
    if (!c.ok()) {
      if (c.error().message.find("is being terminated") != std::string::npos) co_return ok();
      events_.warning(kube::reference_to(*s), "FailedCreate", pod_event("Create", *s, s->metadata.name + "-" + std::to_string(n)) + "failed error: " + c.error().message);
      co_return c;
    }
    Pod p = pod_from_template(old ? st->current_template : s->spec.template_, s->metadata.namespace_, "");
    p.metadata.owner_references.push_back(owner_reference(*s));
    set_identity(*s, n, old ? st->current_hash : st->update_hash, p);
    std::string name = p.metadata.name;
    Result<Pod> r = co_await client_.create<Pod>(std::move(p));
    if (!r.ok()) {
      if (r.error().code == Code::kAlreadyExists) {
        co_return make_error(Code::kConflict, "pod " + name + " exists already and is not this StatefulSet's yet");
      }
      if (r.error().message.find("is being terminated") != std::string::npos) co_return ok();
      events_.warning(kube::reference_to(*s), "FailedCreate", pod_event("Create", *s, name) + "failed error: " + r.error().message);
      co_return std::move(r).error();
    }
    expect_.wrote(key, r->metadata.resource_version);
    PodPtr made = std::make_shared<const Pod>(std::move(*r));
    st->pods[n] = made;
    Result<bool> owned = co_await own_claims(s, made, n, false);
    if (!owned.ok()) {
      Status failed = std::move(owned).error();
      tell_update(*s, name, failed);
      co_return failed;
    }
    events_.normal(kube::reference_to(*s), "SuccessfulCreate", pod_event("Create", *s, name) + "successful");
    co_return ok();
  }

  Task<Status> remove_pod(SetPtr s, PodPtr p) {
    Status d = co_await delete_pods(ex_, client_, std::vector<PodPtr>(1, p));
    if (d.ok()) events_.normal(kube::reference_to(*s), "SuccessfulDelete", pod_event("Delete", *s, p->metadata.name) + "successful");
    else events_.warning(kube::reference_to(*s), "FailedDelete", pod_event("Delete", *s, p->metadata.name) + "failed error: " + d.error().message);
    co_return d;
  }

  // The claims of a pod exist, and carry the owner that the retention policy asks for. One that is going away is not waited for
  // in silence: a pod that named it could never start.
  Task<Status> keep_claims(SetPtr s, int n) {
    std::vector<std::string> wrong;
    for (auto& t : s->spec.volume_claim_templates) {
      std::string name = claim_name(t, *s, n);
      if (auto had = claims_.get(s->metadata.namespace_, name)) {
        if (is_terminating(had->metadata)) wrong.push_back("pvc " + name + " is being deleted");
        continue;
      }
      PersistentVolumeClaim c = t;
      c.metadata.name = name;
      c.metadata.namespace_ = s->metadata.namespace_;
      if (s->spec.selector)
        for (auto& [k, v] : s->spec.selector->match_labels) c.metadata.labels[k] = v;
      const ClaimPod pod{s->metadata.name + "-" + std::to_string(n), "", false};
      set_claim_owners(*s, pod, c);
      Result<PersistentVolumeClaim> r = co_await client_.create<PersistentVolumeClaim>(std::move(c));
      if (r.ok()) {
        events_.normal(kube::reference_to(*s), "SuccessfulCreate", "Create Claim " + name + " Pod " + pod.name + " in StatefulSet " + s->metadata.name + " success");
        continue;
      }
      if (r.error().code == Code::kAlreadyExists) continue;
      if (r.error().message.find("is being terminated") == std::string::npos)
        events_.warning(kube::reference_to(*s), "FailedCreate",
                        "Create Claim " + name + " for Pod " + pod.name + " in StatefulSet " + s->metadata.name + " failed error: " + r.error().message);
      wrong.push_back("failed to create PVC " + name + ": " + r.error().message);
    }
    if (wrong.empty()) co_return ok();
    if (wrong.size() == 1) co_return make_error(Code::kUnavailable, wrong[0]);
    co_return make_error(Code::kUnavailable, "[" + join(wrong, ", ") + "]");
  }

  void tell_update(const StatefulSet& s, const std::string& pod, const Status& how) {
    if (how.ok()) events_.normal(kube::reference_to(s), "SuccessfulUpdate", pod_event("Update", s, pod) + "successful");
    else events_.warning(kube::reference_to(s), "FailedUpdate", pod_event("Update", s, pod) + "failed error: " + how.error().message);
  }

  // A pod bears its name as a label, by which Services of single pods select; whoever took it off gets it back.
  Task<Status> keep_identity(SetPtr s, PodPtr p) {
    if (has_identity(*p)) co_return ok();
    json::Value patch = json::Value::object();
    patch["metadata"]["uid"] = p->metadata.uid;
    patch["metadata"]["labels"][kStatefulPodName] = p->metadata.name;
    patch["metadata"]["labels"][kPodIndex] = std::to_string(ordinal_of(s->metadata.name, p->metadata.name));
    Result<json::Value> r = co_await client_.patch(Pod::resource(), p->metadata.namespace_, p->metadata.name, kube::PatchType::kMerge, std::move(patch));
    Status done = ok();
    if (!r.ok()) done = std::move(r).error();
    tell_update(*s, p->metadata.name, done);
    co_return done;
  }

  // The claims of a pod that exists belong to whom the retention policy says. True when some did not.
  Task<Result<bool>> own_claims(SetPtr s, PodPtr p, int n, bool condemned) {
    const ClaimPod pod{p->metadata.name, p->metadata.uid, condemned};
    bool changed = false;
    for (auto& t : s->spec.volume_claim_templates) {
      auto had = claims_.get(s->metadata.namespace_, claim_name(t, *s, n));
      if (!had) continue;
      PersistentVolumeClaim next = *had;
      if (has_foreign_controller(*s, pod, next) && s->spec.persistent_volume_claim_retention_policy)
        events_.warning(kube::reference_to(*s), "ConflictingController",
                        "PersistentVolumeClaim " + next.metadata.name +
                            " has a conflicting OwnerReference that acts as a managing controller, the retention policy is ignored for this claim");
      if (!set_claim_owners(*s, pod, next)) continue;
      Result<PersistentVolumeClaim> r = co_await client_.update<PersistentVolumeClaim>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return wrap(std::move(r).error(), "could not update claim for retention policy of pod " + pod.name);
      changed = true;
    }
    co_return changed;
  }
  bool claims_stale(const StatefulSet& s, int n) const {
    const ClaimPod pod{s.metadata.name + "-" + std::to_string(n), "", false};
    for (auto& t : s.spec.volume_claim_templates)
      if (auto c = claims_.get(s.metadata.namespace_, claim_name(t, s, n)); c && is_stale_claim(s, pod, *c)) return true;
    return false;
  }

  Task<Status> write_status(SetPtr s, std::string, State* st) {
    kube::apps::StatefulSetStatus n = s->status;
    Time now = ex_.now();
    n.replicas = n.ready_replicas = n.available_replicas = n.current_replicas = n.updated_replicas = 0;
    for (auto& [i, p] : st->pods) {
      if (p->status.phase.empty()) continue;
      ++n.replicas;
      if (p->status.phase == "Running" && is_ready(*p)) {
        ++n.ready_replicas;
        if (is_available(*p, s->spec.min_ready_seconds, now)) ++n.available_replicas;
      }
      if (is_terminating(p->metadata)) continue;
      if (revision_of(*p) == st->current) ++n.current_replicas;
      if (revision_of(*p) == st->update) ++n.updated_replicas;
    }
    n.observed_generation = s->metadata.generation;
    n.collision_count = s->status.collision_count.value_or(0);
    n.current_revision = st->current;
    n.update_revision = st->update;
    // The update is done when every pod has it and is ready: it becomes the current revision.
    if (s->spec.update_strategy.type != "OnDelete" && n.updated_replicas == n.replicas && n.ready_replicas == n.replicas && n.replicas == s->spec.replicas.value_or(1)) {
      n.current_revision = st->update;
      n.current_replicas = n.updated_replicas;
    }
    if (n == s->status) co_return ok();
    StatefulSet next = *s;
    next.status = n;
    Result<StatefulSet> r = co_await client_.update_status<StatefulSet>(std::move(next));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<StatefulSet>& sets_;
  kube::Informer<Pod>& pods_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<ControllerRevision>& revisions_;
  Expectations expect_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_statefulset(const Context& c) { return std::make_unique<StatefulSetController>(c); }

}  // namespace caravel::controllers
