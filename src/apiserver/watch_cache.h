// The watch cache: all objects of one resource as they were last written, and a window of what happened
// before. get, list and watch are answered from it and never touch the storage engine.
//
//   WatchCache   one resource: objects, window, watchers
//   Cacher       all resources: follows the store's one stream of events and hands them out
//
// Bytes are shared: the engine, the cache, the window and every response point at the same text, and an
// event's wire form is made once for all watchers.
// Bounds: kWindowEvents and kWindowBytes per resource; a watcher that is kWatchQueue events behind is
// cut off and resumes from its last resourceVersion.
// Threading: one executor.
#pragma once

#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>

#include "apiserver/request.h"
#include "apiserver/selector.h"
#include "base/json.h"
#include "base/scope.h"
#include "store/store.h"

namespace caravel::apiserver {

constexpr size_t kWindowEvents = 16'384;
constexpr size_t kWindowBytes = 32u << 20;
constexpr size_t kWatchQueue = 16'384;
constexpr size_t kDecodedKept = 1'024;  // recently written objects kept decoded, for in-process readers

using ValuePtr = std::shared_ptr<const json::Value>;

struct Object {
  std::string ns, name;
  Bytes bytes;
  int64_t revision = 0;
  Pairs labels;
  Pairs fields;  // selectable ones other than metadata.name and metadata.namespace
  // The decoded object; parsed when not at hand.
  ValuePtr value() const;
  mutable ValuePtr decoded;
  mutable std::weak_ptr<const json::Value> elsewhere;  // the same, when we do not keep it but somebody in this process may
  mutable std::shared_ptr<kube::Decoded> typed;        // made for the first in-process reader
};
using ObjectPtr = std::shared_ptr<const Object>;

// The same object as bytes with another resourceVersion.
Bytes restamp(const Bytes& bytes, int64_t revision);

enum class Change { kAdded,
                    kModified,
                    kDeleted };
std::string_view change_name(Change c);

struct CacheEvent {
  Change change = Change::kAdded;
  int64_t revision = 0;
  ObjectPtr object;    // after; for kDeleted the last state, stamped with the deletion's revision
  ObjectPtr previous;  // before; null for kAdded
  // Made on first use.
  const Bytes& wire(Change as) const;
  // The state before, stamped with this event's revision: what a watcher sees when an object leaves its selector.
  const ObjectPtr& leaving() const;

 private:
  mutable Bytes wire_[3];
  mutable ObjectPtr leaving_;
};
using CacheEventPtr = std::shared_ptr<const CacheEvent>;
Bytes make_wire(std::string_view type, const std::string& object);

// What a list or watch selects.
struct Filter {
  std::string ns;  // "": all
  LabelSelector labels;
  FieldSelector fields;
  // About fields of another version than the stored one, which a webhook must show first: not looked at here.
  FieldSelector shown;
  bool matches(const Object& o) const;
};
bool fields_match(const FieldSelector& fields, const std::string& name, const std::string& ns, const Pairs& values);

class WatchCache;

class CacheWatch {
 public:
  struct Item {
    Change as = Change::kAdded;
    CacheEventPtr event;  // null for the initial state
    ObjectPtr object;
    int64_t revision = 0;
  };
  ~CacheWatch();
  // What has gathered; waits until something has, or `timeout` (empty). ended() tells an end from a timeout.
  Task<std::vector<Item>> next(Duration timeout);
  // While next() waits and nothing has gathered, events are offered here; those that it refuses gather.
  std::function<bool(const Item&)> direct;
  bool ended() const { return ended_; }
  bool has_pending() const { return !queue_.empty(); }
  void end();
  // Every event up to here has been queued or filtered.
  int64_t revision() const;

 private:
  friend class WatchCache;
  CacheWatch(Executor& ex, WatchCache* cache, Filter filter);
  void offer(const CacheEventPtr& e);
  WatchCache* cache_;
  std::shared_ptr<bool> cache_alive_;
  Filter filter_;
  std::vector<Item> queue_;
  Event ready_;
  bool ended_ = false;
  bool waiting_ = false;
  int64_t from_ = 0;  // events at or before are not for this watch
};

class WatchCache {
 public:
  using FieldExtractor = std::function<void(const json::Value&, Pairs&)>;
  WatchCache(Executor& ex, bool namespaced, FieldExtractor fields, const int64_t* revision);
  ~WatchCache();

