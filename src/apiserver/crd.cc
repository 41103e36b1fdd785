#include "apiserver/crd.h"

#include <algorithm>
#include <set>

#include "apiserver/conversion_webhook.h"
#include "apiserver/crd_model.h"
#include "apiserver/object_meta.h"
#include "apiserver/strategies.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {

using json::Value;

constexpr std::string_view kFinalizer = "customresourcecleanup.apiextensions.k8s.io";
constexpr Duration kCleanUpEvery = std::chrono::seconds(1);

Value condition(std::string_view type, bool yes, std::string_view reason, std::string_view message) {
  Value c = Value::object();
  c["type"] = type;
  c["status"] = yes ? "True" : "False";
  c["reason"] = reason;
  c["message"] = message;
  return c;
}

// Sets a condition, keeping the time of its last transition when it does not change.
void set_condition(Value& status, Value c, Time now) {
  Value& list = status["conditions"];
  if (!list.is_array()) list = Value::array();
  for (auto& old : list.arr())
    if (old["type"] == c["type"]) {
      c["lastTransitionTime"] = old["status"] == c["status"] ? old["lastTransitionTime"] : Value(format_rfc3339(now));
      old = std::move(c);
      return;
    }
  c["lastTransitionTime"] = format_rfc3339(now);
  list.push_back(std::move(c));
}

std::vector<std::string> strings(const Value& v) {
  std::vector<std::string> out;
  for (auto& s : v.as_array()) out.push_back(s.as_string());
  return out;
}

Rest::Transform with_status(Value status) {
  return [status = std::move(status)](const Value& live) -> Result<Value> {
    Value out = live;
    out["status"] = status;
    return out;
  };
}
Rest::Transform without_finalizer() {
  return [](const Value& live) -> Result<Value> {
    Value out = live;
    remove_finalizer(out, kFinalizer);
    return out;
  };
}

UserPtr self() {
  static const UserPtr user = make_user("system:apiserver", {"system:masters"});
  return user;
}

}  // namespace

CrdController::CrdController(Core& core, Rest& rest)
    : core_(&core), rest_(&rest), queue_(core.ex, "crd", [this](std::string name) { return reconcile(std::move(name)); }) {}

Task<Status> CrdController::start(TaskScope& scope) {
  crds_ = core_->types.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
  if (!crds_) co_return internal("the kind CustomResourceDefinition is not among the built-in ones");
  std::vector<std::string> names;
  for (auto& [key, o] : crds_->storage->cache->objects()) names.push_back(o->name);
  for (auto& n : names) {
    Status s = co_await sync(n);
    if (!s.ok()) core_->log.warn("cannot serve a custom resource", {{"crd", n}, {"error", s.error().message}});
  }
  crds_->storage->cache->add_listener([this](const CacheEvent& e) {
    queue_.enqueue(e.object->name);
  });
  queue_.start(scope);
  co_return ok();
}

Task<Result<kube::Requeue>> CrdController::reconcile(std::string name) {
  Status s = co_await sync(name);
  if (s.ok()) co_return kube::Requeue::never();
  if (s.error().code != Code::kUnavailable) core_->log.warn("cannot serve a custom resource", {{"crd", name}, {"error", s.error().message}});
  co_return kube::Requeue::in(kCleanUpEvery);
}

void CrdController::stop_serving(const std::string& group, const std::string& plural) {
  std::vector<std::string> versions;
  for (auto& t : core_->types.all())
    if (t->custom && t->resource.group == group && t->resource.plural == plural) versions.push_back(t->resource.version);
  for (auto& v : versions) core_->types.remove(group, v, plural);
}

Task<Status> CrdController::write_status(std::string name, Value status) {
  WriteCall call;
  call.type = crds_;
  call.name = std::move(name);
  call.subresource = "status";
  call.user = self();
  call.manager = "kube-apiserver";
  auto r = co_await rest_->update_object(&call, with_status(std::move(status)), true);
  if (!r.ok()) co_return std::move(r).error();
  co_return ok();
}

