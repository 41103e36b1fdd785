// The control plane in virtual time, when nothing fails that is not said here. Faults by chance: storm_test.cc.
#include <gtest/gtest.h>

#include <cstdlib>

#include "base/log.h"
#include "kube/types/apps.h"
#include "kube/types/batch.h"
#include "kube/types/core.h"
#include "sim/checks.h"
#include "sim/cluster.h"
#include "sim/watchdog.h"

namespace caravel::sim {
namespace {

using kube::apps::Deployment;
using kube::core::Pod;

const char* kWorkloads = R"(
apiVersion: v1
kind: Namespace
metadata: {name: shop}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: shop}
spec:
  replicas: 6
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: 100m, memory: 64Mi}}}]
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: shop}
spec:
  selector: {app: web}
  ports: [{port: 80, targetPort: 8080}]
---
apiVersion: apps/v1
kind: StatefulSet
metadata: {name: db, namespace: shop}
spec:
  replicas: 3
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec:
      containers: [{name: main, image: "postgres:1"}]
---
apiVersion: apps/v1
kind: DaemonSet
metadata: {name: agent, namespace: shop}
spec:
  selector: {matchLabels: {app: agent}}
  template:
    metadata: {labels: {app: agent}}
    spec:
      containers: [{name: main, image: "agent:1"}]
---
apiVersion: batch/v1
kind: Job
metadata: {name: once, namespace: shop}
spec:
  completions: 5
  parallelism: 2
  template:
    metadata:
      labels: {app: once}
      annotations: {hollow.caravel.dev/run-for: 3s}
    spec:
      restartPolicy: Never
      containers: [{name: main, image: "busybox:1"}]
)";

json::Value image_patch(const std::string& image) {
  return *json::parse(R"({"spec":{"template":{"spec":{"containers":[{"name":"main","image":")" + image + R"("}]}}}})");
}
json::Value replicas_patch(int n) { return *json::parse(R"({"spec":{"replicas":)" + std::to_string(n) + "}}"); }

std::string lines(const std::vector<std::string>& v) {
  std::string out;
  for (auto& s : v) out += s + "\n";
  return out;
}

// Runs until everything is settled; what is left when `limit` has passed.
std::vector<std::string> settle(Cluster& c, Duration limit) {
  std::vector<std::string> wrong;
  Time end = c.ex().now() + limit;
  do {
    c.run_for(5s);
    wrong = settled(c);
  } while (!wrong.empty() && c.ex().now() < end);
  return wrong;
}

struct Quiet : testing::Test {
  Quiet() { set_log_level(std::getenv("CARAVEL_SIM_LOG") ? LogLevel::kDebug : LogLevel::kError); }
};
using Sim = Quiet;

TEST_F(Sim, WorkloadsRunRollAndGo) {
  Cluster c(1);
  ASSERT_TRUE(c.start());
  Watchdog dog(c);
  Status s = c.apply(kWorkloads);
  ASSERT_TRUE(s.ok()) << s.error().message;
  EXPECT_EQ(lines(settle(c, 2min)), "");

  // A new image rolls out and is told as kubectl expects it.
  ASSERT_TRUE(c.patch(Deployment::resource(), "shop", "web", image_patch("nginx:2")).ok());
  ASSERT_TRUE(c.patch(kube::apps::StatefulSet::resource(), "shop", "db", image_patch("postgres:2")).ok());
  ASSERT_TRUE(c.patch(kube::apps::DaemonSet::resource(), "shop", "agent", image_patch("agent:2")).ok());
  EXPECT_EQ(lines(settle(c, 5min)), "");
  for (const json::Value& p : c.list(Pod::resource(), "shop")) {
    const std::string& image = p["spec"]["containers"].at(0)["image"].as_string();
    if (image != "busybox:1") {
      EXPECT_TRUE(image.ends_with(":2")) << image;
    }
  }
  auto d = c.get(Deployment::resource(), "shop", "web");
  ASSERT_TRUE(d.ok());
  EXPECT_EQ(std::as_const(*d).path({"metadata", "annotations", "deployment.kubernetes.io/revision"}).as_string(), "2");

  ASSERT_TRUE(c.patch(Deployment::resource(), "shop", "web", replicas_patch(2)).ok());
  EXPECT_EQ(lines(settle(c, 1min)), "");

  // Everything quiet: no controller writes without a reason.
  c.run_for(30s);
  c.trace().writes().clear();
  c.run_for(3min);
  for (auto& [what, n] : c.trace().writes()) EXPECT_NE(what.find(" update leases.coordination.k8s.io "), std::string::npos) << what << " " << n;

  // The namespace takes everything with it.
  ASSERT_TRUE(c.remove(kube::core::Namespace::resource(), "", "shop").ok());
  c.run_for(2min);
  auto ns = c.get(kube::core::Namespace::resource(), "", "shop");
  EXPECT_FALSE(ns.ok()) << json::dump(*ns);
  EXPECT_EQ(c.list(Pod::resource(), "shop").size(), 0u);
  EXPECT_EQ(lines(dog.violations()), "");
}

