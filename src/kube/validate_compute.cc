// Requests and limits of containers and pods: names, amounts, huge pages, claims.
#include <algorithm>
#include <map>
#include <set>

#include "base/strings.h"
#include "kube/quantity.h"
#include "kube/validate_pod.h"

namespace caravel::kube::check {

namespace {

using json::Value;

constexpr std::string_view kHugePages = "hugepages-";

Quantity amount_of(const Value& v) {
  auto q = Quantity::parse(v.is_string() ? v.as_string() : json::dump(v));
  return q.ok() ? *q : Quantity();
}

bool huge_pages(std::string_view name) { return name.starts_with(kHugePages); }
bool is_native(std::string_view name) { return name.find('/') == name.npos || name.find("kubernetes.io/") != name.npos; }
bool is_extended_resource(const std::string& name) { return !is_native(name) && !name.starts_with("requests.") && check_qualified_name("requests." + name).empty(); }
// Whether a node may promise more of it than it has.
bool overcommits(std::string_view name) { return is_native(name) && !huge_pages(name); }

bool is_countable(const std::string& name) {
  static constexpr std::string_view kCounts[] = {"pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
                                                 "configmaps", "persistentvolumeclaims", "services.nodeports", "services.loadbalancers"};
  return std::find(std::begin(kCounts), std::end(kCounts), name) != std::end(kCounts) || is_extended_resource(name);
}

bool is_standard(std::string_view name) {
  static constexpr std::string_view kNames[] = {"cpu", "memory", "ephemeral-storage", "requests.cpu", "requests.memory", "requests.ephemeral-storage", "limits.cpu",
                                                "limits.memory", "limits.ephemeral-storage", "pods", "resourcequotas", "services", "replicationcontrollers", "secrets",
                                                "configmaps", "persistentvolumeclaims", "storage", "requests.storage", "services.nodeports", "services.loadbalancers"};
  return huge_pages(name) || name.starts_with("requests.hugepages-") || std::find(std::begin(kNames), std::end(kNames), name) != std::end(kNames);
}
bool is_of_containers(std::string_view name) { return name == "cpu" || name == "memory" || name == "ephemeral-storage" || huge_pages(name); }

void pod_resource_name(const std::string& name, const FieldPath& p, FieldErrors& e) {
  if (resource_name(name, p, e) && name != "cpu" && name != "memory" && !huge_pages(name)) e.push_back(not_supported(p, name, {std::string_view("cpu"), "hugepages-", "memory"}));
}

bool whole_pages(const std::string& name, const Quantity& q) {
  auto page = Quantity::parse(std::string_view(name).substr(kHugePages.size()));
  return page.ok() && page->sign() > 0 && q.value() % page->value() == 0;
}

void claim_names(const Value& list, const std::vector<std::string_view>& claims, const FieldPath& p, FieldErrors& e) {
  std::set<std::string> names;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string &name = list.at(i)["name"].as_string(), &request = list.at(i)["request"].as_string();
    const FieldPath at = p.index(i);
    if (name.empty()) {
      e.push_back(required_error(at));
      continue;
    }
    if (names.count(name)) {
      e.push_back(duplicate_error(at, name));
    } else {
      if (!request.empty()) text_must(check_dns1123_label, request, at.child("request"), e);
      const std::string key = request.empty() ? name : name + "/" + request;
      if (names.count(key)) e.push_back(duplicate_error(at, key));
      else if (request.empty())  // overlaps with each of its requests
        for (auto& other : names)
          if (other.starts_with(name + "/")) e.push_back(duplicate_error(at, name));
      names.insert(key);
    }
    if (std::find(claims.begin(), claims.end(), name) != claims.end()) continue;
    const std::set<std::string> sorted(claims.begin(), claims.end());
    const std::vector<std::string> all(sorted.begin(), sorted.end());
    e.push_back(not_found(at, name, "must be one of the names in pod.spec.resourceClaims" + (all.empty() ? " which is empty" : ": " + join(all, ", "))));
  }
}

using ResourceNameCheck = void (*)(const std::string&, const FieldPath&, FieldErrors&);

void requirements(const Value& r, ResourceNameCheck check_name, const std::vector<std::string_view>& claims, const FieldPath& p, FieldErrors& e) {
  bool pages = false, cpu_or_memory = false;
  const Value& limits = r["limits"];
  auto each = [&](std::string_view kind, const std::string& name, const Value& v, const Quantity& q) {
    if (name == "cpu" || name == "memory") cpu_or_memory = true;
    else check_name(name, p.child(kind).key(name), e);
    if (q.sign() < 0) e.push_back(invalid_error(p.child(kind).key(name), v, "must be greater than or equal to 0"));
    if (is_native(name) && is_of_containers(name) && !huge_pages(name)) return;
    if (q.milli_value() % 1000 != 0 && is_countable(name)) e.push_back(invalid_error(p.child(kind).key(name), v, "must be an integer"));
  };
  auto whole = [&](std::string_view kind, const std::string& name, const Quantity& q) {
    if (!huge_pages(name)) return;
    pages = true;
    if (!whole_pages(name, q)) e.push_back(invalid_error(p.child(kind).key(name), q.text(), q.text() + " is not positive integer multiple of " + name));
  };
  for (auto& m : limits.as_object()) {
    const Quantity q = amount_of(m.value);
    each("limits", m.key, m.value, q);
    whole("limits", m.key, q);
  }
  for (auto& m : r["requests"].as_object()) {
    const Quantity q = amount_of(m.value);
    each("requests", m.key, m.value, q);
    const Value& limit = limits[m.key];
    if (limit.is_null()) {
      if (!overcommits(m.key)) e.push_back(required_error(p.child("limits"), "Limit must be set for non overcommitable resources"));
    } else if (!(limit == m.value)) {
      const Quantity l = amount_of(limit);
      if (q != l && !overcommits(m.key)) e.push_back(invalid_error(p.child("requests"), m.value, "must be equal to " + m.key + " limit of " + l.text()));
      else if (q > l) e.push_back(invalid_error(p.child("requests"), m.value, "must be less than or equal to " + m.key + " limit of " + l.text()));
    }
    whole("requests", m.key, q);
  }
  if (pages && !cpu_or_memory) e.push_back(forbidden_error(p, "HugePages require cpu or memory"));
  if (r["claims"].size()) claim_names(r["claims"], claims, p.child("claims"), e);
}

}  // namespace

