// Collects the schemas that an OpenAPI document refers to. Used by openapi.cc.
#pragma once

#include <string>

#include "kube/openapi.h"

namespace caravel::kube {

class OpenApiSchemas {
 public:
  explicit OpenApiSchemas(bool v3);
  void add(const TypeInfo& type);  // and everything it refers to
  std::string add_list(const std::string& item, const Resource& r, const TypeInfo& list_meta, bool built_in);
  std::string add_custom(const OpenApiCustomKind& k, const TypeInfo& object_meta);
  json::Value ref(const std::string& name) const;
  json::Value take() { return std::move(schemas_); }

 private:
  json::Value by_value(json::Value reference, bool with_default) const;
  json::Value scalar(const FieldInfo& f);
  json::Value field(const FieldInfo& f);
  void fields(const TypeInfo& type, json::Value& properties, json::Array& required);

  bool v3_;
  std::string prefix_;
  json::Value schemas_ = json::Value::object();
};

}  // namespace caravel::kube
