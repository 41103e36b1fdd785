#include "kube/dynamic_informer.h"

namespace caravel::kube {

DynamicInformer::DynamicInformer(Executor& ex, Client client, Resource resource, InformerOptions options) : resource_(std::move(resource)), synced_(ex) {
  Reflector::Callbacks cb;
  cb.replace = [this](std::vector<json::Value> items) { replace(std::move(items)); };
  cb.event = [this](WatchEventType t, Document v) {
    ObjectKey key = key_of(*v);
    if (t == WatchEventType::kDeleted) {
      if (get(key)) change(key, nullptr);
    } else if (t != WatchEventType::kBookmark) {
      change(key, v.share());
    }
  };
  reflector_ = std::make_unique<Reflector>(ex, std::move(client), resource_, std::move(options), std::move(cb));
}

DynamicInformer::Ptr DynamicInformer::get(const ObjectKey& key) const {
  auto it = cache_.find(key);
  return it == cache_.end() ? nullptr : it->second;
}

void DynamicInformer::change(const ObjectKey& key, Ptr now) {
  Ptr old = get(key);
  if (now) cache_[key] = now;
  else cache_.erase(key);
  for (auto& h : handlers_) h(old, now);
}

void DynamicInformer::replace(std::vector<json::Value> items) {
  std::map<ObjectKey, Ptr> fresh;
  for (auto& v : items) {
    ObjectKey key = key_of(v);
    fresh[key] = json::share(std::move(v));
  }
  std::vector<ObjectKey> gone;
  for (auto& [k, p] : cache_)
    if (!fresh.count(k)) gone.push_back(k);
  for (auto& k : gone) change(k, nullptr);
  for (auto& [k, p] : fresh) {
    Ptr old = get(k);
    if (!old || !((*old)["metadata"]["resourceVersion"] == (*p)["metadata"]["resourceVersion"])) change(k, p);
  }
  synced_.set();
}

ObjectKey key_of(const json::Value& o) { return {namespace_of(o), name_of(o)}; }
const std::string& name_of(const json::Value& o) { return o.path({"metadata", "name"}).as_string(); }
const std::string& namespace_of(const json::Value& o) { return o.path({"metadata", "namespace"}).as_string(); }
const std::string& uid_of(const json::Value& o) { return o.path({"metadata", "uid"}).as_string(); }
const std::string& annotation(const json::Value& o, std::string_view key) { return o.path({"metadata", "annotations", key}).as_string(); }
const std::string& label(const json::Value& o, std::string_view key) { return o.path({"metadata", "labels", key}).as_string(); }
bool is_deleting(const json::Value& o) { return o.path({"metadata", "deletionTimestamp"}).is_string(); }
bool has_finalizer(const json::Value& o, std::string_view finalizer) {
  for (auto& f : o.path({"metadata", "finalizers"}).as_array())
    if (f.as_string() == finalizer) return true;
  return false;
}
json::Value controller_reference(const json::Value& owner) {
  json::Value ref = json::Value::object();
  ref["apiVersion"] = owner["apiVersion"];
  ref["kind"] = owner["kind"];
  ref["name"] = name_of(owner);
  ref["uid"] = uid_of(owner);
  ref["controller"] = true;
  ref["blockOwnerDeletion"] = true;
  return ref;
}
bool is_owned_by(const json::Value& o, std::string_view owner_uid) {
  for (auto& r : o.path({"metadata", "ownerReferences"}).as_array())
    if (r["uid"].as_string() == owner_uid) return true;
  return false;
}

}  // namespace caravel::kube
