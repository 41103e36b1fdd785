// Informer<T>: a local, watched copy of a resource. Lists, then watches; on any break it resumes or
// lists again with back-off. Handlers run on the executor, after the cache holds the change.
//
// Threading: one executor. Objects handed out are immutable and shared.
// Level-triggered: handlers are hints to look at the cache; a reconciler never relies on seeing each.
#pragma once

#include <functional>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <typeindex>
#include <unordered_map>
#include <utility>
#include <vector>

#include "base/executor.h"
#include "base/scope.h"
#include "kube/client.h"

namespace caravel::kube {

namespace meta {
struct ObjectMeta;
}

// decode_json() without metadata.managedFields, as client-go's informers are often told to: readers have no use for them, and
// in a write of what was read their absence leaves them as they are.
Status decode_for_readers(const TypeInfo& type, const json::Value& value, void* object);

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
    std::function<void(WatchEventType, Document)> event;
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

// What Informer<T> is made of, for objects whose type is forgotten: one .cc, so that the hundred files which
// use informers do not each compile a cache.
class AnyInformer {
 public:
  using Object = std::shared_ptr<const void>;
  using Objects = std::map<ObjectKey, Object>;
  // old is null for an add, now is null for a delete.
  using Handler = std::function<void(const Object& old, const Object& now)>;
  using Indexer = std::function<std::vector<std::string>(const void*)>;
  struct Type {
    Resource resource;
    const void* id;  // the address of the TypeInfo
    Result<Object> (*decode)(const json::Value& object);
    const meta::ObjectMeta& (*metadata)(const void* object);
  };

  AnyInformer(Executor& ex, Client client, Type type, InformerOptions options);
  AnyInformer(const AnyInformer&) = delete;  // its reflector calls back
  AnyInformer& operator=(const AnyInformer&) = delete;
  virtual ~AnyInformer() = default;
  void start(TaskScope& scope);
  bool synced() const { return synced_event_.is_set(); }
  Task<void> wait_synced();
  size_t size() const { return cache_.size(); }
  // True once the cache holds everything up to this resourceVersion: after a write, what it answered.
  bool has_seen(const std::string& resource_version) const { return !newer_version(resource_version, reflector_->version()); }

 protected:
  void add_handler(Handler h);
  void add_index(std::string name, Indexer f);
  Object find(const ObjectKey& key) const;
  std::vector<Object> find_in_namespace(const std::string& ns) const;
  std::vector<Object> find_by_index(const std::string& name, const std::string& value) const;
  const Objects& objects() const { return cache_; }

 private:
  struct Index {
    Indexer f;
    std::unordered_map<std::string, Objects> entries;
  };
  void change(const ObjectKey& key, Object now);
  void replace(std::vector<json::Value> items);
  Result<Object> decode(const Document& v) const;
  void on_event(WatchEventType type, const Document& v);
  std::vector<Object> snapshot() const;
  Task<void> resync_loop();
  ObjectKey key_of(const Object& object) const;

  Event synced_event_;
  Executor* ex_;
  Duration resync_;
  Type type_;
  std::unique_ptr<Reflector> reflector_;
  Objects cache_;
  std::map<std::string, Index> indexers_;
  std::vector<std::shared_ptr<Handler>> handlers_;
};

template <class T>
class Informer : public AnyInformer {
 public:
  using Ptr = std::shared_ptr<const T>;
  using Handler = std::function<void(const Ptr& old, const Ptr& now)>;
  using Indexer = std::function<std::vector<std::string>(const T&)>;

  // `for (auto& [key, object] : informer.all())`, ordered by key. Do not suspend inside such a loop.
  class Range {
   public:
    using Entry = std::pair<const ObjectKey&, Ptr>;
    class Iterator {
     public:
      using iterator_category = std::input_iterator_tag;
      using value_type = Entry;
      using difference_type = std::ptrdiff_t;
      using pointer = const Entry*;
      using reference = const Entry&;
      explicit Iterator(Objects::const_iterator at) : at_(at) {}
      reference operator*() const { return entry_.emplace(at_->first, typed(at_->second)); }
      Iterator& operator++() {
        ++at_;
        return *this;
      }
      bool operator==(const Iterator& other) const { return at_ == other.at_; }

     private:
      Objects::const_iterator at_;
      mutable std::optional<Entry> entry_;  // what operator* gave last
    };
    explicit Range(const Objects& objects) : objects_(&objects) {}
    Iterator begin() const { return Iterator(objects_->begin()); }
    Iterator end() const { return Iterator(objects_->end()); }
    size_t size() const { return objects_->size(); }
    bool empty() const { return objects_->empty(); }

   private:
    const Objects* objects_;
  };

  Informer(Executor& ex, Client client, InformerOptions options = {})
      : AnyInformer(ex, std::move(client), Type{T::resource(), &T::type_info(), decode, metadata_of}, std::move(options)) {}
  // A handler added late is told at once about what the cache holds.
  void add_handler(Handler h) {
    AnyInformer::add_handler([h = std::move(h)](const Object& old, const Object& now) { h(typed(old), typed(now)); });
  }
  // by_index("node", "n1") afterwards gives the objects whose indexer returned "n1", ordered by key.
  // Adding an index of the same name again does nothing.
  void add_index(std::string name, Indexer f) {
    AnyInformer::add_index(std::move(name), [f = std::move(f)](const void* object) { return f(*static_cast<const T*>(object)); });
  }
  Ptr get(const ObjectKey& key) const { return typed(find(key)); }
  Ptr get(std::string ns, std::string name) const { return get(ObjectKey{std::move(ns), std::move(name)}); }
  Range all() const { return Range(objects()); }
  std::vector<Ptr> in_namespace(const std::string& ns) const { return typed(find_in_namespace(ns)); }
  std::vector<Ptr> by_index(const std::string& name, const std::string& value) const { return typed(find_by_index(name, value)); }

 private:
  static Ptr typed(Object object) { return std::static_pointer_cast<const T>(std::move(object)); }
  static std::vector<Ptr> typed(std::vector<Object> objects) {
    std::vector<Ptr> out;
    out.reserve(objects.size());
    for (Object& o : objects) out.push_back(typed(std::move(o)));
    return out;
  }
  static Result<Object> decode(const json::Value& v) {
    std::shared_ptr<T> t(new T);  // not in one piece with what Decoded keeps of it
    if (Status s = decode_for_readers(T::type_info(), v, t.get()); !s.ok()) return std::move(s).error();
    return Object(std::move(t));
  }
  static const meta::ObjectMeta& metadata_of(const void* object) { return static_cast<const T*>(object)->metadata; }
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
    std::unique_ptr<AnyInformer>& slot = entries_[std::type_index(typeid(T))];
    if (!slot) order_.push_back((slot = std::make_unique<Informer<T>>(*ex_, client_)).get());
    return static_cast<Informer<T>&>(*slot);
  }
  void start(TaskScope& scope);
  bool synced() const;
  Task<void> wait_synced();
  Executor& executor() const { return *ex_; }
  const Client& client() const { return client_; }

 private:
  Executor* ex_;
  Client client_;
  std::map<std::type_index, std::unique_ptr<AnyInformer>> entries_;
  std::vector<AnyInformer*> order_;
  size_t started_ = 0;
};

}  // namespace caravel::kube
