// Behaviour of built-in kinds beyond their schemas: what create and update reset, generation, grace,
// selectable fields, addresses.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "apiserver/core.h"
#include "apiserver/resource_type.h"

namespace caravel::apiserver {

std::shared_ptr<Strategy> builtin_strategy(Core& core, std::string_view group, std::string_view kind, bool has_status);
std::vector<std::string> selectable_fields(std::string_view group, std::string_view plural);
// A dotted path of an object as selectors see it ("" when absent).
std::string field_text(const json::Value& object, std::string_view path);
WatchCache::FieldExtractor field_extractor(std::vector<std::string> fields);

}  // namespace caravel::apiserver
