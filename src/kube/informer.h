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
#include <set>
#include <typeindex>
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
  // The last resourceVersion that the callbacks have been told of, "" before the first list.
  const std::string& version() const { return version_; }
  // For what the server sent and our types cannot hold.
  static void log_undecodable(const Resource& resource, const json::Value& object, const Error& why);

 private:
  Executor* ex_;
  Client client_;
  Resource resource_;
  InformerOptions options_;
  Callbacks callbacks_;
  std::string version_;
};

// True when resourceVersion a was given after b (both of one API server; they grow, see KEP-5504).
inline bool newer_version(const std::string& a, const std::string& b) { return a.size() != b.size() ? a.size() > b.size() : a > b; }

template <class T>
class Informer {
 public:
  using Ptr = std::shared_ptr<const T>;
  // old is null for an add, now is null for a delete.
  using Handler = std::function<void(const Ptr& old, const Ptr& now)>;
  using Indexer = std::function<std::vector<std::string>(const T&)>;

  Informer(Executor& ex, Client client, InformerOptions options = {}) : synced_event_(ex), ex_(&ex), resync_(options.resync) {
    Reflector::Callbacks cb;
    cb.replace = [this](std::vector<json::Value> items) { replace(std::move(items)); };
    cb.event = [this](WatchEventType t, json::Value v) { on_event(t, std::move(v)); };
    reflector_ = std::make_unique<Reflector>(ex, client, T::resource(), std::move(options), std::move(cb));
  }
  // A handler added late is told at once about what the cache holds.
  void add_handler(Handler h) {
    handlers_.push_back(std::make_shared<Handler>(std::move(h)));
    auto added = handlers_.back();
    if (!cache_.empty())
      for (auto& p : snapshot()) (*added)(nullptr, p);
  }
  // by_index("node", "n1") afterwards gives the objects whose indexer returned "n1", ordered by key.
  // Adding an index of the same name again does nothing.
  void add_index(std::string name, Indexer f) {
    auto [it, fresh] = indexers_.try_emplace(std::move(name));
    if (!fresh) return;
    it->second.f = std::move(f);
    for (auto& [key, p] : cache_)
      for (auto& v : it->second.f(*p)) it->second.entries[v].insert(key);
  }
  void start(TaskScope& scope) {
    scope.spawn(reflector_->run());
    if (resync_ > Duration(0)) scope.spawn(resync_loop());
  }
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
    auto found = it->second.entries.find(value);
    if (found == it->second.entries.end()) return out;
    out.reserve(found->second.size());
    for (auto& key : found->second)
      if (Ptr p = get(key)) out.push_back(p);
    return out;
  }
  size_t size() const { return cache_.size(); }
  // True once the cache holds everything up to this resourceVersion: after a write, what it answered.
  bool has_seen(const std::string& resource_version) const { return !newer_version(resource_version, reflector_->version()); }

 private:
  struct Index {
    Indexer f;
    std::unordered_map<std::string, std::set<ObjectKey>> entries;
  };
  static ObjectKey key_of(const T& t) { return {t.metadata.namespace_, t.metadata.name}; }
  void change(const ObjectKey& key, Ptr now) {
    Ptr old = get(key);
    for (auto& [name, index] : indexers_) {
      if (old)
        for (auto& v : index.f(*old)) {
          auto it = index.entries.find(v);
          if (it == index.entries.end()) continue;
          it->second.erase(key);
          if (it->second.empty()) index.entries.erase(it);
        }
      if (now)
        for (auto& v : index.f(*now)) index.entries[v].insert(key);
    }
    if (now) cache_[key] = now;
    else cache_.erase(key);
    for (size_t i = 0; i < handlers_.size(); ++i) {
      auto h = handlers_[i];
      (*h)(old, now);
    }
  }
  std::vector<Ptr> snapshot() const {
    std::vector<Ptr> out;
    out.reserve(cache_.size());
    for (auto& [k, p] : cache_) out.push_back(p);
    return out;
  }
  Task<void> resync_loop() {
    for (;;) {
      co_await sleep(*ex_, resync_);
      for (auto& p : snapshot())
        for (size_t i = 0; i < handlers_.size(); ++i) {
          auto h = handlers_[i];
          (*h)(p, p);
        }
    }
  }
  void replace(std::vector<json::Value> items) {
    std::map<ObjectKey, Ptr> fresh;
    for (auto& v : items) {
      auto t = from_json<T>(v);
      if (!t.ok()) {
        Reflector::log_undecodable(T::resource(), v, t.error());
        continue;
      }
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
    if (!t.ok()) return Reflector::log_undecodable(T::resource(), v, t.error());
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
  Duration resync_;
  std::unique_ptr<Reflector> reflector_;
  std::map<ObjectKey, Ptr> cache_;
  std::map<std::string, Index> indexers_;
  std::vector<std::shared_ptr<Handler>> handlers_;
};

// One informer per type, made on first use and shared by all controllers of a process.
//
//   SharedInformers shared(ex, client);
//   auto& pods = shared.get<core::Pod>();   // add handlers and indexes
//   shared.start(scope);                     // starts those not started yet
//   co_await shared.wait_synced();
//
// It must outlive the scope that it was started in.
class SharedInformers {
 public:
  SharedInformers(Executor& ex, Client client) : ex_(&ex), client_(std::move(client)) {}
  template <class T>
  Informer<T>& get() {
    auto& slot = entries_[std::type_index(typeid(T))];
    if (!slot) {
      auto holder = std::make_unique<Holder<T>>(*ex_, client_);
      order_.push_back(holder.get());
      slot = std::move(holder);
    }
    return static_cast<Holder<T>*>(slot.get())->informer;
  }
  void start(TaskScope& scope) {
    for (; started_ < order_.size(); ++started_) order_[started_]->start(scope);
  }
  bool synced() const {
    for (auto* h : order_)
      if (!h->synced()) return false;
    return true;
  }
  Task<void> wait_synced() {
    for (size_t i = 0; i < order_.size(); ++i) co_await order_[i]->wait_synced();
  }
  Executor& executor() const { return *ex_; }
  const Client& client() const { return client_; }

 private:
  struct HolderBase {
    virtual ~HolderBase() = default;
    virtual void start(TaskScope& scope) = 0;
    virtual bool synced() const = 0;
    virtual Task<void> wait_synced() = 0;
  };
  template <class T>
  struct Holder final : HolderBase {
    Holder(Executor& ex, const Client& client) : informer(ex, client) {}
    void start(TaskScope& scope) override { informer.start(scope); }
    bool synced() const override { return informer.synced(); }
    Task<void> wait_synced() override { return informer.wait_synced(); }
    Informer<T> informer;
  };
  Executor* ex_;
  Client client_;
  std::map<std::type_index, std::unique_ptr<HolderBase>> entries_;
  std::vector<HolderBase*> order_;
  size_t started_ = 0;
};

}  // namespace caravel::kube
