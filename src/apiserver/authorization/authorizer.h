// Who may do what. RBAC over the cached roles and bindings, the Node authorizer for kubelets, and
// system:masters. Decisions are remembered until a role or binding changes, so a repeated question
// costs one look-up.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "apiserver/request.h"
#include "apiserver/watch_cache.h"

namespace caravel::apiserver {

struct Attributes {
  const User* user = nullptr;
  std::string_view verb, group, version, plural, subresource, ns, name;
  bool is_resource = true;
  std::string_view path;  // of other requests
  // Requirements {key, operator, values} of the selectors; null: none. Webhooks see them, Node and RBAC do not care.
  const json::Value *field_selector = nullptr, *label_selector = nullptr;
};

struct Decision {
  bool allowed = false;
  std::string reason;
};

struct PolicyRule {
  std::vector<std::string> verbs, groups, resources, names, urls;
  bool allows(const Attributes& a) const;
  json::Value to_json() const;
  static PolicyRule from_json(const json::Value& v);
};

// Sources of rules that the Authorizer follows.
struct RbacCaches {
  WatchCache* roles = nullptr;
  WatchCache* role_bindings = nullptr;
  WatchCache* cluster_roles = nullptr;
  WatchCache* cluster_role_bindings = nullptr;
  WatchCache* pods = nullptr;  // for the Node authorizer
  WatchCache* service_accounts = nullptr;
  WatchCache* claims = nullptr;
};

class Authorizer {
 public:
  explicit Authorizer(RbacCaches caches);
  // system:masters, RBAC, then Node.
  Decision authorize(const Attributes& a);
  // One alone, for other orders.
  Decision rbac(const Attributes& a) const;
  Decision node(const Attributes& a) const;
  // All rules that apply to the user in a namespace ("" = cluster-wide only): for SelfSubjectRulesReview.
  std::vector<PolicyRule> rules_for(const User& user, std::string_view ns) const;
  // Rules of a role ("ClusterRole"/"Role").
  std::vector<PolicyRule> rules_of(std::string_view kind, std::string_view ns, std::string_view name) const;
  // Rules of `wanted` that the user does not hold (in ns): escalation check. Empty: all held.
  std::vector<PolicyRule> not_covered(const User& user, std::string_view ns, const std::vector<PolicyRule>& wanted) const;

 private:
  struct Binding {
    struct Subject {
      char kind;  // 'U' 'G' 'S'
      std::string name, ns;
    };
    std::vector<Subject> subjects;
    std::string role_kind, role_name, name;
    const Subject* match(const User& user) const;
    bool applies_to(const User& user) const { return match(user) != nullptr; }
    std::string subject_of(const User& user) const;  // as reasons name it: Group "devs"
  };
  static Binding parse_binding(const Object& o);
  const std::vector<PolicyRule>* role_rules(const Binding& b, std::string_view ns) const;
  bool node_references(std::string_view node, std::string_view plural, std::string_view ns, std::string_view name) const;
  void follow(WatchCache* cache, bool roles, bool namespaced);

  RbacCaches caches_;
  std::map<std::string, std::vector<PolicyRule>, std::less<>> roles_;  // "ns/name"
  std::map<std::string, std::vector<PolicyRule>, std::less<>> cluster_roles_;
  std::map<std::string, std::map<std::string, Binding>, std::less<>> bindings_;  // ns -> name -> binding
  std::map<std::string, Binding> cluster_bindings_;
  std::unordered_map<std::string, Decision> decided_;
  std::string key_;
};

// ClusterRoles, ClusterRoleBindings, Roles and RoleBindings that every cluster has, as objects.
std::vector<json::Value> default_policy();

}  // namespace caravel::apiserver