  ObjectPtr get(std::string_view ns, std::string_view name) const;
  size_t size() const { return objects_.size(); }
  const std::map<std::string, ObjectPtr, std::less<>>& objects() const { return objects_; }

  struct ListQuery {
    const Filter* filter = nullptr;
    int64_t revision = 0;  // 0: now
    size_t limit = 0;
    std::string start;  // key to start at ("ns/name")
  };
  struct ListPage {
    std::vector<ObjectPtr> items;
    std::string next;      // start of the next page; "" at the end
    size_t remaining = 0;  // objects after this page (only counted without selectors)
  };
  // kGone when the revision has left the window.
  Result<ListPage> list(const ListQuery& q) const;

  // from 0: only what comes. Otherwise events after `from`; kGone when it has left the window.
  Result<std::unique_ptr<CacheWatch>> watch(Filter filter, int64_t from);
  int64_t oldest() const { return oldest_; }
  // Of the last change of this resource.
  int64_t revision() const { return *revision_; }
  size_t watchers() const { return watchers_.size(); }
  // Ends all watches (the resource is no longer served).
  void end_watches();
  // Called in order for every event: for the server's own indexes (RBAC rules, CRDs, services).
  void add_listener(std::function<void(const CacheEvent&)> f) { listeners_.push_back(std::move(f)); }

  // When the resource's schema changes: other fields are selectable, and objects read differently (`change`
  // tells whether it changed one). Their revisions stay; watchers are not told.
  void reread(FieldExtractor fields, const std::function<bool(json::Value&)>& change);

  // --- fed by Cacher ---
  void load(const store::ListResult& all, std::string_view prefix);
  void apply(const store::Event& e, std::string_view key);
  static std::string key_of(std::string_view ns, std::string_view name);

 private:
  friend class CacheWatch;
  std::shared_ptr<Object> make_object(std::string_view key, const Bytes& bytes, int64_t revision, std::shared_ptr<void> attachment) const;
  void keep_decoded(std::shared_ptr<Object> object);
  Executor* ex_;
  bool namespaced_;
  FieldExtractor fields_;
  const int64_t* revision_;
  std::map<std::string, ObjectPtr, std::less<>> objects_;
  std::deque<CacheEventPtr> window_;
  size_t window_bytes_ = 0;
  int64_t oldest_ = 0;  // every event after this revision is in the window
  std::vector<CacheWatch*> watchers_;
  std::vector<std::function<void(const CacheEvent&)>> listeners_;
  std::deque<std::shared_ptr<Object>> decoded_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

// Follows the store.
class Cacher {
 public:
  Cacher(Executor& ex, store::Store& store);
  ~Cacher();
  // Starts to follow; before any cache is made.
  Task<Status> start();
  // group "" is the core group.
  Task<Result<WatchCache*>> open(std::string group, std::string plural, bool namespaced, WatchCache::FieldExtractor fields);
  void close(const std::string& group, const std::string& plural);
  int64_t revision() const { return revision_; }
  // Waits until the caches show `revision`; false after `timeout`.
  Task<bool> wait_for(int64_t revision, Duration timeout);
  static std::string prefix(std::string_view group, std::string_view plural);

 private:
  void on_events(std::span<const store::Event> events);
  struct Slot {
    std::unique_ptr<WatchCache> cache;
    bool loading = true;
    int64_t loaded = 0;
    std::vector<store::Event> held;
  };
  Executor* ex_;
  store::Store* store_;
  std::unique_ptr<store::Subscription> sub_;
  std::map<std::string, std::unique_ptr<Slot>, std::less<>> slots_;  // by prefix
  int64_t revision_ = 0;
  Event advanced_;
};

}  // namespace caravel::apiserver
