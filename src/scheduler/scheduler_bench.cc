// How many pods per second the pure core places, with workloads after upstream's scheduler_perf at its size of
// 5,000 nodes. Each line prints the target beside the figure. Usage: scheduler_bench [NODES [PODS]]
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

// SchedulingPodAntiAffinity: no two of them on a node.
PodSpec host_anti_affinity(int i) {
  PodSpec p = plain(i);
  p.anti_affinity.push_back({app_is(p.labels["app"]), {p.ns}, std::nullopt, "kubernetes.io/hostname"});
  return p;
}

// SchedulingPodAffinity: all of them in one zone.
PodSpec zone_affinity(int i) {
  PodSpec p = plain(i);
  p.affinity.push_back({app_is(p.labels["app"]), {p.ns}, std::nullopt, "topology.kubernetes.io/zone"});
  return p;
}

PodSpec preferred_affinity(int i) {
  PodSpec p = plain(i);
  p.preferred_affinity.push_back({10, {app_is("app-" + std::to_string(i % 20)), {p.ns}, std::nullopt, "topology.kubernetes.io/zone"}});
  p.preferred_anti_affinity.push_back({20, {app_is(p.labels["app"]), {p.ns}, std::nullopt, "kubernetes.io/hostname"}});
  return p;
}

// What a Deployment behind a Service gets from the cluster's default constraints.
PodSpec default_spread(int i) {
  PodSpec p = plain(i);
  p.soft_spread_defaulted = true;
  SpreadConstraint c;
  c.selector = app_is(p.labels["app"]);
  c.topology_key = "kubernetes.io/hostname", c.max_skew = 3;
  p.soft_spread.push_back(c);
  c.topology_key = "topology.kubernetes.io/zone", c.max_skew = 5;
  p.soft_spread.push_back(c);
  return p;
}

// Images that some nodes have, and a volume of its own for each pod.
PodSpec with_volume(int i) {
  PodSpec p = plain(i);
  p.attached.push_back({"ebs.csi.aws.com", "vol-" + std::to_string(i)});
  return p;
}
PodSpec with_image(int i) {
  PodSpec p = plain(i);
  p.images = {"web:" + std::to_string(i % 20)};
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

void add_nodes(Cluster& cluster, int nodes) {
  for (int i = 0; i < nodes; ++i) {
    NodeSpec n;
    n.name = "node-" + std::to_string(i);
    n.labels = {{"kubernetes.io/hostname", n.name}, {"topology.kubernetes.io/zone", "zone-" + std::to_string(i % 3)}, {"disk", i % 2 ? "ssd" : "hdd"}};
    n.allocatable.cpu = 16'000;
    n.allocatable.memory = int64_t{64} << 30;
    n.max_pods = 110;
    n.images["web:" + std::to_string(i % 40)] = int64_t{300} << 20;
    cluster.set_attach_limits(n.name, {{"ebs.csi.aws.com", 25}});
    cluster.set_node(n);
  }
}

void tell(const char* name, int nodes, int pods, double s, int unplaced) {
  const double rate = pods / s;
  std::printf("%-24s %6d nodes %6d pods  %8.3f s  %9.0f pods/s  (must %.0f, aim %.0f)  %s%s\n", name, nodes, pods, s, rate, kMust, kAim,
              rate >= kAim ? "aim met" : rate >= kMust ? "ok"
                                                       : "TOO SLOW",
              unplaced ? (", " + std::to_string(unplaced) + " not placed").c_str() : "");
}

void run(const Workload& w, int nodes, int pods) {
  Cluster cluster(42);
  add_nodes(cluster, nodes);
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
  tell(w.name, nodes, pods, s, unplaced);
}

// SchedulingWithMixedChurn: while pods are placed, nodes come and go, labels change, and pods end.
void run_churn(int nodes, int pods) {
  Cluster cluster(42);
  add_nodes(cluster, nodes);
  std::vector<PodId> running;
  int unplaced = 0;
  auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < pods; ++i) {
    if (i % 10 == 0) {  // a node is replaced
      NodeSpec n = cluster.nodes().nodes[static_cast<size_t>(i * 7919 % nodes)].spec;
      n.labels["generation"] = std::to_string(i);
      cluster.set_node(n);
    }
    if (i % 5 == 0) {  // a pod that fits nowhere is looked at in between
      ClassId c = cluster.intern(too_large(i));
      if (cluster.schedule(c).node >= 0) std::abort();
      cluster.explain(c);
      cluster.release(c);
    }
    if (i % 3 == 0 && !running.empty()) {
      size_t at = static_cast<size_t>(i) * 31 % running.size();
      cluster.remove_pod(running[at]);
      running[at] = running.back();
      running.pop_back();
    }
    ClassId c = cluster.intern(mixed(i));
    Decision d = cluster.schedule(c);
    if (d.node >= 0) running.push_back(cluster.add_pod(c, d.node));
    else ++unplaced;
    cluster.release(c);
  }
  tell("mixed churn", nodes, pods, std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count(), unplaced);
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
      {"basic", plain, 1000},
      {"node affinity", node_affinity, 5000},
      {"zone+host spread", zone_spread, 5000},
      {"default spread", default_spread, 5000},
      {"pod anti-affinity (host)", host_anti_affinity, 1000},
      {"pod affinity (zone)", zone_affinity, 5000},
      {"preferred affinity", preferred_affinity, 5000},
      {"mixed", mixed, 5000},
      {"images", with_image, 1000},
      {"volumes", with_volume, 1000},
      {"daemonset", daemon, 0},
      {"unschedulable", too_large, 100},
  };
  for (const auto& w : all) run(w, nodes, pods);
  run_churn(nodes, pods);
  run_preemption(nodes, pods / 10);
}
