#include "gitops/cluster.h"

#include "gitops/manifests.h"

namespace caravel::gitops {
namespace {

constexpr Duration kDiscoveryInterval = std::chrono::seconds(2);
constexpr Duration kSyncTimeout = std::chrono::seconds(20);

}  // namespace

Task<Status> Cluster::discover(std::string api_version) {
  asked_[api_version] = ex_.now();
  std::string path = api_version.find('/') == api_version.npos ? "/api/" + api_version : "/apis/" + api_version;
  auto list = co_await client_.get_path(path);
  if (!list.ok()) co_return std::move(list).error();
  size_t slash = api_version.find('/');
  for (auto& r : std::as_const(*list)["resources"].as_array()) {
    const std::string& name = r["name"].as_string();
    if (name.find('/') != name.npos) continue;
    kube::Resource resource;
    resource.group = slash == api_version.npos ? "" : api_version.substr(0, slash);
    resource.version = slash == api_version.npos ? api_version : api_version.substr(slash + 1);
    resource.plural = name;
    resource.kind = r["kind"].as_string();
    resource.namespaced = r["namespaced"].as_bool();
    known_[{api_version, resource.kind}] = resource;
  }
  co_return ok();
}

Task<Result<kube::Resource>> Cluster::resource_of(std::string api_version, std::string kind) {
  auto it = known_.find({api_version, kind});
  if (it == known_.end()) {
    auto asked = asked_.find(api_version);
    if (asked == asked_.end() || ex_.now() - asked->second >= kDiscoveryInterval) {
      auto found = co_await discover(api_version);
      if (!found.ok() && found.error().code != Code::kNotFound) co_return std::move(found).error();
    }
    it = known_.find({api_version, kind});
  }
  if (it == known_.end())
    co_return make_error(Code::kNotFound, "The Kubernetes API could not find " + api_version + "/" + kind + ". Make sure the \"" + kind + "\" CRD is installed on the destination cluster.");
  co_return it->second;
}

Task<Result<kube::DynamicInformer*>> Cluster::watched(kube::Resource resource) {
  auto& slot = informers_[resource.api_version() + "/" + resource.plural];
  if (!slot) {
    slot = std::make_unique<kube::DynamicInformer>(ex_, client_, resource);
    slot->add_handler([this](auto& old, auto& now) {
      const json::Value& o = now ? *now : *old;
      if (!kube::annotation(o, kTrackingAnnotation).empty()) on_change_(o);
    });
    slot->start(scope_);
  }
  kube::DynamicInformer* informer = slot.get();
  bool in_time = co_await informer->wait_synced(kSyncTimeout);
  if (!in_time) co_return unavailable("cannot list " + resource.group_resource() + ": is the controller allowed to?");
  co_return informer;
}

}  // namespace caravel::gitops
