#include "gitops/manifests.h"

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/dynamic_informer.h"

namespace caravel::gitops {

const char kTrackingAnnotation[] = "argocd.argoproj.io/tracking-id";

namespace {

constexpr char kSkipMark[] = "+argocd:skip-file-rendering";

bool is_manifest(const std::string& path) { return path.ends_with(".yaml") || path.ends_with(".yml") || path.ends_with(".json"); }

// A glob in which '*' also spans '/', with alternatives: "*.{yml,yaml}", "{config.json,env-usw2/*}".
bool matches(const std::string& glob, const std::string& path) {
  size_t open = glob.find('{'), close = open == glob.npos ? glob.npos : glob.find('}', open);
  if (close == glob.npos) return glob_match(glob, path);
  for (auto& one : split(glob.substr(open + 1, close - open - 1), ','))
    if (matches(glob.substr(0, open) + std::string(trim(one)) + glob.substr(close + 1), path)) return true;
  return false;
}

// Files that only happen to be YAML (values, configuration of tools) lie beside manifests; upstream's test is this.
bool looks_like_manifest(const std::string& text) {
  for (auto part : {"apiVersion:", "kind:", "metadata:"})
    if (text.find(part) == text.npos) return false;
  return true;
}

Status add_object(json::Value object, const std::string& file, std::vector<json::Value>& out) {
  const std::string kind = object["kind"].as_string();
  if (kind.ends_with("List") && object["items"].is_array()) {
    for (auto& item : object["items"].as_array()) TRY_VOID(add_object(item, file, out));
    return ok();
  }
  if (!object.is_object() || kind.empty() || object["apiVersion"].as_string().empty())
    return invalid("Failed to unmarshal \"" + file + "\": Object 'Kind' is missing in it; every document needs apiVersion and kind");
  if (kube::name_of(object).empty() && object.path({"metadata", "generateName"}).as_string().empty()) return invalid("\"" + file + "\": the " + kind + " has no metadata.name");
  out.push_back(std::move(object));
  return ok();
}

}  // namespace

Result<std::vector<json::Value>> render_directory(const std::map<std::string, std::string>& files, const json::Value& source) {
  for (auto name : {"kustomization.yaml", "kustomization.yml", "Kustomization"})
    if (files.count(name)) return make_error(Code::kUnsupported, std::string("the path holds a ") + name + ": Kustomize sources are not rendered yet; use plain manifests");
  if (files.count("Chart.yaml") || source["chart"].is_string()) return make_error(Code::kUnsupported, "the path holds a Helm chart: Helm sources are not rendered yet; use plain manifests");
  std::string include = source.path({"directory", "include"}).as_string(), exclude = source.path({"directory", "exclude"}).as_string();
  std::vector<json::Value> out;
  for (auto& [path, content] : files) {
    if (!is_manifest(path)) continue;
    if (!include.empty() && !matches(include, path)) continue;
    if (!exclude.empty() && matches(exclude, path)) continue;
    if (content.find(kSkipMark) != content.npos) continue;
    auto docs = yaml::parse_all(content);
    std::vector<json::Value> objects;
    Status read = ok();
    if (!docs.ok()) {
      read = wrap(docs.error(), "Failed to unmarshal \"" + path + "\"");
    } else {
      for (auto& d : *docs)
        if (read.ok()) read = add_object(std::move(d), path, objects);
    }
    if (!read.ok() && (path.ends_with(".json") || !objects.empty() || looks_like_manifest(content))) return std::move(read).error();
    for (auto& o : objects) out.push_back(std::move(o));
  }
  return out;
}

std::string tracking_id(const std::string& app, const json::Value& o) {
  const std::string& v = o["apiVersion"].as_string();
  std::string group = v.find('/') == v.npos ? "" : v.substr(0, v.find('/'));
  return app + ":" + group + "/" + o["kind"].as_string() + ":" + kube::namespace_of(o) + "/" + kube::name_of(o);
}

void prepare_object(json::Value& o, const std::string& app, const std::string& default_namespace, bool namespaced) {
  if (namespaced && kube::namespace_of(o).empty()) o["metadata"]["namespace"] = default_namespace;
  if (!namespaced) o["metadata"].erase("namespace");
  o["metadata"]["annotations"][kTrackingAnnotation] = tracking_id(app, o);
}

}  // namespace caravel::gitops
