// The documents: paths with their operations, and the schemas that they use.
#include "kube/openapi.h"

#include "base/strings.h"
#include "kube/openapi_schema.h"
#include "kube/protobuf.h"
#include "kube/types/meta.h"

namespace caravel::kube {

namespace {

using json::Value;

struct Query {
  const char *name, *type, *description;
};
constexpr Query kPretty = {"pretty", "string", "If 'true', the output is indented."};
constexpr Query kList[] = {{"allowWatchBookmarks", "boolean", "Ask for bookmark events."},
                           {"continue", "string", "Where the previous page ended."},
                           {"fieldSelector", "string", "Restricts by fields."},
                           {"labelSelector", "string", "Restricts by labels."},
                           {"limit", "integer", "Objects per page."},
                           {"resourceVersion", "string", "Constraint on the version that may be served."},
                           {"resourceVersionMatch", "string", "How resourceVersion is meant."},
                           {"sendInitialEvents", "boolean", "Begin a watch with the present objects."},
                           {"timeoutSeconds", "integer", "Limits the call."},
                           {"watch", "boolean", "Watch for changes."}};
constexpr Query kWrite[] = {{"dryRun", "string", "'All' stores nothing."},
                            {"fieldManager", "string", "Who makes the change."},
                            {"fieldValidation", "string", "Ignore, Warn or Strict: what to do about unknown and duplicate fields."}};
constexpr Query kForce = {"force", "boolean", "Take over fields of other appliers."};
constexpr Query kDelete[] = {{"dryRun", "string", "'All' removes nothing."},
                             {"gracePeriodSeconds", "integer", "Seconds before the object is removed."},
                             {"orphanDependents", "boolean", "Deprecated: use propagationPolicy."},
                             {"propagationPolicy", "string", "Orphan, Background or Foreground."}};

class Document {
 public:
  explicit Document(bool v3) : v3_(v3), schemas_(v3) {}

  // A kind with its paths. `item` is the name of its schema.
  void add(const Resource& r, const std::string& item, const std::vector<std::string>& verbs, const std::vector<Subresource>& subresources, bool custom) {
    r_ = &r;
    custom_ = custom;
    item_ = item;
    std::string root = r.group.empty() ? "/api/" + r.version : "/apis/" + r.group + "/" + r.version;
    std::string base = r.namespaced ? root + "/namespaces/{namespace}/" + r.plural : root + "/" + r.plural;
    auto has = [&](std::string_view v) {
      for (auto& x : verbs)
        if (x == v) return true;
      return false;
    };
    if (has("list")) list_ = schemas_.add_list(item, r, meta::ListMeta::type_info(), !custom);
    if (r.namespaced && has("list")) paths_[root + "/" + r.plural]["get"] = operation("list", list_, kList, false, false);
    Value& collection = paths_[base];
    if (has("list")) collection["get"] = operation("list", list_, kList, r.namespaced, false);
    if (has("create")) collection["post"] = operation("post", item_, kWrite, r.namespaced, false);
    if (has("deletecollection")) collection["delete"] = operation("deletecollection", status_name(), kDelete, r.namespaced, false);
    Value one = Value::object();
    if (has("get")) one["get"] = operation("get", item_, {}, r.namespaced, true);
    if (has("update")) one["put"] = operation("put", item_, kWrite, r.namespaced, true);
    if (has("patch")) one["patch"] = operation("patch", item_, kWrite, r.namespaced, true);
    if (has("delete")) one["delete"] = operation("delete", status_name(), kDelete, r.namespaced, true);
    if (one.size()) paths_[base + "/{name}"] = std::move(one);
    for (auto& s : subresources) {
      std::string body = item_;
      if (const TypeInfo* t = find_type(s.api_version, s.kind)) {
        schemas_.add(*t);
        body = openapi_name(*t);
      }
      Value sub = Value::object();
      for (auto& verb : split(s.verbs, ',')) {
        std::string method = verb == "create" ? "post" : verb == "update" ? "put"
                                                                          : verb;
        if (method == "get") sub["get"] = operation("get", body, {}, r.namespaced, true);
        else if (method == "post" || method == "put" || method == "patch") sub[method] = operation(method, body, kWrite, r.namespaced, true);
      }
      if (sub.size()) paths_[base + "/{name}/" + std::string(s.name)] = std::move(sub);
    }
  }

  Value finish(const std::string& title) {
    Value d = Value::object();
    d[v3_ ? "openapi" : "swagger"] = v3_ ? "3.0.0" : "2.0";
    d["info"] = json::Object{{"title", title}, {"version", "v1.36.0"}};
    d["paths"] = std::move(paths_);
    if (v3_) d["components"]["schemas"] = schemas_.take();
    else d["definitions"] = schemas_.take();
    return d;
  }
  OpenApiSchemas& schemas() { return schemas_; }

 private:
  std::string status_name() {
    schemas_.add(meta::Status::type_info());
    return openapi_name(meta::Status::type_info());
  }

