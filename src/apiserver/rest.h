// The REST verbs on stored resources.
//
//   get, list, watch     from the watch cache, no decoding unless the caller wants another form
//   create, update, ...  decode, default, admit, validate, compare-and-swap; answered once durable
//
// Internal callers (bootstrap, subresources) use the same functions with a WriteCall of their own.
#pragma once

#include <functional>
#include <optional>

#include "apiserver/admission/quota.h"
#include "apiserver/core.h"
#include "apiserver/request.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

inline constexpr const char* kMetaVersion = "meta.k8s.io/v1";

// The form in which the caller wants objects.
struct Output {
  enum As { kFull,
            kTable,
            kPartial } as = kFull;
  enum Format { kJson,
                kYaml,
                kProtobuf } format = kJson;
  std::string include_object;               // of tables: "", "None", "Metadata", "Object"
  const char* meta_version = kMetaVersion;  // of tables and metadata alone; a caller may ask for v1beta1
};
Result<Output> negotiate(const Request& r);
// For objects of this kind: whole ones of custom resources have no protobuf.
Result<Output> negotiate(const Request& r, const ServedType& t);

// A stored object after a write.
struct Stored {
  Bytes bytes;
  ValuePtr value;  // in the served version
  int64_t revision = 0;
  bool created = false;
};

// A WriteCall.manager of this text leaves managedFields as they are in the object (server-side apply made them).
inline constexpr std::string_view kKeepManagedFields = "\x01keep";

struct WriteCall {
  ServedTypePtr type;
  std::string ns, name;
  std::string subresource;  // "", "status", ...
  UserPtr user;
  std::string manager;
  bool dry_run = false;
  bool force = false;
  std::string field_validation;  // "", "Strict", "Warn", "Ignore"
  json::Value options;           // as admission sees them
  bool admitted = false;         // webhooks and policies have judged the write as something else
  std::vector<std::string> warnings;
  std::shared_ptr<AuditTrail> trail;  // for the notes of admission; may be null
};

struct DeleteCall {
  ServedTypePtr type;
  std::string ns, name;
  UserPtr user;
  bool dry_run = false;
  std::optional<int64_t> grace;
  std::string propagation;  // "", Background, Foreground, Orphan; "" leaves it to the object's finalizers and its kind
  std::string uid, resource_version;
  json::Value options;    // as admission sees them
  bool admitted = false;  // webhooks and policies have judged the deletion as something else
  std::shared_ptr<AuditTrail> trail;
  std::shared_ptr<std::vector<std::string>> warnings = std::make_shared<std::vector<std::string>>();
};

// dryRun, fieldValidation, fieldManager and force of a request; `kind` is CreateOptions, UpdateOptions, ...
Status check_write_options(const Request& r, std::string_view kind);

class Rest {
 public:
  explicit Rest(Core& core) : core_(&core) {}

  Response get(const Request& r, const ServedTypePtr& t);
  // The same for any type; get() is for those without a converter.
  Task<Response> get_any(Request& r, ServedTypePtr t);
  Task<Response> list(Request& r, ServedTypePtr t);
  Task<Response> watch(Request& r, ServedTypePtr t);

  Task<Response> create(Request& r, ServedTypePtr t);
  Task<Response> update(Request& r, ServedTypePtr t);
  Task<Response> patch(Request& r, ServedTypePtr t);
  Task<Response> remove(Request& r, ServedTypePtr t);
  Task<Response> remove_collection(Request& r, ServedTypePtr t);

  // --- the same on values ---
  WriteCall write_call(const Request& r, ServedTypePtr t) const;
  // Decodes a body: JSON, YAML or protobuf, by content type. Checks apiVersion and kind.
  // Takes the request's document, if it has one.
  Result<json::Value> decode_body(Request& r, const ServedType& t, WriteCall* call) const;
  Result<DeleteCall> delete_call(const Request& r, ServedTypePtr t) const;
  Task<Result<Stored>> create_object(WriteCall* call, json::Value object);
  // Reads, transforms, writes; again when somebody was faster (if `retry`).
  using Transform = std::function<Result<json::Value>(const json::Value& live)>;
  Task<Result<Stored>> update_object(WriteCall* call, Transform transform, bool retry);
  // Webhooks and policies on what is not a stored object: connections, Bindings, Evictions, Scales. `object` may
  // change; `old` may be null.
  struct OtherWrite {
    Operation operation = Operation::kCreate;
    json::Value* object = nullptr;
    const json::Value* old = nullptr;
    std::string_view options_kind;
  };
  Task<Status> admit_other(WriteCall* call, OtherWrite write);
  // The object as it is after: gone (`deleted`), or marked for deletion.
  struct Deleted {
    Stored object;
    bool gone = false;
  };
  Task<Result<Deleted>> delete_object(DeleteCall call);
  ObjectPtr find(const ServedType& t, std::string_view ns, std::string_view name) const { return t.storage->cache->get(ns, name); }
  // The live object in the served version.
  Result<ValuePtr> live(const ServedType& t, std::string_view ns, std::string_view name) const;

  Response render(const ServedType& t, const Output& out, int status, const Stored& s) const;
  // Revision 0: the list has none.
  // In parts where that is asked for and the list is long.
  Response render_list(const ServedType& t, const Output& out, const WatchCache::ListPage& page, int64_t revision, std::string continue_token, bool in_parts = false) const;
  // The list as a document that shares the objects' own: for readers in this process.
  Response list_document(const ServedType& t, const WatchCache::ListPage& page, int64_t revision, const std::string& continue_token) const;
  Result<Filter> filter_of(const Request& r, const ServedType& t) const;
  Core& core() const { return *core_; }

 private:
  struct Put;
  // `with` goes into the same transaction. A conflict that only `with` had is waited for; its maker judges again.
  Task<Result<store::TxnResult>> put(const ServedType* t, std::string key, int64_t expect, std::shared_ptr<json::Value> object, const json::Value* old, const QuotaReservation* with);
  Task<Result<store::TxnResult>> put_counted(const ServedType* t, std::string key, int64_t expect, std::shared_ptr<json::Value> object, const AdmissionRequest* a);
  Result<json::Value> finish_update(WriteCall* call, const json::Value& live, json::Value object, bool* unchanged) const;
  Status check_new(const WriteCall& call, const json::Value& object) const;

  Core* core_;
};

// Bytes of a stored object in the served version (converted when the versions differ).
Bytes served_bytes(const ServedType& t, const Object& o);
ValuePtr served_value(const ServedType& t, const Object& o);
json::Value partial_metadata(const json::Value& object, const char* meta_version);
Bytes table_bytes(const ServedType& t, const Output& out, const std::vector<ValuePtr>& objects, const std::string& revision, const std::string& continue_token,
                  int64_t remaining, Time now, bool with_columns = true);
std::string yaml_text(const std::string& json);
// "k8s\0" and a runtime.Unknown around an encoded object.
std::string protobuf_envelope(std::string_view api_version, std::string_view kind, std::string_view raw);

// The objects as a version with a conversion webhook shows them; without those that `fields`, which are that
// version's, do not select. The pointers are the caller's, who waits.
Task<Result<std::vector<ObjectPtr>>> shown_objects(const ServedType* t, const FieldSelector* fields, std::vector<ObjectPtr> stored);

}  // namespace caravel::apiserver
