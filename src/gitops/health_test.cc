// Argo CD's built-in health checks.
#include "gitops/health.h"

#include <gtest/gtest.h>

#include "base/yaml.h"

namespace caravel::gitops {
namespace {

Health of(const std::string& api_version, const std::string& kind, std::string_view rest) {
  auto v = yaml::parse(rest);
  EXPECT_TRUE(v.ok()) << rest;
  json::Value o = v.ok() ? *v : json::Value();
  o["apiVersion"] = api_version;
  o["kind"] = kind;
  return health_of(o);
}
std::string status(const std::string& api_version, const std::string& kind, std::string_view rest) { return of(api_version, kind, rest).status; }

TEST(Health, OfADeploymentFollowsItsRollout) {
  auto d = [](std::string_view rest) { return of("apps/v1", "Deployment", rest); };
  EXPECT_EQ(d("{metadata: {generation: 2}, spec: {replicas: 2}, status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}}").status, "Healthy");
  EXPECT_EQ(d("{metadata: {generation: 3}, spec: {replicas: 2}, status: {observedGeneration: 2, replicas: 2, updatedReplicas: 2, availableReplicas: 2}}").message, "Waiting for rollout to finish: observed deployment generation less than desired generation");
  EXPECT_EQ(d("{spec: {replicas: 3}, status: {replicas: 3, updatedReplicas: 1}}").message, "Waiting for rollout to finish: 1 out of 3 new replicas have been updated...");
  EXPECT_EQ(d("{spec: {replicas: 2}, status: {replicas: 3, updatedReplicas: 2}}").message, "Waiting for rollout to finish: 1 old replicas are pending termination...");
  Health waiting = d("{spec: {replicas: 2}, status: {replicas: 2, updatedReplicas: 2, availableReplicas: 1}}");
  EXPECT_EQ(waiting.message, "Waiting for rollout to finish: 1 of 2 updated replicas are available...");
  EXPECT_EQ(waiting.status, "Progressing");
  EXPECT_EQ(d("{spec: {paused: true}}").status, "Suspended");
  Health late = d("{metadata: {name: web}, spec: {replicas: 1}, status: {conditions: [{type: Progressing, status: 'False', reason: ProgressDeadlineExceeded}]}}");
  EXPECT_EQ(late.status, "Degraded");
  EXPECT_EQ(late.message, "Deployment \"web\" exceeded its progress deadline");
}

TEST(Health, OfAStatefulSetFollowsItsRevision) {
  auto s = [](std::string_view spec, std::string_view st) { return of("apps/v1", "StatefulSet", "{metadata: {generation: 1}, spec: {" + std::string(spec) + "}, status: {" + std::string(st) + "}}"); };
  EXPECT_EQ(s("replicas: 1", "observedGeneration: 1, readyReplicas: 1, updateRevision: b, currentRevision: b, currentReplicas: 1").status, "Healthy");
  EXPECT_EQ(s("replicas: 1", "observedGeneration: 1, readyReplicas: 1, updateRevision: c, currentRevision: b").status, "Progressing");
  EXPECT_EQ(s("replicas: 3", "observedGeneration: 1, readyReplicas: 1").message, "Waiting for 2 pods to be ready...");
  EXPECT_EQ(s("replicas: 0", "").status, "Progressing") << "not observed yet";
  EXPECT_EQ(status("apps/v1", "StatefulSet", "{spec: {replicas: 0}}"), "Progressing") << "no controller has seen it";
  EXPECT_EQ(s("replicas: 1, updateStrategy: {type: OnDelete}", "observedGeneration: 1, readyReplicas: 1, updateRevision: c, currentRevision: b").status, "Healthy");
  const char* partition = "replicas: 3, updateStrategy: {type: RollingUpdate, rollingUpdate: {partition: 2}}";
  EXPECT_EQ(s(partition, "observedGeneration: 1, readyReplicas: 3, updatedReplicas: 0, updateRevision: c, currentRevision: b").status, "Progressing");
  EXPECT_EQ(s(partition, "observedGeneration: 1, readyReplicas: 3, updatedReplicas: 1, updateRevision: c, currentRevision: b").status, "Healthy");
}

TEST(Health, OfADaemonSetCountsItsNodes) {
  auto d = [](std::string_view rest) { return status("apps/v1", "DaemonSet", rest); };
  EXPECT_EQ(d("{status: {desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 2}}"), "Healthy");
  EXPECT_EQ(d("{status: {desiredNumberScheduled: 2, updatedNumberScheduled: 1, numberAvailable: 2}}"), "Progressing");
  EXPECT_EQ(d("{status: {desiredNumberScheduled: 2, updatedNumberScheduled: 2, numberAvailable: 1}}"), "Progressing");
  EXPECT_EQ(d("{metadata: {generation: 2}, status: {observedGeneration: 1}}"), "Progressing");
  EXPECT_EQ(d("{spec: {updateStrategy: {type: OnDelete}}, status: {desiredNumberScheduled: 2, updatedNumberScheduled: 0, numberAvailable: 2}}"), "Healthy") << "nobody will update them but the user";
}

TEST(Health, OfAReplicaSet) {
  EXPECT_EQ(status("apps/v1", "ReplicaSet", "{spec: {replicas: 1}, status: {availableReplicas: 1}}"), "Healthy");
  EXPECT_EQ(status("apps/v1", "ReplicaSet", "{spec: {replicas: 1}, status: {}}"), "Progressing");
  EXPECT_EQ(of("apps/v1", "ReplicaSet", "{spec: {replicas: 1}, status: {conditions: [{type: ReplicaFailure, status: 'True', message: quota}]}}").message, "quota");
}

TEST(Health, OfAJobIsItsCondition) {
  auto j = [](std::string_view conditions) { return status("batch/v1", "Job", "{status: {conditions: " + std::string(conditions) + "}}"); };
  EXPECT_EQ(j("[]"), "Progressing");
  EXPECT_EQ(j("[{type: Complete, status: 'True'}]"), "Healthy");
  EXPECT_EQ(j("[{type: Failed, status: 'True'}]"), "Degraded");
  EXPECT_EQ(j("[{type: Suspended, status: 'True'}]"), "Suspended");
  EXPECT_EQ(j("[{type: Suspended, status: 'False'}]"), "Progressing");
}

TEST(Health, OfAPodThatServes) {
  auto p = [](std::string_view st) { return of("v1", "Pod", "{spec: {restartPolicy: Always}, status: {" + std::string(st) + "}}"); };
  EXPECT_EQ(p("phase: Running, conditions: [{type: Ready, status: 'True'}]").status, "Healthy");
  EXPECT_EQ(p("phase: Running, conditions: [{type: Ready, status: 'False'}]").status, "Progressing");
  EXPECT_EQ(p("phase: Running, containerStatuses: [{name: a, lastState: {terminated: {exitCode: 1}}}]").status, "Degraded") << "it died before and is not ready";
  EXPECT_EQ(p("phase: Pending").status, "Progressing");
  for (auto reason : {"ErrImagePull", "CreateContainerConfigError", "CrashLoopBackOff"})
    EXPECT_EQ(p(std::string("phase: Pending, containerStatuses: [{state: {waiting: {reason: ") + reason + "}}}]").status, "Degraded") << reason;
  EXPECT_EQ(p("phase: Pending, containerStatuses: [{state: {waiting: {reason: ErrImagePull, message: a}}}, {state: {waiting: {reason: ImagePullBackOff, message: b}}}]").message, "a, b");
  EXPECT_EQ(p("phase: Pending, containerStatuses: [{state: {waiting: {reason: ContainerCreating}}}]").status, "Progressing");
}

TEST(Health, OfAPodThatRunsToItsEndIsProgressingUntilThen) {
  auto p = [](std::string_view st) { return of("v1", "Pod", "{spec: {restartPolicy: Never}, status: {" + std::string(st) + "}}"); };
  EXPECT_EQ(p("phase: Running, conditions: [{type: Ready, status: 'True'}]").status, "Progressing") << "a hook would end too early";
  EXPECT_EQ(p("phase: Pending, containerStatuses: [{state: {waiting: {reason: ImagePullBackOff}}}]").status, "Progressing") << "the image may come yet";
  EXPECT_EQ(p("phase: Succeeded").status, "Healthy");
  EXPECT_EQ(p("phase: Failed, message: Evicted").message, "Evicted");
  EXPECT_EQ(p("phase: Failed, containerStatuses: [{name: a, state: {terminated: {exitCode: 3}}}]").message, "container \"a\" failed with exit code 3");
  EXPECT_EQ(p("phase: Failed, initContainerStatuses: [{name: i, state: {terminated: {exitCode: 137, reason: OOMKilled}}}]").message, "OOMKilled");
  EXPECT_EQ(p("phase: Failed").status, "Degraded");
}

TEST(Health, OfWhatWaitsForOthers) {
  EXPECT_EQ(status("v1", "PersistentVolumeClaim", "{status: {phase: Bound}}"), "Healthy");
  EXPECT_EQ(status("v1", "PersistentVolumeClaim", "{status: {phase: Pending}}"), "Progressing");
  EXPECT_EQ(status("v1", "PersistentVolumeClaim", "{status: {phase: Lost}}"), "Degraded");
  EXPECT_EQ(status("v1", "Service", "{spec: {type: ClusterIP}}"), "Healthy");
  EXPECT_EQ(status("v1", "Service", "{spec: {type: LoadBalancer}}"), "Progressing");
  EXPECT_EQ(status("v1", "Service", "{spec: {type: LoadBalancer}, status: {loadBalancer: {ingress: [{hostname: a}]}}}"), "Healthy");
  EXPECT_EQ(status("networking.k8s.io/v1", "Ingress", "{status: {loadBalancer: {}}}"), "Progressing");
  EXPECT_EQ(status("networking.k8s.io/v1", "Ingress", "{status: {loadBalancer: {ingress: [{ip: 1.2.3.4}]}}}"), "Healthy");
  EXPECT_EQ(status("apiregistration.k8s.io/v1", "APIService", "{status: {conditions: [{type: Available, status: 'True'}]}}"), "Healthy");
  EXPECT_EQ(status("apiregistration.k8s.io/v1", "APIService", "{status: {conditions: [{type: Available, status: 'False'}]}}"), "Progressing");
}

TEST(Health, IsNothingForKindsWithoutAndProgressingForWhatIsBeingDeleted) {
  EXPECT_EQ(status("v1", "ConfigMap", "{}"), "");
  EXPECT_EQ(status("example.com/v1", "Deployment", "{spec: {replicas: 3}}"), "") << "another group's Deployment";
  EXPECT_EQ(of("v1", "ConfigMap", "{metadata: {deletionTimestamp: '2026-01-01T00:00:00Z'}}").message, "Pending deletion");
}

TEST(Health, OfAnApplicationIsTheWorst) {
  const std::vector<std::string> order = {"Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"};
  for (size_t i = 0; i < order.size(); ++i)
    for (size_t k = 0; k < order.size(); ++k) EXPECT_EQ(worse(order[i], order[k]), order[std::max(i, k)]);
}

}  // namespace
}  // namespace caravel::gitops