  Value parameter(const char* name, const char* in, const char* type, const char* description, bool required) const {
    Value p = json::Object{{"name", name}, {"in", in}, {"description", description}};
    if (required) p["required"] = true;
    if (v3_) p["schema"] = json::Object{{"type", type}, {"uniqueItems", true}};
    else {
      p["type"] = type;
      p["uniqueItems"] = true;
    }
    return p;
  }

  Value operation(std::string_view action, const std::string& schema, std::span<const Query> query, bool ns, bool name) {
    Value o = Value::object();
    o["description"] = std::string(action) + " " + r_->kind;
    std::string verb(action);
    verb[0] = static_cast<char>(toupper(verb[0]));
    o["operationId"] = std::string(action) + (ns ? "Namespaced" : "") + r_->kind + std::to_string(paths_.size());
    json::Array parameters;
    if (name) parameters.push_back(parameter("name", "path", "string", "Name of the object.", true));
    if (ns) parameters.push_back(parameter("namespace", "path", "string", "Namespace of the object.", true));
    parameters.push_back(parameter(kPretty.name, "query", kPretty.type, kPretty.description, false));
    for (auto& q : query) parameters.push_back(parameter(q.name, "query", q.type, q.description, false));
    if (action == "patch") parameters.push_back(parameter(kForce.name, "query", kForce.type, kForce.description, false));
    bool body = action == "post" || action == "put" || action == "patch";
    Value content = Value::object();
    content["schema"] = schemas_.ref(schema);
    if (body && v3_) {
      schemas_.add(patch_type());
      Value patch = json::Object{{"schema", schemas_.ref(openapi_name(patch_type()))}};
      Value types = Value::object();
      if (action == "patch") {
        for (auto t : {"application/apply-patch+yaml", "application/json-patch+json", "application/merge-patch+json"}) types[t] = patch;
        // kubectl sends what is named here: custom resources have no strategic merge.
        if (!custom_) types["application/strategic-merge-patch+json"] = patch;
      } else {
        types["*/*"] = content;
      }
      o["requestBody"] = json::Object{{"content", types}, {"required", true}};
    } else if (body) {
      Value p = json::Object{{"name", "body"}, {"in", "body"}, {"required", true}, {"schema", schemas_.ref(schema)}};
      parameters.push_back(std::move(p));
    }
    o["parameters"] = std::move(parameters);
    Value ok = json::Object{{"description", "OK"}};
    if (v3_) ok["content"]["application/json"] = content;
    else ok["schema"] = schemas_.ref(schema);
    o["responses"] = json::Object{{"200", ok}, {"401", json::Object{{"description", "Unauthorized"}}}};
    o["x-kubernetes-action"] = action;
    o["x-kubernetes-group-version-kind"] = json::Object{{"group", r_->group}, {"kind", r_->kind}, {"version", r_->version}};
    return o;
  }

  // Patches are described as any object.
  static const TypeInfo& patch_type() {
    static constexpr TypeInfo patch{"Patch", "meta", "", "", {}, nullptr, nullptr, Special::kNone, "A patch."};
    return patch;
  }

  bool v3_;
  bool custom_ = false;
  OpenApiSchemas schemas_;
  Value paths_ = Value::object();
  const Resource* r_ = nullptr;
  std::string item_, list_;
};

void add_builtin(Document& d, const KindInfo& k) {
  d.schemas().add(*k.type);
  std::vector<Subresource> subs(k.subresources.begin(), k.subresources.end());
  d.add(k.resource(), openapi_name(*k.type), split(k.verbs, ','), subs, false);
}

void add_custom(Document& d, const OpenApiCustomKind& k) {
  std::string item = d.schemas().add_custom(k, meta::ObjectMeta::type_info());
  std::vector<Subresource> subs;
  std::string api_version = k.resource.api_version();
  if (k.status) subs.push_back({"status", api_version, k.resource.kind, "get,patch,update", "", "", ""});
  if (k.scale) subs.push_back({"scale", "autoscaling/v1", "Scale", "get,patch,update", "", "", ""});
  d.add(k.resource, item, {"create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"}, subs, true);
}

}  // namespace

std::string openapi_path(std::string_view group, std::string_view version) {
  return group.empty() ? "api/" + std::string(version) : "apis/" + std::string(group) + "/" + std::string(version);
}

json::Value openapi_v3(std::string_view group, std::string_view version, const std::vector<OpenApiCustomKind>& custom) {
  Document d(true);
  for (auto* k : all_kinds())
    if (!k->crd && k->resource().group == group && k->resource().version == version) add_builtin(d, *k);
  for (auto& k : custom)
    if (k.resource.group == group && k.resource.version == version) add_custom(d, k);
  return d.finish("Kubernetes");
}

json::Value openapi_v2(const std::vector<OpenApiCustomKind>& custom) {
  Document d(false);
  for (auto* k : all_kinds())
    if (!k->crd) add_builtin(d, *k);
  for (auto& k : custom) add_custom(d, k);
  return d.finish("Kubernetes");
}

}  // namespace caravel::kube
