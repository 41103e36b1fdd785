// Garbage collector: objects whose owners are all gone go too.
//
// Upstream's promises: an object with any living owner stays (its references to dead ones are removed);
// "foreground" deletion keeps the owner until its blocking dependents are gone; "orphan" strips the
// references first. An owner counts as gone only after the API server has said so for its uid. All kinds
// that discovery names are watched, CRDs' included.
// Different here: one graph of metadata (owner_graph.h) is looked at by uid, level-triggered, instead of a stream of graph
// events with virtual nodes.
#include <unordered_map>

#include "controllers/common.h"
#include "controllers/context.h"
#include "controllers/discovery.h"
#include "controllers/owner_graph.h"

namespace caravel::controllers {

namespace {

constexpr Duration kDiscoveryPeriod = 30s;
constexpr Duration kDiscoveryRetry = 2s;
constexpr Duration kSyncPatience = std::chrono::seconds(10);
// An owner that was found absent is not asked for again within this time.
constexpr Duration kAbsentFor = 500s;
constexpr int kGcWorkers = 20;

using Node = GraphNode;
using Owner = OwnerRef;

// High-volume kinds that own nothing and are owned by nothing worth the memory.
bool is_ignored(const kube::Resource& r) { return r.plural == "events" && (r.group.empty() || r.group == "events.k8s.io"); }

class GarbageCollector final : public Runner {
 public:
  explicit GarbageCollector(const Context& c)
      : ex_(c.ex),
        client_(c.client("generic-garbage-collector")),
        events_(c.ex, client_, "garbage-collector-controller"),
        queue_(
            c.ex, "garbage-collector", [this](std::string uid) { return look_at(std::move(uid)); }, kGcWorkers) {}

  void start(TaskScope& scope) override { scope.spawn(run(this)); }

 private:
  struct Monitor {
    ServedResource served;
    std::unique_ptr<kube::Reflector> reflector;
    std::set<std::string> uids;
    bool synced = false;
    TaskScope scope;
  };

  static Task<void> run(GarbageCollector* self) {
    TaskScope workers;
    bool started = false;
    for (;;) {
      const std::shared_ptr<const Discovered> before = self->discovery_.result;
      Result<std::shared_ptr<const Discovered>> d = co_await rediscover(self->client_, &self->discovery_);
      if (!d.ok()) self->log_.warn("discovery failed", {{"error", d.error().message}});
      else if (*d != before) self->watch(**d);
      if (!started && d.ok()) {
        // Nothing is judged before everything that exists has been seen once. A kind may go while it is waited for: then
        // only another discovery helps.
        const Time patience = self->ex_.now() + kSyncPatience;
        std::string waiting;
        while (!(waiting = self->not_synced()).empty() && self->ex_.now() < patience) co_await sleep(self->ex_, 50ms);
        if (waiting.empty()) {
          self->queue_.start(workers);
          started = true;
        } else {
          self->log_.warn("nothing is collected yet: some kinds cannot be listed", {{"resources", waiting}});
        }
      }
      co_await sleep(self->ex_, started && d.ok() ? kDiscoveryPeriod : kDiscoveryRetry);
    }
  }

  // The kinds whose objects have not been seen yet; "" when all have.
  std::string not_synced() const {
    std::string out;
    for (auto& [r, m] : monitors_)
      if (!m->synced) out += (out.empty() ? "" : ", ") + r.group_resource();
    return out;
  }

  void watch(const Discovered& d) {
    std::map<kube::Resource, const ServedResource*> wanted;
    for (auto& s : d.resources)
      if (s.verbs.count("list") && s.verbs.count("watch") && s.verbs.count("delete") && !is_ignored(s.resource)) wanted[s.resource] = &s;
    if (d.failed_groups.empty())
      for (auto it = monitors_.begin(); it != monitors_.end();) {
        if (wanted.count(it->first)) {
          ++it;
          continue;
        }
        // The kind is served no more (its CRD is gone), and with it its objects.
        std::set<std::string> uids = it->second->uids;
        it = monitors_.erase(it);
        for (auto& u : uids) forget(u);
      }
    for (auto& [r, s] : wanted) {
      kinds_[r.api_version() + "/" + r.kind] = r;
      if (monitors_.count(r)) continue;
      auto m = std::make_unique<Monitor>();
      m->served = *s;
      Monitor* raw = m.get();
      kube::Reflector::Callbacks cb;
      cb.replace = [this, raw](std::vector<json::Value> items) { on_list(raw, items); };
      cb.event = [this, raw](kube::WatchEventType t, kube::Document v) { on_event(raw, t, *v); };
      m->reflector = std::make_unique<kube::Reflector>(ex_, client_, r, kube::InformerOptions(), std::move(cb));
      m->scope.spawn(m->reflector->run());
      monitors_[r] = std::move(m);
    }
  }

