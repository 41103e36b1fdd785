#include "gitops/health.h"

#include "kube/conditions.h"
#include "kube/dynamic_informer.h"

namespace caravel::gitops {
namespace {

int rank(const std::string& s) {
  const char* order[] = {"Healthy", "Suspended", "Progressing", "Missing", "Degraded", "Unknown"};
  for (int i = 0; i < 6; ++i)
    if (s == order[i]) return i;
  return 0;
}

std::string count(const json::Value& v) { return std::to_string(v.as_int()); }

bool observed(const json::Value& o) { return o["metadata"]["generation"].as_int() <= o["status"]["observedGeneration"].as_int(); }

Health deployment(const json::Value& o) {
  const json::Value& st = o["status"];
  if (o["spec"]["paused"].as_bool()) return {"Suspended", "Deployment is paused"};
  if (!observed(o)) return {"Progressing", "Waiting for rollout to finish: observed deployment generation less than desired generation"};
  if (auto* c = kube::find_condition(st["conditions"], "Progressing"); c && (*c)["reason"].as_string() == "ProgressDeadlineExceeded")
    return {"Degraded", "Deployment \"" + kube::name_of(o) + "\" exceeded its progress deadline"};
  int64_t want = o["spec"]["replicas"].as_int(1), updated = st["updatedReplicas"].as_int();
  if (updated < want) return {"Progressing", "Waiting for rollout to finish: " + std::to_string(updated) + " out of " + std::to_string(want) + " new replicas have been updated..."};
  if (st["replicas"].as_int() > updated) return {"Progressing", "Waiting for rollout to finish: " + std::to_string(st["replicas"].as_int() - updated) + " old replicas are pending termination..."};
  if (st["availableReplicas"].as_int() < updated)
    return {"Progressing", "Waiting for rollout to finish: " + count(st["availableReplicas"]) + " of " + std::to_string(updated) + " updated replicas are available..."};
  return {"Healthy", ""};
}

Health stateful_set(const json::Value& o) {
  const json::Value& st = o["status"];
  if (!observed(o) || st["observedGeneration"].as_int() == 0) return {"Progressing", "Waiting for statefulset spec update to be observed..."};
  int64_t want = o["spec"]["replicas"].as_int(1);
  if (st["readyReplicas"].as_int() < want) return {"Progressing", "Waiting for " + std::to_string(want - st["readyReplicas"].as_int()) + " pods to be ready..."};
  if (o.path({"spec", "updateStrategy", "type"}).as_string() == "OnDelete") return {"Healthy", "statefulset has " + count(st["readyReplicas"]) + " ready pods"};
  int64_t partition = o.path({"spec", "updateStrategy", "rollingUpdate", "partition"}).as_int();
  if (partition > 0) {
    if (st["updatedReplicas"].as_int() < want - partition) return {"Progressing", "Waiting for partitioned roll out to finish: " + count(st["updatedReplicas"]) + " out of " + std::to_string(want - partition) + " new pods have been updated..."};
    return {"Healthy", "partitioned roll out complete: " + count(st["updatedReplicas"]) + " new pods have been updated..."};
  }
  if (st["updateRevision"].as_string() != st["currentRevision"].as_string())
    return {"Progressing", "waiting for statefulset rolling update to complete " + count(st["updatedReplicas"]) + " pods at revision " + st["updateRevision"].as_string() + "..."};
  return {"Healthy", "statefulset rolling update complete " + count(st["currentReplicas"]) + " pods at revision " + st["currentRevision"].as_string() + "..."};
}

Health daemon_set(const json::Value& o) {
  const json::Value& st = o["status"];
  if (!observed(o)) return {"Progressing", "Waiting for rollout to finish: observed daemon set generation less than desired generation"};
  int64_t want = st["desiredNumberScheduled"].as_int();
  if (o.path({"spec", "updateStrategy", "type"}).as_string() == "OnDelete")
    return {"Healthy", "daemon set " + count(st["updatedNumberScheduled"]) + " out of " + std::to_string(want) + " new pods have been updated"};
  if (st["updatedNumberScheduled"].as_int() < want)
    return {"Progressing", "Waiting for daemon set \"" + kube::name_of(o) + "\" rollout to finish: " + count(st["updatedNumberScheduled"]) + " out of " + std::to_string(want) + " new pods have been updated..."};
  if (st["numberAvailable"].as_int() < want)
    return {"Progressing", "Waiting for daemon set \"" + kube::name_of(o) + "\" rollout to finish: " + count(st["numberAvailable"]) + " of " + std::to_string(want) + " updated pods are available..."};
  return {"Healthy", ""};
}

Health replica_set(const json::Value& o) {
  if (!observed(o)) return {"Progressing", "Waiting for rollout to finish: observed replica set generation less than desired generation"};
  if (auto* c = kube::find_condition(o["status"]["conditions"], "ReplicaFailure"); c && (*c)["status"].as_string() == "True") return {"Degraded", (*c)["message"].as_string()};
  if (o["status"]["availableReplicas"].as_int() < o["spec"]["replicas"].as_int(1))
    return {"Progressing", "Waiting for rollout to finish: " + count(o["status"]["availableReplicas"]) + " out of " + std::to_string(o["spec"]["replicas"].as_int(1)) + " new replicas are available..."};
  return {"Healthy", ""};
}

// A pod that runs to its end (a hook, most often) is Progressing until then, also while it waits for an image.
Health pod(const json::Value& o) {
  const json::Value& st = o["status"];
  const std::string& phase = st["phase"].as_string();
  bool always = o["spec"]["restartPolicy"].as_string() == "Always";
  std::string troubles;
  for (auto& c : st["containerStatuses"].as_array()) {
    const json::Value& waiting = c.path({"state", "waiting"});
    const std::string& reason = waiting["reason"].as_string();
    if (always && (reason.starts_with("Err") || reason.ends_with("Error") || reason.ends_with("BackOff")))
      troubles += (troubles.empty() ? "" : ", ") + (waiting["message"].is_string() ? waiting["message"].as_string() : reason);
  }
  if (!troubles.empty()) return {"Degraded", troubles};
  if (phase == "Succeeded") return {"Healthy", st["message"].as_string()};
  if (phase == "Failed") {
    if (!st["message"].as_string().empty()) return {"Degraded", st["message"].as_string()};
    for (auto list : {"initContainerStatuses", "containerStatuses"})
      for (auto& c : st[list].as_array()) {
        const json::Value& end = c.path({"state", "terminated"});
        if (!end["message"].as_string().empty()) return {"Degraded", end["message"].as_string()};
        if (end["reason"].as_string() == "OOMKilled") return {"Degraded", "OOMKilled"};
        if (end["exitCode"].as_int()) return {"Degraded", "container \"" + c["name"].as_string() + "\" failed with exit code " + count(end["exitCode"])};
      }
    return {"Degraded", ""};
  }
  if (phase == "Running" && always) {
    if (kube::condition_is(st["conditions"], "Ready", "True")) return {"Healthy", st["message"].as_string()};
    for (auto& c : st["containerStatuses"].as_array())
      if (c.path({"lastState", "terminated"}).is_object()) return {"Degraded", st["message"].as_string()};
  }
  return {"Progressing", st["message"].as_string()};
}

Health job(const json::Value& o) {
  for (auto& c : o["status"]["conditions"].as_array()) {
    if (c["status"].as_string() != "True") continue;
    if (c["type"].as_string() == "Failed") return {"Degraded", c["message"].as_string()};
    if (c["type"].as_string() == "Complete") return {"Healthy", c["message"].as_string()};
    if (c["type"].as_string() == "Suspended") return {"Suspended", c["message"].as_string()};
  }
  return {"Progressing", ""};
}

// Ready-style conditions: cert-manager, Karpenter.
Health by_ready(const json::Value& o) {
  auto* c = kube::find_condition(o["status"]["conditions"], "Ready");
  if (!c) return {"Progressing", "Initializing"};
  if ((*c)["status"].as_string() == "True") return {"Healthy", (*c)["message"].as_string()};
  if (auto* issuing = kube::find_condition(o["status"]["conditions"], "Issuing"); issuing && (*issuing)["status"].as_string() == "True") return {"Progressing", (*issuing)["message"].as_string()};
  return {"Degraded", (*c)["message"].as_string()};
}

}  // namespace

std::string worse(const std::string& a, const std::string& b) { return rank(b) > rank(a) ? b : a; }

Health health_of(const json::Value& o) {
  if (kube::is_deleting(o)) return {"Progressing", "Pending deletion"};
  if (kube::annotation(o, "argocd.argoproj.io/ignore-healthcheck") == "true") return {};
  const std::string& kind = o["kind"].as_string();
  const std::string& v = o["apiVersion"].as_string();
  std::string group = v.find('/') == v.npos ? "" : v.substr(0, v.find('/'));
  if (group == "apps") {
    if (kind == "Deployment") return deployment(o);
    if (kind == "StatefulSet") return stateful_set(o);
    if (kind == "DaemonSet") return daemon_set(o);
    if (kind == "ReplicaSet") return replica_set(o);
  }
  if (group == "batch" && kind == "Job") return job(o);
  if (group.empty()) {
    if (kind == "Pod") return pod(o);
    if (kind == "Service") {
      if (o["spec"]["type"].as_string() != "LoadBalancer" || o.path({"status", "loadBalancer", "ingress"}).size()) return {"Healthy", ""};
      return {"Progressing", ""};
    }
    if (kind == "PersistentVolumeClaim") {
      const std::string& phase = o["status"]["phase"].as_string();
      return {phase == "Bound" ? "Healthy" : phase == "Lost" ? "Degraded"
                                                             : "Progressing",
              ""};
    }
  }
  if (group == "networking.k8s.io" && kind == "Ingress") return {o.path({"status", "loadBalancer", "ingress"}).size() ? "Healthy" : "Progressing", ""};
  if (group == "autoscaling" && kind == "HorizontalPodAutoscaler") {
    for (auto& c : o["status"]["conditions"].as_array())
      if (c["status"].as_string() == "False" && (c["type"].as_string() == "AbleToScale" || c["type"].as_string() == "ScalingActive") && c["reason"].as_string().starts_with("Failed")) return {"Degraded", c["message"].as_string()};
    return {kube::find_condition(o["status"]["conditions"], "AbleToScale") ? "Healthy" : "Progressing", ""};
  }
  if (group == "apiregistration.k8s.io" && kind == "APIService") {
    auto* c = kube::find_condition(o["status"]["conditions"], "Available");
    if (!c) return {"Progressing", "Waiting to be processed"};
    return {(*c)["status"].as_string() == "True" ? "Healthy" : "Progressing", (*c)["reason"].as_string() + ": " + (*c)["message"].as_string()};
  }
  if (group == "cert-manager.io" || group == "karpenter.sh" || group == "karpenter.k8s.aws") return by_ready(o);
  return {};
}

}  // namespace caravel::gitops
