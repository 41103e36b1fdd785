// Deployment: a thin shell around deployment_logic.h.
#include "base/strings.h"
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/deployment_logic.h"

namespace caravel::controllers {

using kube::apps::Deployment;
using kube::apps::DeploymentStatus;
using kube::apps::ReplicaSet;
using kube::core::Pod;

namespace {

bool is_copied_annotation(const std::string& key) {
  return key != "kubectl.kubernetes.io/last-applied-configuration" && key != kRevision && key != kRevisionHistory && key != kDesiredReplicas &&
         key != kMaxReplicas && key != "deprecated.deployment.rollback.to";
}

class DeploymentController final : public Runner {
 public:
  explicit DeploymentController(const Context& c)
      : ex_(c.ex),
        client_(c.client("deployment-controller")),
        events_(c.ex, client_, "deployment-controller"),
        deployments_(c.informer<Deployment>()),
        sets_(c.informer<ReplicaSet>()),
        pods_(c.informer<Pod>()),
        queue_(
            c.ex, "deployment-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(sets_);
    add_orphan_index(sets_);
    add_owner_index(pods_);
    deployments_.add_handler([this](auto& old, auto& now) { queue_.enqueue(key_of(now ? *now : *old)); });
    sets_.add_handler([this](auto& old, auto& now) {
      for (auto& s : {old, now}) {
        if (!s) continue;
        if (const kube::meta::OwnerReference* o = controller_of(s->metadata)) {
          if (o->kind == "Deployment") queue_.enqueue_paced(kube::ObjectKey{s->metadata.namespace_, o->name}, kPace);
        } else if (s == now) {
          for (auto& d : deployments_.in_namespace(s->metadata.namespace_))
            if (matches(d->spec.selector, s->metadata.labels)) queue_.enqueue(key_of(*d));
        }
      }
    });
    // Recreate waits for old pods to be gone, and terminating pods are counted in the status.
    pods_.add_handler([this](auto& old, auto& now) {
      if (now && !(is_terminating(now->metadata) && !(old && is_terminating(old->metadata)))) return;
      const Pod& p = now ? *now : *old;
      const kube::meta::OwnerReference* o = controller_of(p.metadata);
      if (!o || o->kind != "ReplicaSet") return;
      auto set = sets_.get(p.metadata.namespace_, o->name);
      const kube::meta::OwnerReference* d = set ? controller_of(set->metadata) : nullptr;
      if (d && d->kind == "Deployment") queue_.enqueue(kube::ObjectKey{p.metadata.namespace_, d->name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  using DeploymentPtr = std::shared_ptr<const Deployment>;
  static kube::ObjectKey key_of(const Deployment& d) { return {d.metadata.namespace_, d.metadata.name}; }

  struct View {
    std::vector<SetPtr> all, old;
    SetPtr fresh;
    int terminating = 0;
  };
  static void replace(View& v, const SetPtr& before, SetPtr after) {
    for (auto* list : {&v.all, &v.old})
      for (auto& s : *list)
        if (s->metadata.uid == before->metadata.uid) s = after;
    if (v.fresh && v.fresh->metadata.uid == before->metadata.uid) v.fresh = after;
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    DeploymentPtr d = deployments_.get(kube::ObjectKey::parse(key));
    if (!d) co_return kube::Requeue::never();
    View v;
    v.all = co_await claim<ReplicaSet, Deployment>(client_, &sets_, d, d->spec.selector);
    v.fresh = find_new_set(*d, v.all);
    for (auto& s : v.all) {
      if (s != v.fresh) v.old.push_back(s);
      for (auto& p : pods_.by_index(kOwnerIndex, s->metadata.uid))
        if (is_terminating(p->metadata) && !is_finished(*p)) ++v.terminating;
    }
    if (is_terminating(d->metadata)) {
      Result<kube::Requeue> r = co_await write_status(d, &v);
      co_return r;
    }
    Result<DeploymentPtr> noted = co_await note_pause(d);
    if (!noted.ok()) co_return std::move(noted).error();
    d = *noted;

    Status s = ok();
    if (d->spec.paused || is_scaling_event(*d, v.all)) {
      Status have = co_await ensure_new_set(d, &v, false);
      if (!have.ok()) co_return std::move(have).error();
      s = co_await resize_all(d, &v, scale_proportionally(*d, v.all, v.old, v.fresh));
      if (s.ok() && d->spec.paused) s = co_await clean_up(d, &v);
    } else if (d->spec.strategy.type == "Recreate") {
      s = co_await recreate(d, &v);
    } else {
      s = co_await roll(d, &v);
    }
    if (!s.ok()) co_return std::move(s).error();
    Result<kube::Requeue> r = co_await write_status(d, &v);
    co_return r;
  }

  Task<Status> roll(DeploymentPtr d, View* v) {
    Status have = co_await ensure_new_set(d, v, true);
    if (!have.ok()) co_return have;
    if (!v->fresh) co_return ok();
    int size = new_set_size(*d, v->all, *v->fresh);
    if (size != v->fresh->spec.replicas.value_or(1)) {
      std::vector<Resize> one(1);
      one[0].set = v->fresh;
      one[0].replicas = size;
      Status s = co_await resize_all(d, v, std::move(one));
      co_return s;
    }
    std::vector<Resize> down = shrink_old(*d, v->all, v->old, *v->fresh);
    if (!down.empty()) {
      Status s = co_await resize_all(d, v, std::move(down));
      co_return s;
    }
    Status annotated = co_await keep_annotations(d, v);
    if (!annotated.ok()) co_return annotated;
    DeploymentStatus st = deployment_status(*d, v->all, v->fresh, v->terminating, ex_.now());
    if (is_complete(*d, st)) {
      Status s = co_await clean_up(d, v);
      co_return s;
    }
    co_return ok();
  }

  Task<Status> recreate(DeploymentPtr d, View* v) {
    std::vector<Resize> down;
    for (auto& s : v->old)
      if (s->spec.replicas.value_or(1) > 0) down.push_back({s, 0});
    if (!down.empty()) {
      Status s = co_await resize_all(d, v, std::move(down));
      co_return s;
    }
    for (auto& s : v->old)  // no new pod while an old one may still run
      for (auto& p : pods_.by_index(kOwnerIndex, s->metadata.uid))
        if (!is_finished(*p)) co_return ok();
    Status have = co_await ensure_new_set(d, v, true);
    if (!have.ok()) co_return have;
    if (v->fresh && v->fresh->spec.replicas.value_or(1) != d->spec.replicas.value_or(1)) {
      std::vector<Resize> one(1);
      one[0].set = v->fresh;
      one[0].replicas = d->spec.replicas.value_or(1);
      Status s = co_await resize_all(d, v, std::move(one));
      if (!s.ok()) co_return s;
    }
    Status s = co_await clean_up(d, v);
    co_return s;
  }

  // Pausing and resuming are noted in the Progressing condition, so that paused time does not count.
  Task<Result<DeploymentPtr>> note_pause(DeploymentPtr d) {
    if (!has_deadline(*d)) co_return d;
    const kube::apps::DeploymentCondition* c = find(d->status, "Progressing");
    if (c && c->reason == "ProgressDeadlineExceeded") co_return d;
    bool noted = c && c->reason == "DeploymentPaused";
    if (d->spec.paused == noted) co_return d;
    Deployment next = *d;
    if (d->spec.paused) set_condition(next.status, "Progressing", "Unknown", "DeploymentPaused", "Deployment is paused", ex_.now());
    else set_condition(next.status, "Progressing", "Unknown", "DeploymentResumed", "Deployment is resumed", ex_.now());
    Result<Deployment> r = co_await client_.update_status<Deployment>(std::move(next));
    if (!r.ok()) co_return std::move(r).error();
    co_return std::make_shared<const Deployment>(std::move(*r));
  }

  // Annotations that the new ReplicaSet takes over from its Deployment. True when something changed.
  static bool copy_annotations(const Deployment& d, ReplicaSet& rs, int64_t revision) {
    bool changed = false;
    for (auto& [k, val] : d.metadata.annotations)
      if (is_copied_annotation(k) && (!rs.metadata.annotations.count(k) || rs.metadata.annotations[k] != val)) {
        rs.metadata.annotations[k] = val;
        changed = true;
      }
    int64_t had = revision_of(rs.metadata);
    if (had < revision) {
      if (had > 0) {
        std::string& h = rs.metadata.annotations[kRevisionHistory];
        h = longer_history(h, std::to_string(had));
      }
      rs.metadata.annotations[kRevision] = std::to_string(revision);
      changed = true;
    }
    return changed;
  }
  static bool set_sizes(const Deployment& d, ReplicaSet& rs) {
    std::string desired = std::to_string(d.spec.replicas.value_or(1));
    std::string most = std::to_string(d.spec.replicas.value_or(1) + bounds_of(d).surge);
    bool changed = rs.metadata.annotations[kDesiredReplicas] != desired || rs.metadata.annotations[kMaxReplicas] != most;
    rs.metadata.annotations[kDesiredReplicas] = desired;
    rs.metadata.annotations[kMaxReplicas] = most;
    return changed;
  }

  Task<Result<SetPtr>> update_set(SetPtr before, ReplicaSet next, View* v) {
    Result<ReplicaSet> r = co_await client_.update<ReplicaSet>(std::move(next));
    if (!r.ok()) co_return std::move(r).error();
    SetPtr after = std::make_shared<const ReplicaSet>(std::move(*r));
    replace(*v, before, after);
    co_return after;
  }

  Task<Status> ensure_new_set(DeploymentPtr d, View* v, bool create) {
    int64_t newest = 0;
    for (auto& s : v->old) newest = std::max(newest, revision_of(s->metadata));
    int64_t revision = newest + 1;
    if (v->fresh) {
      ReplicaSet next = *v->fresh;
      bool changed = copy_annotations(*d, next, revision);
      if (next.spec.min_ready_seconds != d->spec.min_ready_seconds) {
        next.spec.min_ready_seconds = d->spec.min_ready_seconds;
        changed = true;
      }
      if (changed) {
        Result<SetPtr> r = co_await update_set(v->fresh, std::move(next), v);
        if (!r.ok()) co_return std::move(r).error();
      }
      Status s = co_await note_revision(d, revision_of(v->fresh->metadata));
      if (!s.ok()) co_return s;
      if (!find(d->status, "Progressing") && has_deadline(*d)) {
        Status noted = co_await note_progress(d, "FoundNewReplicaSet", "Found new replica set \"" + v->fresh->metadata.name + "\"");
        co_return noted;
      }
      co_return ok();
    }
    if (!create) co_return ok();
    Result<bool> stays = co_await still_there<Deployment>(client_, d);
    if (!stays.ok()) co_return std::move(stays).error();
    if (!*stays) co_return ok();  // the watch will tell
    std::string hash = template_hash(d->spec.template_, d->status.collision_count);
    ReplicaSet rs;
    rs.metadata.name = set_name(d->metadata.name, hash);
    rs.metadata.namespace_ = d->metadata.namespace_;
    rs.metadata.owner_references.push_back(owner_reference(*d));
    rs.spec.template_ = d->spec.template_;
    rs.spec.template_.metadata.labels[kPodTemplateHash] = hash;
    rs.metadata.labels = rs.spec.template_.metadata.labels;
    rs.spec.selector = d->spec.selector;
    rs.spec.selector->match_labels[kPodTemplateHash] = hash;
    rs.spec.min_ready_seconds = d->spec.min_ready_seconds;
    rs.spec.replicas = 0;
    int size = new_set_size(*d, v->old, rs);
    rs.spec.replicas = size;
    copy_annotations(*d, rs, revision);
    set_sizes(*d, rs);
    std::string name = rs.metadata.name;
    Result<ReplicaSet> made = co_await client_.create<ReplicaSet>(std::move(rs));
    if (!made.ok() && made.error().code == Code::kAlreadyExists) {
      Result<ReplicaSet> live = co_await client_.get<ReplicaSet>(d->metadata.namespace_, name);
      if (!live.ok()) co_return std::move(live).error();
      std::vector<SetPtr> candidate(1, std::make_shared<const ReplicaSet>(*live));
      if (is_controlled_by(live->metadata, d->metadata.uid) && find_new_set(*d, candidate)) {
        v->fresh = candidate[0];
        v->all.push_back(v->fresh);
        co_return ok();
      }
      // Another template has this hash: the next attempt uses another name.
      Deployment next = *d;
      next.status.collision_count = d->status.collision_count.value_or(0) + 1;
      Result<Deployment> r = co_await client_.update_status<Deployment>(std::move(next));
      if (!r.ok()) co_return std::move(r).error();
      co_return make_error(Code::kConflict, "the name " + name + " is taken by another template");
    }
    if (!made.ok()) {
      std::string text = "Failed to create new replica set \"" + name + "\": " + made.error().message;
      if (made.error().message.find("is being terminated") != std::string::npos) co_return ok();
      events_.warning(kube::reference_to(*d), "ReplicaSetCreateError", text);
      if (has_deadline(*d)) {
        Deployment next = *d;
        set_condition(next.status, "Progressing", "False", "ReplicaSetCreateError", text, ex_.now());
        Result<Deployment> r = co_await client_.update_status<Deployment>(std::move(next));
        (void)r;
      }
      co_return std::move(made).error();
    }
    v->fresh = std::make_shared<const ReplicaSet>(std::move(*made));
    v->all.push_back(v->fresh);
    if (size > 0)
      events_.normal(kube::reference_to(*d), "ScalingReplicaSet", "Scaled up replica set " + name + " from 0 to " + std::to_string(size));
    Status s = co_await note_revision(d, revision);
    if (!s.ok()) co_return s;
    if (has_deadline(*d)) {
      Status noted = co_await note_progress(d, "NewReplicaSetCreated", "Created new replica set \"" + name + "\"");
      co_return noted;
    }
    co_return ok();
  }

  // Both writes are patches: they must not depend on our copy of the Deployment being current.
  Task<Status> note_revision(DeploymentPtr d, int64_t revision) {
    if (revision_of(d->metadata) == revision) co_return ok();
    json::Value p = json::Value::object();
    p["metadata"]["annotations"][kRevision] = std::to_string(revision);
    Result<json::Value> r = co_await client_.patch(Deployment::resource(), d->metadata.namespace_, d->metadata.name, kube::PatchType::kMerge, std::move(p));
    if (!r.ok()) co_return std::move(r).error();
    co_return ok();
  }
  Task<Status> note_progress(DeploymentPtr d, std::string reason, std::string message) {
    Result<Deployment> live = co_await client_.get<Deployment>(d->metadata.namespace_, d->metadata.name);
    if (!live.ok()) co_return std::move(live).error();
    set_condition(live->status, "Progressing", "True", std::move(reason), std::move(message), ex_.now());
    Deployment next = std::move(*live);
    Result<Deployment> r = co_await client_.update_status<Deployment>(std::move(next));
    if (!r.ok()) co_return std::move(r).error();
    co_return ok();
  }

  Task<Status> keep_annotations(DeploymentPtr d, View* v) {
    std::vector<SetPtr> sets = v->all;
    for (auto& s : sets) {
      if (s->spec.replicas.value_or(1) == 0) continue;
      ReplicaSet next = *s;
      if (!set_sizes(*d, next)) continue;
      Result<SetPtr> r = co_await update_set(s, std::move(next), v);
      if (!r.ok()) co_return std::move(r).error();
    }
    co_return ok();
  }

  Task<Status> resize_all(DeploymentPtr d, View* v, std::vector<Resize> changes) {
    for (auto& c : changes) {
      int before = c.set->spec.replicas.value_or(1);
      ReplicaSet next = *c.set;
      bool noted = set_sizes(*d, next);
      if (before == c.replicas && !noted) continue;
      next.spec.replicas = c.replicas;
      std::string name = next.metadata.name;
      Result<SetPtr> r = co_await update_set(c.set, std::move(next), v);
      if (!r.ok()) co_return std::move(r).error();
      if (before != c.replicas)
        events_.normal(kube::reference_to(*d), "ScalingReplicaSet",
                       format("Scaled %s replica set %s from %d to %d", c.replicas > before ? "up" : "down", name.c_str(), before, c.replicas));
    }
    co_return ok();
  }

  Task<Status> clean_up(DeploymentPtr d, View* v) {
    if (!d->spec.revision_history_limit) co_return ok();
    std::vector<SetPtr> idle;
    for (auto& s : v->old)
      if (!is_terminating(s->metadata)) idle.push_back(s);
    int excess = static_cast<int>(idle.size()) - *d->spec.revision_history_limit;
    if (excess <= 0) co_return ok();
    std::sort(idle.begin(), idle.end(), [](auto& a, auto& b) {
      const int64_t ra = revision_of(a->metadata), rb = revision_of(b->metadata);
      return ra != rb ? ra < rb : a->metadata.creation_timestamp < b->metadata.creation_timestamp;
    });
    for (int i = 0; i < excess; ++i) {
      const SetPtr& s = idle[i];
      if (s->status.replicas != 0 || s->spec.replicas.value_or(1) != 0 || s->metadata.generation > s->status.observed_generation) continue;
      Status r = co_await client_.remove<ReplicaSet>(s->metadata.namespace_, s->metadata.name);
      if (!r.ok() && r.error().code != Code::kNotFound) co_return r;
    }
    co_return ok();
  }

  Task<Result<kube::Requeue>> write_status(DeploymentPtr d, View* v) {
    // The Deployment may have been written in this look: start from the newest copy that is known.
    Time now = ex_.now();
    DeploymentStatus s = deployment_status(*d, v->all, v->fresh, v->terminating, now);
    if (!(s == d->status)) {
      Deployment next = *d;
      next.status = s;
      Result<Deployment> r = co_await client_.update_status<Deployment>(std::move(next));
      if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    }
    std::optional<Duration> left = until_deadline(*d, s, now);
    if (left) co_return kube::Requeue::in(*left);
    co_return kube::Requeue::never();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Deployment>& deployments_;
  kube::Informer<ReplicaSet>& sets_;
  kube::Informer<Pod>& pods_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_deployment(const Context& c) { return std::make_unique<DeploymentController>(c); }

}  // namespace caravel::controllers
