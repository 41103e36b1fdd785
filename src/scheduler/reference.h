// The plugin rules once more, slow and obvious: loops over nodes and pods, no sharing, no counters. For tests
// that compare the core with it; random_cluster.h has the clusters. Included by one test file each.
#pragma once

#include <algorithm>
#include <climits>
#include <cmath>
#include <map>
#include <random>
#include <set>
#include <string>
#include <vector>

#include "scheduler/cluster.h"

namespace caravel::scheduler {
namespace {

struct RefPod {
  PodSpec spec;
  std::string node;
  bool terminating = false;
};
struct Reference {
  std::vector<NodeSpec> nodes;
  std::vector<RefPod> pods;
  std::map<std::string, Labels> namespaces;
  std::map<std::string, AttachLimits> attach_limits;  // by node
  Profile profile;                                    // of the pod that is asked about

  bool filters(Plugin p) const { return (profile.filters & p) != 0; }

  const NodeSpec* node(const std::string& name) const {
    for (auto& n : nodes)
      if (n.name == name) return &n;
    return nullptr;
  }
  bool selects(const PodTerm& t, const PodSpec& p) const {
    bool ns = std::count(t.namespaces.begin(), t.namespaces.end(), p.ns) > 0;
    if (t.namespace_selector) {
      auto it = namespaces.find(p.ns);
      ns = ns || matches(*t.namespace_selector, it == namespaces.end() ? Labels{} : it->second);
    }
    return ns && matches(t.selector, p.labels);
  }
  static std::optional<std::string> label(const NodeSpec& n, const std::string& key) {
    auto it = n.labels.find(key);
    if (it == n.labels.end()) return std::nullopt;
    return it->second;
  }
  static bool affinity_admits(const NodeSpec& n, const PodSpec& p) {
    for (auto& [k, v] : p.node_selector)
      if (label(n, k) != v) return false;
    if (!p.required_nodes) return true;
    for (auto& t : *p.required_nodes)
      if (matches(t, n.labels, n.name)) return true;
    return false;
  }
  static bool taints_admit(const NodeSpec& n, const PodSpec& p) {
    for (auto& t : n.taints)
      if (t.effect != Effect::kPreferNoSchedule && !tolerates(p.tolerations, t)) return false;
    return true;
  }
  // PodTopologySpread: pods per domain over eligible nodes.
  std::map<std::string, int> domains(const SpreadConstraint& c, const PodSpec& p, const std::vector<std::string>& keys) const {
    std::map<std::string, int> out;
    for (auto& n : nodes) {
      bool eligible = true;
      for (auto& k : keys) eligible = eligible && label(n, k);
      if (c.honor_affinity) eligible = eligible && affinity_admits(n, p);
      if (c.honor_taints) eligible = eligible && taints_admit(n, p);
      auto domain = label(n, c.topology_key);
      if (!eligible || !domain) continue;
      out[*domain] += matching(c, p, n.name);
    }
    return out;
  }
  int matching(const SpreadConstraint& c, const PodSpec& p, const std::string& node) const {
    if (!c.selector.nothing && c.selector.all.empty()) return 0;
    int count = 0;
    for (auto& other : pods)
      if (other.node == node && !other.terminating && other.spec.ns == p.ns && matches(c.selector, other.spec.labels)) ++count;
    return count;
  }
  static std::vector<std::string> keys_of(const std::vector<SpreadConstraint>& all) {
    std::vector<std::string> out;
    for (auto& c : all) out.push_back(c.topology_key);
    return out;
  }
  bool same_domain(const std::string& key, const NodeSpec& n, const std::string& other_node) const {
    const NodeSpec* o = node(other_node);
    return o && label(n, key) && label(n, key) == label(*o, key);
  }

  std::vector<std::string> reasons(const PodSpec& p, const NodeSpec& n) const {
    Taint cordon{"node.kubernetes.io/unschedulable", "", Effect::kNoSchedule};
    if (filters(kNodeUnschedulable) && n.unschedulable && !tolerates(p.tolerations, cordon)) return {"node(s) were unschedulable"};
    if (filters(kTaintToleration) && !taints_admit(n, p)) return {"node(s) had untolerated taint(s)"};
    if (filters(kNodeAffinity) && profile.enforced_nodes) {
      bool any = false;
      for (auto& t : *profile.enforced_nodes) any = any || matches(t, n.labels, n.name);
      if (!any) return {"node(s) didn't match scheduler-enforced node affinity"};
    }
    if (filters(kNodeAffinity) && !affinity_admits(n, p)) return {"node(s) didn't match Pod's node affinity/selector"};
    for (auto& other : pods)
      if (other.node == n.name && filters(kNodePorts))
        for (auto& a : p.ports)
          for (auto& b : other.spec.ports)
            if (conflict(a, b)) return {"node(s) didn't have free ports for the requested pod ports"};
    if (filters(kNodeResourcesFit)) {
      auto out = lacking(p, n);
      if (!out.empty()) return out;
    }
    if (filters(kNodeVolumeLimits) && !attachable(p, n)) return {"node(s) exceed max volume count"};
    if (filters(kPodTopologySpread)) {
      if (auto out = spread_reasons(p, n); !out.empty()) return out;
    }
    return filters(kInterPodAffinity) ? affinity_reasons(p, n) : std::vector<std::string>{};
  }

