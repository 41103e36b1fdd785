// create and update: from a body, or from a value.
#include <algorithm>
#include <map>

#include "apiserver/authorization/answers.h"
#include "apiserver/conversion_webhook.h"
#include "apiserver/document_kind.h"
#include "apiserver/object_meta.h"
#include "apiserver/pod_updates.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "kube/patch.h"
#include "kube/warnings.h"

namespace caravel::apiserver {

namespace {
constexpr int kGenerateNameTries = 8;
constexpr size_t kGeneratedPrefixMax = 58;  // 63 less the five random characters
constexpr int kConflictTries = 16;
constexpr size_t kManagerMax = 128;

std::string default_manager(const Request& r) {
  if (auto* m = r.param("fieldManager"); m && !m->empty()) return *m;
  size_t slash = r.user_agent.find('/');
  std::string m = r.user_agent.substr(0, slash);
  return m.empty() ? "unknown" : m.substr(0, 128);
}

// {"kind": ..., "apiVersion": ...} and what the call says.
json::Value typed_options(std::string_view kind, const json::Value& given) {
  json::Value o = json::Value::object();
  o["kind"] = kind;
  o["apiVersion"] = "meta.k8s.io/v1";
  for (auto& m : given.as_object()) o[m.key] = m.value;
  return o;
}

void dedupe(std::vector<Cause>& causes) {
  std::vector<Cause> out;
  for (auto& c : causes)
    if (std::none_of(out.begin(), out.end(), [&](const Cause& o) { return o.field == c.field && o.message == c.message; })) out.push_back(std::move(c));
  causes = std::move(out);
}

// How a body that is no object is answered: with its beginning.
Error unrecognized(const ServedType& t, std::string_view body, const std::string& why) {
  constexpr size_t kShown = 30;
  std::string shown = "<empty>";
  if (!body.empty()) {
    shown = std::string(body.substr(0, kShown));
    if (body[0] != '{') shown = hex_encode(shown);
    if (body.size() > kShown) shown += " ...";
  }
  return status::bad_request("the object provided is unrecognized (must be of type " + t.resource.kind + "): " + why + " (" + shown + ")");
}
Error unreadable(const ServedType& t, std::string_view body, const std::string& why) {
  return unrecognized(t, body, "couldn't get version/kind; json parse error: " + why);
}

// What a document claims to be, judged before it is read.
Status check_kind(const ServedType& t, const json::Value& object, std::string_view body) {
  const std::string& api = object["apiVersion"].as_string();
  const std::string& kind = object["kind"].as_string();
  const std::string expected = t.resource.api_version();
  auto mismatch = [&] { return status::bad_request("the API version in the data (" + api + ") does not match the expected API version (" + expected + ")"); };
  if (t.custom) {
    if (kind.empty()) return unrecognized(t, body, "Object 'Kind' is missing in '" + std::string(body) + "'");
    if (api != expected) return mismatch();
    if (kind != t.resource.kind) return status::invalid(t.resource.group, kind, meta_string(object, "name"), {{"kind", "FieldValueInvalid", "Invalid value: " + json::quote(kind) + ": must be " + t.resource.kind}});
    return ok();
  }
  if (std::count(api.begin(), api.end(), '/') > 1) return unrecognized(t, body, "unexpected GroupVersion string: " + api);
  const std::string &as = api.empty() ? expected : api, &what = kind.empty() ? t.resource.kind : kind;
  if (std::string why = registry_problem(t, as, what); !why.empty())
    return status::bad_request(what + " in version " + json::quote(kube::parse_group_version(as).version) + " cannot be handled as a " + t.resource.kind + ": " + why);
  if (as != expected) return mismatch();
  return ok();
}

}  // namespace

Status check_write_options(const Request& r, std::string_view kind) {
  std::vector<Cause> bad;
  std::vector<std::string> dry;
  for (auto& [k, v] : r.query)
    if (k == "dryRun" && !v.empty()) dry.push_back(v);
  if (std::any_of(dry.begin(), dry.end(), [](auto& v) { return v != "All"; })) {
    std::string shown;
    for (auto& v : dry) shown += (shown.empty() ? "" : ", ") + json::quote(v);
    bad.push_back({"dryRun", "FieldValueNotSupported", "Unsupported value: [" + shown + "]: supported values: \"All\""});
  }
  std::string validation = r.param_or("fieldValidation");
  if (!validation.empty() && validation != "Ignore" && validation != "Strict" && validation != "Warn")
    bad.push_back({"fieldValidation", "FieldValueNotSupported", "Unsupported value: " + json::quote(validation) + ": supported values: \"\", \"Ignore\", \"Strict\", \"Warn\""});
  if (r.param_or("fieldManager").size() > kManagerMax)
    bad.push_back({"fieldManager", "FieldValueTooLong", "Too long: may not be more than " + std::to_string(kManagerMax) + " bytes"});
  if (kind == "PatchOptions" && r.content_type.compare(0, 23, "application/apply-patch") != 0 && r.param("force"))
    bad.push_back({"force", "FieldValueForbidden", "Forbidden: may not be specified for non-apply patch"});
  if (bad.empty()) return ok();
  return status::invalid("meta.k8s.io", kind, "", bad);
}

WriteCall Rest::write_call(const Request& r, ServedTypePtr t) const {
  WriteCall c;
  c.type = std::move(t);
  c.ns = r.ns;
  c.name = r.name;
  c.subresource = r.subresource;
  c.user = r.user;
  c.trail = r.trail;
  c.manager = default_manager(r);
  for (auto& [k, v] : r.query)
    if (k == "dryRun" && v == "All") c.dry_run = true;
  c.force = r.flag("force");
  c.field_validation = r.param_or("fieldValidation");
  c.options = json::Value::object();
  if (c.dry_run) c.options["dryRun"] = json::Value::array({"All"});
  if (auto* m = r.param("fieldManager"); m && !m->empty()) c.options["fieldManager"] = *m;
  if (!c.field_validation.empty()) c.options["fieldValidation"] = c.field_validation;
  return c;
}

namespace {

// Where each path of a document stands in it, as problems name them ("spec.containers[0].image").
void number_paths(const json::Value& v, std::string& path, std::map<std::string, size_t>& at) {
  const size_t size = path.size();
  for (auto& m : v.as_object()) {
    if (size) path += '.';
    path += m.key;
    at.emplace(path, at.size());
    number_paths(m.value, path, at);
    path.resize(size);
  }
  for (size_t i = 0; i < v.as_array().size(); ++i) {
    path += "[" + std::to_string(i) + "]";
    number_paths(v.as_array()[i], path, at);
    path.resize(size);
  }
}

// Upstream's decoder meets duplicate and unknown fields on one way through the document.
std::vector<std::string> problems_in_order(const json::Value& document, const std::vector<std::string>& duplicates, const std::vector<std::string>& unknown) {
  std::map<std::string, size_t> at;
  std::string path;
  if (!duplicates.empty() && !unknown.empty()) number_paths(document, path, at);
  std::vector<std::pair<size_t, std::string>> found;
  for (auto& u : unknown) found.emplace_back(at[u], "unknown field " + json::quote(u));
  for (auto& d : duplicates) found.emplace_back(at[d], "duplicate field " + json::quote(d));
  std::stable_sort(found.begin(), found.end(), [](auto& a, auto& b) { return a.first < b.first; });
  std::vector<std::string> out;
  for (auto& [where, text] : found) out.push_back(std::move(text));
  return out;
}

// What was not stored has no version: takes the empty one out of the text.
void cut_version(std::string& text, size_t stamp_at) {
  constexpr std::string_view kBefore = "\"resourceVersion\":\"";
  if (stamp_at < kBefore.size() || text.compare(stamp_at - kBefore.size(), kBefore.size(), kBefore) != 0) return;
  size_t from = stamp_at - kBefore.size(), to = stamp_at + 1;
  if (to < text.size() && text[to] == ',') ++to;
  else if (from > 0 && text[from - 1] == ',') --from;
  text.erase(from, to - from);
}

void add_warnings(const ServedType& t, const json::Value& object, const json::Value* old, std::string_view subresource, std::vector<std::string>& out) {
  if (t.custom) return;
  for (auto& w : kube::object_warnings(t.resource.group, t.resource.kind, object, old, subresource)) out.push_back(std::move(w));
}

}  // namespace

Result<json::Value> Rest::decode_body(Request& r, const ServedType& t, WriteCall* call) const {
  std::string type(trim(std::string_view(r.content_type).substr(0, r.content_type.find(';'))));
  const std::string& kind = t.resource.kind;
  json::Value object;
  std::vector<std::string> duplicates;
  bool lenient = call && call->field_validation == "Ignore";
  bool whole = false;
  if (!r.object.is_null()) {
    object = std::exchange(r.object, json::Value());
    whole = r.canonical && !t.custom;
  } else if (type == "application/vnd.kubernetes.protobuf") {
    TRY(json::Value v, t.model->from_protobuf(r.body));
    object = std::move(v);
  } else if (type.empty() || type == "application/json") {
    json::ParseOptions po;
    if (!lenient) po.duplicates = &duplicates;
    auto v = json::parse(r.body, po);
    if (!v.ok()) return unreadable(t, r.body, v.error().message);
    object = std::move(*v);
    if (object.is_null()) object = json::Value::object();
    if (std::string why = header_problem(object); !why.empty()) return unreadable(t, r.body, why);
  } else if (type == "application/yaml") {
    auto v = yaml::parse(r.body);
    if (!v.ok()) return status::bad_request("yaml: " + v.error().message);
    object = std::move(*v);
  } else {
    return status::unsupported_media_type("the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
  }
  if (!object.is_object()) return status::bad_request("couldn't get version/kind; json parse error: json: cannot unmarshal " + std::string(object.is_array() ? "array" : "value") + " into Go value of type struct");
  const std::string api_version = t.resource.api_version();
  if (r.object.is_null() || !whole) TRY_VOID(check_kind(t, std::as_const(object), r.body));
  if (std::as_const(object)["apiVersion"].as_string() != api_version) object["apiVersion"] = api_version;
  if (std::as_const(object)["kind"].as_string() != kind) object["kind"] = kind;
  if (whole) return object;
  std::string prefix = kind + " in version " + json::quote(t.resource.version) + " cannot be handled as a " + kind + ": ";
  std::vector<std::string> unknown;
  const json::Value sent = duplicates.empty() ? json::Value() : object;
  if (Status s = t.model->accept(object, unknown); !s.ok()) {
    if (!s.error().details.empty()) return std::move(s).error();
    return status::bad_request(prefix + s.error().message);
  }
  const std::vector<std::string> problems = problems_in_order(sent, duplicates, unknown);
  if (!problems.empty() && call && !lenient) {
    if (call->field_validation == "Strict") return status::bad_request(prefix + "strict decoding error: " + join(problems, ", "));
    for (auto& p : problems) call->warnings.push_back(p);
  }
  return object;
}

Task<Result<store::TxnResult>> Rest::put(const ServedType* t, std::string key, int64_t expect, std::shared_ptr<json::Value> object, const json::Value* old, const QuotaReservation* with) {
  // The stored form: the storage's version. Where that is the object's own, the cache keeps the object itself.
  auto stored = object;
  if (t->to_storage) {
    stored = std::make_shared<json::Value>(*object);
    Status s = t->to_storage(*stored);
    if (!s.ok()) co_return std::move(s).error();
  } else if (t->converter && t->storage_api_version != t->resource.api_version()) {
    std::vector<ValuePtr> one;
    one.push_back(stored);
    auto converted = co_await t->converter->convert(std::move(one), t->storage_api_version);
    if (!converted.ok()) co_return std::move(converted).error();
    stored = std::make_shared<json::Value>(*(*converted)[0]);
  }
  store::Op op;
  op.key = key;
  op.value = encode_object(*stored, &op.stamp_at);
  op.attachment = stored;
  store::Txn txn;
  txn.compares.push_back({std::move(key), expect});
  txn.ops.push_back(std::move(op));
  if (with) {
    for (auto& c : with->compares) txn.compares.push_back(c);
    for (auto& o : with->ops) txn.ops.push_back(o);
  }
  if (t->strategy->companions) t->strategy->companions(object.get(), old, txn);
  auto r = co_await core_->store_requests.write(old ? "update" : "create", t->resource, std::move(txn));
  if (!r.ok()) co_return status::internal(r.error().message);
  if (r->succeeded) {
    co_await core_->cacher.wait_for(r->revision, std::chrono::seconds(5));
    // The cache has the object itself, with its version already, and readers of it.
    const std::string version = std::to_string(r->revision);
    if (meta_string(*object, "resourceVersion") != version) (*object)["metadata"]["resourceVersion"] = version;
  }
  co_return std::move(*r);
}

Task<Result<store::TxnResult>> Rest::put_counted(const ServedType* t, std::string key, int64_t expect, std::shared_ptr<json::Value> object, const AdmissionRequest* a) {
  if (!core_->quota || !core_->quota->interested(*a)) {
    auto r = co_await put(t, std::move(key), expect, object, a->old, nullptr);
    co_return r;
  }
  for (int attempt = 0; attempt < kConflictTries; ++attempt) {
    QuotaReservation reserved;
    Status s = co_await core_->quota->reserve(*a, &reserved);
    if (!s.ok()) co_return std::move(s).error();
    auto r = co_await put(t, key, expect, object, a->old, &reserved);
    if (!r.ok() || r->succeeded || reserved.empty()) co_return r;
    bool quota_moved = false;
    for (size_t i = 0; i < reserved.compares.size(); ++i) {
      const std::optional<store::KeyValue>& present = r->values[i + 1];
      quota_moved = quota_moved || (present ? present->mod_revision : 0) != reserved.compares[i].mod_revision;
    }
    const std::optional<store::KeyValue>& present = r->values[0];
    if ((present ? present->mod_revision : 0) != expect || !quota_moved) co_return r;  // the object itself or a companion was in the way
    int64_t seen = 0;
    for (auto& v : r->values)
      if (v) seen = std::max(seen, v->mod_revision);
    co_await core_->cacher.wait_for(seen, std::chrono::seconds(5));
  }
  co_return status::conflict(t->resource, a->name, "the namespace's quotas changed too often while the object was written; please apply your changes to the latest version and try again");
}

Status Rest::check_new(const WriteCall& call, const json::Value& object) const {
  std::vector<Cause> causes;
  const ServedType& t = *call.type;
  const std::string& name = meta_string(object, "name");
  if (name.empty()) {
    causes.push_back({"metadata.name", "FieldValueRequired", "Required value: name or generateName is required"});
  } else if (std::string why = check_path_segment(name); !why.empty()) {
    causes.push_back({"metadata.name", "FieldValueInvalid", "Invalid value: " + json::quote(name) + ": " + why});
  }
  validate_object_meta(object, t.resource.namespaced, causes);
  t.model->validate(object, nullptr, causes);
  dedupe(causes);
  if (!causes.empty()) return status::invalid(t.resource.group, t.resource.kind, name, causes);
  return ok();
}

Task<Result<Stored>> Rest::create_object(WriteCall* call, json::Value object) {
  const ServedType& t = *call->type;
  Time now = core_->ex.now();
  json::Value& meta = object["metadata"];
  if (meta.is_null()) meta = json::Value::object();
  const bool has_version = !meta["resourceVersion"].as_string().empty();
  if (t.resource.namespaced) {
    const std::string& ns = meta["namespace"].as_string();
    if (ns.empty()) meta["namespace"] = call->ns;
    else if (ns != call->ns) co_return status::bad_request("the namespace of the provided object does not match the namespace sent on the request");
  } else if (!meta["namespace"].as_string().empty()) {
    co_return status::bad_request("the namespace of the provided object does not match the namespace sent on the request");
  } else {
    meta.erase("namespace");
  }
  for (std::string_view f : {"resourceVersion", "deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "generation", "managedFields"}) {
    if (f == "managedFields" && call->manager == kKeepManagedFields) continue;
    meta.erase(f);
  }
  std::string generate = meta["generateName"].as_string();
  if (generate.empty()) meta.erase("generateName");
  bool generated = meta["name"].as_string().empty() && !generate.empty();
  meta["creationTimestamp"] = format_rfc3339(now);
  if (t.strategy->generation) meta["generation"] = 1;
  if (t.strategy->status_subresource && !t.strategy->status_at_create) object.erase("status");
  unique_owners(object, false, call->warnings);
  if (t.strategy->accepted) t.strategy->accepted(object);
  t.model->set_defaults(object);
  if (generated || t.strategy->companions) object.freeze();  // each attempt changes a copy
  for (int attempt = 0;; ++attempt) {
    const bool last = attempt >= kGenerateNameTries || (!generated && !t.strategy->companions);
    auto made = last ? std::make_shared<json::Value>(std::move(object)) : std::make_shared<json::Value>(object);
    json::Value& o = *made;
    if (call->manager != kKeepManagedFields) {  // what admission and the strategy add has no owner
      Writer w;
      w.manager = call->manager;
      w.subresource = call->subresource;
      w.now = now;
      t.model->track(nullptr, o, w);
    }
    json::Value& m = o["metadata"];  // until the strategy adds members
    if (generated) m["name"] = generate.substr(0, kGeneratedPrefixMax) + random_suffix(core_->ex);
    m["uid"] = new_uid(core_->ex);
    AdmissionRequest a;
    a.operation = Operation::kCreate;
    a.type = &t;
    a.ns = call->ns;
    a.name = meta_string(o, "name");
    a.object = &o;
    a.user = call->user;
    a.dry_run = call->dry_run;
    a.name_generated = generated;
    a.warnings = &call->warnings;
    a.trail = call->trail.get();
    if (Status s = core_->admission.admit(a); !s.ok()) co_return std::move(s).error();
    bool remote = core_->remote_admission && core_->remote_admission->interested(a);
    if (remote) {
      a.options = typed_options("CreateOptions", call->options);
      Status s = co_await core_->remote_admission->admit(a);
      if (!s.ok()) co_return std::move(s).error();
      a.name = meta_string(o, "name");
    }
    t.model->set_defaults(o);
    unique_owners(o, true, call->warnings);
    if (t.strategy->prepare_create) t.strategy->prepare_create(o, call->warnings);
    if (Status s = check_new(*call, o); !s.ok()) co_return std::move(s).error();
    add_warnings(t, o, nullptr, "", call->warnings);
    Status valid = co_await validate_admission(core_, &a);
    if (!valid.ok()) co_return std::move(valid).error();
    if (remote) {
      Status s = co_await core_->remote_admission->validate(a);
      if (!s.ok()) co_return std::move(s).error();
    }
    // It is upstream's storage that refuses it, after all who may judge, with an error that has no reason.
    if (has_version) co_return status::make(500, "", "resourceVersion should not be set on objects to be created");
    if (t.strategy->allocate) {
      if (Status s = t.strategy->allocate(o, nullptr, call->dry_run); !s.ok()) co_return std::move(s).error();
    }
    std::string name = o["metadata"]["name"].as_string();
    std::string key = t.storage->prefix + WatchCache::key_of(t.resource.namespaced ? call->ns : "", name);
    Stored out;
    out.created = true;
    if (call->dry_run) {
      if (core_->quota && core_->quota->interested(a)) {
        QuotaReservation none;
        Status s = co_await core_->quota->reserve(a, &none);
        if (!s.ok()) co_return std::move(s).error();
      }
      if (core_->store_has(t, call->ns, name)) co_return status::already_exists(t.resource, name);
      size_t at = 0;
      std::string text = encode_object(o, &at);
      cut_version(text, at);
      out.bytes = std::make_shared<const std::string>(std::move(text));
      out.value = json::share(std::move(o));
      co_return out;
    }
    auto r = co_await put_counted(&t, key, 0, made, &a);
    if (!r.ok()) {
      if (t.strategy->release) t.strategy->release(o);
      co_return std::move(r).error();
    }
    if (!r->succeeded) {
      if (t.strategy->release) t.strategy->release(o);
      bool companion_taken = !r->values.empty() && !r->values[0];
      if (companion_taken && attempt < kGenerateNameTries) {
        co_await core_->cacher.wait_for(r->revision, std::chrono::seconds(5));
        continue;
      }
      if (generated && attempt < kGenerateNameTries) continue;
      co_return status::already_exists(t.resource, name);
    }
    out.revision = r->revision;
    if (t.from_storage || t.converter) out.bytes = std::make_shared<const std::string>(json::dump(o));
    else out.bytes = r->values[0]->value;
    out.value = std::move(made);
    co_return out;
  }
}

// The object that an update of `live` to `object` leaves behind: system fields kept, status or spec
// kept according to the endpoint.
Result<json::Value> Rest::finish_update(WriteCall* call, const json::Value& live, json::Value object, bool* unchanged) const {
  const ServedType& t = *call->type;
  const json::Value& old_meta = live["metadata"];
  json::Value& meta = object["metadata"];
  if (meta.is_null()) meta = json::Value::object();
  *unchanged = false;
  if (meta["name"].as_string().empty())
    return status::bad_request("the name of the object (" + call->name + " based on URL) was undeterminable: name must be provided");
  if (meta["name"].as_string() != call->name)
    return status::bad_request("the name of the object (" + meta["name"].as_string() + ") does not match the name on the URL (" + call->name + ")");
  if (t.resource.namespaced) {
    if (meta["namespace"].as_string().empty()) meta["namespace"] = call->ns;
    if (meta["namespace"].as_string() != call->ns)
      return status::bad_request("the namespace of the provided object does not match the namespace sent on the request");
  } else {
    meta.erase("namespace");
  }
  const std::string& version = meta["resourceVersion"].as_string();
  if (version.empty() || version == "0") {
    if (!t.strategy->unconditional_update && call->subresource.empty())
      return status::invalid(t.resource.group, t.resource.plural, call->name, {{"metadata.resourceVersion", "FieldValueInvalid", "Invalid value: 0: must be specified for an update"}});
  } else if (version != old_meta["resourceVersion"].as_string()) {
    return status::modified(t.resource, call->name);
  }
  if (const std::string& uid = meta["uid"].as_string(); !uid.empty() && uid != old_meta["uid"].as_string())
    return status::conflict(t.resource, call->name,
                            "Precondition failed: UID in precondition: " + uid + ", UID in object meta: " + old_meta["uid"].as_string());
  bool status_only = call->subresource == "status";
  if (status_only) {
    json::Value fields = meta["managedFields"];
    json::Value result = live;
    if (!t.custom) result["metadata"] = meta;
    else if (!fields.is_null()) result["metadata"]["managedFields"] = fields;
    if (auto* s = object.find("status")) result["status"] = *s;
    else result.erase("status");
    object = std::move(result);
  } else if (call->subresource == "approval") {
    json::Value new_meta = meta;
    TRY(object, approved_request(live, object, core_->ex.now()));
    object["metadata"] = std::move(new_meta);
  } else if (t.strategy->status_subresource && call->subresource != "binding") {
    if (auto* s = live.find("status")) object["status"] = *s;
    else object.erase("status");
  }
  json::Value& m = object["metadata"];
  for (std::string_view f : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"}) {
    auto* v = old_meta.find(f);
    if (v && !v->is_null()) m[f] = *v;
    else m.erase(f);
  }
  m.erase("selfLink");
  if (auto* g = old_meta.find("generateName")) m["generateName"] = *g;
  if (!m.find("managedFields") && old_meta.find("managedFields")) m["managedFields"] = old_meta["managedFields"];
  if (t.strategy->accepted) t.strategy->accepted(object);
  t.model->set_defaults(object, status_only || call->subresource == "binding");
  if (t.resource.kind == "Pod" && t.resource.group.empty() && !status_only && call->subresource != "binding") {
    TRY(object, limited_pod_update(call->subresource, live, std::move(object)));
  }
  if (status_only) {
    if (t.strategy->prepare_status_update) t.strategy->prepare_status_update(object, live);
  } else if (t.strategy->prepare_update) {
    t.strategy->prepare_update(object, live);
  }
  return object;
}

Task<Result<Stored>> Rest::update_object(WriteCall* call, Transform transform, bool retry) {
  const ServedType& t = *call->type;
  for (int attempt = 0; attempt < kConflictTries; ++attempt) {
    ObjectPtr found = find(t, t.resource.namespaced ? call->ns : "", call->name);
    if (!found) co_return status::not_found(t.resource, call->name);
    ObjectPtr shown = found;
    if (t.converter) {
      auto converted = co_await convert_one(&t, found);
      if (!converted.ok()) co_return std::move(converted).error();
      shown = *converted;
    }
    ValuePtr live = served_value(t, *shown);
    auto wanted = transform(*live);
    if (!wanted.ok()) co_return std::move(wanted).error();
    bool unchanged = false;
    auto finished = finish_update(call, *live, std::move(*wanted), &unchanged);
    if (!finished.ok()) co_return std::move(finished).error();
    auto object = std::make_shared<json::Value>(std::move(*finished));
    AdmissionRequest a;
    a.operation = Operation::kUpdate;
    a.type = &t;
    a.subresource = call->subresource;
    a.ns = call->ns;
    a.name = call->name;
    a.object = &*object;
    a.old = live.get();
    a.user = call->user;
    a.dry_run = call->dry_run;
    a.warnings = &call->warnings;
    a.trail = call->trail.get();
    if (Status s = core_->admission.admit(a); !s.ok()) co_return std::move(s).error();
    // Of a part with a kind of its own (Scale) the caller has asked.
    bool remote = !call->admitted && core_->remote_admission && core_->remote_admission->interested(a);
    if (remote) {
      a.options = typed_options("UpdateOptions", call->options);
      Status s = co_await core_->remote_admission->admit(a);
      if (!s.ok()) co_return std::move(s).error();
      t.model->set_defaults(*object);
      json::Value& m = (*object)["metadata"];  // belongs to the server still
      for (std::string_view f : {"uid", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "resourceVersion"}) {
        auto* v = live->find("metadata")->find(f);
        if (v && !v->is_null()) m[f] = *v;
        else m.erase(f);
      }
    }
    unique_owners(*object, true, call->warnings);
    if (t.strategy->allocate && call->subresource.empty()) {
      if (Status s = t.strategy->allocate(*object, live.get(), call->dry_run); !s.ok()) co_return std::move(s).error();
    }
    if (t.strategy->generation && call->subresource != "status" && call->subresource != "binding" && !same_spec(*object, *live))
      (*object)["metadata"]["generation"] = live->path({"metadata", "generation"}).as_int() + 1;
    std::vector<Cause> causes;
    validate_object_meta(*object, t.resource.namespaced, causes);
    validate_object_meta_update(*object, *live, causes);
    t.model->validate(*object, live.get(), causes);
    dedupe(causes);
    if (!causes.empty()) co_return status::invalid(t.resource.group, t.resource.kind, call->name, causes);
    add_warnings(t, *object, live.get(), call->subresource, call->warnings);
    Status valid = co_await validate_admission(core_, &a);
    if (!valid.ok()) co_return std::move(valid).error();
    if (remote) {
      Status s = co_await core_->remote_admission->validate(a);
      if (!s.ok()) co_return std::move(s).error();
    }
    Writer w;
    w.manager = call->manager;
    w.subresource = call->subresource;
    w.now = core_->ex.now();
    if (call->manager != kKeepManagedFields) t.model->track(live.get(), *object, w);
    Stored out;
    // A write that changes nothing still moves the object to the storage's present version.
    bool migrates = t.custom && (*found->value())["apiVersion"].as_string() != t.storage_api_version;
    std::string key = t.storage->prefix + WatchCache::key_of(t.resource.namespaced ? call->ns : "", call->name);
    const bool same = same_object(*object, *live);
    if (same && !migrates && !call->dry_run) {  // nor does one whose encryption key was followed by another
      auto outdated = co_await core_->store.outdated(key);
      if (!outdated.ok()) co_return status::internal(outdated.error().message);
      migrates = *outdated;
    }
    if (same && !migrates) {
      out.bytes = served_bytes(t, *shown);
      out.value = live;
      out.revision = found->revision;
      co_return out;
    }
    const json::Value& m = (*object)["metadata"];
    bool last_finalizer = !m["deletionTimestamp"].is_null() && m["finalizers"].size() == 0 && m["deletionGracePeriodSeconds"].as_int() == 0 &&
                          (t.resource.kind != "Namespace" || object->path({"spec", "finalizers"}).size() == 0) &&
                          (live->path({"metadata", "finalizers"}).size() > 0 || t.resource.kind == "Namespace");
    if (call->dry_run) {
      if (core_->quota && core_->quota->interested(a)) {
        QuotaReservation none;
        Status s = co_await core_->quota->reserve(a, &none);
        if (!s.ok()) co_return std::move(s).error();
      }
      size_t at = 0;
      (*object)["metadata"]["resourceVersion"] = std::to_string(found->revision);
      std::string text = encode_object(*object, &at);
      text.insert(at, std::to_string(found->revision));
      out.bytes = std::make_shared<const std::string>(std::move(text));
      out.value = json::share(std::move(*object));
      co_return out;
    }
    if (last_finalizer) {
      store::Txn txn;
      txn.compares.push_back({key, found->revision});
      store::Op op;
      op.kind = store::Op::kDelete;
      op.key = key;
      txn.ops.push_back(std::move(op));
      if (t.strategy->companions) t.strategy->companions(nullptr, live.get(), txn);
      auto r = co_await core_->store_requests.write("delete", t.resource, std::move(txn));
      if (!r.ok()) co_return status::internal(r.error().message);
      if (!r->succeeded) {
        if (retry) continue;
        co_return status::modified(t.resource, call->name);
      }
      co_await core_->cacher.wait_for(r->revision, std::chrono::seconds(5));
      if (t.strategy->release) t.strategy->release(*live);
      size_t at = 0;
      std::string text = encode_object(*object, &at);
      text.insert(at, std::to_string(found->revision));
      out.bytes = std::make_shared<const std::string>(std::move(text));
      out.value = json::share(std::move(*object));
      out.revision = r->revision;
      co_return out;
    }
    auto r = co_await put_counted(&t, key, found->revision, object, &a);
    if (!r.ok()) co_return std::move(r).error();
    if (!r->succeeded) {
      if (retry) continue;
      co_return status::modified(t.resource, call->name);
    }
    if (t.strategy->updated) t.strategy->updated(*object, *live);
    out.revision = r->revision;
    if (t.from_storage || t.converter) out.bytes = std::make_shared<const std::string>(json::dump(*object));
    else out.bytes = r->values[0]->value;
    out.value = std::move(object);
    co_return out;
  }
  co_return status::modified(t.resource, call->name);
}

Task<Status> Rest::admit_other(WriteCall* call, OtherWrite write) {
  if (!core_->remote_admission) co_return ok();
  AdmissionRequest a;
  a.operation = write.operation;
  a.type = call->type.get();
  a.subresource = call->subresource;
  a.ns = call->ns;
  a.name = call->name;
  a.plain = false;
  a.object = write.object;
  a.old = write.old;
  a.user = call->user;
  a.dry_run = call->dry_run;
  a.warnings = &call->warnings;
  a.trail = call->trail.get();
  if (!write.options_kind.empty()) a.options = typed_options(write.options_kind, call->options);
  if (!core_->remote_admission->interested(a)) co_return ok();
  Status admitted = co_await core_->remote_admission->admit(a);
  if (!admitted.ok()) co_return admitted;
  Status judged = co_await core_->remote_admission->validate(a);
  co_return judged;
}

Task<Response> Rest::create(Request& r, ServedTypePtr t) {
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  if (Status options = check_write_options(r, "CreateOptions"); !options.ok()) co_return error_response(options.error());
  WriteCall call = write_call(r, t);
  auto object = decode_body(r, *t, &call);
  if (!object.ok()) co_return error_response(object.error());
  auto stored = co_await create_object(&call, std::move(*object));
  Response res = stored.ok() ? render(*t, *out, 201, *stored) : error_response(stored.error());
  res.warnings = std::move(call.warnings);
  co_return res;
}

namespace {
// A transform that owns the wanted object; it may be asked once only, or again.
Rest::Transform replace_with(std::shared_ptr<json::Value> object, bool once) {
  return [object, once](const json::Value&) -> Result<json::Value> {
    if (once) return std::move(*object);
    return *object;
  };
}
}  // namespace

Task<Response> Rest::update(Request& r, ServedTypePtr t) {
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  if (Status options = check_write_options(r, "UpdateOptions"); !options.ok()) co_return error_response(options.error());
  WriteCall call = write_call(r, t);
  auto object = decode_body(r, *t, &call);
  if (!object.ok()) co_return error_response(object.error());
  bool conditional = !meta_string(*object, "resourceVersion").empty();
  if (t->strategy->create_on_update && r.subresource.empty() && !conditional && !find(*t, t->resource.namespaced ? r.ns : "", r.name)) {
    if (meta_string(*object, "name").empty()) {
      Error nameless = status::bad_request("the name of the object (" + r.name + " based on URL) was undeterminable: name must be provided");
      co_return error_response(nameless);
    }
    auto stored = co_await create_object(&call, std::move(*object));
    Response res = stored.ok() ? render(*t, *out, 201, *stored) : error_response(stored.error());
    res.warnings = std::move(call.warnings);
    co_return res;
  }
  unique_owners(*object, false, call.warnings);
  auto shared = std::make_shared<json::Value>(std::move(*object));
  auto stored = co_await update_object(&call, replace_with(shared, conditional), !conditional);
  Response res = stored.ok() ? render(*t, *out, 200, *stored) : error_response(stored.error());
  res.warnings = std::move(call.warnings);
  co_return res;
}

}  // namespace caravel::apiserver
