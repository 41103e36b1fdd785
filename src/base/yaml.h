// YAML to and from json::Value, with the resolution rules of sigs.k8s.io/yaml (YAML 1.1 booleans only
// as true/false/yes/no/on/off unquoted, ints, floats, null; everything quoted is a string).
// Aliases are expanded with a bound on the expanded size, so that a YAML bomb is an error.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"
#include "base/result.h"

namespace caravel::yaml {

// All documents of a stream ("---" between them); empty documents are left out.
// Errors name the line: "line 3: mapping values are not allowed in this context".
Result<std::vector<json::Value>> parse_all(std::string_view text);
// The one document of a text; empty text gives null, several are an error.
Result<json::Value> parse(std::string_view text);
// JSON if it looks like JSON, YAML otherwise.
Result<json::Value> parse_json_or_yaml(std::string_view text);

// Block style, keys sorted as sigs.k8s.io/yaml does, strings quoted where they must be.
std::string dump(const json::Value& v);

}  // namespace caravel::yaml
