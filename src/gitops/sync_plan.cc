#include "gitops/sync_plan.h"

#include <algorithm>

#include "base/strings.h"
#include "kube/dynamic_informer.h"

namespace caravel::gitops {

int kind_order(const std::string& kind) {
  static const char* kOrder[] = {"Namespace", "NetworkPolicy", "ResourceQuota", "LimitRange", "PodSecurityPolicy", "PodDisruptionBudget", "ServiceAccount", "Secret", "SecretList", "ConfigMap",
                                 "StorageClass", "PersistentVolume", "PersistentVolumeClaim", "CustomResourceDefinition", "ClusterRole", "ClusterRoleList", "ClusterRoleBinding",
                                 "ClusterRoleBindingList", "Role", "RoleList", "RoleBinding", "RoleBindingList", "Service", "DaemonSet", "Pod", "ReplicationController", "ReplicaSet", "Deployment",
                                 "HorizontalPodAutoscaler", "StatefulSet", "Job", "CronJob", "IngressClass", "Ingress", "APIService"};
  int n = 0;
  for (auto* k : kOrder) {
    if (kind == k) return n;
    ++n;
  }
  return n;  // custom resources
}

bool has_sync_option(const json::Value& object, const std::string& option) {
  for (auto& o : split(kube::annotation(object, "argocd.argoproj.io/sync-options"), ','))
    if (trim(o) == option) return true;
  return false;
}

std::vector<SyncItem> plan_sync(const std::vector<json::Value>& objects) {
  std::vector<SyncItem> out;
  for (auto& o : objects) {
    int wave = static_cast<int>(parse_int(kube::annotation(o, "argocd.argoproj.io/sync-wave")).value_or(0));
    const std::string& hooks = kube::annotation(o, "argocd.argoproj.io/hook");
    if (hooks.empty()) {
      out.push_back({&o, Phase::kSync, wave, false});
      continue;
    }
    for (auto& h : split(hooks, ',')) {
      std::string_view name = trim(h);
      if (name == "PreSync") out.push_back({&o, Phase::kPreSync, wave, true});
      else if (name == "Sync") out.push_back({&o, Phase::kSync, wave, true});
      else if (name == "PostSync") out.push_back({&o, Phase::kPostSync, wave, true});
      else if (name == "SyncFail") out.push_back({&o, Phase::kSyncFail, wave, true});
    }
  }
  std::stable_sort(out.begin(), out.end(), [](const SyncItem& a, const SyncItem& b) {
    if (a.phase != b.phase) return a.phase < b.phase;
    if (a.wave != b.wave) return a.wave < b.wave;
    int ka = kind_order((*a.object)["kind"].as_string()), kb = kind_order((*b.object)["kind"].as_string());
    if (ka != kb) return ka < kb;
    return kube::name_of(*a.object) < kube::name_of(*b.object);
  });
  return out;
}

}  // namespace caravel::gitops
