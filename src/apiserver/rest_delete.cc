// delete and deletecollection: preconditions, grace, finalizers, propagation.
#include "apiserver/authorization/answers.h"
#include "apiserver/builtin_model.h"
#include "apiserver/conversion_webhook.h"
#include "apiserver/document_kind.h"
#include "apiserver/object_meta.h"
#include "apiserver/rest.h"
#include "base/strings.h"
#include "base/yaml.h"
#include "kube/kinds.h"
#include "kube/patch.h"
#include "kube/types/meta.h"

namespace caravel::apiserver {

namespace {
constexpr int kTries = 16;
constexpr std::string_view kOrphan = "orphan";
constexpr std::string_view kForeground = "foregroundDeletion";

Response warned(Response r, const std::vector<std::string>& warnings) {
  r.warnings = warnings;
  return r;
}

Stored stored_of(const ServedType& t, const Object& o) {
  Stored s;
  s.bytes = served_bytes(t, o);
  s.value = served_value(t, o);
  s.revision = o.revision;
  return s;
}
}  // namespace

Result<DeleteCall> Rest::delete_call(const Request& r, ServedTypePtr t) const {
  TRY_VOID(check_write_options(r, "DeleteOptions"));
  DeleteCall c;
  c.type = t;
  c.ns = r.ns;
  c.name = r.name;
  c.user = r.user;
  bool orphans_and_policy = false;
  if (r.body.empty()) {  // the options are in the one or the other
    if (auto* g = r.param("gracePeriodSeconds")) c.grace = parse_int(*g);
    if (auto* p = r.param("propagationPolicy")) c.propagation = *p;
    orphans_and_policy = r.param("orphanDependents") && !c.propagation.empty();
    if (!orphans_and_policy && r.param("orphanDependents")) c.propagation = r.flag("orphanDependents") ? "Orphan" : "Background";
    for (auto& [k, v] : r.query)
      if (k == "dryRun" && v == "All") c.dry_run = true;
  }
  std::string type(trim(std::string_view(r.content_type).substr(0, r.content_type.find(';'))));
  if (!r.body.empty()) {
    if (!type.empty() && type != "application/json" && type != "application/yaml" && type != "application/vnd.kubernetes.protobuf")
      return status::unsupported_media_type("the body of the request was in an unknown format - accepted media types include: application/json, application/yaml, application/vnd.kubernetes.protobuf");
    auto v = type == "application/yaml" ? yaml::parse(r.body) : type == "application/vnd.kubernetes.protobuf" ? decode_envelope(kube::meta::DeleteOptions::type_info(), r.body)
                                                                                                              : json::parse(r.body);
    if (!v.ok()) return status::bad_request("couldn't get version/kind; json parse error: " + v.error().message);
    if (std::string why = header_problem(*v); !why.empty() && !v->is_null()) return status::bad_request("couldn't get version/kind; json parse error: " + why);
    if (auto* g = v->find("gracePeriodSeconds"); g && !g->is_null() && !g->is_int())
      return status::bad_request("json: cannot unmarshal " + kube::json_type_name(*g) + " into Go struct field DeleteOptions.gracePeriodSeconds of type int64");
    if (auto* g = v->find("gracePeriodSeconds"); g && g->is_int()) c.grace = g->as_int();
    if (auto* p = v->find("propagationPolicy"); p && p->is_string()) c.propagation = p->as_string();
    if (auto* o = v->find("orphanDependents"); o && o->is_bool()) {
      orphans_and_policy = !c.propagation.empty();
      if (!orphans_and_policy) c.propagation = o->as_bool() ? "Orphan" : "Background";
    }
    const std::string &kind = std::as_const(*v)["kind"].as_string(), &version = std::as_const(*v)["apiVersion"].as_string();
    if (!kind.empty() && kind != "DeleteOptions") {
      const std::string as = version.empty() ? "meta.k8s.io/v1" : version;
      const kube::GroupVersion gv = kube::parse_group_version(as);
      if (kube::find_kind(gv.group, gv.version, kind)) return status::bad_request("decoded object cannot be converted to DeleteOptions");
      return status::bad_request("no kind " + json::quote(kind) + " is registered for version " + json::quote(as) + " in scheme \"pkg/api/legacyscheme/scheme.go:30\"");
    }
    c.uid = v->path({"preconditions", "uid"}).as_string();
    c.resource_version = v->path({"preconditions", "resourceVersion"}).as_string();
    for (auto& d : (*v)["dryRun"].as_array())
      if (d.as_string() == "All") c.dry_run = true;
  }
  if (orphans_and_policy)
    return status::invalid("meta.k8s.io", "DeleteOptions", "", {{"propagationPolicy", "FieldValueInvalid", "Invalid value: " + json::quote(c.propagation) + ": orphanDependents and deletionPropagation cannot be both set"}});
  if (!c.propagation.empty() && c.propagation != "Orphan" && c.propagation != "Background" && c.propagation != "Foreground")
    return status::invalid("meta.k8s.io", "DeleteOptions", "", {{"propagationPolicy", "FieldValueNotSupported", "Unsupported value: " + json::quote(c.propagation) + ": supported values: \"Foreground\", \"Background\", \"Orphan\", \"nil\""}});
  if (c.propagation.empty() && !t->strategy->orphans_warning.empty()) c.warnings->push_back(std::string(t->strategy->orphans_warning));
  if (c.grace && *c.grace < 0) c.grace = 1;
  c.trail = r.trail;
  c.options["kind"] = "DeleteOptions";
  c.options["apiVersion"] = "meta.k8s.io/v1";
  if (c.grace) c.options["gracePeriodSeconds"] = *c.grace;
  if (!c.uid.empty()) c.options["preconditions"]["uid"] = c.uid;
  if (!c.resource_version.empty()) c.options["preconditions"]["resourceVersion"] = c.resource_version;
  if (!c.propagation.empty()) c.options["propagationPolicy"] = c.propagation;
  if (c.dry_run) c.options["dryRun"] = json::Value::array({"All"});
  return c;
}

Task<Result<Rest::Deleted>> Rest::delete_object(DeleteCall call) {
  const ServedType& t = *call.type;
  std::string ns = t.resource.namespaced ? call.ns : "";
  std::string key = t.storage->prefix + WatchCache::key_of(ns, call.name);
  for (int attempt = 0; attempt < kTries; ++attempt) {
    ObjectPtr found = find(t, ns, call.name);
    if (!found) co_return status::not_found(t.resource, call.name);
    ValuePtr live = found->value();
    ObjectPtr shown = found;  // as the request's version has it
    if (t.converter) {
      auto converted = co_await convert_one(&t, found);
      if (!converted.ok()) co_return std::move(converted).error();
      shown = *converted;
    }
    ValuePtr served = served_value(t, *shown);
    const json::Value& meta = (*live)["metadata"];
    if (!call.uid.empty() && call.uid != meta["uid"].as_string())
      co_return status::conflict(t.resource, call.name, "Precondition failed: UID in precondition: " + call.uid + ", UID in object meta: " + meta["uid"].as_string());
    if (!call.resource_version.empty() && call.resource_version != meta["resourceVersion"].as_string())
      co_return status::conflict(t.resource, call.name,
                                 "Precondition failed: ResourceVersion in precondition: " + call.resource_version + ", ResourceVersion in object meta: " + meta["resourceVersion"].as_string());
    AdmissionRequest a;
    a.operation = Operation::kDelete;
    a.type = &t;
    a.ns = call.ns;
    a.name = call.name;
    a.old = served.get();
    a.user = call.user;
    a.dry_run = call.dry_run;
    a.options = call.options;
    a.warnings = call.warnings.get();
    a.trail = call.trail.get();
    if (Status s = core_->admission.admit(a); !s.ok()) co_return std::move(s).error();
    Status valid = co_await validate_admission(core_, &a);
    if (!valid.ok()) co_return std::move(valid).error();
    if (!call.admitted && core_->remote_admission && core_->remote_admission->interested(a)) {
      Status m = co_await core_->remote_admission->admit(a);
      if (!m.ok()) co_return std::move(m).error();
      Status v = co_await core_->remote_admission->validate(a);
      if (!v.ok()) co_return std::move(v).error();
    }
    json::Value object = *live;
    bool deleting = !meta["deletionTimestamp"].is_null();
    // Finalizers that the policy asks for.
    const bool by_default = call.propagation.empty() && t.strategy->orphans_by_default && !has_finalizer(*live, kOrphan) && !has_finalizer(*live, kForeground);
    if (call.propagation == "Orphan" || by_default) {
      add_finalizer(object, kOrphan);
      remove_finalizer(object, kForeground);
    } else if (call.propagation == "Foreground") {
      add_finalizer(object, kForeground);
      remove_finalizer(object, kOrphan);
    } else if (call.propagation == "Background") {
      remove_finalizer(object, kForeground);
      remove_finalizer(object, kOrphan);
    }
    bool namespace_kind = t.resource.kind == "Namespace" && t.resource.group.empty();
    bool held = object["metadata"]["finalizers"].size() > 0 || (namespace_kind && object.path({"spec", "finalizers"}).size() > 0);
    int64_t grace = 0;
    bool graceful = static_cast<bool>(t.strategy->grace);
    if (graceful) grace = t.strategy->grace(object, call.grace);
    bool remove_now = !held && grace == 0;
    if (deleting && !remove_now) {
      // A second call may only shorten the grace.
      int64_t present = meta["deletionGracePeriodSeconds"].as_int();
      bool shorter = graceful && call.grace && grace < present;
      if (!shorter && same_object(object, *live)) {
        Deleted d;
        d.object = stored_of(t, *shown);
        co_return d;
      }
      if (!shorter) grace = present;
    }
    if (remove_now) {
      Deleted d;
      d.gone = true;
      d.object = stored_of(t, *shown);
      if (call.dry_run) co_return d;
      store::Txn txn;
      txn.compares.push_back({key, found->revision});
      store::Op op;
      op.kind = store::Op::kDelete;
      op.key = key;
      txn.ops.push_back(std::move(op));
      if (t.strategy->companions) t.strategy->companions(nullptr, live.get(), txn);
      auto r = co_await core_->store_requests.write("delete", t.resource, std::move(txn));
      if (!r.ok()) co_return status::internal(r.error().message);
      if (!r->succeeded) continue;
      co_await core_->cacher.wait_for(r->revision, std::chrono::seconds(5));
      if (t.strategy->release) t.strategy->release(*live);
      co_return d;
    }
    json::Value& m = object["metadata"];
    Time now = core_->ex.now();
    if (!deleting || (graceful && grace < meta["deletionGracePeriodSeconds"].as_int())) {
      m["deletionTimestamp"] = format_rfc3339(now + std::chrono::seconds(grace));
      m["deletionGracePeriodSeconds"] = grace;
      if (m["generation"].as_int() > 0) m["generation"] = m["generation"].as_int() + 1;
      if (namespace_kind) object["status"]["phase"] = "Terminating";
    }
    Deleted d;
    if (call.dry_run) {
      d.object.value = json::share(object);
      d.object.bytes = std::make_shared<const std::string>(json::dump(object));
      co_return d;
    }
    // The object is in the storage's version already.
    auto stored = std::make_shared<json::Value>(std::move(object));
    store::Op op;
    op.key = key;
    op.value = encode_object(*stored, &op.stamp_at);
    op.attachment = stored;
    store::Txn txn;
    txn.compares.push_back({key, found->revision});
    txn.ops.push_back(std::move(op));
    auto r = co_await core_->store_requests.write("update", t.resource, std::move(txn));
    if (!r.ok()) co_return status::internal(r.error().message);
    if (!r->succeeded) continue;
    co_await core_->cacher.wait_for(r->revision, std::chrono::seconds(5));
    auto now_stored = std::make_shared<Object>();
    now_stored->bytes = r->values[0]->value;
    now_stored->revision = r->revision;
    // The cache has the object itself, with its version already, and readers of it.
    const std::string version = std::to_string(r->revision);
    if (meta_string(*stored, "resourceVersion") != version) (*stored)["metadata"]["resourceVersion"] = version;
    now_stored->decoded = stored;
    ObjectPtr written = now_stored;
    if (t.converter) {
      auto converted = co_await convert_one(&t, written);
      if (!converted.ok()) co_return std::move(converted).error();
      written = *converted;
    }
    d.object = stored_of(t, *written);
    co_return d;
  }
  co_return status::modified(t.resource, call.name);
}

Task<Response> Rest::remove(Request& r, ServedTypePtr t) {
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  auto call = delete_call(r, t);
  if (!call.ok()) co_return error_response(call.error());
  bool foreground = call->propagation == "Foreground";
  auto warnings = call->warnings;
  auto d = co_await delete_object(std::move(*call));
  if (!d.ok()) co_return warned(error_response(d.error()), *warnings);
  if (!d->gone) co_return warned(render(*t, *out, foreground ? 202 : 200, d->object), *warnings);
  if (t->strategy->returns_deleted_object) co_return warned(render(*t, *out, 200, d->object), *warnings);
  json::Value s = json::Value::object();
  s["kind"] = "Status";
  s["apiVersion"] = "v1";
  s["metadata"] = json::Value::object();
  s["status"] = "Success";
  json::Value details = json::Value::object();
  details["name"] = r.name;
  if (!t->resource.group.empty()) details["group"] = t->resource.group;
  details["kind"] = t->resource.plural;
  details["uid"] = meta_string(*d->object.value, "uid");
  s["details"] = std::move(details);
  co_return warned(json_response(200, s), *warnings);
}

Task<Response> Rest::remove_collection(Request& r, ServedTypePtr t) {
  auto out = negotiate(r, *t);
  if (!out.ok()) co_return error_response(out.error());
  auto filter = filter_of(r, *t);
  if (!filter.ok()) co_return error_response(filter.error());
  auto call = delete_call(r, t);
  if (!call.ok()) co_return error_response(call.error());
  WatchCache::ListQuery q;
  q.filter = &*filter;
  auto page = t->storage->cache->list(q);
  if (t->converter) {
    auto selected = co_await shown_objects(t.get(), &filter->shown, std::move(page->items));
    if (!selected.ok()) co_return error_response(selected.error());
    page->items = std::move(*selected);
  }
  WatchCache::ListPage shown;
  for (auto& o : page->items) {
    DeleteCall one = *call;
    one.ns = o->ns;
    one.name = o->name;
    auto d = co_await delete_object(std::move(one));
    if (!d.ok()) {
      if (d.error().code == Code::kNotFound) continue;
      co_return warned(error_response(d.error()), *call->warnings);
    }
    shown.items.push_back(o);
  }
  co_return warned(render_list(*t, *out, shown, core_->cacher.revision(), ""), *call->warnings);
}

}  // namespace caravel::apiserver
