// What the scheduler writes and whom it wakes, where only a cluster shows it.
#include <gtest/gtest.h>

#include <algorithm>

#include "kube/types/core.h"
#include "kube/types/scheduling.h"
#include "sim/cluster_fixture.h"

namespace caravel::sim {
namespace {

using json::Value;
using kube::core::Pod;

struct SchedulingSim : ClusterTest {
  SchedulingSim() : ClusterTest(12) {}
  Value pod(const std::string& name) { return object(Pod::resource(), "default", name); }
  std::string node_of(const std::string& name) { return pod(name).path({"spec", "nodeName"}).as_string(); }
  std::string nominated(const std::string& name) { return pod(name).path({"status", "nominatedNodeName"}).as_string(); }
  // "False Unschedulable: message"
  std::string scheduled(const std::string& name) {
    const Value p = pod(name);
    for (const Value& x : p.path({"status", "conditions"}).as_array())
      if (x["type"].as_string() == "PodScheduled") return x["status"].as_string() + " " + x["reason"].as_string() + ": " + x["message"].as_string();
    return "";
  }
  int64_t failures(const std::string& name) {
    int64_t n = 0;
    for (const Value& e : c.list(kube::Resource{"", "v1", "events", "Event", true}))
      if (e.path({"involvedObject", "name"}).as_string() == name && e["reason"].as_string() == "FailedScheduling") n += std::max<int64_t>(1, e.path({"series", "count"}).as_int());
    return n;
  }
};

std::string claim(const std::string& name, const std::string& type, const std::string& mode) {
  return "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + "}\nspec: {accessModes: [" + mode + "], storageClassName: " + type +
         ", resources: {requests: {storage: 1Gi}}}\n";
}
std::string with_claim(const std::string& name, const std::string& claim_name, const std::string& more = "") {
  return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  containers: [{name: main, image: \"x:1\"}]\n  volumes: [{name: v, persistentVolumeClaim: {claimName: " + claim_name +
         "}}]\n" + more;
}

TEST_F(SchedulingSim, AClaimForOnePodIsTakenFromItsHolder) {
  apply(R"(
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOncePod], storageClassName: by-hand, hostPath: {path: /d}}
)" + claim("one", "by-hand", "ReadWriteOncePod"));
  c.run_for(5s);
  apply(with_claim("holder", "one"));
  c.run_for(5s);
  ASSERT_NE(node_of("holder"), "");
  apply(with_claim("equal", "one"));
  c.run_for(5s);
  EXPECT_EQ(node_of("equal"), "");
  apply(with_claim("vip", "one", "  priorityClassName: high\n"));
  c.run_for(60s);
  EXPECT_TRUE(pod("holder").is_null()) << "preempted";
  EXPECT_NE(node_of("vip"), "");
  EXPECT_EQ(node_of("equal"), "");
}

// An autoscaler that waits for nodes must see that the pod has one.
TEST_F(SchedulingSim, APodWhoseVolumeIsBeingMadeIsNominatedAndTheEndOfTheWaitIsAnError) {
  apply("apiVersion: storage.k8s.io/v1\nkind: StorageClass\nmetadata: {name: dynamic}\nprovisioner: ebs.csi.aws.com\nvolumeBindingMode: WaitForFirstConsumer\n" +
        claim("made", "dynamic", "ReadWriteOnce"));
  apply(with_claim("web", "made").substr(4));
  c.run_for(10s);
  EXPECT_EQ(node_of("web"), "");
  const std::string node = nominated("web");
  EXPECT_EQ(std::as_const(*c.get(kube::core::PersistentVolumeClaim::resource(), "default", "made").operator->())["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].as_string(), node);
  EXPECT_NE(node, "");
  std::string told;
  for (int i = 0; i < 60 && told.find("SchedulerError") == told.npos; ++i) {
    c.run_for(11s);
    told = scheduled("web");
  }
  EXPECT_EQ(told, "False SchedulerError: running PreBind plugin \"VolumeBinding\": binding volumes: context deadline exceeded");
}

// Drivers that hand out storage of their nodes say how much there is (CSIStorageCapacity).
TEST_F(SchedulingSim, AVolumeIsMadeWhereItsDriverHasRoomForIt) {
  apply(R"(
apiVersion: storage.k8s.io/v1
kind: CSIDriver
metadata: {name: local.csi.example.com}
spec: {storageCapacity: true, attachRequired: false}
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: nvme}
provisioner: local.csi.example.com
volumeBindingMode: WaitForFirstConsumer
)" + claim("scratch", "nvme", "ReadWriteOnce") +
        with_claim("web", "scratch"));
  c.run_for(5s);
  EXPECT_EQ(scheduled("web").substr(0, 88), "False Unschedulable: 0/6 nodes are available: 6 node(s) did not have enough free storage");
  auto capacity = [](const std::string& name, const std::string& node, const std::string& size, const std::string& largest) {
    return "---\napiVersion: storage.k8s.io/v1\nkind: CSIStorageCapacity\nmetadata: {name: " + name + ", namespace: default}\nstorageClassName: nvme\ncapacity: " + size + "\n" +
           (largest.empty() ? "" : "maximumVolumeSize: " + largest + "\n") + "nodeTopology: {matchLabels: {kubernetes.io/hostname: " + node + "}}\n";
  };
  apply(capacity("a", "hollow-00001", "512Mi", "") + capacity("b", "hollow-00002", "100Gi", "512Mi") + capacity("c", "hollow-00004", "2Gi", ""));
  c.run_for(15s);
  EXPECT_EQ(nominated("web"), "hollow-00004");
}

// FailedScheduling is told again when something has changed that matters to the pod, not when other pods come and go.
TEST_F(SchedulingSim, PodsThatDoNotMatterWakeNobody) {
  const std::string spec = "spec:\n  containers: [{name: main, image: \"x:1\"}]\n";
  apply("apiVersion: v1\nkind: Pod\nmetadata: {name: lonely, labels: {app: lonely}}\n" + spec +
        "  affinity: {podAffinity: {requiredDuringSchedulingIgnoredDuringExecution: [{labelSelector: {matchLabels: {app: friend}}, topologyKey: kubernetes.io/hostname}]}}\n");
  c.run_for(5s);
  ASSERT_EQ(failures("lonely"), 1);
  for (int i = 0; i < 10; ++i) {
    apply("apiVersion: v1\nkind: Pod\nmetadata: {name: stranger-" + std::to_string(i) + ", labels: {app: stranger}}\n" + spec);
    c.run_for(5s);
  }
  EXPECT_EQ(failures("lonely"), 1);
  apply("apiVersion: v1\nkind: Pod\nmetadata: {name: friend, labels: {app: friend}}\n" + spec);
  c.run_for(5s);
  EXPECT_EQ(node_of("lonely"), node_of("friend"));
}

TEST_F(SchedulingSim, APodThatIsMadeSmallerWakesThoseThatWaitForRoom) {
  const std::string big = "spec:\n  containers: [{name: main, image: \"x:1\", resources: {requests: {cpu: \"3\"}}}]\n";
  for (int i = 0; i < 6; ++i) apply("apiVersion: v1\nkind: Pod\nmetadata: {name: full-" + std::to_string(i) + "}\n" + big);
  c.run_for(5s);
  apply("apiVersion: v1\nkind: Pod\nmetadata: {name: waits}\n" + big);
  c.run_for(30s);
  ASSERT_EQ(node_of("waits"), "");
  kube::Client admin = c.admin();
  TaskScope scope;
  auto shrink = [](kube::Client client) -> Task<void> {
    kube::WriteOptions o;
    o.subresource = "resize";
    Value p = *json::parse(R"({"spec":{"containers":[{"name":"main","resources":{"requests":{"cpu":"100m"}}}]}})");
    auto done = co_await client.patch(Pod::resource(), "default", "full-3", kube::PatchType::kStrategic, std::move(p), std::move(o));
    EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
  };
  scope.spawn(shrink(admin));
  c.run_for(20s);
  EXPECT_EQ(node_of("waits"), node_of("full-3"));
}

}  // namespace
}  // namespace caravel::sim
