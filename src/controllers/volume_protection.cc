// Claims and volumes in use do not go away: a finalizer holds a claim while a scheduled pod uses it, a
// volume while it is bound, and a VolumeAttributesClass while a claim or volume names it. A pod that is not scheduled does not hold its claim: no kubelet will start it
// with a claim that is being deleted.
#include "controllers/volume_protection.h"

#include "controllers/common.h"
#include "controllers/context.h"
#include "kube/types/storage.h"

namespace caravel::controllers {

using kube::core::PersistentVolume;
using kube::core::PersistentVolumeClaim;
using kube::core::Pod;

bool uses_claim(const Pod& p, const PersistentVolumeClaim& c) {
  if (p.spec.node_name.empty() || p.metadata.namespace_ != c.metadata.namespace_) return false;
  for (auto& v : p.spec.volumes) {
    if (v.persistent_volume_claim && v.persistent_volume_claim->claim_name == c.metadata.name) return true;
    // A claim of the pod's own goes when its kubelet has let go of the pod, or was not asked.
    const bool shut_down = is_terminating(p.metadata) && p.metadata.deletion_grace_period_seconds == 0;
    if (v.ephemeral && p.metadata.name + "-" + v.name == c.metadata.name && is_controlled_by(c.metadata, p.metadata.uid) && !shut_down) return true;
  }
  return false;
}

std::vector<std::string> attributes_of(const PersistentVolumeClaim& c) {
  std::vector<std::string> out;
  auto add = [&](const std::optional<std::string>& name) {
    if (name && !name->empty() && std::find(out.begin(), out.end(), *name) == out.end()) out.push_back(*name);
  };
  add(c.spec.volume_attributes_class_name);
  add(c.status.current_volume_attributes_class_name);
  if (c.status.modify_volume_status) add(c.status.modify_volume_status->target_volume_attributes_class_name);
  return out;
}

std::optional<std::vector<std::string>> protect(const kube::meta::ObjectMeta& m, const char* finalizer, bool in_use) {
  std::vector<std::string> f = m.finalizers;
  auto it = std::find(f.begin(), f.end(), finalizer);
  if (is_terminating(m)) {
    if (it == f.end() || in_use) return std::nullopt;
    f.erase(it);
    return f;
  }
  if (it != f.end()) return std::nullopt;
  f.push_back(finalizer);
  return f;
}

namespace {

bool is_settled(const Error& e) { return e.code == Code::kNotFound; }

class ClaimProtection final : public Runner {
 public:
  explicit ClaimProtection(const Context& c)
      : client_(c.client("pvc-protection-controller")),
        claims_(c.informer<PersistentVolumeClaim>()),
        pods_(c.informer<Pod>()),
        queue_(c.ex, "persistentvolumeclaim-protection-controller", [this](std::string key) { return sync(std::move(key)); }) {
    claims_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(kube::ObjectKey{now->metadata.namespace_, now->metadata.name});
    });
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& p = now ? *now : *old;
      if (now && !is_finished(p) && !is_terminating(p.metadata)) return;
      for (auto& v : p.spec.volumes) {
        if (v.persistent_volume_claim) queue_.enqueue(kube::ObjectKey{p.metadata.namespace_, v.persistent_volume_claim->claim_name});
        if (v.ephemeral) queue_.enqueue(kube::ObjectKey{p.metadata.namespace_, p.metadata.name + "-" + v.name});
      }
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string key) {
    ClaimPtr c = claims_.get(kube::ObjectKey::parse(key));
    if (!c) co_return kube::Requeue::never();
    bool used = false;
    if (is_terminating(c->metadata)) {
      for (auto& p : pods_.in_namespace(c->metadata.namespace_)) used = used || uses_claim(*p, *c);
      if (!used && protect(c->metadata, kClaimProtection, false)) {
        // A pod may have been bound that we have not seen: the last word is the server's.
        kube::ListOptions o;
        o.ns = c->metadata.namespace_;
        Result<kube::ListResult<Pod>> live = co_await client_.list<Pod>(std::move(o));
        if (!live.ok()) co_return std::move(live).error();
        for (auto& p : live->items) used = used || uses_claim(p, *c);
      }
    }
    std::optional<std::vector<std::string>> f = protect(c->metadata, kClaimProtection, used);
    if (!f) co_return kube::Requeue::never();
    PersistentVolumeClaim next = *c;
    next.metadata.finalizers = std::move(*f);
    Result<PersistentVolumeClaim> r = co_await client_.update<PersistentVolumeClaim>(std::move(next));
    if (!r.ok() && !is_settled(r.error())) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  using ClaimPtr = std::shared_ptr<const PersistentVolumeClaim>;
  kube::Client client_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<Pod>& pods_;
  kube::Controller queue_;
};

class VolumeProtection final : public Runner {
 public:
  explicit VolumeProtection(const Context& c)
      : client_(c.client("pv-protection-controller")),
        volumes_(c.informer<PersistentVolume>()),
        queue_(c.ex, "persistentvolume-protection-controller", [this](std::string key) { return sync(std::move(key)); }) {
    volumes_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  Task<Result<kube::Requeue>> sync(std::string name) {
    auto v = volumes_.get("", name);
    if (!v) co_return kube::Requeue::never();
    std::optional<std::vector<std::string>> f = protect(v->metadata, kVolumeProtection, v->status.phase == "Bound");
    if (!f) co_return kube::Requeue::never();
    PersistentVolume next = *v;
    next.metadata.finalizers = std::move(*f);
    Result<PersistentVolume> r = co_await client_.update<PersistentVolume>(std::move(next));
    if (!r.ok() && !is_settled(r.error())) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::Informer<PersistentVolume>& volumes_;
  kube::Controller queue_;
};

class AttributesProtection final : public Runner {
 public:
  explicit AttributesProtection(const Context& c)
      : client_(c.client("volumeattributesclass-protection-controller")),
        classes_(c.informer<kube::storage::VolumeAttributesClass>()),
        claims_(c.informer<PersistentVolumeClaim>()),
        volumes_(c.informer<PersistentVolume>()),
        queue_(c.ex, "volumeattributesclass-protection-controller", [this](std::string key) { return sync(std::move(key)); }) {
    classes_.add_handler([this](auto&, auto& now) {
      if (now) queue_.enqueue(now->metadata.name);
    });
    claims_.add_handler([this](auto& old, auto&) {
      if (!old) return;
      for (auto& name : attributes_of(*old)) queue_.enqueue(name);
    });
    volumes_.add_handler([this](auto& old, auto&) {
      if (old && old->spec.volume_attributes_class_name) queue_.enqueue(*old->spec.volume_attributes_class_name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  bool is_used(const std::string& name) const {
    for (auto& [k, v] : volumes_.all())
      if (v->spec.volume_attributes_class_name == name) return true;
    for (auto& [k, c] : claims_.all())
      for (auto& n : attributes_of(*c))
        if (n == name) return true;
    return false;
  }
  Task<Result<kube::Requeue>> sync(std::string name) {
    auto a = classes_.get("", name);
    if (!a) co_return kube::Requeue::never();
    std::optional<std::vector<std::string>> f = protect(a->metadata, kAttributesProtection, is_terminating(a->metadata) && is_used(name));
    if (!f) co_return kube::Requeue::never();
    kube::storage::VolumeAttributesClass next = *a;
    next.metadata.finalizers = std::move(*f);
    Result<kube::storage::VolumeAttributesClass> r = co_await client_.update<kube::storage::VolumeAttributesClass>(std::move(next));
    if (!r.ok() && !is_settled(r.error())) co_return std::move(r).error();
    co_return kube::Requeue::never();
  }
  kube::Client client_;
  kube::Informer<kube::storage::VolumeAttributesClass>& classes_;
  kube::Informer<PersistentVolumeClaim>& claims_;
  kube::Informer<PersistentVolume>& volumes_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_attributes_protection(const Context& c) { return std::make_unique<AttributesProtection>(c); }
std::unique_ptr<Runner> make_claim_protection(const Context& c) { return std::make_unique<ClaimProtection>(c); }
std::unique_ptr<Runner> make_volume_protection(const Context& c) { return std::make_unique<VolumeProtection>(c); }

}  // namespace caravel::controllers
