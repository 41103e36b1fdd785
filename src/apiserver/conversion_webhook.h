// Conversion of custom resources between versions by a webhook (spec.conversion.strategy Webhook).
//
// A list is converted in one call. Webhooks may change everything but an object's identity: name, namespace,
// uid and kind must stay, and of metadata only labels and annotations are taken.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "apiserver/core.h"

namespace caravel::apiserver {

class RemoteConverter {
 public:
  virtual ~RemoteConverter() = default;
  // In the order given; those that have the version already are left as they are. Errors are Status errors.
  virtual Task<Result<std::vector<ValuePtr>>> convert(std::vector<ValuePtr> objects, std::string api_version) = 0;
};

// Null when the CRD does not ask for a webhook.
std::shared_ptr<RemoteConverter> make_webhook_converter(Core& core, const json::Value& crd);

// The same objects as the type serves them, converted where they are stored otherwise. Only for types with a converter.
Task<Result<std::vector<ObjectPtr>>> converted_objects(const ServedType& t, std::vector<ObjectPtr> objects);

// The type outlives the call.
Task<Result<ObjectPtr>> convert_one(const ServedType* t, ObjectPtr object);

}  // namespace caravel::apiserver
