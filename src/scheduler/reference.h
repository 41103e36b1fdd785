// The plugin rules once more, slow and obvious: loops over nodes and pods, no sharing, no counters; and a
// source of random clusters. For tests that compare the core with it. Included by one test file each.
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
    if (n.unschedulable && !tolerates(p.tolerations, cordon)) return {"node(s) were unschedulable"};
    if (!taints_admit(n, p)) return {"node(s) had untolerated taint(s)"};
    if (!affinity_admits(n, p)) return {"node(s) didn't match Pod's node affinity/selector"};
    for (auto& other : pods)
      if (other.node == n.name)
        for (auto& a : p.ports)
          for (auto& b : other.spec.ports)
            if (conflict(a, b)) return {"node(s) didn't have free ports for the requested pod ports"};
    Resources used;
    int64_t count = 0;
    for (auto& other : pods)
      if (other.node == n.name) {
        ++count;
        used.cpu += other.spec.request.cpu;
        used.memory += other.spec.request.memory;
        used.ephemeral += other.spec.request.ephemeral;
        for (auto& [k, v] : other.spec.request.other) used.other[k] += v;
      }
    std::vector<std::string> out;
    auto fit = [&](const std::string& name, int64_t want, int64_t have) {
      if (want > 0 && want > have) out.push_back("Insufficient " + name);
    };
    if (count + 1 > n.max_pods) out.push_back("Too many pods");
    fit("cpu", p.request.cpu, n.allocatable.cpu - used.cpu);
    fit("memory", p.request.memory, n.allocatable.memory - used.memory);
    fit("ephemeral-storage", p.request.ephemeral, n.allocatable.ephemeral - used.ephemeral);
    for (auto& [k, v] : p.request.other) {
      auto it = n.allocatable.other.find(k);
      fit(k, v, (it == n.allocatable.other.end() ? 0 : it->second) - used.other[k]);
    }
    if (!out.empty()) return out;
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

  static int64_t balance(double cpu, double cpu_cap, double memory, double memory_cap) {
    double a = std::min(1.0, cpu / cpu_cap), b = std::min(1.0, memory / memory_cap);
    return static_cast<int64_t>((1 - std::abs((a - b) / 2)) * 100);
  }
  int64_t resources(const PodSpec& p, const NodeSpec& n) const {
    int64_t cpu = 0, memory = 0, nz_cpu = p.nonzero_cpu, nz_memory = p.nonzero_memory;
    for (auto& o : pods)
      if (o.node == n.name) cpu += o.spec.request.cpu, memory += o.spec.request.memory, nz_cpu += o.spec.nonzero_cpu, nz_memory += o.spec.nonzero_memory;
    auto least = [](int64_t want, int64_t cap) { return want > cap ? 0 : (cap - want) * 100 / cap; };
    int64_t score = (least(nz_cpu, n.allocatable.cpu) + least(nz_memory, n.allocatable.memory)) / 2;
    if (p.request.cpu || p.request.memory) {
      int64_t with = balance(cpu + p.request.cpu, n.allocatable.cpu, memory + p.request.memory, n.allocatable.memory);
      score += 50 + (50 + with - balance(cpu, n.allocatable.cpu, memory, n.allocatable.memory)) / 2;
    }
    return score;
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
      for (auto& t : p.preferred_nodes)
        if (matches(t.term, n->labels, n->name)) prefer[n->name] += t.weight;
      if (!ignored.count(n->name)) spread[n->name] = std::llround(sums[n->name]);
      int64_t& a = affinity[n->name];
      for (auto& o : pods) {
        for (auto& t : p.preferred_affinity)
          if (selects(t.term, o.spec) && same_domain(t.term.topology_key, *n, o.node)) a += t.weight;
        for (auto& t : p.preferred_anti_affinity)
          if (selects(t.term, o.spec) && same_domain(t.term.topology_key, *n, o.node)) a -= t.weight;
        for (auto& t : o.spec.affinity)
          if (selects(t, p) && same_domain(t.topology_key, *n, o.node)) a += 1;
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
      s += 3 * (tmax == 0 ? 100 : 100 - 100 * taint[n->name] / tmax);
      if (nmax != 0) s += 2 * (100 * prefer[n->name] / nmax);
      if (!p.soft_spread.empty() && !ignored.count(n->name)) s += 2 * (smax == 0 ? 100 : 100 * (smax + smin - spread[n->name]) / smax);
      if (amax > amin) s += 2 * static_cast<int64_t>(100.0 * (static_cast<double>(affinity[n->name] - amin) / static_cast<double>(amax - amin)));
      out[n->name] = s;
    }
    return out;
  }
};

struct Generator {
  std::mt19937_64 rng;
  explicit Generator(uint64_t seed) : rng(seed) {}
  int below(int n) { return static_cast<int>(rng() % static_cast<uint64_t>(n)); }
  bool chance(int percent) { return below(100) < percent; }
  template <class T>
  T one_of(std::initializer_list<T> v) { return *(v.begin() + below(static_cast<int>(v.size()))); }

