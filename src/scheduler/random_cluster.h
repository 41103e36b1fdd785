// A source of random clusters, pods and profiles for tests. Included by one test file each.
#pragma once

#include <initializer_list>
#include <random>
#include <string>
#include <vector>

#include "scheduler/cluster.h"

namespace caravel::scheduler {
namespace {

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
    for (auto* image : {"web:1", "db:2", "tiny:latest"})
      if (chance(30)) n.images[image] = image[0] == 't' ? 5 << 20 : int64_t{100 + 50 * below(30)} << 20;
    return n;
  }
  Selector selector() {
    Selector s;
    if (chance(5)) return s;
    if (chance(3)) {
      s.nothing = true;
      return s;
    }
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
  AttachLimits attach_limits() {
    AttachLimits out;
    if (chance(60)) out["ebs"] = below(4);
    if (chance(20)) out["efs"] = 1 + below(3);
    return out;
  }
  Profile profile() {
    Profile p;
    for (int64_t* w : {&p.weights.taints, &p.weights.node_affinity, &p.weights.spread, &p.weights.pod_affinity, &p.weights.fit, &p.weights.balanced, &p.weights.images})
      if (chance(40)) *w = below(6);
    for (uint32_t bit = 1; bit < kEveryFilter; bit <<= 1)
      if (chance(10)) p.filters &= ~bit;
    p.fit = one_of<FitStrategy>({FitStrategy::kLeastAllocated, FitStrategy::kMostAllocated, FitStrategy::kRequestedToCapacityRatio});
    p.fit_shape = {{0, below(11)}, {40 + below(30), below(11)}, {100, below(11)}};
    auto resources = [&](std::vector<ResourceWeight>& out) {
      if (chance(40)) return;
      out.clear();
      for (auto* name : {"cpu", "memory", "ephemeral-storage", "example.com/gpu"})
        if (chance(60)) out.push_back({name, 1 + below(5)});
    };
    resources(p.fit_resources);
    resources(p.balanced_resources);
    if (chance(20)) p.ignored_resources = {"example.com/gpu"};
    if (chance(10)) p.ignored_groups = {"example.com"};
    p.hard_pod_affinity_weight = one_of<int64_t>({0, 1, 50});
    p.ignore_preferred_terms_of_existing_pods = chance(30);
    if (chance(15)) p.enforced_nodes = std::vector<NodeTerm>{NodeTerm{{{"zone", Op::kExists, {}}}, {}}};
    if (chance(20)) p.enforced_preferences.push_back({1 + below(50), NodeTerm{{{"gen", Op::kExists, {}}}, {}}});
    return p;
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
    if (chance(40)) p.images = {one_of<std::string>({"web:1", "db:2", "tiny:latest", "unknown:1"})};
    if (chance(15)) p.images.push_back("web:1");
    while (chance(12)) p.attached.push_back({one_of<std::string>({"ebs", "efs"}), "vol-" + std::to_string(below(12))});
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
