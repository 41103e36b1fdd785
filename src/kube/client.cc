#include "kube/client.h"

#include "base/strings.h"

namespace caravel::kube {

std::string_view content_type(PatchType type) {
  switch (type) {
    case PatchType::kJson: return "application/json-patch+json";
    case PatchType::kMerge: return "application/merge-patch+json";
    case PatchType::kStrategic: return "application/strategic-merge-patch+json";
    case PatchType::kApply: return "application/apply-patch+yaml";
  }
  return "application/json";
}

std::string request_target(const ApiRequest& request) {
  std::string out = request.path;
  if (out.empty()) {
    const Resource& r = request.resource;
    out = r.group.empty() ? "/api/" + r.version : "/apis/" + r.group + "/" + r.version;
    if (!request.ns.empty()) out += "/namespaces/" + percent_encode(request.ns);
    out += "/" + r.plural;
    if (!request.name.empty()) out += "/" + percent_encode(request.name, ":");
    if (!request.subresource.empty()) out += "/" + request.subresource;
  }
  char sep = out.find('?') == out.npos ? '?' : '&';
  for (auto& [k, v] : request.query) {
    out += sep;
    out += percent_encode(k) + "=" + percent_encode(v);
    sep = '&';
  }
  return out;
}

std::string_view http_method(const ApiRequest& request) {
  if (request.verb == "create" || request.verb == "post") return "POST";
  if (request.verb == "update" || request.verb == "put") return "PUT";
  if (request.verb == "patch") return "PATCH";
  if (request.verb == "delete" || request.verb == "deletecollection") return "DELETE";
  return "GET";
}

namespace {

Code code_of(int http, std::string_view reason) {
  if (reason == "AlreadyExists") return Code::kAlreadyExists;
  if (reason == "Expired" || reason == "Gone") return Code::kGone;
  switch (http) {
    case 400: return Code::kBadRequest;
    case 401: return Code::kUnauthorized;
    case 403: return Code::kForbidden;
    case 404: return Code::kNotFound;
    case 405:
    case 406:
    case 415: return Code::kUnsupported;
    case 409: return Code::kConflict;
    case 410: return Code::kGone;
    case 413: return Code::kTooLarge;
    case 422: return Code::kInvalid;
    case 429: return Code::kTooMany;
    case 502:
    case 503: return Code::kUnavailable;
    case 504: return Code::kTimeout;
    default: return Code::kInternal;
  }
}

const json::Value& const_member(const json::Value& v, std::string_view key) { return v[key]; }

void add(ApiRequest& q, const char* name, const std::string& value) {
  if (!value.empty()) q.query.emplace_back(name, value);
}

void add_write_options(ApiRequest& q, const WriteOptions& o, const std::string& manager) {
  q.subresource = o.subresource;
  q.canonical = o.canonical;
  add(q, "fieldManager", o.field_manager.empty() ? manager : o.field_manager);
  if (o.dry_run) add(q, "dryRun", "All");
}

void add_list_options(ApiRequest& q, const ListOptions& o) {
  q.ns = o.ns;
  add(q, "labelSelector", o.label_selector);
  add(q, "fieldSelector", o.field_selector);
  add(q, "resourceVersion", o.resource_version);
  if (o.limit > 0) add(q, "limit", std::to_string(o.limit));
  add(q, "continue", o.continue_token);
}

json::Value delete_options(const DeleteOptions& o) {
  json::Value b = json::Value::object();
  b["kind"] = "DeleteOptions";
  b["apiVersion"] = "v1";
  if (o.grace_period_seconds) b["gracePeriodSeconds"] = *o.grace_period_seconds;
  if (!o.propagation_policy.empty()) b["propagationPolicy"] = o.propagation_policy;
  if (!o.uid.empty()) b["preconditions"]["uid"] = o.uid;
  if (!o.resource_version.empty()) b["preconditions"]["resourceVersion"] = o.resource_version;
  if (o.dry_run) b["dryRun"].push_back("All");
  return b;
}

// The answer as the caller's own.
Task<Result<json::Value>> own(Task<Result<Document>> answer) {
  Result<Document> r = co_await std::move(answer);
  if (!r.ok()) co_return std::move(r).error();
  co_return r->take();
}

}  // namespace

json::Value Document::take() {
  if (!shared_) return std::move(own_);
  json::Value copy = *shared_;
  shared_ = nullptr;
  return copy;
}

std::shared_ptr<const json::Value> Document::share() {
  if (!shared_) shared_ = json::share(std::move(own_));
  return shared_;
}

std::string& ApiRequest::text() {
  if (!object.is_null()) {
    body = json::dump(object);
    object = json::Value();
  }
  return body;
}

Error error_from_status(int http_status, const json::Value& s) {
  Error e;
  bool is_status = s.is_object() && const_member(s, "kind").as_string() == "Status";
  int code = http_status;
  if (is_status && code < 400) code = static_cast<int>(const_member(s, "code").as_int(500));
  e.code = code_of(code, is_status ? std::string_view(const_member(s, "reason").as_string()) : std::string_view());
  if (is_status) {
    e.message = const_member(s, "message").as_string();
    e.details = json::dump(s);
  }
  if (e.message.empty() && code == 404) e.message = "the server could not find the requested resource";
  if (e.message.empty()) e.message = "the API server answered with HTTP status " + std::to_string(code);
  return e;
}

std::string status_reason(const Error& e) {
  if (e.details.empty()) return "";
  auto v = json::parse(e.details);
  if (!v.ok()) return "";
  return const_member(*v, "reason").as_string();
}

Task<Result<Document>> Client::ask(ApiRequest request) {
  Result<ApiResponse> r = co_await transport_->call(std::move(request));
  if (!r.ok()) co_return std::move(r).error();
  if (r->status >= 400) co_return error_from_status(r->status, *r->object);
  co_return std::move(r->object);
}

ApiRequest Client::get_request(Resource r, std::string ns, std::string name, std::string subresource) const {
  ApiRequest q;
  q.verb = "get";
  q.resource = std::move(r);
  q.ns = std::move(ns);
  q.name = std::move(name);
  q.subresource = std::move(subresource);
  return q;
}

Task<Result<json::Value>> Client::get(Resource r, std::string ns, std::string name, std::string subresource) {
  return own(ask(get_request(std::move(r), std::move(ns), std::move(name), std::move(subresource))));
}

Task<Result<json::Value>> Client::get_path(std::string path, std::vector<std::pair<std::string, std::string>> query) {
  ApiRequest q;
  q.verb = "get";
  q.path = std::move(path);
  q.query = std::move(query);
  return own(ask(std::move(q)));
}

Task<Result<ListResult<json::Value>>> Client::list(Resource r, ListOptions o) {
  ApiRequest q;
  q.verb = "list";
  q.resource = std::move(r);
  add_list_options(q, o);
  Result<json::Value> v = co_await own(ask(std::move(q)));
  if (!v.ok()) co_return std::move(v).error();
  ListResult<json::Value> out;
  const json::Value& meta = const_member(*v, "metadata");
  out.resource_version = const_member(meta, "resourceVersion").as_string();
  out.continue_token = const_member(meta, "continue").as_string();
  if (json::Value* items = v->find("items"); items && items->is_array()) out.items = std::move(items->arr());
  // Lists of built-in kinds leave out what they are lists of.
  std::string kind = std::as_const(*v)["kind"].as_string();
  if (kind.ends_with("List")) kind.resize(kind.size() - 4);
  for (json::Value& item : out.items) {
    if (!item.is_object() || !std::as_const(item)["kind"].as_string().empty()) continue;
    item["kind"] = kind;
    item["apiVersion"] = std::as_const(*v)["apiVersion"].as_string();
  }
  co_return out;
}

ApiRequest Client::create_request(Resource r, std::string ns, json::Value object, const WriteOptions& o) const {
  ApiRequest q;
  q.verb = "create";
  q.resource = std::move(r);
  q.ns = std::move(ns);
  add_write_options(q, o, manager_);
  q.content_type = "application/json";
  q.object = std::move(object);
  return q;
}

Task<Result<json::Value>> Client::create(Resource r, std::string ns, json::Value object, WriteOptions o) {
  return own(ask(create_request(std::move(r), std::move(ns), std::move(object), o)));
}

Task<Result<json::Value>> Client::create_subresource(Resource r, std::string ns, std::string name, std::string subresource, json::Value object) {
  ApiRequest q;
  q.verb = "create";
  q.resource = std::move(r);
  q.ns = std::move(ns);
  q.name = std::move(name);
  q.subresource = std::move(subresource);
  add(q, "fieldManager", manager_);
  q.content_type = "application/json";
  q.object = std::move(object);
  return own(ask(std::move(q)));
}

ApiRequest Client::update_request(Resource r, json::Value object, const WriteOptions& o) const {
  ApiRequest q;
  q.verb = "update";
  q.resource = std::move(r);
  const json::Value& meta = const_member(object, "metadata");
  q.ns = const_member(meta, "namespace").as_string();
  q.name = const_member(meta, "name").as_string();
  add_write_options(q, o, manager_);
  q.content_type = "application/json";
  q.object = std::move(object);
  return q;
}

Task<Result<json::Value>> Client::update(Resource r, json::Value object, WriteOptions o) {
  return own(ask(update_request(std::move(r), std::move(object), o)));
}

ApiRequest Client::patch_request(Resource r, std::string ns, std::string name, PatchType type, json::Value patch, const WriteOptions& o) const {
  ApiRequest q;
  q.verb = "patch";
  q.resource = std::move(r);
  q.ns = std::move(ns);
  q.name = std::move(name);
  add_write_options(q, o, manager_);
  if (o.force) add(q, "force", "true");
  q.content_type = std::string(caravel::kube::content_type(type));
  q.object = std::move(patch);
  return q;
}

Task<Result<json::Value>> Client::patch(Resource r, std::string ns, std::string name, PatchType type, json::Value patch, WriteOptions o) {
  return own(ask(patch_request(std::move(r), std::move(ns), std::move(name), type, std::move(patch), o)));
}

Task<Result<json::Value>> Client::remove(Resource r, std::string ns, std::string name, DeleteOptions o) {
  ApiRequest q;
  q.verb = "delete";
  q.resource = std::move(r);
  q.ns = std::move(ns);
  q.name = std::move(name);
  q.content_type = "application/json";
  q.object = delete_options(o);
  return own(ask(std::move(q)));
}

Task<Result<json::Value>> Client::remove_collection(Resource r, ListOptions which, DeleteOptions o) {
  ApiRequest q;
  q.verb = "deletecollection";
  q.resource = std::move(r);
  add_list_options(q, which);
  q.content_type = "application/json";
  q.object = delete_options(o);
  return own(ask(std::move(q)));
}

Task<Result<std::unique_ptr<WatchStream>>> Client::watch(Resource r, ListOptions o) {
  ApiRequest q;
  q.verb = "watch";
  q.resource = std::move(r);
  add_list_options(q, o);
  add(q, "watch", "true");
  if (o.bookmarks) add(q, "allowWatchBookmarks", "true");
  if (o.timeout_seconds > 0) add(q, "timeoutSeconds", std::to_string(o.timeout_seconds));
  return transport_->watch(std::move(q));
}

}  // namespace caravel::kube
