// TypeModel of one version of a custom resource.
#pragma once

#include <memory>

#include "apiserver/resource_type.h"

namespace caravel::apiserver {

// `version` is an item of spec.versions. An error says what is not structural.
Result<std::shared_ptr<const TypeModel>> make_crd_model(const kube::Resource& resource, const json::Value& version);

}  // namespace caravel::apiserver