Task<Status> CrdController::sync(std::string name) {
  ObjectPtr o = rest_->find(*crds_, "", name);
  if (!o) {
    auto it = served_.find(name);
    if (it != served_.end()) {
      stop_serving(it->second.first, it->second.second);
      core_->cacher.close(it->second.first, it->second.second);
      served_.erase(it);
      served_generation_.erase(name);
    }
    co_return ok();
  }
  ValuePtr crd = o->value();
  const Value& spec = (*crd)["spec"];
  Value status = (*crd)["status"];
  if (status.is_null()) status = Value::object();
  Time now = core_->ex.now();
  if (!crd->path({"metadata", "deletionTimestamp"}).is_null() && has_finalizer(*crd, kFinalizer)) {
    Status s = co_await clean_up(*crd);
    co_return s;
  }
  // Names that another CRD or a built-in kind of the group has already.
  const std::string& group = spec["group"].as_string();
  const std::string& plural = spec["names"]["plural"].as_string();
  std::string clash;
  for (auto& t : core_->types.all()) {
    if (t->resource.group != group || t->resource.plural == plural) continue;
    if (t->resource.kind == spec["names"]["kind"].as_string()) clash = "\"" + t->resource.kind + "\" is already in use";
  }
  if (!clash.empty()) {
    set_condition(status, condition("NamesAccepted", false, "KindConflict", clash), now);
    set_condition(status, condition("Established", false, "NotAccepted", "not all names are accepted"), now);
  } else {
    Value names = spec["names"];
    status["acceptedNames"] = std::move(names);
    set_condition(status, condition("NamesAccepted", true, "NoConflicts", "no conflicts found"), now);
    set_condition(status, condition("Established", true, "InitialNamesAccepted", "the initial names have been accepted"), now);
    for (auto& v : spec["versions"].as_array())
      if (v["storage"].as_bool()) {
        auto stored = strings(status["storedVersions"]);
        if (std::find(stored.begin(), stored.end(), v["name"].as_string()) == stored.end()) status["storedVersions"].push_back(v["name"]);
      }
    Status s = co_await serve(*crd);
    if (!s.ok()) {
      Value c = condition("NonStructuralSchema", true, "Violations", s.error().message);
      set_condition(status, std::move(c), now);
      core_->log.warn("a custom resource is not served as it should be", {{"crd", name}, {"error", s.error().message}});
    }
  }
  if (!(status == (*crd)["status"])) {
    Status s = co_await write_status(name, std::move(status));
    co_return s;
  }
  co_return ok();
}

namespace {

// The paths of a version's selectableFields, without the first dot.
std::vector<std::string> selectable_of(const Value& version) {
  std::vector<std::string> out;
  for (auto& f : version["selectableFields"].as_array()) {
    std::string path = f["jsonPath"].as_string();
    if (!path.empty() && path[0] == '.') path.erase(0, 1);
    out.push_back(std::move(path));
  }
  return out;
}

// What is stored shows the defaults of the schema as it is now, and its selectable fields.
void refresh_stored(const Storage& storage, kube::Resource resource, const Value& versions) {
  for (auto& v : versions.as_array()) {
    if (!v["storage"].as_bool()) continue;
    resource.version = v["name"].as_string();
    auto model = make_crd_model(resource, v);
    if (!model.ok()) return;
    storage.cache->reread(field_extractor(storage.selectable), [&](Value& o) {
      Value before = o;
      (*model)->set_defaults(o);
      return !(before == o);
    });
  }
}

}  // namespace

