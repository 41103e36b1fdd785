#include "cli/installer.h"

#include <algorithm>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/conditions.h"
#include "kube/dynamic_informer.h"
#include "kube/kinds.h"
#include "net/process.h"

namespace caravel::cli {
namespace {

const kube::Resource kDefinitions{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
constexpr Duration kKindTimeout = std::chrono::seconds(20);

}  // namespace

std::string Installer::substitute(std::string text) const {
  for (auto& [name, value] : values_) text = replace_all(text, "${" + name + "}", value);
  return text;
}

Task<Result<kube::Resource>> Installer::resource_of(std::string api_version, std::string kind) {
  Time deadline = loop_.now() + kKindTimeout;
  while (true) {
    auto it = discovered_.find(api_version);
    if (it == discovered_.end()) {
      std::string path = api_version.find('/') == std::string::npos ? "/api/" + api_version : "/apis/" + api_version;
      auto list = co_await client_.get_path(path);
      if (list.ok()) it = discovered_.emplace(api_version, std::move(*list)).first;
      else if (list.error().code != Code::kNotFound && list.error().code != Code::kUnavailable) co_return std::move(list).error();
    }
    if (it != discovered_.end())
      for (auto& r : std::as_const(it->second)["resources"].as_array())
        if (r["kind"].as_string() == kind && r["name"].as_string().find('/') == std::string::npos) {
          kube::Resource out;
          size_t slash = api_version.find('/');
          out.group = slash == std::string::npos ? "" : api_version.substr(0, slash);
          out.version = slash == std::string::npos ? api_version : api_version.substr(slash + 1);
          out.plural = r["name"].as_string();
          out.kind = kind;
          out.namespaced = r["namespaced"].as_bool();
          co_return out;
        }
    if (loop_.now() > deadline) co_return make_error(Code::kNotFound, "the cluster does not serve " + kind + " of " + api_version);
    discovered_.erase(api_version);
    co_await sleep(loop_, 50ms);
  }
}

Task<Status> Installer::apply(json::Value object) {
  CO_TRY(kube::Resource r, co_await resource_of(object["apiVersion"].as_string(), object["kind"].as_string()));
  std::string ns = r.namespaced ? (kube::namespace_of(object).empty() ? "default" : kube::namespace_of(object)) : "", name = kube::name_of(object);
  std::string what = "applying " + r.kind + " " + (ns.empty() ? "" : ns + "/") + name;
  kube::WriteOptions options;
  options.field_manager = "caravel-up";
  options.force = true;  // the files say what the platform is
  for (int attempt = 0;; ++attempt) {
    auto applied = co_await client_.patch(r, ns, name, kube::PatchType::kApply, object, options);
    if (applied.ok()) co_return ok();
    Error e = std::move(applied).error();
    // A namespace's service account or a definition may take a moment.
    bool passing = e.code == Code::kUnavailable || e.code == Code::kConflict || e.code == Code::kForbidden || e.code == Code::kTimeout;
    if (!passing || attempt > 40) co_return wrap(std::move(e), what);
    co_await sleep(loop_, 100ms);
  }
}

Task<Status> Installer::install_definitions() {
  auto all = kube::all_crd_manifests();
  for (auto& d : all) CO_TRY_VOID(co_await apply(d));
  Time deadline = loop_.now() + kKindTimeout;
  for (auto& d : all) {
    while (true) {
      auto live = co_await client_.get(kDefinitions, "", kube::name_of(d));
      if (live.ok() && kube::condition_is((*live)["status"]["conditions"], "Established", "True")) break;
      if (loop_.now() > deadline) co_return internal("the definition " + kube::name_of(d) + " is not established");
      co_await sleep(loop_, 20ms);
    }
  }
  co_return ok();
}

Task<Status> Installer::install_directory(std::string directory) {
  auto names = net::list_directory(directory);
  if (!names.ok()) co_return wrap(std::move(names).error(), "reading the platform's manifests");
  std::sort(names->begin(), names->end());
  for (auto& name : *names) {
    if (!name.ends_with(".yaml") && !name.ends_with(".yml")) continue;
    auto text = net::read_file(directory + "/" + name);
    if (!text.ok()) co_return std::move(text).error();
    auto docs = yaml::parse_all(substitute(*text));
    if (!docs.ok()) co_return wrap(std::move(docs).error(), directory + "/" + name);
    for (auto& d : *docs) {
      auto applied = co_await apply(d);
      if (!applied.ok()) co_return wrap(std::move(applied).error(), name);
    }
    say_("applied " + name);
  }
  co_return ok();
}

}  // namespace caravel::cli