  NodeSpec node(int i) {
    NodeSpec n;
    n.name = "node-" + std::to_string(i);
    n.labels["kubernetes.io/hostname"] = n.name;
    if (!chance(8)) n.labels["zone"] = one_of<std::string>({"a", "b", "c"});
    if (chance(50)) n.labels["disk"] = one_of<std::string>({"ssd", "hdd"});
    if (chance(30)) n.labels["gen"] = std::to_string(below(6));
    if (chance(20)) n.taints.push_back({one_of<std::string>({"gpu", "spot"}), one_of<std::string>({"", "yes"}), one_of<Effect>({Effect::kNoSchedule, Effect::kPreferNoSchedule, Effect::kNoExecute})});
    n.unschedulable = chance(5);
    n.allocatable.cpu = one_of<int64_t>({2000, 4000, 8000});
    n.allocatable.memory = one_of<int64_t>({4LL << 30, 8LL << 30, 16LL << 30});
    n.allocatable.ephemeral = 20LL << 30;
    if (chance(20)) n.allocatable.other["example.com/gpu"] = 2;
    n.max_pods = one_of<int64_t>({4, 10, 110});
    return n;
  }
  Selector selector() {
    Selector s;
    if (chance(5)) return s;
    if (chance(3)) { s.nothing = true; return s; }
    if (chance(70)) s.all.push_back({"app", Op::kIn, {one_of<std::string>({"x", "y", "z"})}});
    else s.all.push_back({"app", one_of<Op>({Op::kExists, Op::kNotIn}), {}});
    if (s.all[0].op == Op::kNotIn) s.all[0].values = {"x"};
    return s;
  }
  PodTerm term(const std::string& ns) {
    PodTerm t{selector(), {ns}, std::nullopt, one_of<std::string>({"zone", "kubernetes.io/hostname", "disk"})};
    if (chance(20)) t.namespace_selector = Selector{false, {{"team", Op::kIn, {"red"}}}};
    if (chance(20)) t.namespaces = {"n0", "n1"};
    return t;
  }
  SpreadConstraint spread() {
    SpreadConstraint c;
    c.max_skew = 1 + below(3);
    c.topology_key = one_of<std::string>({"zone", "kubernetes.io/hostname", "disk"});
    c.selector = selector();
    c.min_domains = chance(20) ? 1 + below(5) : 1;
    c.honor_affinity = !chance(25);
    c.honor_taints = chance(25);
    return c;
  }
  PodSpec pod() {
    PodSpec p;
    p.ns = one_of<std::string>({"n0", "n1", "n2"});
    p.labels["app"] = one_of<std::string>({"x", "y", "z"});
    if (!chance(10)) {
      p.request.cpu = one_of<int64_t>({100, 250, 1000, 3000});
      p.request.memory = one_of<int64_t>({128LL << 20, 1LL << 30, 3LL << 30});
    }
    p.nonzero_cpu = p.request.cpu ? p.request.cpu : 100;
    p.nonzero_memory = p.request.memory ? p.request.memory : 200LL << 20;
    if (chance(5)) p.request.other["example.com/gpu"] = 1;
    if (chance(5)) p.request.ephemeral = 8LL << 30;
    if (chance(15)) p.node_selector["disk"] = one_of<std::string>({"ssd", "hdd"});
    if (chance(15)) {
      NodeTerm t;
      t.expressions.push_back({"zone", one_of<Op>({Op::kIn, Op::kNotIn}), {one_of<std::string>({"a", "b"}), "c"}});
      if (chance(30)) t.expressions.push_back({"gen", one_of<Op>({Op::kGt, Op::kLt}), {"3"}});
      p.required_nodes = std::vector<NodeTerm>{t};
      if (chance(40)) p.required_nodes->push_back(NodeTerm{{{"gen", Op::kExists, {}}}, {}});
    }
    if (chance(15)) p.preferred_nodes.push_back({1 + below(100), NodeTerm{{{"disk", Op::kIn, {"ssd"}}}, {}}});
    if (chance(25)) p.tolerations.push_back({one_of<std::string>({"gpu", "spot"}), chance(50), "yes", one_of<Effect>({Effect::kAny, Effect::kNoSchedule})});
    if (chance(5)) p.ports.push_back({one_of<std::string>({"0.0.0.0", "10.0.0.1"}), "TCP", 8080 + below(2)});
    while (chance(20)) p.hard_spread.push_back(spread());
    while (chance(20)) p.soft_spread.push_back(spread());
    p.soft_spread_defaulted = chance(10);
    while (chance(8)) p.affinity.push_back(term(p.ns));
    while (chance(12)) p.anti_affinity.push_back(term(p.ns));
    while (chance(12)) p.preferred_affinity.push_back({1 + below(100), term(p.ns)});
    while (chance(12)) p.preferred_anti_affinity.push_back({1 + below(100), term(p.ns)});
    return p;
  }
};

}  // namespace
}  // namespace caravel::scheduler
