// The Kubernetes client. A Transport carries requests (in process, over HTTPS, or through a fault
// injector); Client puts verbs and types on top.
//
// Every typed call needs a generated kind T (e.g. core::Pod) with `static const Resource& resource()`
// and `static const TypeInfo& type_info()`. The dynamic calls work on json::Value for any resource.
// Errors carry the code of the answer and, in `details`, the Status object's JSON.
// Threading: one executor. The transport must outlive its clients and watches.
#pragma once

#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/json.h"
#include "base/result.h"
#include "base/task.h"
#include "kube/codec.h"
#include "kube/resource.h"

namespace caravel::kube {

enum class PatchType { kJson,
                       kMerge,
                       kStrategic,
                       kApply };
std::string_view content_type(PatchType type);  // "application/strategic-merge-patch+json", ...

// What a reader in the server's own process has made of a document, for the next reader of the same type.
struct Decoded {
  const void* type = nullptr;        // of the object: the address of its TypeInfo
  std::weak_ptr<const void> object;  // as long as somebody has it
};

// A JSON document from the API server: our own, or shared with others that read it.
class Document {
 public:
  Document() = default;
  Document(json::Value v) : own_(std::move(v)) {}
  Document(std::shared_ptr<const json::Value> v, std::shared_ptr<Decoded> decoded = nullptr) : shared_(std::move(v)), decoded_(std::move(decoded)) {}
  const json::Value& operator*() const { return shared_ ? *shared_ : own_; }
  const json::Value* operator->() const { return &**this; }
  // The document as our own; this one is empty then.
  json::Value take();
  // From now on shared.
  std::shared_ptr<const json::Value> share();
  Decoded* decoded() const { return decoded_.get(); }  // null where nobody else reads it

 private:
  json::Value own_;
  std::shared_ptr<const json::Value> shared_;
  std::shared_ptr<Decoded> decoded_;
};

// One API request, independent of how it travels. Transports build the URL
// /api/v1/namespaces/{ns}/pods/{name}/{subresource}?{query} (or /apis/{group}/{version}/...).
struct ApiRequest {
  std::string verb;  // get list watch create update patch delete deletecollection
  Resource resource;
  std::string ns, name, subresource;
  std::vector<std::pair<std::string, std::string>> query;
  std::string content_type;  // of the body: "application/json" or a patch type
  // A body of JSON is a document until a transport wants text(): a server in the same process takes it as it is.
  json::Value object;
  bool canonical = false;  // the object is one of our own types as encode_json() writes it: nothing to normalise
  std::string body;
  std::string& text();
  // Non-resource requests: verb get/post and this path instead of the above ("/version").
  std::string path;
};
struct ApiResponse {
  int status = 200;
  Document object;
};

// The URL of a request, path and query, percent-encoded:
// "/apis/apps/v1/namespaces/default/deployments/web/status?fieldManager=x".
std::string request_target(const ApiRequest& request);
// "GET", "POST", ... for the verb.
std::string_view http_method(const ApiRequest& request);
// The error that an answer of 400 or above means. `status_object` is the metav1.Status if there is one.
Error error_from_status(int http_status, const json::Value& status_object);

enum class WatchEventType { kAdded,
                            kModified,
                            kDeleted,
                            kBookmark };
struct WatchEvent {
  WatchEventType type = WatchEventType::kAdded;
  Document object;
};

class WatchStream {
 public:
  virtual ~WatchStream() = default;  // stops the watch
  // The next event; nullopt when the server ended the watch in order (time to resume from the last
  // resourceVersion); kGone when that version is too old (time to list again).
  virtual Task<Result<std::optional<WatchEvent>>> next() = 0;
};

class Transport {
 public:
  virtual ~Transport() = default;
  virtual Task<Result<ApiResponse>> call(ApiRequest request) = 0;
  virtual Task<Result<std::unique_ptr<WatchStream>>> watch(ApiRequest request) = 0;
};

struct ListOptions {
  std::string ns;  // "" for all namespaces
  std::string label_selector, field_selector;
  std::string resource_version;
  int64_t limit = 0;
  std::string continue_token;
  // Watches only.
  bool bookmarks = true;
  int64_t timeout_seconds = 0;  // 0: the server's choice
};
template <class T>
struct ListResult {
  std::vector<T> items;
  std::string resource_version;
  std::string continue_token;
};
// In default arguments the options are made by a call, WriteOptions(), not by {}: GCC 12 destroys an
// aggregate twice that is initialised inside a co_await expression.
struct WriteOptions {
  std::string subresource;    // "status", "scale", ...
  std::string field_manager;  // default: the client's
  bool dry_run = false;
  bool force = false;      // server-side apply
  bool canonical = false;  // a document of the server's, changed to what our types' encoder would write
};
struct DeleteOptions {
  std::optional<int64_t> grace_period_seconds;
  std::string propagation_policy;     // "", "Background", "Foreground", "Orphan"
  std::string uid, resource_version;  // preconditions
  bool dry_run = false;
};

class Client {
 public:
  // `field_manager` names the writer in managedFields (and User-Agent over HTTP).
  Client(Transport& transport, std::string field_manager) : transport_(&transport), manager_(std::move(field_manager)) {}
  Transport& transport() const { return *transport_; }
  const std::string& field_manager() const { return manager_; }

