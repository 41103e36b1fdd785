#include "scheduler/claims.h"

#include <algorithm>

#include "scheduler/shell.h"

namespace caravel::scheduler {

using kube::resource::AllocationResult;
using kube::resource::ResourceClaim;

namespace {

constexpr const char* kFinalizer = "resource.kubernetes.io/delete-protection";
constexpr size_t kUsersMax = 256;  // of one claim
constexpr int kTries = 5;

std::string quoted(const std::string& s) { return "\"" + s + "\""; }

void add_devices(const AllocationResult& a, std::set<DeviceId>& out) {
  for (auto& r : a.devices.results)
    if (!r.admin_access.value_or(false)) out.insert({r.driver, r.pool, r.device});
}

bool is_reserved_for(const ResourceClaim& c, const std::string& uid) {
  return std::any_of(c.status.reserved_for.begin(), c.status.reserved_for.end(), [&](auto& u) { return u.uid == uid; });
}

}  // namespace

Claims::Claims(Executor& ex, kube::Client client) : ex_(&ex), client_(client), claims_(ex, client), slices_(ex, client), classes_(ex, client) {
  claims_.add_handler([this](const auto& old, const auto& now) {
    if (!now || now->status.allocation) promised_.erase((now ? now : old)->metadata.uid);
  });
  slices_.add_handler([this](auto&, auto&) { stale_ = true; });
  classes_.add_handler([this](auto&, auto&) { stale_ = true; });
}

void Claims::start(TaskScope& scope) {
  claims_.start(scope);
  slices_.start(scope);
  classes_.start(scope);
}

Task<void> Claims::wait_synced() {
  co_await claims_.wait_synced();
  co_await slices_.wait_synced();
  co_await classes_.wait_synced();
}

void Claims::on_change(std::function<void()> f) {
  claims_.add_handler([f](auto&, auto&) { f(); });
  slices_.add_handler([f](auto&, auto&) { f(); });
  classes_.add_handler([f](auto&, auto&) { f(); });
}

void Claims::refresh() {
  if (!stale_) return;
  stale_ = false;
  std::vector<std::shared_ptr<const kube::resource::ResourceSlice>> slices;
  for (const auto& [k, s] : slices_.all()) slices.push_back(s);
  std::vector<std::shared_ptr<const kube::resource::DeviceClass>> classes;
  for (const auto& [k, c] : classes_.all()) classes.push_back(c);
  devices_.set_slices(std::move(slices));
  devices_.set_classes(std::move(classes));
}

std::string Claims::name_of(const kube::core::Pod& pod, const kube::core::PodResourceClaim& entry) {
  if (entry.resource_claim_name) return *entry.resource_claim_name;
  for (const auto& s : pod.status.resource_claim_statuses)
    if (s.name == entry.name) return s.resource_claim_name.value_or("");
  return "";
}

Claims::Needs Claims::needs(const kube::core::Pod& pod) {
  refresh();
  Needs out;
  auto fail = [&](std::string why) {
    if (out.problem.empty()) out.problem = std::move(why);
  };
  for (const auto& entry : pod.spec.resource_claims) {
    const std::string name = name_of(pod, entry);
    if (name.empty()) {
      out.unmade = true;
      continue;
    }
    ClaimPtr c = claims_.get(pod.metadata.namespace_, name);
    if (!c) fail("resourceclaim " + quoted(name) + " not found");
    else if (c->metadata.deletion_timestamp) fail("resourceclaim " + quoted(name) + " is being deleted");
    else if (promised_.count(c->metadata.uid)) fail("resourceclaim " + quoted(name) + " is being allocated for another pod");
    else if (!c->status.allocation) {
      out.open.push_back(c);
      fail(devices_.objection(*c));
    } else if (!is_reserved_for(*c, pod.metadata.uid) && c->status.reserved_for.size() >= kUsersMax) fail("resourceclaim in use");
    else out.allocated.push_back(c);
  }
  return out;
}

Result<Devices::Allocations> Claims::allocate(const Needs& needs, const std::string& node, const std::map<std::string, std::string>& labels) {
  for (const auto& c : needs.allocated)
    if (!node_selected(c->status.allocation->node_selector, node, labels)) return make_error(Code::kInvalid, "resourceclaim not available on the node");
  if (needs.open.empty()) return Devices::Allocations();
  std::set<DeviceId> taken;
  for (const auto& [k, c] : claims_.all())
    if (c->status.allocation) add_devices(*c->status.allocation, taken);
  for (const auto& [uid, a] : promised_) add_devices(a, taken);
  return devices_.allocate(needs.open, taken, node, labels);
}

void Claims::promise(const Needs& needs, const Devices::Allocations& allocations) {
  for (size_t i = 0; i < allocations.size(); ++i) promised_[needs.open[i]->metadata.uid] = allocations[i];
}

void Claims::forget(const kube::core::Pod& pod) {
  for (const auto& entry : pod.spec.resource_claims)
    if (ClaimPtr c = claims_.get(pod.metadata.namespace_, name_of(pod, entry))) promised_.erase(c->metadata.uid);
}

Task<Status> Claims::reserve(std::shared_ptr<const kube::core::Pod> pod) {
  for (const auto& entry : pod->spec.resource_claims) {
    std::string name = name_of(*pod, entry);
    Status s = co_await reserve_one(pod->metadata.namespace_, name, pod->metadata.name, pod->metadata.uid);
    if (!s.ok()) co_return wrap(std::move(s).error(), "running PreBind plugin \"DynamicResources\": claim " + pod->metadata.namespace_ + "/" + name);
  }
  co_return ok();
}

// The finalizer first, that devices in use are not forgotten with their claim; then allocation and user in one write.
Task<Status> Claims::reserve_one(std::string ns, std::string name, std::string pod_name, std::string pod_uid) {
  Error last = unavailable("conflict");
  for (int i = 0; i < kTries; ++i) {
    Result<ResourceClaim> live = co_await client_.get<ResourceClaim>(ns, name);
    if (!live.ok()) co_return std::move(live).error();
    if (live->metadata.deletion_timestamp) co_return invalid("is being deleted");
    if (live->status.allocation && is_reserved_for(*live, pod_uid)) co_return ok();
    auto promise = promised_.find(live->metadata.uid);
    if (!live->status.allocation && promise == promised_.end()) co_return invalid("was deallocated elsewhere in the meantime");
    auto& finalizers = live->metadata.finalizers;
    if (std::find(finalizers.begin(), finalizers.end(), kFinalizer) == finalizers.end()) {
      ResourceClaim next = *live;
      next.metadata.finalizers.push_back(kFinalizer);
      Result<ResourceClaim> r = co_await client_.update<ResourceClaim>(std::move(next));
      if (!r.ok() && r.error().code == Code::kConflict) continue;
      if (!r.ok()) co_return std::move(r).error();
      live = std::move(r);
      promise = promised_.find(live->metadata.uid);
    }
    ResourceClaim next = std::move(*live);
    if (!next.status.allocation) {
      if (promise == promised_.end()) co_return invalid("was deallocated elsewhere in the meantime");
      next.status.allocation = promise->second;
      next.status.allocation->allocation_timestamp = Time::from_seconds(ex_->now().seconds());
    }
    kube::resource::ResourceClaimConsumerReference user;
    user.resource = "pods";
    user.name = pod_name;
    user.uid = pod_uid;
    next.status.reserved_for.push_back(std::move(user));
    Result<ResourceClaim> r = co_await client_.update_status<ResourceClaim>(std::move(next));
    if (r.ok()) co_return ok();
    if (r.error().code != Code::kConflict) co_return std::move(r).error();
    last = std::move(r).error();
  }
  co_return last;
}

// A decision about a pod with claims: each node that fits otherwise is asked for devices, and the best that has them is taken.
bool Scheduler::Impl::decide_with_claims(const Attempt& a) {
  const Claims::Needs needs = claims.needs(*a.pod);
  Failure why;
  if (needs.unmade) {  // its status will name the claim
    waiting[a.key] = a.klass;
    queue.failed(a.key, kExtenders, ex.now());
    return false;
  }
  if (!needs.problem.empty() && cluster.node_count() != 0) {
    why.nodes = cluster.node_count();
    why.plugins = kExtenders;  // any event may help
    why.prefilter = needs.problem;
    why.preempts = cluster.profile(a.klass).preempts;
    give_up(a, why, "");
    return false;
  }
  nominations.hide(a.key, priority_of(*a.pod));
  std::vector<NodeId> fit;
  if (a.holders.empty()) fit = cluster.feasible(a.klass);
  why = explain(a);
  std::vector<NodeId> able;
  std::vector<Devices::Allocations> found;
  for (NodeId n : fit) {
    Result<Devices::Allocations> r = claims.allocate(needs, cluster.node_name(n), cluster.nodes().nodes[n].spec.labels);
    if (!r.ok()) {
      ++why.reasons[r.error().message];
      why.plugins |= kExtenders;
      continue;
    }
    able.push_back(n);
    found.push_back(std::move(*r));
  }
  std::string next = a.nominated;
  if (able.empty()) {
    if (why.nodes != 0 && fit.empty()) {
      std::optional<Preemption> victims = find_victims(a, why, next);
      if (victims) next = start_preemption(a, *victims, why);
    }
    nominations.show();
    give_up(a, why, next);
    return false;
  }
  const std::vector<int64_t> scores = cluster.scores(a.klass, able);
  nominations.show();
  std::vector<size_t> best;
  for (size_t i = 0; i < able.size(); ++i) {
    if (!best.empty() && scores[i] < scores[best[0]]) continue;
    if (!best.empty() && scores[i] > scores[best[0]]) best.clear();
    best.push_back(i);
  }
  const size_t chosen = best[cluster.draw(best.size())];
  claims.promise(needs, found[chosen]);
  assume(a, able[chosen]);
  return true;
}

}  // namespace caravel::scheduler
