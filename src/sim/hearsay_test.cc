// Controllers whose watches are behind: they must neither repeat what they have done nor write against each
// other. Each case is one mistake that a storm has found.
#include <gtest/gtest.h>

#include "base/log.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"
#include "sim/checks.h"
#include "sim/cluster.h"

namespace caravel::sim {
namespace {

using kube::apps::Deployment;
using kube::apps::ReplicaSet;
using kube::core::Pod;

struct Hearsay : testing::Test {
  Hearsay() { set_log_level(LogLevel::kError); }
};

std::string deployment(const std::string& name, int replicas) {
  return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + ", namespace: default}\nspec:\n  replicas: " + std::to_string(replicas) +
         "\n  selector: {matchLabels: {app: " + name + "}}\n  template:\n    metadata: {labels: {app: " + name + "}}\n    spec: {containers: [{name: main, image: 'x:1'}]}\n";
}

// Pods have changed and the collector will hear of it half a minute later: it reads before it deletes, and a
// conflict does not make it try ten times a second until the watch has caught up.
TEST_F(Hearsay, TheGarbageCollectorDeletesWhatTheServerHoldsNotWhatItRemembers) {
  Cluster c(1);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(deployment("web", 3)).ok());
  c.run_for(20s);
  c.faults().watch_late = "pods";
  c.faults().watch_delay_max = 30s;
  for (auto& p : c.list(Pod::resource(), "default"))
    ASSERT_TRUE(c.patch(Pod::resource(), "default", p["metadata"]["name"].as_string(), *json::parse(R"({"metadata":{"labels":{"seen":"no"}}})")).ok());
  c.trace().attempts().clear();
  ASSERT_TRUE(c.remove(Deployment::resource(), "default", "web").ok());
  c.run_for(5s);
  for (const json::Value& p : c.list(Pod::resource(), "default")) EXPECT_TRUE(p["metadata"]["deletionTimestamp"].is_string()) << "all are on their way out already";
  c.run_for(40s);
  c.faults() = Faults();
  c.run_for(60s);
  EXPECT_EQ(c.list(Pod::resource(), "default").size(), 0u);
  for (auto& [what, n] : c.trace().attempts())
    if (what.starts_with("generic-garbage-collector delete pods")) {
      EXPECT_LE(n, 2) << what;
    }
}

// Its own deletions come to the DaemonSet controller's ears late: the successor does not start beside the old pod.
TEST_F(Hearsay, ADaemonPodStartsWhenItsPredecessorIsGone) {
  ClusterOptions options;
  options.nodes = 3;
  options.hollow.pod_stop_min = options.hollow.pod_stop_max = 8s;
  Cluster c(2, options);
  ASSERT_TRUE(c.start());
  auto agent = [](int version) {
    return "apiVersion: apps/v1\nkind: DaemonSet\nmetadata: {name: agent, namespace: default}\nspec:\n  selector: {matchLabels: {app: agent}}\n  template:\n    metadata: {labels: {app: agent}}\n"
           "    spec: {containers: [{name: main, image: 'agent:" +
           std::to_string(version) + "'}]}\n";
  };
  ASSERT_TRUE(c.apply(agent(1)).ok());
  c.run_for(20s);
  ASSERT_EQ(c.list(Pod::resource(), "default").size(), 3u);
  c.faults().watch_late = "pods";
  c.faults().watch_delay_max = 4s;
  ASSERT_TRUE(c.apply(agent(2)).ok());
  size_t most = 0;
  for (int i = 0; i < 600; ++i) {
    c.run_for(200ms);
    // Anything may wake the controller meanwhile.
    (void)c.patch(kube::apps::DaemonSet::resource(), "default", "agent", *json::parse(R"({"metadata":{"annotations":{"n":")" + std::to_string(i) + "\"}}}"));
    most = std::max(most, c.list(Pod::resource(), "default").size());
  }
  EXPECT_EQ(most, 3u) << "one pod a node";
  c.faults() = Faults();
  c.run_for(1min);
  for (const json::Value& p : c.list(Pod::resource(), "default")) EXPECT_EQ(p["spec"]["containers"].at(0)["image"].as_string(), "agent:2");
}

// A StatefulSet is made smaller before its pod was scheduled: the claim waits, and its next pod gets it bound.
TEST_F(Hearsay, AClaimThatLostItsFirstConsumerWaitsForTheNext) {
  Cluster c(4);
  ASSERT_TRUE(c.start());
  c.crash("scheduler");
  ASSERT_TRUE(c.apply(R"(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: local, nfs: {server: 10.0.0.9, path: /d}}
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: default}
spec:
  replicas: 1
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {containers: [{name: main, image: "postgres:1"}]}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: local, resources: {requests: {storage: 1Gi}}}
)")
                  .ok());
  c.run_for(5s);
  auto phase = [&] {
    auto claim = c.get(kube::core::PersistentVolumeClaim::resource(), "default", "data-db-0");
    return claim.ok() ? std::as_const(*claim).path({"status", "phase"}).as_string() : claim.error().message;
  };
  EXPECT_EQ(phase(), "Pending");
  EXPECT_FALSE(settled(c).empty()) << "its pod is there: it must not wait for ever";
  ASSERT_TRUE(c.patch(kube::apps::StatefulSet::resource(), "default", "db", *json::parse(R"({"spec":{"replicas":0}})")).ok());
  c.run_for(5s);
  c.revive("scheduler");
  c.run_for(60s);
  EXPECT_EQ(phase(), "Pending");
  EXPECT_EQ(settled(c), std::vector<std::string>());
  ASSERT_TRUE(c.patch(kube::apps::StatefulSet::resource(), "default", "db", *json::parse(R"({"spec":{"replicas":1}})")).ok());
  c.run_for(30s);
  EXPECT_EQ(phase(), "Bound");
  EXPECT_EQ(settled(c), std::vector<std::string>());
}

}  // namespace
}  // namespace caravel::sim
