// OpenAPI documents from the tables: v3 per group and version, and the one v2 document, as kubectl
// explain, apply and diff and client generators need them.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "kube/kinds.h"

namespace caravel::kube {

// A custom resource as the documents show it.
struct OpenApiCustomKind {
  Resource resource;
  json::Value schema;  // openAPIV3Schema
  bool status = false, scale = false;
};

// Paths of /openapi/v3: "api/v1", "apis/apps/v1", ...
std::string openapi_path(std::string_view group, std::string_view version);
json::Value openapi_v3(std::string_view group, std::string_view version, const std::vector<OpenApiCustomKind>& custom = {});
json::Value openapi_v2(const std::vector<OpenApiCustomKind>& custom = {});
// "io.k8s.api.apps.v1.Deployment"
std::string openapi_name(const TypeInfo& type);

}  // namespace caravel::kube