  Resources used(const NodeSpec& n, int64_t* count = nullptr) const {
    Resources used;
    for (auto& other : pods)
      if (other.node == n.name) {
        if (count) ++*count;
        used.cpu += other.spec.request.cpu;
        used.memory += other.spec.request.memory;
        used.ephemeral += other.spec.request.ephemeral;
        for (auto& [k, v] : other.spec.request.other) used.other[k] += v;
      }
    return used;
  }
  std::vector<std::string> lacking(const PodSpec& p, const NodeSpec& n) const {
    int64_t count = 0;
    Resources now = used(n, &count);
    std::vector<std::string> out;
    auto fit = [&](const std::string& name, int64_t want, int64_t have) {
      if (want > 0 && want > have) out.push_back("Insufficient " + name);
    };
    if (count + 1 > n.max_pods) out.push_back("Too many pods");
    fit("cpu", p.request.cpu, n.allocatable.cpu - now.cpu);
    fit("memory", p.request.memory, n.allocatable.memory - now.memory);
    fit("ephemeral-storage", p.request.ephemeral, n.allocatable.ephemeral - now.ephemeral);
    for (auto& [k, v] : p.request.other) {
      if (profile.ignored_resources.count(k) || profile.ignored_groups.count(k.substr(0, k.find('/')))) continue;
      auto it = n.allocatable.other.find(k);
      fit(k, v, (it == n.allocatable.other.end() ? 0 : it->second) - now.other[k]);
    }
    return out;
  }
  // Per driver: the volumes of the node's pods and of this one, each once, against the limit. A driver of which
  // the pod brings nothing new turns nobody down.
  bool attachable(const PodSpec& p, const NodeSpec& n) const {
    auto limits = attach_limits.find(n.name);
    if (limits == attach_limits.end()) return true;
    for (auto& [driver, limit] : limits->second) {
      std::set<std::string> there, all;
      for (auto& o : pods)
        if (o.node == n.name)
          for (auto& v : o.spec.attached)
            if (v.driver == driver) there.insert(v.handle);
      all = there;
      for (auto& v : p.attached)
        if (v.driver == driver) all.insert(v.handle);
      if (all.size() > there.size() && static_cast<int64_t>(all.size()) > limit) return false;
    }
    return true;
  }

  std::vector<std::string> spread_reasons(const PodSpec& p, const NodeSpec& n) const {
    auto keys = keys_of(p.hard_spread);
    for (auto& c : p.hard_spread) {
      auto domain = label(n, c.topology_key);
      if (!domain) return {"node(s) didn't match pod topology spread constraints (missing required label)"};
      auto counts = domains(c, p, keys);
      int64_t least = INT_MAX;
      for (auto& [d, k] : counts) least = std::min<int64_t>(least, k);
      if (static_cast<int>(counts.size()) < c.min_domains) least = 0;
      int64_t here = counts.count(*domain) ? counts[*domain] : 0;
      if (here + (matches(c.selector, p.labels) ? 1 : 0) - least > c.max_skew) return {"node(s) didn't match pod topology spread constraints"};
    }
    return {};
  }
  std::vector<std::string> affinity_reasons(const PodSpec& p, const NodeSpec& n) const {
    if (!p.affinity.empty()) {
      auto all_terms = [&](const PodSpec& o) { return std::all_of(p.affinity.begin(), p.affinity.end(), [&](const PodTerm& t) { return selects(t, o); }); };
      bool anywhere = false, all = true;
      for (auto& t : p.affinity) {
        if (!label(n, t.topology_key)) return {"node(s) didn't match pod affinity rules"};
        bool here = false;
        for (auto& o : pods) {
          if (!all_terms(o.spec) || !node(o.node) || !label(*node(o.node), t.topology_key)) continue;
          anywhere = true;
          here = here || same_domain(t.topology_key, n, o.node);
        }
        all = all && here;
      }
      if (!all && (anywhere || !all_terms(p))) return {"node(s) didn't match pod affinity rules"};
    }
    for (auto& t : p.anti_affinity)
      for (auto& o : pods)
        if (selects(t, o.spec) && same_domain(t.topology_key, n, o.node)) return {"node(s) didn't match pod anti-affinity rules"};
    for (auto& o : pods)
      for (auto& t : o.spec.anti_affinity)
        if (selects(t, p) && same_domain(t.topology_key, n, o.node)) return {"node(s) didn't satisfy existing pods anti-affinity rules"};
    return {};
  }

