// What the controllers say and do where only a cluster shows it: events, patches of live objects, back-references. Nothing fails
// here; decisions without a cluster are tested beside their sources.
#include <gtest/gtest.h>

#include <algorithm>

#include "kube/types/apps.h"
#include "kube/types/batch.h"
#include "kube/types/core.h"
#include "kube/types/discovery.h"
#include "kube/types/policy.h"
#include "kube/types/rbac.h"
#include "kube/types/storage.h"
#include "sim/cluster_fixture.h"

namespace caravel::sim {
namespace {

using json::Value;
using kube::core::Pod;

struct ControllersSim : ClusterTest {
  ControllersSim() : ClusterTest(11) {}
  // "Warning Reason: message" of each event about an object of this name.
  std::vector<std::string> events(const std::string& name, const std::string& reason) {
    std::vector<std::string> out;
    for (const Value& e : c.list(kube::Resource{"", "v1", "events", "Event", true}))
      if (e.path({"involvedObject", "name"}).as_string() == name && e["reason"].as_string() == reason) out.push_back(e["type"].as_string() + ": " + e["message"].as_string());
    std::sort(out.begin(), out.end());
    return out;
  }
};
using Lines = std::vector<std::string>;

const char* kBusybox = "containers: [{name: main, image: \"busybox:1\"}]";

// A StatefulSet "db" whose pods have a claim each, for volumes that are made by hand.
std::string database(int replicas) {
  return "apiVersion: apps/v1\nkind: StatefulSet\nmetadata: {name: db, namespace: default}\nspec:\n  replicas: " + std::to_string(replicas) + R"(
  serviceName: db
  selector: {matchLabels: {app: db}}
  template:
    metadata: {labels: {app: db}}
    spec: {)" +
         kBusybox + R"(}
  volumeClaimTemplates:
  - metadata: {name: data}
    spec: {accessModes: [ReadWriteOnce], storageClassName: by-hand, resources: {requests: {storage: 1Gi}}}
)";
}

TEST_F(ControllersSim, AStatefulSetSaysWhatItMakesAndWhatIsRefused) {
  apply(R"(
apiVersion: v1
kind: ResourceQuota
metadata: {name: small, namespace: default}
spec: {hard: {pods: "1"}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: by-hand, hostPath: {path: /d}}
---
apiVersion: v1
kind: PersistentVolume
metadata: {name: disk2}
spec: {capacity: {storage: 1Gi}, accessModes: [ReadWriteOnce], storageClassName: by-hand, hostPath: {path: /d2}}
)");
  c.run_for(5s);
  apply(database(2));
  c.run_for(60s);
  EXPECT_EQ(events("db", "SuccessfulCreate"), Lines({"Normal: Create Claim data-db-0 Pod db-0 in StatefulSet db success", "Normal: Create Claim data-db-1 Pod db-1 in StatefulSet db success",
                                                     "Normal: Create Pod db-0 in StatefulSet db successful"}));
  ASSERT_EQ(events("db", "FailedCreate").size(), 1u);
  EXPECT_EQ(events("db", "FailedCreate")[0],
            "Warning: Create Pod db-1 in StatefulSet db failed error: pods \"db-1\" is forbidden: exceeded quota: small, requested: pods=1, used: pods=1, limited: pods=1");

  // Who takes its name off a pod takes it from the Services that select by it.
  ASSERT_TRUE(c.patch(Pod::resource(), "default", "db-0", *json::parse(R"({"metadata":{"labels":{"statefulset.kubernetes.io/pod-name":"x"}}})")).ok());
  c.run_for(5s);
  EXPECT_EQ(object(Pod::resource(), "default", "db-0").path({"metadata", "labels", "statefulset.kubernetes.io/pod-name"}).as_string(), "db-0");
  EXPECT_EQ(events("db", "SuccessfulUpdate"), Lines({"Normal: Update Pod db-0 in StatefulSet db successful"}));
}

TEST_F(ControllersSim, AStatefulSetDoesNotMakeAPodWhoseClaimIsOnItsWayOut) {
  apply(R"(
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data-db-0, namespace: default, finalizers: [example.com/held]}
spec: {accessModes: [ReadWriteOnce], storageClassName: by-hand, resources: {requests: {storage: 1Gi}}}
)");
  ASSERT_TRUE(c.remove(kube::core::PersistentVolumeClaim::resource(), "default", "data-db-0").ok());
  apply(database(1));
  c.run_for(20s);
  EXPECT_EQ(events("db", "FailedCreate"), Lines({"Warning: Create Pod db-0 in StatefulSet db failed error: pvc data-db-0 is being deleted"}));
  EXPECT_TRUE(object(Pod::resource(), "default", "db-0").is_null());
}

