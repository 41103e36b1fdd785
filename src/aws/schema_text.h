// The texts of schema/aws/*.schema, built into the library (cmake/embed.cmake makes schema_text.cc).
#pragma once

#include <span>
#include <string_view>

namespace caravel::aws {

struct SchemaText {
  std::string_view name;  // the service's signing name
  std::string_view text;
};
std::span<const SchemaText> schema_texts();

}  // namespace caravel::aws
