#include <algorithm>

#include "apiserver/authorization/authorizer.h"
#include "base/strings.h"

namespace caravel::apiserver {

namespace {
constexpr size_t kDecisionsMax = 65'536;
constexpr std::string_view kMasters = "system:masters";
constexpr std::string_view kServiceAccountUser = "system:serviceaccount:";

bool has(const std::vector<std::string>& list, std::string_view v) { return std::find(list.begin(), list.end(), v) != list.end(); }

std::vector<std::string> strings(const json::Value& v) {
  std::vector<std::string> out;
  for (auto& s : v.as_array()) out.push_back(s.as_string());
  return out;
}
json::Value to_array(const std::vector<std::string>& v) {
  json::Value a = json::Value::array();
  for (auto& s : v) a.push_back(s);
  return a;
}
}  // namespace

PolicyRule PolicyRule::from_json(const json::Value& v) {
  PolicyRule r;
  r.verbs = strings(v["verbs"]);
  r.groups = strings(v["apiGroups"]);
  r.resources = strings(v["resources"]);
  r.names = strings(v["resourceNames"]);
  r.urls = strings(v["nonResourceURLs"]);
  return r;
}

json::Value PolicyRule::to_json() const {
  json::Value v = json::Value::object();
  v["verbs"] = to_array(verbs);
  if (!groups.empty()) v["apiGroups"] = to_array(groups);
  if (!resources.empty()) v["resources"] = to_array(resources);
  if (!names.empty()) v["resourceNames"] = to_array(names);
  if (!urls.empty()) v["nonResourceURLs"] = to_array(urls);
  return v;
}

bool PolicyRule::allows(const Attributes& a) const {
  if (!has(verbs, "*") && !has(verbs, a.verb)) return false;
  if (!a.is_resource) {
    for (auto& u : urls) {
      if (u == "*" || u == a.path) return true;
      if (!u.empty() && u.back() == '*' && a.path.substr(0, u.size() - 1) == std::string_view(u).substr(0, u.size() - 1)) return true;
    }
    return false;
  }
  if (!has(groups, "*") && !has(groups, a.group)) return false;
  bool resource = false;
  for (auto& r : resources) {
    if (r == "*") resource = true;
    else if (a.subresource.empty()) resource = resource || r == a.plural;
    else if (size_t slash = r.find('/'); slash != r.npos) {
      std::string_view left = std::string_view(r).substr(0, slash), right = std::string_view(r).substr(slash + 1);
      if ((left == "*" || left == a.plural) && right == a.subresource) resource = true;
    }
  }
  if (!resource) return false;
  return names.empty() || has(names, a.name);
}

const Authorizer::Binding::Subject* Authorizer::Binding::match(const User& user) const {
  for (auto& s : subjects) {
    if (s.kind == 'U' && s.name == user.name) return &s;
    if (s.kind == 'G' && user.in_group(s.name)) return &s;
    if (s.kind == 'S' && user.name.size() == kServiceAccountUser.size() + s.ns.size() + 1 + s.name.size() && user.name.compare(0, kServiceAccountUser.size(), kServiceAccountUser) == 0 &&
        user.name.compare(kServiceAccountUser.size(), s.ns.size(), s.ns) == 0 && user.name[kServiceAccountUser.size() + s.ns.size()] == ':' &&
        user.name.compare(kServiceAccountUser.size() + s.ns.size() + 1, std::string::npos, s.name) == 0)
      return &s;
  }
  return nullptr;
}

std::string Authorizer::Binding::subject_of(const User& user) const {
  const Subject* s = match(user);
  if (!s) return "";
  if (s->kind == 'S') return "ServiceAccount \"" + s->name + "/" + s->ns + "\"";
  return std::string(s->kind == 'U' ? "User" : "Group") + " \"" + s->name + "\"";
}

Authorizer::Binding Authorizer::parse_binding(const Object& o) {
  ValuePtr v = o.value();
  Binding b;
  b.name = o.name;
  b.role_kind = v->path({"roleRef", "kind"}).as_string();
  b.role_name = v->path({"roleRef", "name"}).as_string();
  for (auto& s : (*v)["subjects"].as_array()) {
    const std::string& kind = s["kind"].as_string();
    std::string ns = s["namespace"].as_string();
    if (ns.empty()) ns = o.ns;
    b.subjects.push_back({kind == "User" ? 'U' : kind == "Group" ? 'G'
                                                                 : 'S',
                          s["name"].as_string(), ns});
  }
  return b;
}

Authorizer::Authorizer(RbacCaches caches) : caches_(caches) {
  follow(caches.roles, true, true);
  follow(caches.cluster_roles, true, false);
  follow(caches.role_bindings, false, true);
  follow(caches.cluster_role_bindings, false, false);
}

void Authorizer::follow(WatchCache* cache, bool roles, bool namespaced) {
  auto on = [this, roles, namespaced](const CacheEvent& e) {
    decided_.clear();
    const Object& o = *e.object;
    bool gone = e.change == Change::kDeleted;
    if (roles) {
      auto& map = namespaced ? roles_ : cluster_roles_;
      std::string key = WatchCache::key_of(o.ns, o.name);
      if (gone) {
        map.erase(key);
        return;
      }
      std::vector<PolicyRule> rules;
      ValuePtr v = o.value();
      for (auto& r : (*v)["rules"].as_array()) rules.push_back(PolicyRule::from_json(r));
      map[key] = std::move(rules);
    } else {
      auto& map = namespaced ? bindings_[o.ns] : cluster_bindings_;
      if (gone) map.erase(o.name);
      else map[o.name] = parse_binding(o);
    }
  };
  for (auto& [key, o] : cache->objects()) {
    CacheEvent e;
    e.object = o;
    on(e);
  }
  cache->add_listener(on);
}

const std::vector<PolicyRule>* Authorizer::role_rules(const Binding& b, std::string_view ns) const {
  if (b.role_kind == "ClusterRole") {
    auto it = cluster_roles_.find(b.role_name);
    return it == cluster_roles_.end() ? nullptr : &it->second;
  }
  auto it = roles_.find(WatchCache::key_of(ns, b.role_name));
  return it == roles_.end() ? nullptr : &it->second;
}

std::vector<PolicyRule> Authorizer::rules_of(std::string_view kind, std::string_view ns, std::string_view name) const {
  Binding b;
  b.role_kind = kind;
  b.role_name = name;
  auto* r = role_rules(b, ns);
  return r ? *r : std::vector<PolicyRule>();
}

Decision Authorizer::rbac(const Attributes& a) const {
  for (auto& [name, b] : cluster_bindings_) {
    if (!b.applies_to(*a.user)) continue;
    if (auto* rules = role_rules(b, ""))
      for (auto& r : *rules)
        if (r.allows(a)) return {true, "RBAC: allowed by ClusterRoleBinding \"" + name + "\" of " + b.role_kind + " \"" + b.role_name + "\" to " + b.subject_of(*a.user)};
  }
  if (a.is_resource && !a.ns.empty()) {
    auto it = bindings_.find(a.ns);
    if (it != bindings_.end())
      for (auto& [name, b] : it->second) {
        if (!b.applies_to(*a.user)) continue;
        if (auto* rules = role_rules(b, a.ns))
          for (auto& r : *rules)
            if (r.allows(a)) return {true, "RBAC: allowed by RoleBinding \"" + name + "/" + std::string(a.ns) + "\" of " + b.role_kind + " \"" + b.role_name + "\" to " + b.subject_of(*a.user)};
      }
  }
  return {};
}

Decision Authorizer::authorize(const Attributes& a) {
  if (a.user->in_group(kMasters)) return {true, ""};
  key_.clear();
  key_.append(a.user->name).push_back('\1');
  for (auto& g : a.user->groups) key_.append(g).push_back('\2');
  for (std::string_view part : {a.verb, a.group, a.plural, a.subresource, a.ns, a.name, a.path}) key_.append("\1").append(part);
  bool is_node = a.user->in_group("system:nodes");
  if (!is_node)
    if (auto it = decided_.find(key_); it != decided_.end()) return it->second;
  std::string key = key_;
  Decision d = rbac(a);
  if (!d.allowed && is_node) d = node(a);
  if (!is_node) {
    if (decided_.size() >= kDecisionsMax) decided_.clear();
    decided_[std::move(key)] = d;
  }
  return d;
}

std::vector<PolicyRule> Authorizer::rules_for(const User& user, std::string_view ns) const {
  std::vector<PolicyRule> out;
  if (user.in_group(kMasters)) {
    PolicyRule all;
    all.verbs = all.groups = all.resources = {"*"};
    PolicyRule urls;
    urls.verbs = urls.urls = {"*"};
    out = {all, urls};
  }
  for (auto& [name, b] : cluster_bindings_)
    if (b.applies_to(user))
      if (auto* r = role_rules(b, "")) out.insert(out.end(), r->begin(), r->end());
  if (auto it = bindings_.find(ns); it != bindings_.end())
    for (auto& [name, b] : it->second)
      if (b.applies_to(user))
        if (auto* r = role_rules(b, ns)) out.insert(out.end(), r->begin(), r->end());
  return out;
}

std::vector<PolicyRule> Authorizer::not_covered(const User& user, std::string_view ns, const std::vector<PolicyRule>& wanted) const {
  std::vector<PolicyRule> held = rules_for(user, ns);
  std::vector<PolicyRule> missing;
  auto covers = [&](const PolicyRule& one) {  // `one` names a single thing of each sort
    for (auto& h : held) {
      if (!has(h.verbs, "*") && !has(h.verbs, one.verbs[0])) continue;
      if (!one.urls.empty()) {
        bool hit = false;
        for (auto& u : h.urls)
          hit = hit || u == "*" || u == one.urls[0] || (!u.empty() && u.back() == '*' && one.urls[0].compare(0, u.size() - 1, u, 0, u.size() - 1) == 0);
        if (hit) return true;
        continue;
      }
      if (!has(h.groups, "*") && !has(h.groups, one.groups[0])) continue;
      const std::string& r = one.resources[0];
      size_t slash = r.find('/');
      bool resource = has(h.resources, "*") || has(h.resources, r) || (slash != r.npos && has(h.resources, "*" + r.substr(slash)));
      if (!resource) continue;
      if (h.names.empty() || (!one.names.empty() && has(h.names, one.names[0]))) return true;
    }
    return false;
  };
  for (auto& w : wanted)
    for (auto& verb : w.verbs) {
      for (auto& u : w.urls) {
        PolicyRule one;
        one.verbs = {verb};
        one.urls = {u};
        if (!covers(one)) missing.push_back(one);
      }
      for (auto& g : w.groups)
        for (auto& r : w.resources) {
          PolicyRule one;
          one.verbs = {verb};
          one.groups = {g};
          one.resources = {r};
          if (w.names.empty()) {
            if (!covers(one)) missing.push_back(one);
            continue;
          }
          for (auto& n : w.names) {
            one.names = {n};
            if (!covers(one)) missing.push_back(one);
          }
        }
    }
  return missing;
}

}  // namespace caravel::apiserver
