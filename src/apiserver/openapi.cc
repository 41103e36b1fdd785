#include "apiserver/openapi.h"

#include "apiserver/aggregation/openapi_merge.h"
#include "base/hash.h"
#include "base/strings.h"
#include "kube/openapi_protobuf.h"

namespace caravel::apiserver {

std::vector<kube::OpenApiCustomKind> OpenApi::custom_kinds() const {
  std::vector<kube::OpenApiCustomKind> out;
  ServedTypePtr crds = core_->types.find("apiextensions.k8s.io", "v1", "customresourcedefinitions");
  if (!crds || !crds->storage || !crds->storage->cache) return out;
  for (auto& [key, object] : crds->storage->cache->objects()) {
    ValuePtr crd = object->value();
    const json::Value& spec = (*crd)["spec"];
    for (auto& v : spec["versions"].as_array()) {
      const std::string &group = spec["group"].as_string(), &version = v["name"].as_string();
      ServedTypePtr t = core_->types.find(group, version, spec["names"]["plural"].as_string());
      if (!t || !v["served"].as_bool()) continue;
      out.push_back({t->resource, v["schema"]["openAPIV3Schema"], v["subresources"]["status"].is_object(), v["subresources"]["scale"].is_object()});
    }
  }
  return out;
}

json::Value OpenApi::index() const {
  // What each document is made from: its name for built-in kinds, and the schemas of custom ones.
  std::map<std::string, std::string> inputs;
  for (auto& t : core_->types.all()) inputs[kube::openapi_path(t->resource.group, t->resource.version)] += t->resource.plural + ";";
  for (auto& k : custom_kinds()) inputs[kube::openapi_path(k.resource.group, k.resource.version)] += json::dump(k.schema);
  for (auto& [name, r] : aggregator_->remotes()) {
    const std::string path = kube::openapi_path(r.group, r.version);
    inputs.erase(path);
    if (!r.openapi.empty()) inputs[path] = r.openapi;
  }
  json::Value paths = json::Value::object();
  for (auto& [path, input] : inputs)
    paths[path] = json::Object{{"serverRelativeURL", "/openapi/v3/" + path + "?hash=" + to_upper(sha256_hex(input))}};
  return json::Object{{"paths", paths}};
}

bool OpenApi::serve(const Request& r, Response* out) {
  bool v2 = r.path == "/openapi/v2", v3 = r.path == "/openapi/v3" || r.path.starts_with("/openapi/v3/");
  if (!v2 && !v3) return false;
  // v2 in protobuf, asked for by either name and answered, as upstream does, with the one that Go's parser of media types takes.
  std::string type = "application/json";
  if (v2)
    for (std::string_view name : {kube::kOpenApiV2Protobuf, kube::kOpenApiV2ProtobufOld})
      if (r.accept.find(name) != std::string::npos) type = kube::kOpenApiV2Protobuf;
  if (type == "application/json" && !r.accept.empty() && r.accept.find("json") == std::string::npos && r.accept.find("*/*") == std::string::npos) {
    *out = error_response(status::not_acceptable("only the following media types are accepted: application/json" + (v2 ? ", " + std::string(kube::kOpenApiV2Protobuf) : std::string())));
    return true;
  }
  const bool protobuf = type != "application/json";
  const int64_t generation = core_->types.generation() + aggregator_->generation();  // both only rise
  if (generation_ != generation) {
    cache_.clear();
    generation_ = generation;
  }
  const std::string key = protobuf ? r.path + ".pb" : r.path;
  auto it = cache_.find(key);
  if (it == cache_.end()) {
    json::Value doc;
    if (v2) {
      doc = kube::openapi_v2(custom_kinds());
      for (auto& [name, remote] : aggregator_->remotes()) merge_openapi(doc, remote.openapi_v2);
    } else if (r.path == "/openapi/v3") {
      doc = index();
    } else {
      auto seg = split(std::string_view(r.path).substr(1), '/');  // openapi v3 api v1 | openapi v3 apis group version
      bool core_group = seg.size() == 4 && seg[2] == "api";
      if (!core_group && (seg.size() != 5 || seg[2] != "apis")) return false;
      std::string group = core_group ? "" : seg[3], version = seg.back();
      bool served = false;
      for (auto& t : core_->types.all()) served |= t->resource.group == group && t->resource.version == version;
      if (!served) return false;
      doc = kube::openapi_v3(group, version, custom_kinds());
    }
    it = cache_.emplace(key, std::make_shared<const std::string>(protobuf ? kube::openapi_v2_protobuf(doc) : json::dump(doc))).first;
  }
  out->status = 200;
  out->content_type = std::move(type);
  out->body = it->second;
  out->headers.emplace_back("ETag", "\"" + to_upper(sha256_hex(*it->second)) + "\"");
  out->headers.emplace_back("Vary", "Accept");
  if (r.param("hash")) out->headers.emplace_back("Cache-Control", "public, immutable");
  return true;
}

}  // namespace caravel::apiserver
