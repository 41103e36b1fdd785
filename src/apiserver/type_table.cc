#include "apiserver/resource_type.h"

namespace caravel::apiserver {

namespace {
std::string_view path_key(std::string& buffer, std::string_view group, std::string_view version, std::string_view plural) {
  buffer.clear();
  buffer.append(group).append("/").append(version).append("/").append(plural);
  return buffer;
}
}  // namespace

void TypeTable::add(ServedTypePtr t) {
  remove(t->resource.group, t->resource.version, t->resource.plural);
  std::string key;
  path_key(key, t->resource.group, t->resource.version, t->resource.plural);
  by_path_[key] = t;
  all_.push_back(std::move(t));
  ++generation_;
}

void TypeTable::remove(const std::string& group, const std::string& version, const std::string& plural) {
  std::string key;
  path_key(key, group, version, plural);
  if (by_path_.erase(key)) {
    std::erase_if(all_, [&](auto& t) { return t->resource.group == group && t->resource.version == version && t->resource.plural == plural; });
    ++generation_;
  }
}

ServedTypePtr TypeTable::find(std::string_view group, std::string_view version, std::string_view plural) const {
  thread_local std::string buffer;
  auto it = by_path_.find(path_key(buffer, group, version, plural));
  return it == by_path_.end() ? nullptr : it->second;
}

ServedTypePtr TypeTable::find_kind(std::string_view group, std::string_view version, std::string_view kind) const {
  for (auto& t : all_)
    if (t->resource.group == group && t->resource.kind == kind && (version.empty() || t->resource.version == version)) return t;
  return nullptr;
}

ServedTypePtr TypeTable::find_resource(std::string_view group, std::string_view plural) const {
  for (auto& t : all_)
    if (t->resource.group == group && t->resource.plural == plural) return t;
  return nullptr;
}

}  // namespace caravel::apiserver
