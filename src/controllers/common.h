// What the workload controllers share: pods' states, owner references, selectors, parallel writes.
#pragma once

#include <algorithm>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <unordered_set>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"
#include "kube/informer.h"
#include "kube/types/core.h"
#include "kube/types/meta.h"

namespace caravel::controllers {

using PodPtr = std::shared_ptr<const kube::core::Pod>;

// --- pods
bool is_terminating(const kube::meta::ObjectMeta& m);
bool is_finished(const kube::core::Pod& p);  // Succeeded or Failed
bool is_active(const kube::core::Pod& p);    // neither finished nor terminating
const kube::core::PodCondition* condition(const kube::core::Pod& p, std::string_view type);
bool is_ready(const kube::core::Pod& p);
// Ready since at least min_ready_seconds.
bool is_available(const kube::core::Pod& p, int32_t min_ready_seconds, Time now);
int64_t restarts(const kube::core::Pod& p);
// The order in which a controller deletes pods: those that serve least go first. `on_node` counts the
// controller's pods per node, so that crowded nodes lose pods first.
bool delete_before(const kube::core::Pod& a, const kube::core::Pod& b, const std::map<std::string, int>& on_node, Time now);
// What the Service and workload controllers take a pod from its template with.
kube::core::Pod pod_from_template(const kube::core::PodTemplateSpec& t, const std::string& ns, const std::string& generate_name);
// Text that two equal templates share: FNV over the sorted JSON, in the safe alphabet of names.
std::string template_hash(const kube::core::PodTemplateSpec& t, std::optional<int32_t> collisions);

// --- selectors
// A null selector selects nothing; an empty one everything.
bool matches(const std::optional<kube::meta::LabelSelector>& s, const std::map<std::string, std::string>& labels);
bool matches(const kube::meta::LabelSelector& s, const std::map<std::string, std::string>& labels);
bool matches(const std::map<std::string, std::string>& selector, const std::map<std::string, std::string>& labels);

// --- owners
const kube::meta::OwnerReference* controller_of(const kube::meta::ObjectMeta& m);
bool is_controlled_by(const kube::meta::ObjectMeta& m, const std::string& uid);
template <class Owner>
kube::meta::OwnerReference owner_reference(const Owner& o) {
  kube::meta::OwnerReference r;
  r.api_version = Owner::resource().api_version();
  r.kind = Owner::resource().kind;
  r.name = o.metadata.name;
  r.uid = o.metadata.uid;
  r.controller = true;
  r.block_owner_deletion = true;
  return r;
}
// Indexes an informer's objects by the uid of their controller, as "owner".
inline constexpr const char* kOwnerIndex = "owner";
template <class T>
void add_owner_index(kube::Informer<T>& informer) {
  informer.add_index(kOwnerIndex, [](const T& o) {
    std::vector<std::string> out;
    if (const kube::meta::OwnerReference* c = controller_of(o.metadata)) out.push_back(c->uid);
    return out;
  });
}
// Orphans by namespace, as "orphan": candidates for adoption.
inline constexpr const char* kOrphanIndex = "orphan";
template <class T>
void add_orphan_index(kube::Informer<T>& informer) {
  informer.add_index(kOrphanIndex, [](const T& o) {
    std::vector<std::string> out;
    if (!controller_of(o.metadata)) out.push_back(o.metadata.namespace_);
    return out;
  });
}

// `finalizer`, if any, comes and goes with the owner.
json::Value adoption_patch(const kube::meta::OwnerReference& owner, const std::string& uid, const std::string& finalizer = "");
json::Value release_patch(const std::string& owner_uid, const std::string& uid, const std::string& finalizer = "");

// Asks the server whether the owner is still there and stays: our copy may be from before its deletion. Upstream
// asks before it adopts. We ask before we create as well: while a watch lags, the garbage collector would take
// away what is made for an owner that is gone, the event of that would make us make it again, and so on, as fast
// as the network allows (upstream's client is held at 20 calls a second, ours is not).
template <class Owner>
Task<Result<bool>> still_there(kube::Client client, std::shared_ptr<const Owner> owner) {
  Result<json::Value> live = co_await client.get(Owner::resource(), owner->metadata.namespace_, owner->metadata.name);
  if (!live.ok()) {
    if (live.error().code == Code::kNotFound) co_return false;
    co_return std::move(live).error();
  }
  const json::Value& m = std::as_const(*live)["metadata"];
  co_return m["uid"].as_string() == owner->metadata.uid && !m.find("deletionTimestamp");
}

// The objects that `owner` controls, after adopting orphans that its selector matches and releasing
// owned ones that it no longer matches. Failures to adopt leave the object out.
template <class T, class Owner>
Task<std::vector<std::shared_ptr<const T>>> claim(kube::Client client, const kube::Informer<T>* informer, std::shared_ptr<const Owner> owner,
                                                  std::optional<kube::meta::LabelSelector> selector, std::string finalizer = std::string()) {
  std::vector<std::shared_ptr<const T>> out;
  std::vector<std::shared_ptr<const T>> owned = informer->by_index(kOwnerIndex, owner->metadata.uid);
  for (auto& o : owned) {
    if (o->metadata.namespace_ != owner->metadata.namespace_) continue;
    if (matches(selector, o->metadata.labels)) {
      out.push_back(o);
    } else if (!is_terminating(owner->metadata) && !is_terminating(o->metadata)) {
      json::Value p = release_patch(owner->metadata.uid, o->metadata.uid, finalizer);
      auto r = co_await client.patch(T::resource(), o->metadata.namespace_, o->metadata.name, kube::PatchType::kStrategic, std::move(p));
      (void)r;  // gone or changed meanwhile: the next look decides
    }
  }
  if (is_terminating(owner->metadata)) co_return out;
  std::vector<std::shared_ptr<const T>> orphans = informer->by_index(kOrphanIndex, owner->metadata.namespace_);
  bool owner_checked = false;
  for (auto& o : orphans) {
    if (is_terminating(o->metadata) || !matches(selector, o->metadata.labels)) continue;
    if (!owner_checked) {
      Result<bool> stays = co_await still_there<Owner>(client, owner);
      if (!stays.ok() || !*stays) co_return out;
      owner_checked = true;
    }
    json::Value p = adoption_patch(owner_reference(*owner), o->metadata.uid, finalizer);
    auto r = co_await client.patch<T>(o->metadata.namespace_, o->metadata.name, kube::PatchType::kStrategic, std::move(p));
    if (r.ok()) out.push_back(std::make_shared<const T>(std::move(*r)));
  }
  co_return out;
}

// --- expectations
// Writes that an informer has not shown yet. A controller that creates objects with generated names must
// not look at a copy from before its own writes, or it would create them again.
class Expectations {
 public:
  void wrote(const std::string& key, const std::string& resource_version);
  void deleted(const std::string& uid) { deleted_.insert(uid); }
  void gone(const std::string& uid) { deleted_.erase(uid); }
  bool is_deleted(const std::string& uid) const { return deleted_.count(uid) > 0; }
  // False while the informer is behind the last write for `key`.
  template <class T>
  bool met(const std::string& key, const kube::Informer<T>& informer) {
    auto it = versions_.find(key);
    if (it == versions_.end()) return true;
    if (!informer.has_seen(it->second)) return false;
    versions_.erase(it);
    return true;
  }

