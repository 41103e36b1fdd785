#include "kube/kinds.h"

#include <algorithm>
#include <tuple>
#include <unordered_map>

#include "base/strings.h"

namespace caravel::kube {

namespace {

bool list_has(std::string_view list, std::string_view word) {
  while (!list.empty()) {
    size_t n = list.find(',');
    if (list.substr(0, n) == word) return true;
    if (n == list.npos) break;
    list.remove_prefix(n + 1);
  }
  return false;
}

bool serves(const KindInfo& k, std::string_view group, std::string_view version) {
  const Resource& r = k.resource();
  return r.group == group && (r.version == version || list_has(k.also_versions, version));
}

struct Registry {
  std::vector<const KindInfo*> kinds;
  std::unordered_map<std::string, const KindInfo*> by_kind, by_plural;  // "group/version/Kind"

  Registry() {
    tables::each_kind([](void* self, const KindInfo& k) { static_cast<Registry*>(self)->kinds.push_back(&k); }, this);
    std::sort(kinds.begin(), kinds.end(), [](const KindInfo* a, const KindInfo* b) {
      const Resource &x = a->resource(), &y = b->resource();
      return std::tie(x.group, x.version, x.plural) < std::tie(y.group, y.version, y.plural);
    });
    for (auto* k : kinds) {
      const Resource& r = k->resource();
      add(r.group, r.version, *k);
      if (!k->also_versions.empty())
        for (auto& v : split(k->also_versions, ',')) add(r.group, v, *k);
    }
  }
  void add(const std::string& group, const std::string& version, const KindInfo& k) {
    by_kind.emplace(group + "/" + version + "/" + k.resource().kind, &k);
    by_plural.emplace(group + "/" + version + "/" + k.resource().plural, &k);
  }
};

const Registry& registry() {
  static const Registry r;
  return r;
}

std::string key(std::string_view group, std::string_view version, std::string_view name) {
  std::string s(group);
  s += '/';
  s += version;
  s += '/';
  s += name;
  return s;
}

}  // namespace

const Subresource* KindInfo::subresource(std::string_view name) const {
  for (auto& s : subresources)
    if (s.name == name) return &s;
  return nullptr;
}
bool KindInfo::has_verb(std::string_view verb) const { return list_has(verbs, verb); }

const std::vector<const KindInfo*>& all_kinds() { return registry().kinds; }

const KindInfo* find_kind(std::string_view group, std::string_view version, std::string_view kind) {
  auto it = registry().by_kind.find(key(group, version, kind));
  return it == registry().by_kind.end() ? nullptr : it->second;
}
const KindInfo* find_resource(std::string_view group, std::string_view version, std::string_view plural) {
  auto it = registry().by_plural.find(key(group, version, plural));
  return it == registry().by_plural.end() ? nullptr : it->second;
}

GroupVersion parse_group_version(std::string_view api_version) {
  size_t slash = api_version.find('/');
  if (slash == api_version.npos) return {"", std::string(api_version)};
  return {std::string(api_version.substr(0, slash)), std::string(api_version.substr(slash + 1))};
}

const KindInfo* find_by_name(std::string_view name) {
  std::string lower = to_lower(name);
  std::string_view base = lower, version, group;
  bool qualified = false;
  if (size_t dot = base.find('.'); dot != base.npos) {
    group = base.substr(dot + 1);
    base = base.substr(0, dot);
    qualified = true;
  }
  for (auto* k : registry().kinds) {
    const Resource& r = k->resource();
    if (base != r.plural && base != k->singular && base != to_lower(r.kind) && !list_has(k->short_names, base)) continue;
    if (!qualified) {
      // The core group and the preferred version come first.
      if (r.group == "autoscaling" && r.version == "v1") continue;
      return k;
    }
    if (group == r.group) return k;
    size_t dot = group.find('.');
    version = group.substr(0, dot);
    if (serves(*k, dot == group.npos ? "" : group.substr(dot + 1), version)) return k;
  }
  return nullptr;
}

std::vector<const KindInfo*> crd_kinds(std::string_view group) {
  std::vector<const KindInfo*> out;
  for (auto* k : registry().kinds)
    if (k->crd && k->resource().group == group) out.push_back(k);
  return out;
}

std::vector<json::Value> all_crd_manifests() {
  std::vector<json::Value> out;
  for (auto* k : registry().kinds)
    if (k->crd) out.push_back(crd_manifest(*k));
  return out;
}

}  // namespace caravel::kube
