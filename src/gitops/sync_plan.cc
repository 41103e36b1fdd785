#include "gitops/sync_plan.h"

#include <algorithm>
#include <map>
#include <set>

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

namespace {

constexpr char kHook[] = "argocd.argoproj.io/hook", kHelmHook[] = "helm.sh/hook";

bool lists(const std::string& options, const std::string& option) {
  for (auto& o : split(options, ','))
    if (trim(o) == option) return true;
  return false;
}

int wave_of(const json::Value& o) {
  if (auto n = parse_int(kube::annotation(o, "argocd.argoproj.io/sync-wave"))) return static_cast<int>(*n);
  return static_cast<int>(parse_int(kube::annotation(o, "helm.sh/hook-weight")).value_or(0));
}

// The phases of a hook, each once. Helm's names count only where Argo CD's are absent.
std::set<Phase> hook_phases(const json::Value& o) {
  static const std::map<std::string_view, Phase> kArgo = {{"PreSync", Phase::kPreSync}, {"Sync", Phase::kSync}, {"PostSync", Phase::kPostSync}, {"SyncFail", Phase::kSyncFail}, {"Skip", Phase::kSkip}};
  static const std::map<std::string_view, Phase> kHelm = {{"pre-install", Phase::kPreSync}, {"pre-upgrade", Phase::kPreSync}, {"post-install", Phase::kPostSync}, {"post-upgrade", Phase::kPostSync}};
  std::set<Phase> out;
  for (auto& [annotation, names] : {std::pair(kHook, &kArgo), std::pair(kHelmHook, &kHelm)}) {
    for (auto& text : split(kube::annotation(o, annotation), ','))
      if (auto it = names->find(trim(text)); it != names->end()) out.insert(it->second);
    if (!kube::annotation(o, kHook).empty()) break;
  }
  return out;
}

bool applied_before(const SyncItem& a, const SyncItem& b) {
  if (a.phase != b.phase) return a.phase < b.phase;
  if (a.wave != b.wave) return a.wave < b.wave;
  int ka = kind_order((*a.object)["kind"].as_string()), kb = kind_order((*b.object)["kind"].as_string());
  if (ka != kb) return ka < kb;
  return kube::name_of(*a.object) < kube::name_of(*b.object);
}

}  // namespace

bool has_sync_option(const json::Value& object, const std::string& option) { return lists(kube::annotation(object, "argocd.argoproj.io/sync-options"), option); }
bool has_compare_option(const json::Value& object, const std::string& option) { return lists(kube::annotation(object, "argocd.argoproj.io/compare-options"), option); }

bool is_hook(const json::Value& o) {
  const std::string& helm = kube::annotation(o, kHelmHook);
  // "crd-install" is an ordinary object since Helm 3.
  return !kube::annotation(o, kHook).empty() || (!helm.empty() && helm != "crd-install");
}

std::vector<SyncItem> plan_sync(const std::vector<json::Value>& objects) {
  std::vector<SyncItem> out;
  for (auto& o : objects) {
    if (!is_hook(o)) out.push_back({&o, Phase::kSync, wave_of(o), false});
    else
      for (Phase p : hook_phases(o))
        if (p != Phase::kSkip) out.push_back({&o, p, wave_of(o), true});
  }
  std::stable_sort(out.begin(), out.end(), applied_before);
  return out;
}

std::vector<SyncItem> plan_prune(const std::vector<json::Value>& live) {
  std::vector<SyncItem> out;
  for (auto& o : live)
    if (!is_hook(o)) out.push_back({&o, Phase::kSync, wave_of(o), false});
  std::stable_sort(out.begin(), out.end(), [](auto& a, auto& b) { return applied_before(b, a); });
  return out;
}

bool deleted_with_application(const json::Value& live) { return !has_sync_option(live, "Delete=false") && live["kind"].as_string() != "CustomResourceDefinition"; }

}  // namespace caravel::gitops
