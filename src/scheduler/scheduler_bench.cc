// How many pods per second the pure core places, at upstream's scheduler_perf size: 5,000 nodes. Each line
// prints the target beside the figure. Usage: scheduler_bench [NODES [PODS]]
#include <chrono>
#include <cstdio>
#include <cstdlib>

#include "scheduler/cluster.h"
#include "scheduler/preemption.h"

namespace caravel::scheduler {
namespace {

constexpr double kMust = 10'000, kAim = 50'000;  // pods per second

struct Workload {
  const char* name;
  // The spec of the i-th pod; several Deployments take turns.
  PodSpec (*pod)(int i);
  int existing;  // pods placed beforehand, not measured
};

Selector app_is(const std::string& value) { return Selector{false, {{"app", Op::kIn, {value}}}}; }

PodSpec plain(int i) {
  PodSpec p;
  p.ns = "default";
  p.labels["app"] = "app-" + std::to_string(i % 20);
  p.request.cpu = p.nonzero_cpu = 100 + 50 * (i % 4);
  p.request.memory = p.nonzero_memory = (int64_t{256} << 20) * (1 + i % 3);
  return p;
}

PodSpec node_affinity(int i) {
  PodSpec p = plain(i);
  p.required_nodes = std::vector<NodeTerm>{NodeTerm{{{"topology.kubernetes.io/zone", Op::kIn, {"zone-0", "zone-1"}}}, {}}};
  p.preferred_nodes.push_back({50, NodeTerm{{{"disk", Op::kIn, {"ssd"}}}, {}}});
  return p;
}

PodSpec zone_spread(int i) {
  PodSpec p = plain(i);
  SpreadConstraint c;
  c.topology_key = "topology.kubernetes.io/zone";
  c.selector = app_is(p.labels["app"]);
  p.hard_spread.push_back(c);
  c.topology_key = "kubernetes.io/hostname";
  p.soft_spread.push_back(c);
  return p;
}

PodSpec host_anti_affinity(int i) {
  PodSpec p = plain(i);
  p.anti_affinity.push_back({app_is(p.labels["app"]), {p.ns}, std::nullopt, "kubernetes.io/hostname"});
  return p;
}

PodSpec preferred_affinity(int i) {
  PodSpec p = plain(i);
  p.preferred_affinity.push_back({10, {app_is("app-" + std::to_string(i % 20)), {p.ns}, std::nullopt, "topology.kubernetes.io/zone"}});
  p.preferred_anti_affinity.push_back({20, {app_is(p.labels["app"]), {p.ns}, std::nullopt, "kubernetes.io/hostname"}});
  return p;
}

PodSpec mixed(int i) {
  switch (i % 5) {
    case 0: return node_affinity(i);
    case 1: return zone_spread(i);
    case 2: return host_anti_affinity(i);
    case 3: return preferred_affinity(i);
    default: return plain(i);
  }
}

PodSpec daemon(int i) {
  PodSpec p = plain(0);
  p.required_nodes = std::vector<NodeTerm>{NodeTerm{{}, {{"metadata.name", Op::kIn, {"node-" + std::to_string(i % 5000)}}}}};
  return p;
}

PodSpec too_large(int i) {
  PodSpec p = plain(i);
  p.request.cpu = p.nonzero_cpu = 1'000'000;
  return p;
}

void run(const Workload& w, int nodes, int pods) {
  Cluster cluster(42);
  for (int i = 0; i < nodes; ++i) {
    NodeSpec n;
    n.name = "node-" + std::to_string(i);
    n.labels = {{"kubernetes.io/hostname", n.name}, {"topology.kubernetes.io/zone", "zone-" + std::to_string(i % 3)}, {"disk", i % 2 ? "ssd" : "hdd"}};
    n.allocatable.cpu = 16'000;
    n.allocatable.memory = int64_t{64} << 30;
    n.max_pods = 110;
    cluster.set_node(n);
  }
  int unplaced = 0;
  auto place = [&](int i) {
    ClassId c = cluster.intern(w.pod(i));
    Decision d = cluster.schedule(c);
    if (d.node >= 0) cluster.add_pod(c, d.node);
    else if (++unplaced, cluster.explain(c).nodes == 0) std::abort();
    cluster.release(c);
  };
  for (int i = 0; i < w.existing; ++i) place(i);
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < pods; ++i) place(w.existing + i);
  double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  double rate = pods / s;
  std::printf("%-24s %6d nodes %6d pods  %8.3f s  %9.0f pods/s  (must %.0f, aim %.0f)  %s%s\n", w.name, nodes, pods, s, rate, kMust, kAim,
              rate >= kAim ? "aim met" : rate >= kMust ? "ok" : "TOO SLOW", unplaced ? (", " + std::to_string(unplaced) + " not placed").c_str() : "");
}

// A full cluster of unimportant pods, and important ones that need their room.
void run_preemption(int nodes, int pods) {
  Cluster cluster(42);
  std::vector<PodFacts> facts;
  FactsOf look = [&](PodId id) { return &facts[static_cast<size_t>(id)]; };
  PodSpec low = plain(0), high = plain(1);
  low.request.cpu = low.nonzero_cpu = 4000;
  high.request.cpu = high.nonzero_cpu = 4000;
  ClassId small = cluster.intern(low), large = cluster.intern(high);
  auto put = [&](ClassId c, NodeId n, int32_t priority) {
    PodId id = cluster.add_pod(c, n);
    if (facts.size() <= static_cast<size_t>(id)) facts.resize(static_cast<size_t>(id) + 1);
    facts[static_cast<size_t>(id)] = {"default/p" + std::to_string(id), priority, Time::from_seconds(id), false};
  };
  for (int i = 0; i < nodes; ++i) {
    NodeSpec n;
    n.name = "node-" + std::to_string(i);
    n.allocatable.cpu = 16'000;
    n.allocatable.memory = int64_t{64} << 30;
    n.max_pods = 110;
    NodeId id = cluster.set_node(n);
    for (int k = 0; k < 4; ++k) put(small, id, 0);
  }
  constexpr double kFloor = 570;  // upstream's PreemptionAsync
  int failed = 0;
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < pods; ++i) {
    if (cluster.schedule(large).node >= 0) std::abort();
    Preemption p = preempt(cluster, large, 100, look, {}, static_cast<NodeId>(i * 7919 % nodes));
    if (!p.best && ++failed) continue;
    for (PodId v : p.best->pods) cluster.remove_pod(v);
    put(large, p.best->node, 100);
  }
  double s = std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  std::printf("%-24s %6d nodes %6d pods  %8.3f s  %9.0f pods/s  (upstream's floor %.0f)  %s%s\n", "preemption", nodes, pods, s, pods / s, kFloor,
              pods / s >= kFloor ? "ok" : "TOO SLOW", failed ? (", " + std::to_string(failed) + " without victims").c_str() : "");
}

}  // namespace
}  // namespace caravel::scheduler

int main(int argc, char** argv) {
  using namespace caravel::scheduler;
  int nodes = argc > 1 ? std::atoi(argv[1]) : 5000, pods = argc > 2 ? std::atoi(argv[2]) : 10000;
  const Workload all[] = {
      {"basic", plain, 1000},           {"node affinity", node_affinity, 1000}, {"zone+host spread", zone_spread, 5000},
      {"host anti-affinity", host_anti_affinity, 1000}, {"preferred affinity", preferred_affinity, 5000},
      {"mixed", mixed, 5000},           {"daemonset", daemon, 0},               {"unschedulable", too_large, 0},
  };
  for (const auto& w : all) run(w, nodes, pods);
  run_preemption(nodes, pods / 10);
}
