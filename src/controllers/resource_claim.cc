// Resource claims (resource.k8s.io): makes the claims that pods ask for by template, notes them in the pods' status, and
// gives devices back when the last pod that uses a claim is done. The scheduler allocates.
#include "controllers/context.h"
#include "controllers/resource_claim_logic.h"

namespace caravel::controllers {

using kube::core::Pod;
using kube::resource::ResourceClaim;
using kube::resource::ResourceClaimTemplate;

namespace {

class ResourceClaimController final : public Runner {
 public:
  explicit ResourceClaimController(const Context& c)
      : client_(c.client("resource-claim-controller")),
        events_(c.ex, client_, "resource_claim"),
        pods_(c.informer<Pod>()),
        claims_(c.informer<ResourceClaim>()),
        templates_(c.informer<ResourceClaimTemplate>()),
        queue_(
            c.ex, "resourceclaim-controller", [this](std::string key) { return sync(std::move(key)); }, kWorkers) {
    add_owner_index(claims_);
    pods_.add_handler([this](auto& old, auto& now) {
      const Pod& p = now ? *now : *old;
      if (p.spec.resource_claims.empty()) return;
      if (now && !is_pod_done(*now)) return queue_.enqueue("p/" + p.metadata.namespace_ + "/" + p.metadata.name);
      for (auto& c : claims_.in_namespace(p.metadata.namespace_))
        if (names(*c, p)) queue_.enqueue("c/" + p.metadata.namespace_ + "/" + c->metadata.name);
    });
    claims_.add_handler([this](auto& old, auto& now) {
      if (now) return queue_.enqueue("c/" + now->metadata.namespace_ + "/" + now->metadata.name);
      const kube::meta::OwnerReference* o = controller_of(old->metadata);  // its pod may need another
      if (o && o->kind == "Pod") queue_.enqueue("p/" + old->metadata.namespace_ + "/" + o->name);
    });
    templates_.add_handler([this](auto& old, auto& now) {
      if (old || !now) return;
      for (auto& p : pods_.in_namespace(now->metadata.namespace_))
        for (auto& r : p->spec.resource_claims)
          if (r.resource_claim_template_name == now->metadata.name) queue_.enqueue("p/" + p->metadata.namespace_ + "/" + p->metadata.name);
    });
  }
  void start(TaskScope& scope) override { queue_.start(scope); }

 private:
  static bool names(const ResourceClaim& c, const Pod& p) {
    for (auto& u : c.status.reserved_for)
      if (u.uid == p.metadata.uid) return true;
    return is_controlled_by(c.metadata, p.metadata.uid);
  }