Task<Status> CrdController::serve(const Value& crd) {
  const Value spec = crd["spec"];
  const std::string name = meta_string(crd, "name");
  int64_t generation = crd.path({"metadata", "generation"}).as_int();
  if (auto it = served_generation_.find(name); it != served_generation_.end() && it->second == generation) co_return ok();
  const Value& names = spec["names"];
  kube::Resource base;
  base.group = spec["group"].as_string();
  base.plural = names["plural"].as_string();
  base.kind = names["kind"].as_string();
  base.namespaced = spec["scope"].as_string() != "Cluster";
  auto storage = std::make_shared<Storage>();
  storage->group = base.group;
  storage->plural = base.plural;
  storage->namespaced = base.namespaced;
  storage->prefix = Cacher::prefix(base.group, base.plural);
  std::string stored_version;
  for (auto& v : spec["versions"].as_array()) {
    if (v["storage"].as_bool()) stored_version = v["name"].as_string();
    for (auto& path : selectable_of(v))
      if (std::find(storage->selectable.begin(), storage->selectable.end(), path) == storage->selectable.end()) storage->selectable.push_back(path);
  }
  auto cache = co_await core_->cacher.open(base.group, base.plural, base.namespaced, field_extractor(storage->selectable));
  if (!cache.ok()) co_return std::move(cache).error();
  storage->cache = *cache;
  Status problem;
  std::shared_ptr<RemoteConverter> converter = make_webhook_converter(*core_, crd);
  std::set<std::string> now_served;
  auto stored = strings(crd.path({"status", "storedVersions"}));
  bool one_version = spec["versions"].size() == 1 && (stored.empty() || (stored.size() == 1 && stored[0] == stored_version));
  for (auto& v : spec["versions"].as_array()) {
    if (!v["served"].as_bool()) continue;
    auto t = std::make_shared<ServedType>();
    t->resource = base;
    t->resource.version = v["name"].as_string();
    t->singular = names["singular"].as_string();
    if (t->singular.empty()) t->singular = to_lower(base.kind);
    t->list_kind = names["listKind"].as_string();
    if (t->list_kind.empty()) t->list_kind = base.kind + "List";
    t->short_names = strings(names["shortNames"]);
    t->categories = strings(names["categories"]);
    t->verbs = {"delete", "deletecollection", "get", "list", "patch", "create", "update", "watch"};
    t->custom = true;
    t->selectable = selectable_of(v);
    if (v["deprecated"].as_bool()) {
      t->deprecation_warning = v["deprecationWarning"].as_string();
      if (t->deprecation_warning.empty()) t->deprecation_warning = base.group + "/" + t->resource.version + " " + base.kind + " is deprecated";
    }
    t->storage = storage;
    t->storage_api_version = base.group + "/" + stored_version;
    auto strategy = std::make_shared<Strategy>();
    strategy->generation = true;
    strategy->unconditional_update = false;
    strategy->returns_deleted_object = false;
    const Value& subs = v["subresources"];
    if (subs.find("status")) {
      strategy->status_subresource = true;
      ServedType::Subresource s;
      s.name = "status";
      s.kind = base.kind;
      s.group = base.group;
      s.version = t->resource.version;
      s.verbs = {"get", "patch", "update"};
      t->subresources.push_back(std::move(s));
    }
    if (const Value* scale = subs.find("scale")) {
      t->scale_spec_path = (*scale)["specReplicasPath"].as_string();
      t->scale_status_path = (*scale)["statusReplicasPath"].as_string();
      t->scale_selector_path = (*scale)["labelSelectorPath"].as_string();
      ServedType::Subresource s;
      s.name = "scale";
      s.kind = "Scale";
      s.group = "autoscaling";
      s.version = "v1";
      s.verbs = {"get", "patch", "update"};
      t->subresources.push_back(std::move(s));
    }
    t->strategy = std::move(strategy);
    auto model = make_crd_model(t->resource, v);
    if (!model.ok()) {
      problem = std::move(model).error();
      continue;
    }
    t->model = *model;
    t->converter = converter;
    if (!one_version && !converter) {
      // Conversion strategy None: only apiVersion differs.
      std::string served = t->resource.api_version(), kept = t->storage_api_version;
      t->from_storage = [served](Value& o) -> Status {
        o["apiVersion"] = served;
        return ok();
      };
      t->to_storage = [kept](Value& o) -> Status {
        o["apiVersion"] = kept;
        return ok();
      };
    }
    now_served.insert(t->resource.version);
    core_->types.add(std::move(t));
  }
  refresh_stored(*storage, base, spec["versions"]);
  std::vector<std::string> gone;
  for (auto& t : core_->types.all())
    if (t->custom && t->resource.group == base.group && t->resource.plural == base.plural && !now_served.count(t->resource.version)) gone.push_back(t->resource.version);
  for (auto& v : gone) core_->types.remove(base.group, v, base.plural);
  served_[name] = {base.group, base.plural};
  if (problem.ok()) served_generation_[name] = generation;
  co_return problem;
}

// Deletes the instances; when none is left, lets the CRD go.
Task<Status> CrdController::clean_up(const Value& crd_object) {
  Value crd = crd_object;
  std::string name = meta_string(crd, "name");
  auto it = served_.find(name);
  size_t left = 0;
  if (it != served_.end()) {
    ServedTypePtr t = core_->types.find_resource(it->second.first, it->second.second);
    if (t) {
      std::vector<ObjectPtr> all;
      for (auto& [key, o] : t->storage->cache->objects()) all.push_back(o);
      for (auto& o : all) {
        if (o->bytes->find("\"deletionTimestamp\":\"") != std::string::npos && has_finalizer(*o->value(), "")) continue;
        DeleteCall call;
        call.type = t;
        call.ns = o->ns;
        call.name = o->name;
        call.user = self();
        auto d = co_await rest_->delete_object(std::move(call));
        if (!d.ok() && d.error().code != Code::kNotFound) co_return d.error();
      }
      left = t->storage->cache->size();
    }
  }
  Value status = crd["status"];
  set_condition(status, condition("Terminating", true, left ? "InstanceDeletionInProgress" : "InstanceDeletionCompleted", left ? "CustomResource deletion is in progress" : "removed all instances"), core_->ex.now());
  if (!(status == crd["status"])) {
    Status s = co_await write_status(name, status);
    if (!s.ok()) co_return s;
  }
  if (left) co_return unavailable("waiting for " + std::to_string(left) + " instances of " + name + " to go");
  WriteCall call;
  call.type = crds_;
  call.name = name;
  call.user = self();
  call.manager = "kube-apiserver";
  auto r = co_await rest_->update_object(&call, without_finalizer(), true);
  if (!r.ok() && r.error().code != Code::kNotFound) co_return std::move(r).error();
  co_return ok();
}

}  // namespace caravel::apiserver