TEST_F(ControllersSim, AReferenceAcrossNamespacesIsToldAndMeansNobody) {
  apply("apiVersion: v1\nkind: Namespace\nmetadata: {name: other}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: owner, namespace: default}\n");
  const std::string uid = object(kube::core::ConfigMap::resource(), "default", "owner").path({"metadata", "uid"}).as_string();
  const std::string ref = "ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: owner, uid: " + uid + "}]";
  apply("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: stray, namespace: other, " + ref + "}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: child, namespace: default, " + ref +
        "}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: mistaken, namespace: default, ownerReferences: [{apiVersion: v1, kind: ConfigMap, name: another, uid: " + uid +
        "}]}\n---\napiVersion: rbac.authorization.k8s.io/v1\nkind: ClusterRole\nmetadata: {name: homeless, " + ref + "}\n");
  c.run_for(60s);
  const kube::Resource maps = kube::core::ConfigMap::resource();
  EXPECT_FALSE(object(maps, "default", "child").is_null());
  EXPECT_TRUE(object(maps, "other", "stray").is_null()) << "its owner is not in its namespace";
  EXPECT_TRUE(object(maps, "default", "mistaken").is_null()) << "nobody of that name has this uid";
  EXPECT_FALSE(object(kube::rbac::ClusterRole::resource(), "", "homeless").is_null()) << "an object in no namespace cannot be asked about";
  EXPECT_EQ(events("stray", "OwnerRefInvalidNamespace"),
            Lines({"Warning: ownerRef [v1/ConfigMap, namespace: other, name: owner, uid: " + uid + "] does not exist in namespace \"other\""}));
  ASSERT_TRUE(c.remove(maps, "default", "owner").ok());
  c.run_for(30s);
  EXPECT_TRUE(object(maps, "default", "child").is_null());
}

TEST_F(ControllersSim, BudgetsThatOverlapOrCannotCountAreTold) {
  apply(std::string("apiVersion: v1\nkind: Pod\nmetadata: {name: web, labels: {app: web}}\nspec: {") + kBusybox + R"(}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: a, namespace: default}
spec: {maxUnavailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: b, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: web}}}
---
apiVersion: policy/v1
kind: PodDisruptionBudget
metadata: {name: idle, namespace: default}
spec: {minAvailable: 1, selector: {matchLabels: {app: none}}}
)");
  c.run_for(20s);
  ASSERT_TRUE(c.patch(Pod::resource(), "default", "web", *json::parse(R"({"metadata":{"annotations":{"x":"y"}}})")).ok());
  c.run_for(20s);
  EXPECT_EQ(events("web", "MultiplePodDisruptionBudgets"), Lines({"Warning: Pod \"default\"/\"web\" matches multiple PodDisruptionBudgets.  Chose \"a\" arbitrarily."}));
  ASSERT_EQ(events("a", "UnmanagedPods").size(), 1u);
  EXPECT_EQ(events("idle", "NoPods"), Lines({"Normal: No matching pods found"}));
  EXPECT_EQ(object(kube::policy::PodDisruptionBudget::resource(), "default", "b").path({"status", "expectedPods"}).as_int(), 1);
}

TEST_F(ControllersSim, AnEvictionByTaintIsAnnouncedAndTakenBack) {
  apply(std::string("apiVersion: v1\nkind: Pod\nmetadata: {name: web}\nspec:\n  ") + kBusybox + R"(
  tolerations: [{key: broken, operator: Exists, effect: NoExecute, tolerationSeconds: 60}]
)");
  c.run_for(10s);
  const std::string node = object(Pod::resource(), "default", "web").path({"spec", "nodeName"}).as_string();
  ASSERT_NE(node, "");
  auto taint = [&](const char* taints) {
    return c.patch(kube::core::Node::resource(), "", node, *json::parse(std::string(R"({"spec":{"taints":)") + taints + "}}")).ok();
  };
  ASSERT_TRUE(taint(R"([{"key":"broken","effect":"NoExecute"}])"));
  c.run_for(30s);
  EXPECT_TRUE(object(Pod::resource(), "default", "web").path({"metadata", "deletionTimestamp"}).is_null());
  ASSERT_TRUE(taint("[]"));
  c.run_for(5s);
  EXPECT_EQ(events("web", "TaintManagerEviction"), Lines({"Normal: Cancelling deletion of Pod default/web"}));
  ASSERT_TRUE(taint(R"([{"key":"broken","effect":"NoExecute"}])"));
  c.run_for(50s);
  EXPECT_FALSE(object(Pod::resource(), "default", "web").is_null());
  c.run_for(60s);
  EXPECT_TRUE(object(Pod::resource(), "default", "web").is_null());
  EXPECT_EQ(events("web", "TaintManagerEviction"), Lines({"Normal: Cancelling deletion of Pod default/web", "Normal: Marking for deletion Pod default/web"}));
}

