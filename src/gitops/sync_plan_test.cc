// In which order Argo CD applies and prunes: phases, waves, kinds, names.
#include "gitops/sync_plan.h"

#include <gtest/gtest.h>

namespace caravel::gitops {
namespace {

json::Value annotated(const std::string& kind, const std::string& name, std::initializer_list<std::pair<const char*, const char*>> annotations = {}) {
  json::Value o = json::Value::object();
  o["apiVersion"] = "v1";
  o["kind"] = kind;
  o["metadata"]["name"] = name;
  for (auto& [k, v] : annotations) o["metadata"]["annotations"][k] = v;
  return o;
}

constexpr char kWave[] = "argocd.argoproj.io/sync-wave", kHookAnnotation[] = "argocd.argoproj.io/hook", kOptions[] = "argocd.argoproj.io/sync-options";

// "PreSync/-1/name", in order.
std::vector<std::string> told(const std::vector<SyncItem>& plan) {
  static const char* kNames[] = {"PreSync", "Sync", "PostSync", "SyncFail", "Skip"};
  std::vector<std::string> out;
  for (auto& i : plan) out.push_back(std::string(kNames[static_cast<int>(i.phase)]) + "/" + std::to_string(i.wave) + "/" + (*i.object)["metadata"]["name"].as_string());
  return out;
}
using Names = std::vector<std::string>;

TEST(SyncPlan, PhasesComeBeforeWavesWavesBeforeKindsAndKindsBeforeNames) {
  std::vector<json::Value> objects = {
      annotated("Job", "after", {{kHookAnnotation, "PostSync"}, {kWave, "-9"}}),
      annotated("Deployment", "web"),
      annotated("Namespace", "late", {{kWave, "2"}}),
      annotated("ConfigMap", "b"),
      annotated("ConfigMap", "a"),
      annotated("Ingress", "early", {{kWave, "-1"}}),
      annotated("Job", "migrate", {{kHookAnnotation, "PreSync"}, {kWave, "5"}}),
      annotated("Job", "cry", {{kHookAnnotation, "SyncFail"}}),
  };
  EXPECT_EQ(told(plan_sync(objects)), (Names{"PreSync/5/migrate", "Sync/-1/early", "Sync/0/a", "Sync/0/b", "Sync/0/web", "Sync/2/late", "PostSync/-9/after", "SyncFail/0/cry"}));
}

TEST(SyncPlan, KindsComeInArgoCdsOrder) {
  for (auto& [first, second] : std::vector<std::pair<std::string, std::string>>{
           {"Namespace", "NetworkPolicy"}, {"ServiceAccount", "Secret"}, {"Secret", "ConfigMap"}, {"PersistentVolumeClaim", "CustomResourceDefinition"}, {"CustomResourceDefinition", "ClusterRole"}, {"RoleBinding", "Service"}, {"Service", "Deployment"}, {"Deployment", "StatefulSet"}, {"StatefulSet", "Job"}, {"IngressClass", "Ingress"}, {"Ingress", "APIService"}, {"APIService", "Certificate"}})
    EXPECT_LT(kind_order(first), kind_order(second)) << first << " before " << second;
  EXPECT_EQ(kind_order("Certificate"), kind_order("NodePool")) << "custom resources are ordered by name only";
}

TEST(SyncPlan, AWaveThatIsNoNumberIsWaveZero) {
  std::vector<json::Value> objects = {annotated("ConfigMap", "a", {{kWave, "first"}}), annotated("ConfigMap", "b", {{kWave, "-3"}})};
  EXPECT_EQ(told(plan_sync(objects)), (Names{"Sync/-3/b", "Sync/0/a"}));
}

TEST(SyncPlan, AHookRunsOnceInEachOfItsPhases) {
  std::vector<json::Value> objects = {annotated("Job", "both", {{kHookAnnotation, "PostSync, PreSync,PreSync"}})};
  EXPECT_EQ(told(plan_sync(objects)), (Names{"PreSync/0/both", "PostSync/0/both"}));
  for (auto& i : plan_sync(objects)) EXPECT_TRUE(i.hook);
}

TEST(SyncPlan, SkippedAndUnknownHooksAreNotApplied) {
  std::vector<json::Value> objects = {annotated("Job", "skipped", {{kHookAnnotation, "Skip"}}), annotated("Job", "odd", {{kHookAnnotation, "Whenever"}})};
  EXPECT_TRUE(plan_sync(objects).empty());
}

TEST(SyncPlan, HelmsHooksAreHooksUnlessArgoCdsAreThere) {
  std::vector<json::Value> objects = {
      annotated("Job", "helm", {{"helm.sh/hook", "pre-install,pre-upgrade"}, {"helm.sh/hook-weight", "-4"}}),
      annotated("Job", "own", {{"helm.sh/hook", "pre-install"}, {kHookAnnotation, "PostSync"}}),
      annotated("ConfigMap", "crd", {{"helm.sh/hook", "crd-install"}}),
      annotated("Job", "test", {{"helm.sh/hook", "test"}}),
  };
  EXPECT_EQ(told(plan_sync(objects)), (Names{"PreSync/-4/helm", "Sync/0/crd", "PostSync/0/own"}));
}

TEST(PrunePlan, IsTheReverseOfApplying) {
  std::vector<json::Value> live = {annotated("Namespace", "n"), annotated("Deployment", "web"), annotated("ConfigMap", "late", {{kWave, "3"}}), annotated("ConfigMap", "a"), annotated("ConfigMap", "b"), annotated("Ingress", "early", {{kWave, "-1"}})};
  EXPECT_EQ(told(plan_prune(live)), (Names{"Sync/3/late", "Sync/0/web", "Sync/0/b", "Sync/0/a", "Sync/0/n", "Sync/-1/early"}));
}

TEST(PrunePlan, HooksThatRanBeforeAreNotPruned) {
  std::vector<json::Value> live = {annotated("Job", "migrate", {{kHookAnnotation, "PreSync"}}), annotated("Job", "helm", {{"helm.sh/hook", "post-install"}}), annotated("ConfigMap", "a")};
  EXPECT_EQ(told(plan_prune(live)), Names{"Sync/0/a"});
}

TEST(SyncOptions, AreAListWithCommasAndBlanks) {
  json::Value o = annotated("ConfigMap", "a", {{kOptions, "Replace=true, Prune=false"}});
  EXPECT_TRUE(has_sync_option(o, "Prune=false"));
  EXPECT_TRUE(has_sync_option(o, "Replace=true"));
  EXPECT_FALSE(has_sync_option(o, "Prune=true"));
  EXPECT_FALSE(has_sync_option(o, "Prune"));
  EXPECT_FALSE(has_sync_option(annotated("ConfigMap", "a"), "Prune=false"));
}

TEST(CompareOptions, AreAnAnnotationOfTheirOwn) {
  json::Value o = annotated("ConfigMap", "a", {{"argocd.argoproj.io/compare-options", "ServerSideDiff=true,IgnoreExtraneous"}});
  EXPECT_TRUE(has_compare_option(o, "IgnoreExtraneous"));
  EXPECT_FALSE(has_sync_option(o, "IgnoreExtraneous"));
  EXPECT_FALSE(has_compare_option(annotated("ConfigMap", "a", {{kOptions, "IgnoreExtraneous"}}), "IgnoreExtraneous"));
}

TEST(Deletion, OfAnApplicationLeavesDefinitionsAndWhatAsksToStay) {
  EXPECT_TRUE(deleted_with_application(annotated("ConfigMap", "a")));
  EXPECT_TRUE(deleted_with_application(annotated("ConfigMap", "a", {{kOptions, "Prune=false"}}))) << "Prune=false is about syncs only";
  EXPECT_FALSE(deleted_with_application(annotated("ConfigMap", "a", {{kOptions, "Delete=false"}})));
  EXPECT_FALSE(deleted_with_application(annotated("CustomResourceDefinition", "a.b")));
}

}  // namespace
}  // namespace caravel::gitops
