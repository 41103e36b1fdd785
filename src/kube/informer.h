// Informer<T>: a local, watched copy of a resource. Lists, then watches; on any break it resumes or
// lists again with back-off. Handlers run on the executor, after the cache holds the change.
//
// Threading: one executor. Objects handed out are immutable and shared.
// Level-triggered: handlers are hints to look at the cache; a reconciler never relies on seeing each.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::kube {

struct InformerOptions {
  std::string ns, label_selector, field_selector;
  Duration resync = Duration(0);  // 0: never
};

// The untyped machine: keeps a list/watch going and calls back. One .cc, shared by all types.
class Reflector {
 public:
  struct Callbacks {
    // A full list replaces everything (objects absent from it are gone).
    std::function<void(std::vector<json::Value>)> replace;
    std::function<void(WatchEventType, json::Value)> event;
  };
  Reflector(Executor& ex, Client client, Resource resource, InformerOptions options, Callbacks callbacks);
  Task<void> run();  // until its scope is destroyed

 private:
  Executor* ex_;
  Client client_;
  Resource resource_;
  InformerOptions options_;
  Callbacks callbacks_;
};

template <class T>
class Informer {
 public:
  using Ptr = std::shared_ptr<const T>;
  // old is null for an add, now is null for a delete.
  using Handler = std::function<void(const Ptr& old, const Ptr& now)>;
  using Indexer = std::function<std::vector<std::string>(const T&)>;

  Informer(Executor& ex, Client client, InformerOptions options = {}) : synced_event_(ex), ex_(&ex) {
    Reflector::Callbacks cb;
    cb.replace = [this](std::vector<json::Value> items) { replace(std::move(items)); };
    cb.event = [this](WatchEventType t, json::Value v) { on_event(t, std::move(v)); };
    reflector_ = std::make_unique<Reflector>(ex, client, T::resource(), std::move(options), std::move(cb));
  }
  void add_handler(Handler h) { handlers_.push_back(std::move(h)); }
  // by_index("node", "n1") afterwards gives the objects whose indexer returned "n1".
  void add_index(std::string name, Indexer f) { indexers_[std::move(name)].f = std::move(f); }
  void start(TaskScope& scope) { scope.spawn(reflector_->run()); }
  bool synced() const { return synced_event_.is_set(); }
  Task<void> wait_synced() { co_await synced_event_.wait(); }

  Ptr get(const ObjectKey& key) const {
    auto it = cache_.find(key);
    return it == cache_.end() ? nullptr : it->second;
  }
  Ptr get(std::string ns, std::string name) const { return get(ObjectKey{std::move(ns), std::move(name)}); }
  const std::map<ObjectKey, Ptr>& all() const { return cache_; }
  std::vector<Ptr> in_namespace(const std::string& ns) const {
    std::vector<Ptr> out;
    for (auto it = cache_.lower_bound(ObjectKey{ns, ""}); it != cache_.end() && it->first.ns == ns; ++it) out.push_back(it->second);
    return out;
  }
  std::vector<Ptr> by_index(const std::string& name, const std::string& value) const {
    std::vector<Ptr> out;
    auto it = indexers_.find(name);
    if (it == indexers_.end()) return out;
    auto [b, e] = it->second.entries.equal_range(value);
    for (; b != e; ++b)
      if (Ptr p = get(b->second)) out.push_back(p);
    return out;
  }

 private:
  struct Index {
    Indexer f;
    std::multimap<std::string, ObjectKey> entries;
  };
  static ObjectKey key_of(const T& t) { return {t.metadata.namespace_, t.metadata.name}; }
  void change(const ObjectKey& key, Ptr now) {
    Ptr old = get(key);
    for (auto& [name, index] : indexers_) {
      if (old)
        for (auto& v : index.f(*old)) {
          auto [b, e] = index.entries.equal_range(v);
          for (; b != e; ++b)
            if (b->second == key) {
              index.entries.erase(b);
              break;
            }
        }
      if (now)
        for (auto& v : index.f(*now)) index.entries.emplace(v, key);
    }
    if (now) cache_[key] = now;
    else cache_.erase(key);
    for (auto& h : handlers_) h(old, now);
  }
  void replace(std::vector<json::Value> items) {
    std::map<ObjectKey, Ptr> fresh;
    for (auto& v : items) {
      auto t = from_json<T>(v);
      if (!t.ok()) continue;  // the server sent what our types cannot hold: the reflector logs it
      auto p = std::make_shared<const T>(std::move(*t));
      fresh[key_of(*p)] = p;
    }
    std::vector<ObjectKey> gone;
    for (auto& [k, p] : cache_)
      if (!fresh.count(k)) gone.push_back(k);
    for (auto& k : gone) change(k, nullptr);
    for (auto& [k, p] : fresh) {
      Ptr old = get(k);
      if (!old || old->metadata.resource_version != p->metadata.resource_version) change(k, p);
    }
    synced_event_.set();
  }
  void on_event(WatchEventType type, json::Value v) {
    auto t = from_json<T>(v);
    if (!t.ok()) return;
    auto p = std::make_shared<const T>(std::move(*t));
    ObjectKey key = key_of(*p);
    if (type == WatchEventType::kDeleted) {
      if (get(key)) change(key, nullptr);
    } else {
      change(key, p);
    }
  }

  Event synced_event_;
  Executor* ex_;
  std::unique_ptr<Reflector> reflector_;
  std::map<ObjectKey, Ptr> cache_;
  std::map<std::string, Index> indexers_;
  std::vector<Handler> handlers_;
};

}  // namespace caravel::kube
