// What the server serves, told in each of upstream's forms: /api, /apis, group and resource lists,
// aggregated discovery v2 and v2beta1, /version, OpenAPI v2 and v3. Cached until the types change.
#pragma once

#include <map>
#include <string>

#include "apiserver/aggregation/aggregator.h"
#include "apiserver/core.h"
#include "apiserver/openapi.h"
#include "apiserver/request.h"

namespace caravel::apiserver {

struct ApiServerOptions;

class Discovery {
 public:
  Discovery(Core& core, const ApiServerOptions& options) : core_(&core), options_(&options), openapi_(core) {}
  // The groups and versions of aggregated servers, and the order of all.
  void follow(const Aggregator& a) {
    aggregator_ = &a;
    openapi_.follow(a);
  }
  // False when the path is none of discovery's.
  bool serve(const Request& r, Response* out);
  // The served versions of a group, preferred first.
  std::vector<std::string> versions(std::string_view group) const;

 private:
  json::Value resource_list(const std::string& group, const std::string& version) const;
  json::Value group_entry(const std::string& group) const;
  json::Value aggregated(bool core_group, const std::string& version) const;
  std::vector<std::string> groups() const;
  Response cached(const std::string& key, const std::function<std::string()>& make, const std::string& content_type, bool in_process = false);

  Core* core_;
  const ApiServerOptions* options_;
  OpenApi openapi_;
  const Aggregator* aggregator_ = nullptr;
  int64_t generation_ = -1;
  struct Cached {
    Bytes text;
    std::shared_ptr<const json::Value> value;  // made for the first reader in this process
  };
  std::map<std::string, Cached> cache_;
};

}  // namespace caravel::apiserver
