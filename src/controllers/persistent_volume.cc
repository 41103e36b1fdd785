// The persistent volume controller: carries out what volume_binding.h decides.
#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/volume_binding.h"

namespace caravel::controllers {

using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::core::Pod;
using kube::storage::StorageClass;

namespace {

// Pending claims are looked at again this often, and say so in an event, as upstream.
constexpr Duration kVolumeResync = std::chrono::seconds(15);

class PersistentVolumeController final : public Runner {
 public:
  explicit PersistentVolumeController(const Context& c)
      : client_(c.client("persistent-volume-binder")),
        events_(c.ex, client_, "persistentvolume-controller"),
        volumes_(c.informer<PersistentVolume>()),
        claims_(c.informer<PersistentVolumeClaim>()),
        classes_(c.informer<StorageClass>()),
        pods_(c.informer<Pod>()),
        queue_(c.ex, "persistentvolume-binder-controller", [this](std::string key) { return sync(std::move(key)); }) {
    volumes_.add_handler([this](auto& old, auto& now) {
      const PersistentVolume& v = now ? *now : *old;
      if (now) queue_.enqueue("v/" + v.metadata.name);
      if (v.spec.claim_ref) claim_key(v.spec.claim_ref->namespace_, v.spec.claim_ref->name);
      // What is free now may be what somebody waits for.
      if (now && now->status.phase == "Available" && (!old || old->status.phase != "Available")) wake_pending();
      if (!now || !old) wake_named(v.metadata.name);
    });
    claims_.add_handler([this](auto& old, auto& now) {
      const PersistentVolumeClaim& c = now ? *now : *old;
      if (now) claim_key(c.metadata.namespace_, c.metadata.name);
      if (!c.spec.volume_name.empty()) queue_.enqueue("v/" + c.spec.volume_name);
      if (!now)
        for (auto& [k, v] : volumes_.all())
          if (v->spec.claim_ref && v->spec.claim_ref->uid == c.metadata.uid) queue_.enqueue("v/" + v->metadata.name);
    });
    classes_.add_handler([this](auto&, auto& now) {
      if (now) wake_pending();
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  void claim_key(const std::string& ns, const std::string& name) { queue_.enqueue("c/" + ns + "/" + name); }
  void wake_pending() {
    for (auto& [k, c] : claims_.all())
      if (c->status.phase != "Bound" && c->status.phase != "Lost") claim_key(k.ns, k.name);
  }
  void wake_named(const std::string& volume) {
    for (auto& [k, c] : claims_.all())
      if (c->spec.volume_name == volume) claim_key(k.ns, k.name);
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    VolumePlan plan;
    VolumePtr volume;
    ClaimPtr claim;
    kube::ObjectKey k = kube::ObjectKey::parse(key.substr(2));
    if (key[0] == 'v') {
      volume = volumes_.get("", key.substr(2));
      if (!volume) co_return kube::Requeue::never();
      if (volume->spec.claim_ref) {
        k = kube::ObjectKey{volume->spec.claim_ref->namespace_, volume->spec.claim_ref->name};
        claim = claims_.get(k);
        // Our copy may be older than the volume: before anything is given up, ask.
        bool seems_gone = !volume->spec.claim_ref->uid.empty() && (!claim || claim->metadata.uid != volume->spec.claim_ref->uid);
        if (seems_gone) {
          Result<PersistentVolumeClaim> live = co_await client_.get<PersistentVolumeClaim>(k.ns, k.name);
          if (live.ok()) claim = std::make_shared<const PersistentVolumeClaim>(std::move(*live));
          else if (live.error().code != Code::kNotFound) co_return std::move(live).error();
          else claim = nullptr;
        }
      }
      plan = plan_volume(volume, claim);
    } else {
      claim = claims_.get(k);
      if (!claim) co_return kube::Requeue::never();
      plan = plan_claim(claim, look_around(*claim));
    }
    Status done = co_await carry_out(&plan, claim, volume);
    if (!done.ok()) {
      if (done.error().code == Code::kNotFound) co_return kube::Requeue::never();
      co_return std::move(done).error();
    }
    if (plan.sync_claim) claim_key(k.ns, k.name);
    if (plan.retry) co_return kube::Requeue::in(kVolumeResync);
    co_return kube::Requeue::never();
  }

  VolumeWorld look_around(const PersistentVolumeClaim& c) const {
    VolumeWorld w;
    for (auto& [k, v] : volumes_.all()) w.volumes.push_back(v);
    for (auto& [k, s] : classes_.all()) w.classes.push_back(s);
    if (c.status.phase == "Bound") return w;
    for (auto& p : pods_.in_namespace(c.metadata.namespace_)) {
      if (!p->spec.node_name.empty() || is_finished(*p)) continue;
      for (auto& v : p->spec.volumes) {
        bool uses = (v.persistent_volume_claim && v.persistent_volume_claim->claim_name == c.metadata.name) ||
                    (v.ephemeral && p->metadata.name + "-" + v.name == c.metadata.name);
        if (!uses) continue;
        w.waiting_pods.push_back(p->metadata.name);
        break;
      }
    }
    return w;
  }

  Task<Status> carry_out(VolumePlan* plan, ClaimPtr claim, VolumePtr volume) {
    std::string volume_version, claim_version;  // as of our last write
    for (auto& step : plan->steps) {
      bool status = step.what == VolumeStep::What::kStatus;
      if (auto* v = std::get_if<PersistentVolume>(&step.object)) {
        if (!volume_version.empty()) v->metadata.resource_version = volume_version;
        Result<PersistentVolume> r = make_error(Code::kInternal, "");
        if (status) r = co_await client_.update_status<PersistentVolume>(std::move(*v));
        else r = co_await client_.update<PersistentVolume>(std::move(*v));
        if (!r.ok()) co_return std::move(r).error();
        volume_version = r->metadata.resource_version;
      } else {
        PersistentVolumeClaim c = std::get<PersistentVolumeClaim>(step.object);
        if (!claim_version.empty()) c.metadata.resource_version = claim_version;
        Result<PersistentVolumeClaim> r = make_error(Code::kInternal, "");
        if (status) r = co_await client_.update_status<PersistentVolumeClaim>(std::move(c));
        else r = co_await client_.update<PersistentVolumeClaim>(std::move(c));
        if (!r.ok()) co_return std::move(r).error();
        claim_version = r->metadata.resource_version;
      }
    }
    for (auto& e : plan->events) {
      if (e.on_claim ? !claim : !volume) continue;
      kube::ObjectReference about = e.on_claim ? kube::reference_to(*claim) : kube::reference_to(*volume);
      if (e.warning) events_.warning(about, e.reason, e.message);
      else events_.normal(about, e.reason, e.message);
    }
    co_return ok();
  }

  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<PersistentVolume>& volumes_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<StorageClass>& classes_;
  kube::Informer<Pod>& pods_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_persistent_volume(const Context& c) { return std::make_unique<PersistentVolumeController>(c); }

}  // namespace caravel::controllers