TEST_F(Sim, OwnersTakeTheirObjectsWithThemOrLeaveThem) {
  Cluster c(2);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(kWorkloads).ok());
  ASSERT_EQ(lines(settle(c, 2min)), "");
  // Orphan: the ReplicaSet and its pods stay.
  ASSERT_TRUE(c.remove(Deployment::resource(), "shop", "web", "Orphan").ok());
  c.run_for(30s);
  EXPECT_FALSE(c.get(Deployment::resource(), "shop", "web").ok());
  EXPECT_EQ(c.list(kube::apps::ReplicaSet::resource(), "shop").size(), 1u);
  // The same Deployment adopts what it finds.
  ASSERT_TRUE(c.apply(kWorkloads).ok());
  EXPECT_EQ(lines(settle(c, 1min)), "");
  EXPECT_EQ(c.list(kube::apps::ReplicaSet::resource(), "shop").size(), 1u);
  // Foreground: the Deployment is there until the last pod is gone.
  ASSERT_TRUE(c.remove(Deployment::resource(), "shop", "web", "Foreground").ok());
  c.run_for(30s);
  EXPECT_FALSE(c.get(Deployment::resource(), "shop", "web").ok());
  EXPECT_EQ(c.list(kube::apps::ReplicaSet::resource(), "shop").size(), 0u);
  // Background.
  ASSERT_TRUE(c.remove(kube::apps::StatefulSet::resource(), "shop", "db").ok());
  c.run_for(30s);
  EXPECT_EQ(lines(settled(c)), "");
}

TEST_F(Sim, PodsLeaveANodeThatFallsSilent) {
  Cluster c(3);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(kWorkloads).ok());
  ASSERT_EQ(lines(settle(c, 2min)), "");
  c.nodes()->fail("hollow-00000");
  c.run_for(90s);
  auto n = c.get(kube::core::Node::resource(), "", "hollow-00000");
  ASSERT_TRUE(n.ok());
  std::string ready;
  for (const json::Value& cond : std::as_const(*n)["status"]["conditions"].as_array())
    if (cond["type"].as_string() == "Ready") ready = cond["status"].as_string();
  EXPECT_EQ(ready, "Unknown");
  // tolerationSeconds of 300 as admission sets it, then the Deployment's pods are replaced elsewhere.
  c.run_for(400s);
  auto d = c.get(Deployment::resource(), "shop", "web");
  EXPECT_EQ(std::as_const(*d).path({"status", "availableReplicas"}).as_int(), 6);
  // The machine is lost for good and its Node deleted: the rest is cleaned up.
  c.nodes()->remove("hollow-00000");
  ASSERT_TRUE(c.remove(kube::core::Node::resource(), "", "hollow-00000").ok());
  EXPECT_EQ(lines(settle(c, 5min)), "");
}

// With every node silent it is the control plane that is cut off: the NoExecute taints that were given before are taken back
// and no more are given, until somebody is heard again.
TEST_F(Sim, NothingIsEvictedWhileAllZonesAreDown) {
  ClusterOptions options;
  options.nodes = 6;
  options.zones = 2;
  Cluster c(31, options);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(kWorkloads).ok());
  ASSERT_EQ(lines(settle(c, 2min)), "");
  auto tainted = [&](const char* effect) {
    int n = 0;
    for (const json::Value& node : c.list(kube::core::Node::resource()))
      for (const json::Value& t : node.path({"spec", "taints"}).as_array()) n += t["key"].as_string() == "node.kubernetes.io/unreachable" && t["effect"].as_string() == effect;
    return n;
  };
  std::set<std::string> before;
  for (const json::Value& p : c.list(kube::core::Pod::resource(), "shop")) before.insert(p["metadata"]["uid"].as_string());
  auto fail = [&](const std::vector<int>& nodes, bool down) {
    for (int n : nodes) {
      std::string name = "hollow-0000" + std::to_string(n);
      down ? c.fail_node(name) : c.recover_node(name);
    }
  };
  fail({0, 2, 4}, true);  // one zone
  c.run_for(90s);
  EXPECT_EQ(tainted("NoExecute"), 3);
  fail({1, 3, 5}, true);  // and the other
  c.run_for(90s);
  EXPECT_EQ(tainted("NoSchedule"), 6);
  EXPECT_EQ(tainted("NoExecute"), 0) << "what was begun is taken back";
  c.run_for(20min);
  EXPECT_EQ(tainted("NoExecute"), 0);
  size_t left = 0;
  for (const json::Value& p : c.list(kube::core::Pod::resource(), "shop")) left += before.count(p["metadata"]["uid"].as_string()) && p["metadata"].find("deletionTimestamp") == nullptr;
  EXPECT_EQ(left, before.size()) << "no pod was evicted";
  fail({1, 3, 5}, false);
  c.run_for(2min);
  EXPECT_EQ(tainted("NoExecute"), 3) << "a zone alone: its nodes, and no others";
  fail({0, 2, 4}, false);
  EXPECT_EQ(lines(settle(c, 10min)), "");
  EXPECT_EQ(tainted("NoExecute") + tainted("NoSchedule"), 0);
}

