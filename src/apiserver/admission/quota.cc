#include "apiserver/admission/quota.h"

#include "apiserver/core.h"
#include "apiserver/object_meta.h"
#include "kube/quota.h"

namespace caravel::apiserver {

namespace {

// Which writes count: creates of everything, changes of those whose usage can grow.
bool counted(const AdmissionRequest& r) {
  if (r.operation == Operation::kCreate) return r.subresource.empty();
  if (r.operation != Operation::kUpdate) return false;
  if (r.is("", "pods")) return r.subresource == "resize";
  return r.subresource.empty() && (r.is("", "services") || r.is("", "persistentvolumeclaims"));
}

bool ignored(const AdmissionRequest& r) { return r.type->resource.kind == "Event"; }

}  // namespace

std::vector<ObjectPtr> QuotaStage::quotas(const std::string& ns) const {
  std::vector<ObjectPtr> out;
  ServedTypePtr t = core_->types.find("", "v1", "resourcequotas");
  if (!t || t->storage->cache->size() == 0) return out;
  const auto& all = t->storage->cache->objects();
  for (auto it = all.lower_bound(ns + "/"); it != all.end() && it->second->ns == ns; ++it) out.push_back(it->second);
  return out;
}

bool QuotaStage::interested(const AdmissionRequest& r) const {
  return r.type->resource.namespaced && r.type->storage && counted(r) && !ignored(r) && !quotas(r.ns).empty();
}

Task<Status> QuotaStage::reserve(const AdmissionRequest& r, QuotaReservation* out) {
  out->clear();
  std::weak_ptr<Semaphore>& slot = turns_[r.ns];
  std::shared_ptr<Semaphore> turn = slot.lock();
  if (!turn) {
    turn = std::make_shared<Semaphore>(core_->ex, 1);
    slot = turn;
  }
  if (!r.dry_run) {
    co_await turn->acquire();
    out->turn = std::shared_ptr<void>(turn.get(), [turn](void*) { turn->release(); });
  }
  std::vector<ObjectPtr> found = quotas(r.ns);
  std::vector<ValuePtr> values;
  std::vector<const json::Value*> raw;
  for (auto& o : found) {
    values.push_back(o->value());
    raw.push_back(values.back().get());
  }
  kube::quota::Change change;
  change.kind.group = r.type->resource.group;
  change.kind.plural = r.type->resource.plural;
  change.object = r.object;
  change.old = r.old;
  kube::quota::Verdict v = kube::quota::judge(raw, change, core_->ex.now());
  if (!v.refusal.empty()) {
    out->clear();
    co_return status::forbidden(r.type->resource, r.name, v.refusal);
  }
  if (r.dry_run || v.used.empty()) {
    out->clear();
    co_return ok();
  }
  ServedTypePtr t = core_->types.find("", "v1", "resourcequotas");
  Writer w;
  w.manager = "kube-apiserver";
  w.subresource = "status";
  w.now = core_->ex.now();
  for (auto& [i, used] : v.used) {
    auto next = std::make_shared<json::Value>(*values[i]);
    (*next)["status"]["used"] = kube::quota::to_json(used);
    t->model->track(values[i].get(), *next, w);
    store::Op op;
    op.key = t->storage->prefix + WatchCache::key_of(found[i]->ns, found[i]->name);
    op.value = encode_object(*next, &op.stamp_at);
    op.attachment = next;
    out->compares.push_back({op.key, found[i]->revision});
    out->ops.push_back(std::move(op));
  }
  co_return ok();
}

}  // namespace caravel::apiserver
