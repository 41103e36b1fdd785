// What a service serves: aggregated discovery, the older lists, its OpenAPI index.
#include "apiserver/aggregation/aggregator.h"
#include "apiserver/aggregation/discovered.h"
#include "apiserver/aggregation/openapi_merge.h"
#include "base/hash.h"

namespace caravel::apiserver {

namespace {
using json::Value;
constexpr const char* kDiscoveryAccept =
    "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
}  // namespace

Task<void> Aggregator::fetch_discovery(std::string name) {
  auto it = remotes_.find(name);
  if (it == remotes_.end()) co_return;
  const std::string group = it->second.group, version = it->second.version;
  Value resources;
  auto whole = co_await get(name, "/apis", kDiscoveryAccept);
  if (whole.ok() && whole->status == 200 && whole->headers.get("content-type").find("APIGroupDiscoveryList") != std::string::npos) {
    auto list = json::parse(whole->body);
    if (list.ok()) resources = resources_of_group_list(*list, group, version);
  }
  if (resources.is_null()) {
    auto old = co_await get(name, "/apis/" + group + "/" + version, "application/json");
    if (old.ok() && old->status == 200) {
      auto list = json::parse(old->body);
      if (list.ok()) resources = resources_of_resource_list(*list, group, version);
    }
  }
  std::string hash;
  auto index = co_await get(name, "/openapi/v3", "application/json");
  if (index.ok() && index->status == 200) {
    auto doc = json::parse(index->body);
    if (doc.ok())
      if (const Value& entry = std::as_const(*doc)["paths"]["apis/" + group + "/" + version]; entry.is_object()) hash = sha256_hex(entry["serverRelativeURL"].as_string());
  }
  it = remotes_.find(name);
  if (it == remotes_.end()) co_return;
  // The v2 document is large: it is asked for when the v3 one has changed, or always where there is none.
  Value v2 = it->second.openapi_v2;
  if (hash.empty() || hash != it->second.openapi || v2.is_null()) {
    auto whole_v2 = co_await get(name, "/openapi/v2", "application/json");
    if (whole_v2.ok() && whole_v2->status == 200) {
      auto doc = json::parse(whole_v2->body);
      if (doc.ok()) v2 = openapi_part(*doc, group, version);
    }
    it = remotes_.find(name);
    if (it == remotes_.end()) co_return;
  }
  Remote& r = it->second;
  if (!(r.openapi_v2 == v2)) {
    r.openapi_v2 = std::move(v2);
    ++generation_;
  }
  if (!resources.is_null() && (!r.known || !(r.resources == resources))) {
    r.resources = std::move(resources);
    r.known = true;
    ++generation_;
  }
  if (r.openapi != hash) {
    r.openapi = hash;
    ++generation_;
  }
}

}  // namespace caravel::apiserver