// The leader of the schedulers has changed and the old one does not know yet: both bind the same pods.
TEST_F(Sim, TwoSchedulersBindEachPodOnce) {
  Cluster c(6);
  ASSERT_TRUE(c.start());
  Watchdog dog(c);
  c.revive("scheduler-b");
  ASSERT_TRUE(c.apply(kWorkloads).ok());
  ASSERT_TRUE(c.patch(Deployment::resource(), "shop", "web", replicas_patch(60)).ok());
  EXPECT_EQ(lines(settle(c, 2min)), "");
  EXPECT_EQ(lines(dog.violations()), "");
  size_t refused = 0;
  const std::string& trace = c.trace().text();
  for (size_t at = trace.find("pods/binding"); at != std::string::npos; at = trace.find("pods/binding", at + 1))
    refused += trace.substr(at, trace.find('\n', at) - at).find(" -> conflict") != std::string::npos;
  EXPECT_GT(refused, 0u) << "they have met";
}

TEST_F(Sim, ImportantPodsTakeTheRoomOfOthersAndWaitForTheirEnd) {
  ClusterOptions options;
  options.nodes = 2;
  options.hollow.pod_stop_min = options.hollow.pod_stop_max = 20s;
  Cluster c(4, options);
  ASSERT_TRUE(c.start());
  Status s = c.apply(R"(
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: low, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: low}}
  template:
    metadata: {labels: {app: low}}
    spec:
      containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: "3"}}}]
)");
  ASSERT_TRUE(s.ok()) << s.error().message;
  c.run_for(10s);
  s = c.apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: vip, namespace: default}
spec:
  priorityClassName: high
  containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: "3"}}}]
)");
  ASSERT_TRUE(s.ok()) << s.error().message;
  c.run_for(10s);
  auto vip = c.get(Pod::resource(), "default", "vip");
  ASSERT_TRUE(vip.ok());
  const std::string nominated = std::as_const(*vip).path({"status", "nominatedNodeName"}).as_string();
  EXPECT_NE(nominated, "");
  EXPECT_TRUE(std::as_const(*vip).path({"spec", "nodeName"}).is_null()) << "the victim is still there";
  int victims = 0;
  for (const json::Value& p : c.list(Pod::resource(), "default"))
    for (const json::Value& cond : p.path({"status", "conditions"}).as_array())
      if (cond["type"].as_string() == "DisruptionTarget") {
        ++victims;
        EXPECT_EQ(cond["reason"].as_string(), "PreemptionByScheduler");
        EXPECT_EQ(cond["message"].as_string(), "default-scheduler: preempting to accommodate a higher priority pod");
        EXPECT_EQ(p.path({"spec", "nodeName"}).as_string(), nominated);
        EXPECT_TRUE(p.path({"metadata", "deletionTimestamp"}).is_string());
      }
  EXPECT_EQ(victims, 1);
  // The replacement of the victim must not take the room that was made.
  c.run_for(30s);
  vip = c.get(Pod::resource(), "default", "vip");
  ASSERT_TRUE(vip.ok());
  EXPECT_EQ(std::as_const(*vip).path({"spec", "nodeName"}).as_string(), nominated);
  EXPECT_TRUE(std::as_const(*vip).path({"status", "nominatedNodeName"}).is_null());
}

// The server refuses every call at once: victims are asked for after the back-off (1, 2, 4, 8, then 10 s), not as fast as it
// refuses, which was without end in virtual time. Found by storm 263.
TEST_F(Sim, APreemptionThatTheServerRefusesWaitsItsBackoff) {
  ClusterOptions options;
  options.nodes = 2;
  Cluster c(4, options);
  ASSERT_TRUE(c.start());
  ASSERT_TRUE(c.apply(R"(
apiVersion: scheduling.k8s.io/v1
kind: PriorityClass
metadata: {name: high}
value: 1000
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: low, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: low}}
  template:
    metadata: {labels: {app: low}}
    spec:
      containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: "3"}}}]
)")
                  .ok());
  c.run_for(10s);
  c.faults().refused = 1;
  c.trace().attempts().clear();
  ASSERT_TRUE(c.apply(R"(
apiVersion: v1
kind: Pod
metadata: {name: vip, namespace: default}
spec:
  priorityClassName: high
  containers: [{name: main, image: "nginx:1", resources: {requests: {cpu: "3"}}}]
)")
                  .ok());
  c.run_for(60s);
  int asked = 0;
  for (auto& [what, n] : c.trace().attempts())
    if (what.find("scheduler") != what.npos && what.find("default/low-") != what.npos) asked += n;
  EXPECT_GE(asked, 4);
  EXPECT_LE(asked, 12);
  c.faults() = Faults();
  c.run_for(60s);
  auto vip = c.get(Pod::resource(), "default", "vip");
  ASSERT_TRUE(vip.ok());
  EXPECT_FALSE(std::as_const(*vip).path({"spec", "nodeName"}).is_null());
}