  void on_list(Monitor* m, const std::vector<json::Value>& items) {
    std::set<std::string> gone = m->uids;
    for (auto& v : items) {
      Node n = node_of(m->served.resource, v);
      gone.erase(n.uid);
      m->uids.insert(n.uid);
      remember(std::move(n));
    }
    for (auto& u : gone) {
      m->uids.erase(u);
      forget(u);
    }
    m->synced = true;
  }
  void on_event(Monitor* m, kube::WatchEventType t, const json::Value& v) {
    if (t != kube::WatchEventType::kDeleted && graph_.knows(v)) return;
    Node n = node_of(m->served.resource, v);
    if (t == kube::WatchEventType::kDeleted) {
      m->uids.erase(n.uid);
      forget(n.uid);
    } else {
      m->uids.insert(n.uid);
      remember(std::move(n));
    }
  }

  void remember(Node n) {
    absent_.erase(n.uid);
    std::vector<Misplaced> misplaced;
    for (auto& uid : graph_.put(std::move(n), &misplaced)) queue_.enqueue(uid);
    for (auto& m : misplaced) {
      const Node& d = m.dependent;
      events_.warning(kube::ObjectReference{d.resource.api_version(), d.resource.kind, d.ns, d.name, d.uid, "", ""}, "OwnerRefInvalidNamespace", misplaced_text(m));
    }
  }
  void forget(const std::string& uid) {
    for (auto& other : graph_.erase(uid)) queue_.enqueue(other);
  }

  Task<Result<kube::Requeue>> look_at(std::string uid) {
    const Node* known = graph_.find(uid);
    if (!known) co_return kube::Requeue::never();
    Node n = *known;
    if (n.deleting) {
      if (n.has(kOrphanFinalizer)) {
        Result<kube::Requeue> r = co_await orphan_dependents(n);
        co_return r;
      }
      if (n.has(kForegroundFinalizer)) {
        Result<kube::Requeue> r = co_await delete_dependents(n);
        co_return r;
      }
      co_return kube::Requeue::never();
    }
    if (n.owners.empty()) co_return kube::Requeue::never();
    Result<kube::Requeue> r = co_await collect(n);
    co_return r;
  }

  // What is known of an owner. kUnknown: the API server could not be asked; kImpossible: it never can.
  enum class Life { kSolid,
                    kGone,
                    kWaiting,
                    kUnknown,
                    kImpossible };

