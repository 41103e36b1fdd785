// DynamicInformer: what Informer<T> is, for a resource known only at run time, or whose objects must be
// kept lossless. Objects are immutable, shared json::Values. Threading: one executor.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "kube/informer.h"

namespace caravel::kube {

class DynamicInformer {
 public:
  using Ptr = std::shared_ptr<const json::Value>;
  using Handler = std::function<void(const Ptr& old, const Ptr& now)>;

  DynamicInformer(Executor& ex, Client client, Resource resource, InformerOptions options = {});
  void add_handler(Handler h) { handlers_.push_back(std::move(h)); }
  void start(TaskScope& scope) { scope.spawn(reflector_->run()); }
  bool synced() const { return synced_.is_set(); }
  Task<bool> wait_synced(std::optional<Duration> timeout = std::nullopt) { return synced_.wait(timeout); }
  Ptr get(const ObjectKey& key) const;
  Ptr get(std::string ns, std::string name) const { return get(ObjectKey{std::move(ns), std::move(name)}); }
  const std::map<ObjectKey, Ptr>& all() const { return cache_; }
  const Resource& resource() const { return resource_; }

 private:
  void replace(std::vector<json::Value> items);
  void change(const ObjectKey& key, Ptr now);
  Resource resource_;
  Event synced_;
  std::map<ObjectKey, Ptr> cache_;
  std::vector<Handler> handlers_;
  std::unique_ptr<Reflector> reflector_;
};

// Reads that every user of documents needs.
ObjectKey key_of(const json::Value& object);
const std::string& name_of(const json::Value& object);
const std::string& namespace_of(const json::Value& object);
const std::string& uid_of(const json::Value& object);
const std::string& annotation(const json::Value& object, std::string_view key);
const std::string& label(const json::Value& object, std::string_view key);
bool is_deleting(const json::Value& object);
bool has_finalizer(const json::Value& object, std::string_view finalizer);
// The owner reference of `owner` as controller (blockOwnerDeletion set).
json::Value controller_reference(const json::Value& owner);
bool is_owned_by(const json::Value& object, std::string_view owner_uid);

}  // namespace caravel::kube