TEST_F(Sim, PodsFollowTheirVolumesAndVolumesThatWaitFollowThePods) {
  Cluster c(5);
  ASSERT_TRUE(c.start());
  c.run_for(5s);  // pods need the namespace's ServiceAccount
  auto claim = [](const std::string& name, const std::string& type, const std::string& mode = "ReadWriteOnce") {
    return "---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: " + name + "}\nspec: {accessModes: [" + mode + "], storageClassName: " + type +
           ", resources: {requests: {storage: 1Gi}}}\n";
  };
  auto pod = [](const std::string& name, const std::string& claim_name) {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec:\n  containers: [{name: main, image: \"x:1\"}]\n  volumes: [{name: v, persistentVolumeClaim: {claimName: " +
           claim_name + "}}]\n";
  };
  std::string yaml = R"(
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: local}
provisioner: kubernetes.io/no-provisioner
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: storage.k8s.io/v1
kind: StorageClass
metadata: {name: dynamic}
provisioner: ebs.csi.aws.com
volumeBindingMode: WaitForFirstConsumer
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOncePod]
  storageClassName: local
  local: {path: /mnt/d}
  nodeAffinity: {required: {nodeSelectorTerms: [{matchExpressions: [{key: kubernetes.io/hostname, operator: In, values: [hollow-00004]}]}]}}
)";
  yaml += claim("one", "local", "ReadWriteOncePod") + claim("none", "local") + claim("made", "dynamic");
  yaml += pod("a", "one") + pod("b", "none") + pod("d", "made") + pod("e", "missing");
  Status s = c.apply(yaml);
  ASSERT_TRUE(s.ok()) << s.error().message;
  c.run_for(10s);
  ASSERT_TRUE(c.apply(pod("a2", "one").substr(4)).ok());
  c.run_for(10s);
  auto path = [&](const kube::Resource& r, const std::string& name, std::initializer_list<std::string_view> at) {
    auto o = c.get(r, "default", name);
    return o.ok() ? std::as_const(*o).path(at).as_string() : "gone";
  };
  auto why = [&](const std::string& name) {
    auto o = c.get(Pod::resource(), "default", name);
    for (const json::Value& cond : std::as_const(*o).path({"status", "conditions"}).as_array())
      if (cond["type"].as_string() == "PodScheduled") return cond["message"].as_string();
    return std::string();
  };
  EXPECT_EQ(path(Pod::resource(), "a", {"spec", "nodeName"}), "hollow-00004");
  EXPECT_EQ(path(kube::core::PersistentVolumeClaim::resource(), "one", {"spec", "volumeName"}), "disk");
  const std::string tail = " no new claims to deallocate, preemption: 0/6 nodes are available: 6 Preemption is not helpful for scheduling.";
  EXPECT_EQ(why("b"), "0/6 nodes are available: 6 node(s) didn't find available persistent volumes to bind." + tail);
  EXPECT_EQ(why("e"), "0/6 nodes are available: persistentvolumeclaim \"missing\" not found." + tail);
  EXPECT_EQ(why("a2"),
            "0/6 nodes are available: 6 node(s) unavailable due to PersistentVolumeClaim with ReadWriteOncePod access mode already in-use by another pod. no new claims to deallocate, "
            "preemption: 0/6 nodes are available: 6 No preemption victims found for incoming pod.");
  auto made = c.get(kube::core::PersistentVolumeClaim::resource(), "default", "made");
  ASSERT_TRUE(made.ok());
  EXPECT_TRUE(std::as_const(*made)["metadata"]["annotations"]["volume.kubernetes.io/selected-node"].as_string().starts_with("hollow-"));
  // The first pod goes: the second may use the claim, on the same node.
  ASSERT_TRUE(c.remove(Pod::resource(), "default", "a").ok());
  c.run_for(30s);
  EXPECT_EQ(path(Pod::resource(), "a2", {"spec", "nodeName"}), "hollow-00004");
}

}  // namespace
}  // namespace caravel::sim