  Task<Result<kube::Requeue>> sync(std::string key) {
    kube::ObjectKey k = kube::ObjectKey::parse(key.substr(2));
    Status s = ok();
    if (key[0] == 'p') s = co_await sync_pod(k);
    else s = co_await sync_claim(k);
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  Task<Status> sync_pod(kube::ObjectKey k) {
    PodPtr p = pods_.get(k);
    if (!p || is_pod_done(*p) || is_terminating(p->metadata)) co_return ok();
    if (!expect_.met(k.text(), claims_)) co_return make_error(Code::kUnavailable, "a claim that was made is not seen yet");
    std::map<std::string, std::string> made;  // by entry
    for (auto& entry : p->spec.resource_claims) {
      if (!entry.resource_claim_template_name) continue;
      Result<std::string> name = co_await keep_claim(p, entry.name, *entry.resource_claim_template_name, k.text());
      if (!name.ok()) {
        events_.warning(kube::reference_to(*p), "FailedResourceClaimCreation", "PodResourceClaim " + entry.name + ": " + name.error().message);
        co_return std::move(name).error();
      }
      made[entry.name] = *name;
    }
    bool same = true;
    for (auto& [entry, name] : made)
      same = same && std::any_of(p->status.resource_claim_statuses.begin(), p->status.resource_claim_statuses.end(), [&](auto& s) { return s.name == entry && s.resource_claim_name == name; });
    if (same) co_return ok();
    json::Value patch = json::Value::object();
    patch["metadata"]["uid"] = p->metadata.uid;
    for (auto& [entry, name] : made) {
      json::Value s = json::Value::object();
      s["name"] = entry;
      s["resourceClaimName"] = name;
      patch["status"]["resourceClaimStatuses"].push_back(std::move(s));
    }
    kube::WriteOptions o;
    o.subresource = "status";
    Result<json::Value> r = co_await client_.patch(Pod::resource(), k.ns, k.name, kube::PatchType::kStrategic, std::move(patch), o);
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  // The name of the pod's claim for an entry, which is made if there is none.
  Task<Result<std::string>> keep_claim(PodPtr p, std::string entry, std::string from, std::string key) {
    for (auto& c : claims_.by_index(kOwnerIndex, p->metadata.uid)) {
      auto it = c->metadata.annotations.find(kPodClaimName);
      if (it != c->metadata.annotations.end() && it->second == entry && !is_terminating(c->metadata)) co_return c->metadata.name;
    }
    std::shared_ptr<const ResourceClaimTemplate> t = templates_.get(p->metadata.namespace_, from);
    if (!t) co_return not_found("resource claim template \"" + from + "\": resourceclaimtemplate.resource.k8s.io \"" + from + "\" not found");
    Result<ResourceClaim> r = co_await client_.create<ResourceClaim>(claim_from_template(*t, *p, entry));
    if (!r.ok()) co_return wrap(std::move(r).error(), "create ResourceClaim for pod " + p->metadata.name);
    expect_.wrote(key, r->metadata.resource_version);
    co_return r->metadata.name;
  }

  Task<Status> sync_claim(kube::ObjectKey k) {
    std::shared_ptr<const ResourceClaim> c = claims_.get(k);
    if (!c) co_return ok();
    std::set<std::string> gone;
    for (auto& u : c->status.reserved_for) {
      if (u.resource != "pods" || !u.api_group.empty()) continue;
      PodPtr p = pods_.get(k.ns, u.name);
      if (p && p->metadata.uid == u.uid) {
        if (is_pod_done(*p)) gone.insert(u.uid);
        continue;
      }
      Result<Pod> live = co_await client_.get<Pod>(k.ns, u.name);  // it may be newer than what we know
      if (!live.ok() && live.error().code != Code::kNotFound) co_return std::move(live).error();
      if (!live.ok() || live->metadata.uid != u.uid) gone.insert(u.uid);
    }
    const kube::meta::OwnerReference* o = controller_of(c->metadata);
    PodPtr owner = o && o->kind == "Pod" ? pods_.get(k.ns, o->name) : nullptr;
    ClaimPlan plan = plan_claim(
        *c, [&](auto& u) { return gone.count(u.uid) == 0; }, owner);
    if (plan.write_status) {
      std::vector<std::string> finalizers = plan.next.metadata.finalizers;
      Result<ResourceClaim> r = co_await client_.update_status<ResourceClaim>(std::move(plan.next));
      if (!r.ok()) co_return gone_is_fine(std::move(r).error());
      plan.next = std::move(*r);
      plan.next.metadata.finalizers = std::move(finalizers);
    }
    if (plan.write_finalizers) {
      Result<ResourceClaim> r = co_await client_.update<ResourceClaim>(std::move(plan.next));
      if (!r.ok()) co_return gone_is_fine(std::move(r).error());
    }
    if (plan.remove) {
      kube::DeleteOptions d;
      d.uid = c->metadata.uid;
      Status s = co_await client_.remove<ResourceClaim>(k.ns, k.name, std::move(d));
      if (!s.ok()) co_return gone_is_fine(std::move(s).error());
    }
    co_return ok();
  }
  static Status gone_is_fine(Error e) {
    if (e.code == Code::kNotFound) return ok();
    return e;
  }

  kube::Client client_;
  kube::EventRecorder events_;
  kube::Informer<Pod>& pods_;
  kube::Informer<ResourceClaim>& claims_;
  kube::Informer<ResourceClaimTemplate>& templates_;
  Expectations expect_;
  kube::Controller queue_;
};

}  // namespace

std::unique_ptr<Runner> make_resource_claim(const Context& c) { return std::make_unique<ResourceClaimController>(c); }

}  // namespace caravel::controllers
