// What the server knows of a kind that it serves: names, schema (TypeModel), storage, strategy.
// Built-in kinds and CRDs are described by the same structs; the REST code does not tell them apart.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "apiserver/status.h"
#include "apiserver/watch_cache.h"
#include "kube/resource.h"

namespace caravel::kube {
struct Schema;
}

namespace caravel::apiserver {

// Who wrote, for managedFields.
struct Writer {
  std::string manager;
  std::string subresource;
  Time now;
};

// The schema of one served version.
class TypeModel {
 public:
  virtual ~TypeModel() = default;
  // Checks the types of what a client sent and brings values to their canonical form; removes unknown
  // fields and names them ("spec.foo").
  virtual Status accept(json::Value& object, std::vector<std::string>& unknown) const = 0;
  // `spec_has_them`: the spec is a stored object's but for fields without defaults.
  virtual void set_defaults(json::Value& object, bool spec_has_them = false) const = 0;
  // Null where there is none at hand.
  virtual const kube::Schema* schema() const { return nullptr; }
  // `old` is null for a create.
  virtual void validate(const json::Value& object, const json::Value* old, std::vector<Cause>& causes) const = 0;
  // An error without `details` is about a member of the wrong type.
  virtual Result<json::Value> strategic_merge(const json::Value& live, const json::Value& patch) const = 0;
  // Server-side apply: the merged object (with managedFields), or a conflict error.
  virtual Result<json::Value> apply(const json::Value* live, const json::Value& config, const Writer& w, bool force) const = 0;
  // Updates managedFields of `object` after a plain write. `old` is null for a create.
  virtual void track(const json::Value* old, json::Value& object, const Writer& w) const = 0;
  // A table (meta.k8s.io/v1) of these objects, without rows' `object`: columnDefinitions and rows with cells.
  virtual json::Value table(const std::vector<ValuePtr>& objects, Time now) const = 0;
  // Objects of this kind in protobuf, when the kind has it.
  virtual Result<std::string> to_protobuf(const json::Value&) const { return status::not_acceptable("only the following media types are accepted: application/json, application/yaml"); }
  virtual Result<json::Value> from_protobuf(std::string_view) const { return status::unsupported_media_type("the body of the request was in an unknown format - accepted media types include: application/json, application/yaml"); }
};

// Changes between versions that share a storage.
using Convert = std::function<Status(json::Value& object)>;

// Where the objects of one resource live, whatever version they are asked for in.
struct Storage {
  std::string group, plural;
  bool namespaced = true;
  WatchCache* cache = nullptr;
  std::string prefix;                   // "/registry/apps/deployments/"
  std::vector<std::string> selectable;  // fields that selectors may name, beyond metadata.name and .namespace; those of all versions
};

struct ServedType;
class RemoteConverter;

// Behaviour of a kind beyond its schema. All have workable defaults.
struct Strategy {
  bool generation = false;          // metadata.generation counts changes of the spec
  bool status_subresource = false;  // the main endpoint ignores status, /status ignores the rest
  bool status_at_create = false;    // but a new object may come with one
  bool unconditional_update = true;
  bool create_on_update = false;
  bool returns_deleted_object = false;
  // A deletion that names no policy leaves the dependents (kinds older than the choice); a warning that says so, if any.
  bool orphans_by_default = false;
  std::string_view orphans_warning;
  // Removing these fields compares specs; default: everything but metadata and status.
  std::function<void(json::Value& object, std::vector<std::string>& warnings)> prepare_create;  // after mutating admission
  std::function<void(json::Value& object)> accepted;                                            // another spelling of what was sent, before anybody looks at it
  std::function<void(json::Value& object, const json::Value& old)> prepare_update;
  std::function<void(json::Value& object, const json::Value& old)> prepare_status_update;
  // Takes what the object needs of shared things (addresses, ports) and writes it into it; `old` is null
  // for a create. release() gives back what a removed or refused object held.
  std::function<Status(json::Value& object, const json::Value* old, bool dry_run)> allocate;
  std::function<void(const json::Value& object)> release;
  // What else is written in the object's transaction: `object` is null for a removal, `old` for a create.
  std::function<void(const json::Value* object, const json::Value* old, store::Txn& txn)> companions;
  // After an update was stored.
  std::function<void(const json::Value& object, const json::Value& old)> updated;
  // Seconds of grace of a delete; nullopt: the kind has no graceful deletion.
  std::function<int64_t(const json::Value& object, std::optional<int64_t> asked)> grace;
};

struct ServedType {
  kube::Resource resource;
  std::string singular, list_kind;
  std::vector<std::string> short_names, categories, verbs;
  struct Subresource {
    std::string name, kind, group, version;
    std::vector<std::string> verbs;
  };
  std::vector<Subresource> subresources;
  std::shared_ptr<Storage> storage;  // null: nothing is stored (reviews)
  std::shared_ptr<const TypeModel> model;
  std::shared_ptr<const Strategy> strategy;
  bool custom = false;                  // from a CRD
  std::vector<std::string> selectable;  // of a custom resource: those of storage->selectable that this version has
  std::string deprecation_warning;      // for every answer of a deprecated version
  // From and to the storage's version; null: the same.
  Convert from_storage, to_storage;
  // A webhook that converts between versions; with it from_storage and to_storage are null, and what is stored must
  // pass through it before it is shown.
  std::shared_ptr<RemoteConverter> converter;
  std::string storage_api_version;  // apiVersion that stored objects carry
  // Paths for scale: empty when there is none.
  std::string scale_spec_path, scale_status_path, scale_selector_path;

  bool has_verb(std::string_view v) const {
    for (auto& x : verbs)
      if (x == v) return true;
    return false;
  }
  const Subresource* subresource(std::string_view n) const {
    for (auto& s : subresources)
      if (s.name == n) return &s;
    return nullptr;
  }
};
using ServedTypePtr = std::shared_ptr<const ServedType>;

// All served types. Changes at run time when CRDs come and go.
class TypeTable {
 public:
  void add(ServedTypePtr t);
  void remove(const std::string& group, const std::string& version, const std::string& plural);
  ServedTypePtr find(std::string_view group, std::string_view version, std::string_view plural) const;
  // By kind: for ownerReferences, apply, binding of webhooks.
  ServedTypePtr find_kind(std::string_view group, std::string_view version, std::string_view kind) const;
  ServedTypePtr find_resource(std::string_view group, std::string_view plural) const;  // any version
  const std::vector<ServedTypePtr>& all() const { return all_; }
  int64_t generation() const { return generation_; }  // rises with every change: discovery's cache key

 private:
  std::vector<ServedTypePtr> all_;
  std::map<std::string, ServedTypePtr, std::less<>> by_path_;
  int64_t generation_ = 0;
};

}  // namespace caravel::apiserver
