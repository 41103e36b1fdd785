// A cluster of hollow nodes in one process: processor time until all nodes are ready, until all pods run, of a minute in
// which nothing happens, and until all pods are deleted again, with API server, controllers and scheduler.
// Usage: scale_bench [NODES [PODS]]
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <ctime>
#include <string>

#include "base/log.h"
#include "kube/types/core.h"
#include "sim/cluster.h"

namespace caravel::sim {
namespace {

double cpu_seconds() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

long resident_mb() {
  long pages = 0, resident = 0;
  if (FILE* f = std::fopen("/proc/self/statm", "r")) {
    if (std::fscanf(f, "%ld %ld", &pages, &resident) != 2) resident = 0;
    std::fclose(f);
  }
  return resident * 4096 / (1 << 20);
}

constexpr int kEach = 1000;  // pods of a Deployment
const kube::Resource kDeployments{"apps", "v1", "deployments", "Deployment", true};
const kube::Resource kSets{"apps", "v1", "replicasets", "ReplicaSet", true};

bool none_left(Cluster& c, const kube::Resource& r) {
  kube::ListOptions one;
  one.limit = 1;
  kube::Client admin = c.admin();
  auto l = run_task(c.ex(), admin.list(r, one));
  return l.ok() && l->items.empty();
}

int run(int nodes, int pods) {
  set_log_level(LogLevel::kWarning);
  ClusterOptions o;
  o.nodes = nodes;
  o.trace = false;  // the storms' tests read it
  Cluster c(1, o);
  double t = cpu_seconds();
  Time v = c.ex().now();
  if (!c.start()) return 1;
  while (c.nodes()->registered() < static_cast<size_t>(nodes)) c.run_for(100ms);
  std::printf("%d nodes ready          %6.2f s of processor (must 6 s, aim 2 s), %5.1f s of virtual time, %ld MB\n", nodes, cpu_seconds() - t,
              std::chrono::duration<double>(c.ex().now() - v).count(), resident_mb());
  t = cpu_seconds();
  v = c.ex().now();
  for (int i = 0; i * kEach < pods; ++i) {
    std::string n = "web-" + std::to_string(i);
    Status s = c.apply("apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + n + ", namespace: default}\nspec:\n  replicas: " + std::to_string(std::min(kEach, pods - i * kEach)) +
                       "\n  selector: {matchLabels: {app: " + n + "}}\n  template:\n    metadata: {labels: {app: " + n +
                       "}}\n    spec: {containers: [{name: main, image: 'nginx:1', resources: {requests: {cpu: 10m}}}]}\n");
    if (!s.ok()) {
      std::printf("%s\n", s.error().message.c_str());
      return 1;
    }
  }
  int running = 0;
  for (int round = 0; running < pods && round < 600; ++round) {
    c.run_for(500ms);
    running = 0;
    for (const json::Value& d : c.list(kDeployments)) running += static_cast<int>(d["status"]["readyReplicas"].as_int());
  }
  std::printf("%d of %d pods running %6.2f s of processor (must 6 s, aim 2 s), %5.1f s of virtual time, %ld MB\n", running, pods, cpu_seconds() - t,
              std::chrono::duration<double>(c.ex().now() - v).count(), resident_mb());
  t = cpu_seconds();
  c.run_for(60s);
  std::printf("one minute of heartbeats  %6.2f s of processor, %ld MB\n", cpu_seconds() - t, resident_mb());
  t = cpu_seconds();
  v = c.ex().now();
  for (int i = 0; i * kEach < pods; ++i)
    if (Status s = c.remove(kDeployments, "default", "web-" + std::to_string(i)); !s.ok()) {
      std::printf("%s\n", s.error().message.c_str());
      return 1;
    }
  bool gone = false;
  for (int round = 0; !gone && round < 3600; ++round) {
    c.run_for(500ms);
    gone = none_left(c, kSets) && none_left(c, kube::core::Pod::resource());
  }
  std::printf("%s %6.2f s of processor, %5.1f s of virtual time, %ld MB\n", gone ? "all pods deleted        " : "pods are left           ", cpu_seconds() - t,
              std::chrono::duration<double>(c.ex().now() - v).count(), resident_mb());
  return running == pods && gone ? 0 : 1;
}

}  // namespace
}  // namespace caravel::sim

int main(int argc, char** argv) {
  return caravel::sim::run(argc > 1 ? std::atoi(argv[1]) : 5000, argc > 2 ? std::atoi(argv[2]) : 10000);
}