// Whether the name is one; upstream then asks more of it even if it is not.
bool resource_name(const std::string& name, const FieldPath& p, FieldErrors& e) {
  const size_t before = e.size();
  text_must(check_qualified_name, name, p, e);
  if (e.size() == before && name.find('/') == name.npos && !is_standard(name)) e.push_back(invalid_error(p, name, "must be a standard resource type or fully qualified"));
  return e.size() == before;
}

void container_resource_name(const std::string& name, const FieldPath& p, FieldErrors& e) {
  if (is_of_containers(name) && !huge_pages(name)) return;  // nearly always
  resource_name(name, p, e);
  if (name.find('/') == name.npos) {
    if (!is_of_containers(name)) e.push_back(invalid_error(p, name, "must be a standard resource for containers"));
  } else if (!is_native(name) && !is_extended_resource(name)) {
    e.push_back(invalid_error(p, name, "doesn't follow extended resource name standard"));
  }
}

void quota_resource_name(const std::string& name, const FieldPath& p, FieldErrors& e) {
  resource_name(name, p, e);
  if (name.find('/') == name.npos && (!is_standard(name) || name == "storage")) e.push_back(invalid_error(p, name, "must be a standard resource for quota"));
}

std::map<std::string, Quantity> container_totals(const Value& spec, std::string_view kind) {
  using Amounts = std::map<std::string, Quantity>;
  Amounts total, sidecars, first;
  auto add = [](Amounts& to, const Value& list) {
    for (auto& m : list.as_object()) to[m.key] += amount_of(m.value);
  };
  for (const Value& c : spec["containers"].as_array()) add(total, c["resources"][kind]);
  for (const Value& c : spec["initContainers"].as_array()) {
    Amounts now = sidecars;
    add(now, c["resources"][kind]);
    if (c["restartPolicy"].as_string() == "Always") {
      add(total, c["resources"][kind]);
      sidecars = now;
    }
    for (auto& [name, q] : now)
      if (auto& most = first[name]; q > most) most = q;
  }
  for (auto& [name, q] : first)
    if (auto& all = total[name]; q > all) all = q;
  return total;
}

void compute_resources(const Value& r, const std::vector<std::string_view>& claims, const FieldPath& p, FieldErrors& e) { requirements(r, container_resource_name, claims, p, e); }

void pod_level_resources(const PodParts& pod, const FieldPath& spec_path, FieldErrors& e) {
  const Value &spec = pod.spec, &r = spec["resources"];
  const FieldPath p = spec_path.child("resources");
  if (spec["os"]["name"].as_string() == "windows") return e.push_back(forbidden_error(p, "may not be set for a windows pod"));
  if (r["claims"].size()) e.push_back(forbidden_error(p.child("claims"), "claims may not be set for Resources at pod-level"));
  requirements(r, pod_resource_name, pod.claims, p, e);
  for (auto& [name, q] : container_totals(spec, "requests")) {
    const Value& whole = r["requests"][name];
    if (!whole.is_null() && q > amount_of(whole)) e.push_back(invalid_error(p.child("requests").key(name), whole, "must be greater than or equal to aggregate container requests of " + q.text()));
  }
  for (auto& [name, q] : container_totals(spec, "limits")) {
    const Value& whole = r["limits"][name];
    if (huge_pages(name) && !whole.is_null() && q > amount_of(whole))
      e.push_back(invalid_error(p.child("limits").key(name), whole, "must be greater than or equal to aggregate container limits of " + q.text()));
  }
  const auto& list = spec["containers"].as_array();
  for (size_t i = 0; i < list.size(); ++i)
    for (auto& m : list[i]["resources"]["limits"].as_object()) {
      const Value& whole = r["limits"][m.key];
      if (!whole.is_null() && amount_of(m.value) > amount_of(whole))
        e.push_back(invalid_error(p.child("containers").index(i).key(m.key).child("limits"), m.value, "must be less than or equal to pod limits of " + amount_of(whole).text()));
    }
}

}  // namespace caravel::kube::check
