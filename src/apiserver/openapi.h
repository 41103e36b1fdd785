// /openapi/v2 and /openapi/v3: documents made from the tables and the installed CRDs, kept until the
// served types change.
#pragma once

#include <map>
#include <string>
#include <vector>

#include "apiserver/aggregation/aggregator.h"
#include "apiserver/core.h"
#include "apiserver/request.h"
#include "kube/openapi.h"

namespace caravel::apiserver {

class OpenApi {
 public:
  explicit OpenApi(Core& core) : core_(&core) {}
  void follow(const Aggregator& a) { aggregator_ = &a; }
  // False when the path is none of ours.
  bool serve(const Request& r, Response* out);

 private:
  std::vector<kube::OpenApiCustomKind> custom_kinds() const;
  // "api/v1" -> URL of the document with the hash of what it is made from.
  json::Value index() const;

  Core* core_;
  const Aggregator* aggregator_ = nullptr;
  int64_t generation_ = -1;
  std::map<std::string, Bytes> cache_;  // by path
};

}  // namespace caravel::apiserver