  // A resource's amounts: allocatable on the node, in use by its pods, asked for by the pod.
  struct Amount {
    int64_t allocatable = 0, used = 0, asked = 0;
  };
  Amount amount(const std::string& name, const PodSpec& p, const NodeSpec& n, bool defaults) const {
    Amount a;
    auto of = [&](const PodSpec& s) -> int64_t {
      if (name == "cpu") return defaults ? s.nonzero_cpu : s.request.cpu;
      if (name == "memory") return defaults ? s.nonzero_memory : s.request.memory;
      if (name == "ephemeral-storage") return s.request.ephemeral;
      auto it = s.request.other.find(name);
      return it == s.request.other.end() ? 0 : it->second;
    };
    a.asked = of(p);
    for (auto& o : pods)
      if (o.node == n.name) a.used += of(o.spec);
    if (name == "cpu") a.allocatable = n.allocatable.cpu;
    else if (name == "memory") a.allocatable = n.allocatable.memory;
    else if (name == "ephemeral-storage") a.allocatable = n.allocatable.ephemeral;
    else if (a.asked != 0 && n.allocatable.other.count(name)) a.allocatable = n.allocatable.other.at(name);
    return a;
  }
  static int64_t balance(const std::vector<double>& f) {
    double deviation = 0, mean = 0;
    if (f.size() == 2) deviation = std::abs((f[0] - f[1]) / 2);
    if (f.size() > 2) {
      for (double x : f) mean += x;
      mean /= static_cast<double>(f.size());
      for (double x : f) deviation += (x - mean) * (x - mean);
      deviation = std::sqrt(deviation / static_cast<double>(f.size()));
    }
    return static_cast<int64_t>((1 - deviation) * 100);
  }
  int64_t ratio_score(int64_t percent) const {
    auto& s = profile.fit_shape;
    if (percent <= s.front().utilization) return s.front().score * 10;
    for (size_t i = 1; i < s.size(); ++i)
      if (percent <= s[i].utilization)
        return s[i - 1].score * 10 + (s[i].score - s[i - 1].score) * 10 * (percent - s[i - 1].utilization) / (s[i].utilization - s[i - 1].utilization);
    return s.back().score * 10;
  }
  int64_t fit_score(const PodSpec& p, const NodeSpec& n) const {
    int64_t sum = 0, weights = 0;
    const bool by_ratio = profile.fit == FitStrategy::kRequestedToCapacityRatio;
    for (auto& r : profile.fit_resources) {
      Amount a = amount(r.name, p, n, true);
      if (a.allocatable == 0) continue;
      const int64_t want = a.used + a.asked;
      int64_t score = 0;
      if (by_ratio) score = ratio_score(want > a.allocatable ? 100 : want * 100 / a.allocatable);
      else if (profile.fit == FitStrategy::kMostAllocated) score = std::min(want, a.allocatable) * 100 / a.allocatable;
      else score = want > a.allocatable ? 0 : (a.allocatable - want) * 100 / a.allocatable;
      if (by_ratio && score == 0) continue;
      sum += score * r.weight, weights += r.weight;
    }
    if (weights == 0) return 0;
    return by_ratio ? std::llround(static_cast<double>(sum) / static_cast<double>(weights)) : sum / weights;
  }
  int64_t balanced_score(const PodSpec& p, const NodeSpec& n) const {
    std::vector<double> with, without;
    bool asks = false;
    for (auto& r : profile.balanced_resources) {
      Amount a = amount(r.name, p, n, false);
      asks = asks || a.asked != 0;
      if (a.allocatable == 0) continue;
      auto fraction = [&](int64_t x) { return std::min(1.0, static_cast<double>(x) / static_cast<double>(a.allocatable)); };
      with.push_back(fraction(a.used + a.asked));
      without.push_back(fraction(a.used));
    }
    return asks ? 50 + (50 + balance(with) - balance(without)) / 2 : 0;
  }
  int64_t image_locality(const PodSpec& p, const NodeSpec& n) const {
    if (p.images.empty()) return 0;
    int64_t bytes = 0;
    for (auto& image : p.images) {
      if (!n.images.count(image)) continue;
      int holders = 0;
      for (auto& other : nodes) holders += other.images.count(image) > 0;
      bytes += static_cast<int64_t>(static_cast<double>(n.images.at(image)) * (static_cast<double>(holders) / static_cast<double>(nodes.size())));
    }
    const int64_t least = 23 << 20, most = (int64_t{1000} << 20) * static_cast<int64_t>(p.images.size());
    return 100 * (std::clamp(bytes, least, most) - least) / (most - least);
  }
  int64_t resources(const PodSpec& p, const NodeSpec& n) const {
    return profile.weights.fit * fit_score(p, n) + profile.weights.balanced * balanced_score(p, n) + profile.weights.images * image_locality(p, n);
  }
  // Total scores of the feasible nodes, without what is the same for all of them.
  std::map<std::string, int64_t> scores(const PodSpec& p, const std::vector<const NodeSpec*>& feasible) const {
    std::map<std::string, int64_t> out, taint, prefer, spread, affinity;
    auto soft_keys = p.soft_spread_defaulted ? std::vector<std::string>{} : keys_of(p.soft_spread);
    std::set<std::string> ignored;
    for (auto* n : feasible)
      for (auto& k : soft_keys)
        if (!label(*n, k)) ignored.insert(n->name);
    std::map<std::string, double> sums;
    for (auto& c : p.soft_spread) {
      std::set<std::string> sizes;
      for (auto* n : feasible)
        if (!ignored.count(n->name)) {
          if (c.topology_key == "kubernetes.io/hostname") sizes.insert(n->name);
          else if (label(*n, c.topology_key)) sizes.insert(*label(*n, c.topology_key));
        }
      auto counts = domains(c, p, soft_keys);
      for (auto* n : feasible) {
        auto d = label(*n, c.topology_key);
        if (!d || ignored.count(n->name)) continue;
        int here = c.topology_key == "kubernetes.io/hostname" ? matching(c, p, n->name) : counts[*d];
        sums[n->name] += here * std::log(static_cast<double>(sizes.size() + 2)) + (c.max_skew - 1);
      }
    }
    for (auto* n : feasible) {
      taint[n->name] = 0;
      for (auto& t : n->taints)
        if (t.effect == Effect::kPreferNoSchedule && !tolerates(p.tolerations, t)) ++taint[n->name];
      prefer[n->name] = 0;
      for (auto* terms : {&p.preferred_nodes, &profile.enforced_preferences})
        for (auto& t : *terms)
          if (matches(t.term, n->labels, n->name)) prefer[n->name] += t.weight;
      if (!ignored.count(n->name)) spread[n->name] = std::llround(sums[n->name]);
      int64_t& a = affinity[n->name];
      if (profile.ignore_preferred_terms_of_existing_pods && p.preferred_affinity.empty() && p.preferred_anti_affinity.empty()) continue;
      for (auto& o : pods) {
        for (auto& t : p.preferred_affinity)
          if (selects(t.term, o.spec) && same_domain(t.term.topology_key, *n, o.node)) a += t.weight;
        for (auto& t : p.preferred_anti_affinity)
          if (selects(t.term, o.spec) && same_domain(t.term.topology_key, *n, o.node)) a -= t.weight;
        for (auto& t : o.spec.affinity)
          if (selects(t, p) && same_domain(t.topology_key, *n, o.node)) a += profile.hard_pod_affinity_weight;
        for (auto& t : o.spec.preferred_affinity)
          if (selects(t.term, p) && same_domain(t.term.topology_key, *n, o.node)) a += t.weight;
        for (auto& t : o.spec.preferred_anti_affinity)
          if (selects(t.term, p) && same_domain(t.term.topology_key, *n, o.node)) a -= t.weight;
      }
    }
    auto bounds = [](const std::map<std::string, int64_t>& m) {
      std::pair<int64_t, int64_t> b{INT64_MAX, INT64_MIN};
      for (auto& [k, v] : m) b = {std::min(b.first, v), std::max(b.second, v)};
      return b;
    };
    auto [tmin, tmax] = bounds(taint);
    auto [nmin, nmax] = bounds(prefer);
    auto [smin, smax] = bounds(spread);
    auto [amin, amax] = bounds(affinity);
    for (auto* n : feasible) {
      int64_t s = resources(p, *n);
      auto& w = profile.weights;
      s += w.taints * (tmax == 0 ? 100 : 100 - 100 * taint[n->name] / tmax);
      if (nmax != 0) s += w.node_affinity * (100 * prefer[n->name] / nmax);
      if (!p.soft_spread.empty() && !ignored.count(n->name)) s += w.spread * (smax == 0 ? 100 : 100 * (smax + smin - spread[n->name]) / smax);
      if (amax > amin) s += w.pod_affinity * static_cast<int64_t>(100.0 * (static_cast<double>(affinity[n->name] - amin) / static_cast<double>(amax - amin)));
      out[n->name] = s;
    }
    return out;
  }
};

}  // namespace
}  // namespace caravel::scheduler