 private:
  std::map<std::string, std::string> versions_;
  std::unordered_set<std::string> deleted_;
};
// How soon to look again when expectations are not met; events normally come sooner.
inline constexpr Duration kExpectationRetry = std::chrono::milliseconds(200);

// --- parallel writes
// Upstream's slow start: 1, 2, 4, ... at a time, so that a refused template does not cost a thousand calls.
inline constexpr size_t kBatchMax = 500;

namespace detail {
template <class T>
Task<void> store_one(Task<T> t, std::optional<T>* out, size_t* left, Event* done) {
  T v = co_await std::move(t);
  out->emplace(std::move(v));
  if (--*left == 0) done->set();
}
}  // namespace detail

// Runs all at once; results in order.
template <class T>
Task<std::vector<T>> run_all(Executor& ex, std::vector<Task<T>> tasks) {
  std::vector<std::optional<T>> results(tasks.size());
  size_t left = tasks.size();
  Event done(ex);
  TaskScope scope;
  for (size_t i = 0; i < tasks.size(); ++i) scope.spawn(detail::store_one<T>(std::move(tasks[i]), &results[i], &left, &done));
  if (left > 0) co_await done.wait();
  std::vector<T> out;
  out.reserve(results.size());
  for (auto& r : results) out.push_back(std::move(*r));
  co_return out;
}

// Creates pods in growing batches. Stops after a batch with a failure; `error` is the first one.
struct Created {
  std::vector<kube::core::Pod> pods;
  std::optional<Error> error;
};
Task<Created> create_pods(Executor& ex, kube::Client client, std::vector<kube::core::Pod> pods);
// Deletes with a uid precondition; those that are gone already count as deleted.
Task<Status> delete_pods(Executor& ex, kube::Client client, std::vector<PodPtr> pods);

}  // namespace caravel::controllers
