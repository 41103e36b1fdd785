#include "karpenter/topology.h"

#include <algorithm>
#include <climits>

namespace caravel::karpenter {

using kube::scheduling::PodTerm;

bool Topology::matches(const PodTerm& t, const PodSpec& pod) const {
  bool in = std::find(t.namespaces.begin(), t.namespaces.end(), pod.ns) != t.namespaces.end();
  if (!in && t.namespace_selector) {
    auto it = namespaces_.find(pod.ns);
    in = kube::scheduling::matches(*t.namespace_selector, it == namespaces_.end() ? Labels{} : it->second);
  }
  return in && kube::scheduling::matches(t.selector, pod.labels);
}

bool Topology::selects(const Group& g, const PodSpec& pod) const {
  return std::all_of(g.terms.begin(), g.terms.end(), [&](const PodTerm& t) { return matches(t, pod); });
}

void Topology::count(Group& g, const std::string& domain) {
  ++g.domains[domain];
  g.empty.erase(domain);
}

std::string Topology::describe(const Group& g) {
  std::string out = std::to_string(static_cast<int>(g.kind)) + g.key + "\x01" + std::to_string(g.max_skew) + "," + std::to_string(g.min_domains);
  for (const auto& t : g.terms) {
    PodTerm x = t;
    x.topology_key.clear();
    kube::scheduling::describe(x, out);
  }
  if (g.filter) {
    PodSpec part;
    if (g.honor_affinity) part.node_selector = g.filter->node_selector, part.required_nodes = g.filter->required_nodes;
    if (g.honor_taints) part.tolerations = g.filter->tolerations;
    out += kube::scheduling::describe(part);
    out += g.honor_taints ? 'T' : 't';
  }
  return out;
}

void Topology::add_running(const PlacedPod& pod, const Labels& node_labels) {
  running_.push_back({pod.spec, node_labels});
  for (const auto& t : pod.spec->anti_affinity) {
    Group g{Kind::kAntiAffinity, t.topology_key, {t}, 1, 1, nullptr, false, false, {}, {}};
    int i = group(std::move(g), true);
    auto domain = node_labels.find(t.topology_key);
    if (domain != node_labels.end()) count(inverse_[i], domain->second);
  }
}

void Topology::add_hostname(const std::string& name) {
  universe_[label::kHostname].insert(name);
  for (auto* groups : {&groups_, &inverse_})
    for (auto& g : *groups)
      if (g.key == label::kHostname && g.domains.emplace(name, 0).second) g.empty.insert(name);
}

int Topology::group(Group g, bool inverse) {
  auto& groups = inverse ? inverse_ : groups_;
  auto& ids = inverse ? inverse_ids_ : group_ids_;
  auto [it, fresh] = ids.emplace(describe(g), static_cast<int>(groups.size()));
  if (!fresh) return it->second;
  for (const auto& d : universe_[g.key]) g.domains.emplace(d, 0), g.empty.insert(d);
  if (!inverse) {
    for (const auto& r : running_) {
      auto domain = r.labels.find(g.key);
      if (domain == r.labels.end() || !selects(g, *r.pod)) continue;
      if (g.filter && g.honor_affinity) {
        bool admitted = true;
        for (const auto& [k, v] : g.filter->node_selector) admitted = admitted && r.labels.count(k) && r.labels.at(k) == v;
        if (g.filter->required_nodes) {
          const auto& terms = *g.filter->required_nodes;
          admitted = admitted && std::any_of(terms.begin(), terms.end(), [&](const auto& t) { return kube::scheduling::matches(t, r.labels, ""); });
        }
        if (!admitted) continue;
      }
      count(g, domain->second);
    }
  }
  groups.push_back(std::move(g));
  // Classes that exist already learn of the new group.
  for (auto& c : classes_) {
    const Group& made = groups.back();
    if (!selects(made, *c.pod)) continue;
    (inverse ? c.repelled : c.counted).push_back(it->second);
  }
  return it->second;
}

int Topology::add_class(const PodSpec& spec) {
  int id = static_cast<int>(classes_.size());
  auto pod = std::make_shared<const PodSpec>(spec);
  classes_.push_back(Class{pod, {}, {}, {}, {}, {}});
  for (size_t i = 0; i < groups_.size(); ++i)
    if (selects(groups_[i], spec)) classes_[id].counted.push_back(static_cast<int>(i));
  for (size_t i = 0; i < inverse_.size(); ++i)
    if (selects(inverse_[i], spec)) classes_[id].repelled.push_back(static_cast<int>(i));
  auto own = [&](Group g) {
    bool self = selects(g, spec);
    int i = group(std::move(g), false);
    classes_[id].owned.push_back(i);
    classes_[id].self.push_back(self);
  };
  for (const auto* constraints : {&spec.hard_spread, &spec.soft_spread}) {
    for (const auto& c : *constraints)
      own(Group{Kind::kSpread, c.topology_key, {PodTerm{c.selector, {spec.ns}, std::nullopt, ""}}, c.max_skew, c.min_domains, pod, c.honor_affinity, c.honor_taints, {}, {}});
  }
  for (const auto& t : spec.affinity) own(Group{Kind::kAffinity, t.topology_key, {t}, 1, 1, nullptr, false, false, {}, {}});
  for (const auto& t : spec.preferred_affinity) own(Group{Kind::kAffinity, t.term.topology_key, {t.term}, 1, 1, nullptr, false, false, {}, {}});
  auto repel = [&](const PodTerm& t) {
    own(Group{Kind::kAntiAffinity, t.topology_key, {t}, 1, 1, nullptr, false, false, {}, {}});
  };
  for (const auto& t : spec.anti_affinity) {
    repel(t);
    int i = group(Group{Kind::kAntiAffinity, t.topology_key, {t}, 1, 1, nullptr, false, false, {}, {}}, true);
    classes_[id].repelling.push_back(i);
  }
  for (const auto& t : spec.preferred_anti_affinity) repel(t.term);
  return id;
}

Requirement Topology::next_spread(const Group& g, bool self, const Requirement& pod, const Requirement& node) const {
  // A new node can always be made, so the least loaded hostname has none.
  int least = 0;
  if (g.key != label::kHostname) {
    least = INT_MAX;
    int supported = 0;
    for (const auto& [d, n] : g.domains)
      if (pod.has(d)) least = std::min(least, n), ++supported;
    if (supported < g.min_domains || least == INT_MAX) least = 0;
  }
  const std::string* best = nullptr;
  int best_count = INT_MAX;
  auto consider = [&](const std::string& d, int n) {
    int with = n + (self ? 1 : 0);
    if (with - least <= g.max_skew && with < best_count) best = &d, best_count = with;
  };
  if (node.finite()) {
    for (const auto& d : node.values())
      if (auto it = g.domains.find(d); it != g.domains.end()) consider(it->first, it->second);
  } else {
    for (const auto& [d, n] : g.domains)
      if (node.has(d)) consider(d, n);
  }
  return best ? Requirement::in({*best}) : Requirement();
}

Requirement Topology::next_affinity(const Group& g, bool self, const Requirement& pod, const Requirement& node) const {
  std::vector<std::string> options;
  auto each = [&](auto f) {
    if (node.finite()) {
      for (const auto& d : node.values())
        if (auto it = g.domains.find(d); it != g.domains.end()) f(d, it->second);
    } else {
      for (const auto& [d, n] : g.domains)
        if (node.has(d)) f(d, n);
    }
  };
  each([&](const std::string& d, int n) {
    if (n > 0 && pod.has(d)) options.push_back(d);
  });
  if (!options.empty()) return Requirement::in(options);
  if (!self) return {};
  // The first pod of its group opens a domain, unless its group lives somewhere it can reach.
  for (const auto& [d, n] : g.domains)
    if (n > 0 && pod.has(d)) return {};
  std::string first;
  each([&](const std::string& d, int) {
    if (first.empty() && pod.has(d)) first = d;
  });
  return first.empty() ? Requirement() : Requirement::in({first});
}

Requirement Topology::next_anti_affinity(const Group& g, const Requirement& pod, const Requirement& node) const {
  std::vector<std::string> options;
  if (node.finite()) {
    for (const auto& d : node.values())
      if (pod.has(d) && g.empty.count(d)) options.push_back(d);
  } else {
    for (const auto& d : g.empty)
      if (pod.has(d) && node.has(d)) options.push_back(d);
  }
  return Requirement::in(options);
}

Result<Requirements> Topology::tighten(int c, const Requirements& pod, const Requirements& node) const {
  Requirements out;
  const Class& k = classes_[c];
  auto narrow = [&](const Group& g, bool self) -> Status {
    Requirement pod_domains = pod.get(g.key), node_domains = node.get(g.key);
    if (const Requirement* already = out.find(g.key)) node_domains = node_domains.intersect(*already);
    Requirement r = g.kind == Kind::kSpread     ? next_spread(g, self, pod_domains, node_domains)
                    : g.kind == Kind::kAffinity ? next_affinity(g, self, pod_domains, node_domains)
                                                : next_anti_affinity(g, pod_domains, node_domains);
    if (r.empty()) {
      const char* what = g.kind == Kind::kSpread ? "topology spread" : g.kind == Kind::kAffinity ? "pod affinity"
                                                                                                 : "pod anti-affinity";
      return invalid("unsatisfiable topology constraint for " + std::string(what) + ", key=" + g.key);
    }
    out.add(g.key, std::move(r));
    return ok();
  };
  for (size_t i = 0; i < k.owned.size(); ++i) TRY_VOID(narrow(groups_[k.owned[i]], k.self[i]));
  for (int i : k.repelled) TRY_VOID(narrow(inverse_[i], false));
  return out;
}

void Topology::record(int c, const Requirements& node) {
  const Class& k = classes_[c];
  auto add = [&](Group& g) {
    const Requirement* r = node.find(g.key);
    if (!r || !r->finite()) return;
    // A node that is still open about its domain may end up in any of them: anti-affinity blocks all.
    if (g.kind == Kind::kAntiAffinity) {
      for (const auto& d : r->values()) count(g, d);
    } else if (auto d = r->only()) {
      count(g, *d);
    }
  };
  for (int i : k.counted) add(groups_[i]);
  for (int i : k.repelling) add(inverse_[i]);
}

}  // namespace caravel::karpenter