  Task<Life> life_of(Node n, Owner o) {
    // A reference across namespaces, or by a wrong name or kind, means nobody that the graph knows: the server has the last word.
    if (const Node* known = graph_.find(o.uid); known && known->is_meant_by(o) && (known->ns.empty() || known->ns == n.ns))
      co_return known->deleting && known->has(kForegroundFinalizer) ? Life::kWaiting : Life::kSolid;
    auto kind = kinds_.find(o.api_version + "/" + o.kind);
    if (kind == kinds_.end()) {
      // Another version of a known kind, or a kind that is not served: only the former can be asked.
      std::string group = o.api_version.substr(0, o.api_version.find('/') == std::string::npos ? 0 : o.api_version.find('/'));
      for (auto k = kinds_.begin(); k != kinds_.end(); ++k)
        if (k->second.kind == o.kind && k->second.group == group) kind = k;
      if (kind == kinds_.end()) co_return Life::kUnknown;
    }
    kube::Resource r = kind->second;
    if (r.namespaced && n.ns.empty()) co_return Life::kImpossible;
    std::string ns;
    if (r.namespaced) ns = n.ns;
    // Absent is who was asked for: the same uid may be meant rightly elsewhere.
    const std::string asked = r.group_resource() + "/" + ns + "/" + o.name;
    if (auto a = absent_.find(o.uid); a != absent_.end())
      if (auto when = a->second.find(asked); when != a->second.end() && ex_.now() - when->second < kAbsentFor) co_return Life::kGone;
    Result<json::Value> live = co_await client_.get(r, ns, o.name);
    if (!live.ok() && live.error().code != Code::kNotFound) co_return Life::kUnknown;
    if (!live.ok() || std::as_const(*live).path({"metadata", "uid"}).as_string() != o.uid) {
      if (absent_.size() > 100'000) absent_.clear();
      absent_[o.uid][asked] = ex_.now();
      co_return Life::kGone;
    }
    Node w = node_of(r, *live);
    co_return w.deleting&& w.has(kForegroundFinalizer) ? Life::kWaiting : Life::kSolid;
  }

  Task<Owners> owners_of(Node n) {
    Owners v;
    for (auto& o : n.owners) {
      Life l = co_await life_of(n, o);
      if (l == Life::kUnknown) v.unknown = true;
      else if (l == Life::kImpossible) v.impossible = true;
      else (l == Life::kSolid ? v.solid : l == Life::kGone ? v.gone
                                                           : v.waiting)
               .push_back(o);
    }
    co_return v;
  }

  // An owner that no watch has shown, only an answer of the server, may go without a word: then its dependents are looked
  // at again until it is watched. (Upstream keeps a virtual node for it.)
  kube::Requeue until_owners_are_watched(const Node& n) const {
    for (auto& o : n.owners)
      if (!graph_.find(o.uid)) return kube::Requeue::in(kDiscoveryPeriod);
    return kube::Requeue::never();
  }

  // A set may have thousands, and judge() looks at them only when an owner waits.
  std::vector<Node> dependents_if_asked(const Node& n, const Owners& owners) const {
    return owners.waiting.empty() ? std::vector<Node>() : graph_.dependents_of(n.uid);
  }

  // Our copy says where to look, the live object decides, as upstream: the watch may be behind what others
  // and we ourselves have written, and a delete on an old resourceVersion would fail until it catches up.
  Task<Result<kube::Requeue>> collect(Node seen) {
    using What = GarbageVerdict::What;
    Owners owners = co_await owners_of(seen);
    GarbageVerdict v = judge(seen, owners, dependents_if_asked(seen, owners));
    if (v.what == What::kAskAgain) co_return kube::Requeue::in(kDiscoveryPeriod);
    if (owners.impossible) co_return kube::Requeue::never();
    if (v.what == What::kStay) co_return until_owners_are_watched(seen);
    Result<json::Value> live = co_await client_.get(seen.resource, seen.ns, seen.name);
    if (!live.ok()) {
      if (live.error().code == Code::kNotFound) co_return kube::Requeue::never();
      co_return std::move(live).error();
    }
    Node n = node_of(seen.resource, *live);
    if (n.uid != seen.uid || n.deleting) co_return kube::Requeue::never();  // the watch will tell
    owners = co_await owners_of(n);
    v = judge(n, owners, dependents_if_asked(n, owners));
    if (v.what == What::kAskAgain) co_return kube::Requeue::in(kDiscoveryPeriod);
    if (owners.impossible) co_return kube::Requeue::never();
    if (v.what == What::kStay) co_return until_owners_are_watched(n);
    if (v.what == What::kDropReferences) {
      Status s = co_await drop_references(n, v.drop);
      if (!s.ok()) co_return std::move(s).error();
      co_return kube::Requeue::never();
    }
    if (v.unblock) {
      Status s = co_await unblock(n);
      if (!s.ok()) co_return std::move(s).error();
    }
    kube::DeleteOptions o;
    o.uid = n.uid;
    o.propagation_policy = v.propagation;
    if (v.by_version) o.resource_version = n.version;
    Status s = co_await remove(n, o);
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  // A conflict only counts when the owners are others now: an object that somebody writes all the time
  // must not stay for ever.
  Task<Status> remove(Node n, kube::DeleteOptions o) {
    Result<json::Value> r = co_await client_.remove(n.resource, n.ns, n.name, o);
    if (!r.ok() && r.error().code == Code::kConflict && !o.resource_version.empty()) {
      Result<json::Value> live = co_await client_.get(n.resource, n.ns, n.name);
      if (live.ok()) {
        Node now = node_of(n.resource, *live);
        if (now.uid != n.uid) co_return ok();
        if (now.version != n.version && now.owners == n.owners) {
          o.resource_version.clear();
          r = co_await client_.remove(n.resource, n.ns, n.name, o);
        }
      } else {
        r = std::move(live).error();
      }
    }
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Task<Result<kube::Requeue>> delete_dependents(Node n) {
    bool blocked = false;
    for (auto& d : graph_.dependents_of(n.uid)) {
      bool blocks = false;
      for (auto& o : d.owners)
        if (o.uid == n.uid && o.block) blocks = true;
      blocked = blocked || blocks;
      if (!d.deleting) queue_.enqueue(d.uid);
    }
    if (blocked) co_return kube::Requeue::never();
    Status s = co_await drop_finalizer(n, kForegroundFinalizer);
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  Task<Result<kube::Requeue>> orphan_dependents(Node n) {
    std::vector<Node> dependents = graph_.dependents_of(n.uid);
    for (auto& d : dependents) {
      Status s = co_await drop_references(d, std::vector<std::string>(1, n.uid));
      if (!s.ok()) co_return std::move(s).error();
    }
    Status s = co_await drop_finalizer(n, kOrphanFinalizer);
    if (!s.ok()) co_return std::move(s).error();
    co_return kube::Requeue::never();
  }

  // Works on the live object with its resourceVersion: strategic merge does not exist for custom resources.
  Task<Status> drop_references(Node n, std::vector<std::string> owner_uids) {
    Result<json::Value> live = co_await client_.get(n.resource, n.ns, n.name);
    if (!live.ok()) {
      if (live.error().code == Code::kNotFound) co_return ok();
      co_return std::move(live).error();
    }
    const json::Value object = std::move(*live);
    const json::Value& m = object["metadata"];
    if (m["uid"].as_string() != n.uid) co_return ok();
    json::Array keep;
    for (const json::Value& ref : m["ownerReferences"].as_array())
      if (std::find(owner_uids.begin(), owner_uids.end(), ref["uid"].as_string()) == owner_uids.end()) keep.push_back(ref);
    if (keep.size() == m["ownerReferences"].size()) co_return ok();
    Status s = co_await patch_metadata(n, m["resourceVersion"].as_string(), "ownerReferences", std::move(keep));
    co_return s;
  }
  Task<Status> unblock(Node n) {
    Result<json::Value> live = co_await client_.get(n.resource, n.ns, n.name);
    if (!live.ok()) {
      if (live.error().code == Code::kNotFound) co_return ok();
      co_return std::move(live).error();
    }
    const json::Value object = std::move(*live);
    const json::Value& m = object["metadata"];
    if (m["uid"].as_string() != n.uid) co_return ok();
    json::Array refs = m["ownerReferences"].as_array();
    for (json::Value& ref : refs) ref["blockOwnerDeletion"] = false;
    Status s = co_await patch_metadata(n, m["resourceVersion"].as_string(), "ownerReferences", std::move(refs));
    co_return s;
  }
  Task<Status> drop_finalizer(Node n, const char* finalizer) {
    Result<json::Value> live = co_await client_.get(n.resource, n.ns, n.name);
    if (!live.ok()) {
      if (live.error().code == Code::kNotFound) co_return ok();
      co_return std::move(live).error();
    }
    const json::Value object = std::move(*live);
    const json::Value& m = object["metadata"];
    if (m["uid"].as_string() != n.uid) co_return ok();
    json::Array keep;
    for (const json::Value& f : m["finalizers"].as_array())
      if (f.as_string() != finalizer) keep.push_back(f);
    if (keep.size() == m["finalizers"].size()) co_return ok();
    Status s = co_await patch_metadata(n, m["resourceVersion"].as_string(), "finalizers", std::move(keep));
    co_return s;
  }
  Task<Status> patch_metadata(Node n, std::string version, const char* field, json::Array value) {
    json::Value p = json::Value::object();
    json::Value& m = p["metadata"];
    m["uid"] = n.uid;
    m["resourceVersion"] = std::move(version);
    m[field] = value.empty() ? json::Value() : json::Value(std::move(value));
    Result<json::Value> r = co_await client_.patch(n.resource, n.ns, n.name, kube::PatchType::kMerge, std::move(p));
    if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
    co_return ok();
  }

  Executor& ex_;
  kube::Client client_;
  kube::EventRecorder events_;
  Log log_{"garbage-collector"};
  Discovery discovery_;
  OwnerGraph graph_;
  std::unordered_map<std::string, std::map<std::string, Time>> absent_;  // by uid, then by what was asked for
  std::map<std::string, kube::Resource> kinds_;                          // "apps/v1/Deployment"
  kube::Controller queue_;
  std::map<kube::Resource, std::unique_ptr<Monitor>> monitors_;
};

}  // namespace

std::unique_ptr<Runner> make_garbage_collector(const Context& c) { return std::make_unique<GarbageCollector>(c); }

}  // namespace caravel::controllers
