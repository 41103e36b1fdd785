// Two small controllers of claims: generic ephemeral volumes, whose claims belong to their pod, and the
// hand-off of expansion to the driver's resizer.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/volume_expansion.h"

namespace caravel::controllers {

using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::core::Pod;

namespace {

class EphemeralVolumes final : public Runner {
 public:
  explicit EphemeralVolumes(const Context& c)
      : client_(c.client("ephemeral-volume-controller")),
        events_(c.ex, client_, "ephemeral_volume"),
        pods_(c.informer<Pod>()),
        claims_(c.informer<PersistentVolumeClaim>()),
        queue_(
            c.ex, "ephemeral-volume-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    pods_.add_handler([this](auto&, auto& now) {
      if (!now) return;
      for (auto& v : now->spec.volumes)
        if (v.ephemeral) return queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
    claims_.add_handler([this](auto& old, auto& now) {
      if (now) return;
      const kube::meta::OwnerReference* o = controller_of(old->metadata);
      if (o && o->kind == "Pod") queue_.enqueue(kube::ObjectKey{old->metadata.namespace_, o->name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    PodPtr p = pods_.get(kube::ObjectKey::parse(key));
    if (!p || is_terminating(p->metadata)) co_return kube::Requeue::never();
    for (auto& v : p->spec.volumes) {
      if (!v.ephemeral || !v.ephemeral->volume_claim_template) continue;
      Status s = co_await keep(p, &v);
      if (s.ok()) continue;
      events_.warning(kube::reference_to(*p), "FailedBinding", "ephemeral volume " + v.name + ": " + s.error().message);
      co_return std::move(s).error();
    }
    co_return kube::Requeue::never();
  }
  Task<Status> keep(PodPtr p, const kube::core::Volume* v) {
    std::string name = p->metadata.name + "-" + v->name;
    if (auto had = claims_.get(p->metadata.namespace_, name)) {
      if (is_controlled_by(had->metadata, p->metadata.uid)) co_return ok();
      co_return make_error(Code::kConflict, "PVC " + p->metadata.namespace_ + "/" + name + " was not created for pod " + p->metadata.namespace_ + "/" + p->metadata.name +
                                                " (pod is not owner)");
    }
    PersistentVolumeClaim c;
    c.metadata.name = name;
    c.metadata.namespace_ = p->metadata.namespace_;
    c.metadata.labels = v->ephemeral->volume_claim_template->metadata.labels;
    c.metadata.annotations = v->ephemeral->volume_claim_template->metadata.annotations;
    c.metadata.owner_references.push_back(owner_reference(*p));
    c.spec = v->ephemeral->volume_claim_template->spec;
    Result<PersistentVolumeClaim> r = co_await client_.create<PersistentVolumeClaim>(std::move(c));
    if (r.ok()) co_return ok();
    co_return make_error(r.error().code, "create PVC " + name + ": " + r.error().message);
  }
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Pod>& pods_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Controller queue_;
};

class VolumeExpand final : public Runner {
 public:
  explicit VolumeExpand(const Context& c)
      : client_(c.client("expand-controller")),
        events_(c.ex, client_, "volume_expand"),
        claims_(c.informer<PersistentVolumeClaim>()),
        volumes_(c.informer<PersistentVolume>()),
        queue_(c.ex, "persistentvolume-expander-controller", [this](std::string key) { return sync(std::move(key)); }) {
    claims_.add_handler([this](auto& old, auto& now) {
      if (now && may_have_grown(old.get(), *now)) queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    auto c = claims_.get(kube::ObjectKey::parse(key));
    if (!c) co_return kube::Requeue::never();
    auto v = volumes_.get("", c->spec.volume_name);
    if (!v) co_return make_error(Code::kNotFound, "persistentvolume \"" + c->spec.volume_name + "\" not found");
    ExpansionPlan plan = plan_expansion(*c, *v);
    if (plan.message.empty()) co_return kube::Requeue::never();
    events_.normal(kube::reference_to(*c), "ExternalExpanding", plan.message);
    if (plan.resizer.empty()) co_return kube::Requeue::never();
    json::Value patch = json::Value::object();
    patch["metadata"]["annotations"][kStorageResizer] = plan.resizer;
    Result<json::Value> r = co_await client_.patch(PersistentVolumeClaim::resource(), c->metadata.namespace_, c->metadata.name, kube::PatchType::kMerge, std::move(patch));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<PersistentVolume>& volumes_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_ephemeral_volume(const Context& c) { return std::make_unique<EphemeralVolumes>(c); }
std::unique_ptr<Runner> make_volume_expand(const Context& c) { return std::make_unique<VolumeExpand>(c); }

}  // namespace caravel::controllers