  // Dynamic.
  Task<Result<json::Value>> get(Resource r, std::string ns, std::string name, std::string subresource = "");
  Task<Result<ListResult<json::Value>>> list(Resource r, ListOptions o = ListOptions());
  Task<Result<json::Value>> create(Resource r, std::string ns, json::Value object, WriteOptions o = WriteOptions());
  // Creates a subresource of an object: pods/binding, pods/eviction, serviceaccounts/token.
  Task<Result<json::Value>> create_subresource(Resource r, std::string ns, std::string name, std::string subresource, json::Value object);
  Task<Result<json::Value>> update(Resource r, json::Value object, WriteOptions o = WriteOptions());
  Task<Result<json::Value>> patch(Resource r, std::string ns, std::string name, PatchType type, json::Value patch, WriteOptions o = WriteOptions());
  Task<Result<json::Value>> remove(Resource r, std::string ns, std::string name, DeleteOptions o = DeleteOptions());
  Task<Result<json::Value>> remove_collection(Resource r, ListOptions which, DeleteOptions o = DeleteOptions());
  Task<Result<std::unique_ptr<WatchStream>>> watch(Resource r, ListOptions o);
  // Non-resource requests: "/version", "/apis".
  Task<Result<json::Value>> get_path(std::string path, std::vector<std::pair<std::string, std::string>> query = {});

  // Typed. `T` is a generated kind.
  template <class T>
  Task<Result<T>> get(std::string ns, std::string name) {
    ApiRequest q = get_request(T::resource(), std::move(ns), std::move(name), "");
    Result<Document> r = co_await ask(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return from_json<T>(**r);
  }
  template <class T>
  Task<Result<ListResult<T>>> list(ListOptions o = ListOptions()) {
    auto r = co_await list(T::resource(), std::move(o));
    if (!r.ok()) co_return std::move(r).error();
    ListResult<T> out;
    out.resource_version = r->resource_version;
    out.continue_token = r->continue_token;
    out.items.reserve(r->items.size());
    for (auto& v : r->items) {
      auto t = from_json<T>(v);
      if (!t.ok()) co_return std::move(t).error();
      out.items.push_back(std::move(*t));
    }
    co_return out;
  }
  template <class T>
  Task<Result<T>> create(T object, WriteOptions o = WriteOptions()) {
    std::string ns = object.metadata.namespace_;
    json::Value v = to_json(object);
    ApiRequest q = create_request(T::resource(), std::move(ns), std::move(v), o);
    q.canonical = true;
    Result<Document> r = co_await ask(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return from_json<T>(**r);
  }
  template <class T>
  Task<Result<T>> update(T object, WriteOptions o = WriteOptions()) {
    json::Value v = to_json(object);
    ApiRequest q = update_request(T::resource(), std::move(v), o);
    q.canonical = true;
    Result<Document> r = co_await ask(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return from_json<T>(**r);
  }
  template <class T>
  Task<Result<T>> update_status(T object) {
    WriteOptions o;
    o.subresource = "status";
    auto r = co_await update<T>(std::move(object), std::move(o));
    co_return r;
  }
  template <class T>
  Task<Result<T>> patch(std::string ns, std::string name, PatchType type, json::Value p, WriteOptions o = WriteOptions()) {
    ApiRequest q = patch_request(T::resource(), std::move(ns), std::move(name), type, std::move(p), o);
    Result<Document> r = co_await ask(std::move(q));
    if (!r.ok()) co_return std::move(r).error();
    co_return from_json<T>(**r);
  }
  template <class T>
  Task<Status> remove(std::string ns, std::string name, DeleteOptions o = DeleteOptions()) {
    auto r = co_await remove(T::resource(), std::move(ns), std::move(name), std::move(o));
    if (!r.ok()) co_return std::move(r).error();
    co_return ok();
  }

 private:
  Task<Result<Document>> ask(ApiRequest request);
  ApiRequest get_request(Resource r, std::string ns, std::string name, std::string subresource) const;
  ApiRequest create_request(Resource r, std::string ns, json::Value object, const WriteOptions& o) const;
  ApiRequest update_request(Resource r, json::Value object, const WriteOptions& o) const;
  ApiRequest patch_request(Resource r, std::string ns, std::string name, PatchType type, json::Value patch, const WriteOptions& o) const;

  Transport* transport_;
  std::string manager_;
};

// Reads an error back: the Status' reason ("AlreadyExists"), or "" if there is none.
std::string status_reason(const Error& e);

}  // namespace caravel::kube
