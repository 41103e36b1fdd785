// Facts about types and fields that few readers need, in tables beside the types' own (type_info.h).
#pragma once

#include <algorithm>
#include <span>
#include <string>
#include <string_view>

#include "kube/type_info.h"

namespace caravel::kube {

namespace tables {
struct NamedString {
  std::string_view field;  // "core.Container.imagePullPolicy"
  std::string_view type;   // "core.PullPolicy"
};
std::span<const NamedString> named_strings();      // sorted by field; generated
std::span<const std::string_view> atomic_types();  // "meta.LabelSelector", sorted; generated
}  // namespace tables

// Whether server-side apply owns objects of the type as a whole.
inline bool is_atomic(const TypeInfo& type) {
  const auto all = tables::atomic_types();
  return std::binary_search(all.begin(), all.end(), std::string_view(std::string(type.ns) + "." + std::string(type.name)));
}

}  // namespace caravel::kube
