// Names of things in the Kubernetes API.
#pragma once

#include <compare>
#include <string>
#include <string_view>

namespace caravel::kube {

// A resource type as URLs name it. group "" is the core group.
struct Resource {
  std::string group;
  std::string version;
  std::string plural;  // "pods"
  std::string kind;    // "Pod"
  bool namespaced = true;

  std::string api_version() const { return group.empty() ? version : group + "/" + version; }
  // "pods" or "deployments.apps": how errors and RBAC name it.
  std::string group_resource() const { return group.empty() ? plural : plural + "." + group; }
  auto operator<=>(const Resource&) const = default;
};

struct ObjectKey {
  std::string ns;  // "" for cluster-scoped
  std::string name;
  auto operator<=>(const ObjectKey&) const = default;
  std::string text() const { return ns.empty() ? name : ns + "/" + name; }
  static ObjectKey parse(std::string_view text) {
    size_t n = text.find('/');
    if (n == text.npos) return {"", std::string(text)};
    return {std::string(text.substr(0, n)), std::string(text.substr(n + 1))};
  }
};

}  // namespace caravel::kube
