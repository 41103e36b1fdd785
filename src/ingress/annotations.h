// nginx.ingress.kubernetes.io/* annotations into typed values. Values that do not fit are an error that
// names the annotation; nothing a user wrote reaches nginx's configuration unchecked.
#pragma once

#include "base/result.h"
#include "ingress/model.h"

namespace caravel::ingress {

Result<LocationOptions> parse_annotations(const json::Value& ingress, const std::map<std::string, std::string>& settings);

// Text that may stand in quotes in the configuration: no quotes, backslashes, control characters, '$', ';' or braces.
bool is_safe_text(std::string_view s);
bool is_safe_host(std::string_view s);
bool is_safe_path(std::string_view s, bool regex);

}  // namespace caravel::ingress
