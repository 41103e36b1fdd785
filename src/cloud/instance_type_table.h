// The text of schema/aws/ec2-instance-types.tsv, built in (cmake/embed.cmake).
#pragma once

#include <span>
#include <string_view>

namespace caravel::cloud {

struct TableText {
  std::string_view name;
  std::string_view text;
};
std::span<const TableText> table_texts();

}  // namespace caravel::cloud