TEST_F(ControllersSim, APodOfANodeThatIsGoneFailsBeforeItIsRemoved) {
  apply(std::string("apiVersion: v1\nkind: Pod\nmetadata: {name: lost, finalizers: [example.com/seen]}\nspec: {nodeName: nowhere, ") + kBusybox + "}\n");
  c.run_for(90s);
  const Value p = object(Pod::resource(), "default", "lost");
  EXPECT_EQ(p.path({"status", "phase"}).as_string(), "Failed");
  EXPECT_EQ(p.path({"status", "observedGeneration"}).as_int(), p.path({"metadata", "generation"}).as_int() - 1) << "the deletion counts as a change of the spec";
  std::string why;
  for (const Value& x : p.path({"status", "conditions"}).as_array())
    if (x["type"].as_string() == "DisruptionTarget") why = x["reason"].as_string() + ": " + x["message"].as_string();
  EXPECT_EQ(why, "DeletionByPodGC: PodGC: node no longer exists");
}

TEST_F(ControllersSim, AggregatedRulesAreAppliedWhoeverWroteSome) {
  apply(R"(
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: all}
aggregationRule: {clusterRoleSelectors: [{matchLabels: {part: of-all}}]}
rules: [{apiGroups: [""], resources: [secrets], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: ClusterRole
metadata: {name: part, labels: {part: of-all}}
rules: [{apiGroups: [""], resources: [pods], verbs: [list]}]
)");
  c.run_for(5s);
  const Value all = object(kube::rbac::ClusterRole::resource(), "", "all");
  EXPECT_EQ(json::dump_sorted(all["rules"]), R"([{"apiGroups":[""],"resources":["pods"],"verbs":["list"]}])");
  bool applied = false;
  for (const Value& m : all.path({"metadata", "managedFields"}).as_array())
    applied = applied || (m["operation"].as_string() == "Apply" && m["manager"].as_string() == "clusterrole-aggregation-controller");
  EXPECT_TRUE(applied);
  ASSERT_TRUE(c.remove(kube::rbac::ClusterRole::resource(), "", "part").ok());
  c.run_for(5s);
  EXPECT_EQ(object(kube::rbac::ClusterRole::resource(), "", "all")["rules"].as_array().size(), 0u);
}

// A user's words about it stay; no words at all do not.
TEST_F(ControllersSim, TheCaOfANamespaceIsDescribed) {
  const kube::Resource maps = kube::core::ConfigMap::resource();
  auto words = [&] { return object(maps, "default", "kube-root-ca.crt").path({"metadata", "annotations", "kubernetes.io/description"}).as_string(); };
  EXPECT_NE(words(), "");
  ASSERT_TRUE(c.patch(maps, "default", "kube-root-ca.crt", *json::parse(R"({"metadata":{"annotations":{"kubernetes.io/description":"mine"}}})")).ok());
  c.run_for(5s);
  EXPECT_EQ(words(), "mine");
  ASSERT_TRUE(c.patch(maps, "default", "kube-root-ca.crt", *json::parse(R"({"metadata":{"annotations":null},"data":{"ca.crt":"forged"}})")).ok());
  c.run_for(5s);
  EXPECT_NE(words(), "");
  EXPECT_NE(object(maps, "default", "kube-root-ca.crt").path({"data", "ca.crt"}).as_string(), "forged");
}

TEST_F(ControllersSim, AVolumeThatIsTakenIsToldOnceAndComesWhenItIsFree) {
  auto pod = [](const std::string& name, const std::string& node) {
    return "---\napiVersion: v1\nkind: Pod\nmetadata: {name: " + name + "}\nspec: {nodeName: " + node +
           ", containers: [{name: main, image: \"x:1\"}], volumes: [{name: v, persistentVolumeClaim: {claimName: data}}]}\n";
  };
  apply(R"(
apiVersion: v1
kind: PersistentVolume
metadata: {name: vol}
spec:
  capacity: {storage: 1Gi}
  accessModes: [ReadWriteOnce]
  storageClassName: by-hand
  csi: {driver: ebs.csi.aws.com, volumeHandle: vol-1}
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {name: data, namespace: default}
spec: {accessModes: [ReadWriteOnce], storageClassName: by-hand, resources: {requests: {storage: 1Gi}}}
)");
  for (auto* node : {"hollow-00000", "hollow-00001"})
    ASSERT_TRUE(c.patch(kube::core::Node::resource(), "", node, *json::parse(R"({"metadata":{"annotations":{"volumes.kubernetes.io/controller-managed-attach-detach":"true"}}})")).ok());
  c.run_for(5s);
  apply(pod("a", "hollow-00000"));
  c.run_for(5s);
  const kube::Resource attachments = kube::storage::VolumeAttachment::resource();
  ASSERT_EQ(c.list(attachments).size(), 1u);
  const std::string first = c.list(attachments)[0].path({"metadata", "name"}).as_string();
  kube::Client admin = c.admin();
  auto attach = [&](const std::string& name) {
    Value p = *json::parse(R"({"status":{"attached":true}})");
    kube::WriteOptions o;
    o.subresource = "status";
    TaskScope scope;
    auto write = [](kube::Client client, kube::Resource r, std::string n, Value patch, kube::WriteOptions w) -> Task<void> {
      auto done = co_await client.patch(r, "", n, kube::PatchType::kMerge, std::move(patch), std::move(w));
      EXPECT_TRUE(done.ok()) << (done.ok() ? "" : done.error().message);
    };
    scope.spawn(write(admin, attachments, name, std::move(p), std::move(o)));
    c.run_for(2s);
  };
  attach(first);
  EXPECT_EQ(events("a", "SuccessfulAttachVolume"), Lines({"Normal: AttachVolume.Attach succeeded for volume \"vol\" "}));
  apply(pod("b", "hollow-00001"));
  c.run_for(3min);
  EXPECT_EQ(events("b", "FailedAttachVolume"), Lines({"Warning: Multi-Attach error for volume \"vol\" Volume is already used by pod(s) a"}));
  int64_t told = 0;
  for (const Value& e : c.list(kube::Resource{"", "v1", "events", "Event", true}))
    if (e["reason"].as_string() == "FailedAttachVolume") told += e["count"].as_int();
  EXPECT_EQ(told, 1);
  ASSERT_TRUE(c.remove(Pod::resource(), "default", "a").ok());
  c.run_for(60s);
  ASSERT_EQ(c.list(attachments).size(), 1u);
  EXPECT_EQ(c.list(attachments)[0].path({"spec", "nodeName"}).as_string(), "hollow-00001");
}

TEST_F(ControllersSim, AVolumeAttributesClassStaysWhileAClaimNamesIt) {
  apply(
      "apiVersion: storage.k8s.io/v1\nkind: VolumeAttributesClass\nmetadata: {name: fast}\ndriverName: ebs.csi.aws.com\nparameters: {iops: \"4000\"}\n---\napiVersion: v1\nkind: "
      "PersistentVolumeClaim\nmetadata: {name: data, namespace: default}\nspec: {accessModes: [ReadWriteOnce], storageClassName: by-hand, volumeAttributesClassName: fast, resources: {requests: "
      "{storage: 1Gi}}}\n");
  c.run_for(5s);
  const kube::Resource classes = kube::storage::VolumeAttributesClass::resource();
  EXPECT_EQ(json::dump(object(classes, "", "fast").path({"metadata", "finalizers"})), R"(["kubernetes.io/vac-protection"])");
  ASSERT_TRUE(c.remove(classes, "", "fast").ok());
  c.run_for(5s);
  EXPECT_FALSE(object(classes, "", "fast").is_null());
  ASSERT_TRUE(c.remove(kube::core::PersistentVolumeClaim::resource(), "default", "data").ok());
  c.run_for(5s);
  EXPECT_TRUE(object(classes, "", "fast").is_null());
}

TEST_F(ControllersSim, EndpointsKeptByHandAreMirrored) {
  apply(R"(
apiVersion: v1
kind: Service
metadata: {name: db, namespace: default}
spec: {ports: [{port: 5432}]}
---
apiVersion: v1
kind: Endpoints
metadata: {name: db, namespace: default}
subsets:
- {addresses: [{ip: 192.0.2.1}], ports: [{port: 5432}]}
- {addresses: [{ip: 192.0.2.2}], ports: [{port: 5432}]}
)");
  c.run_for(5s);
  auto slices = [&] {
    std::vector<Value> out;
    for (const Value& s : c.list(kube::discovery::EndpointSlice::resource(), "default"))
      if (s.path({"metadata", "labels", "kubernetes.io/service-name"}).as_string() == "db") out.push_back(s);
    return out;
  };
  ASSERT_EQ(slices().size(), 1u);
  EXPECT_EQ(slices()[0]["endpoints"].as_array().size(), 2u);
  ASSERT_TRUE(c.patch(kube::core::Service::resource(), "default", "db", *json::parse(R"({"spec":{"selector":{"app":"db"}}})")).ok());
  c.run_for(5s);
  for (const Value& s : slices()) EXPECT_EQ(s.path({"metadata", "labels", "endpointslice.kubernetes.io/managed-by"}).as_string(), "endpointslice-controller.k8s.io");
}

}  // namespace
}  // namespace caravel::sim
