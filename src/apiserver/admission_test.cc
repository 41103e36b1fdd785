// Admission as a client sees it, through the whole server in virtual time.
#include <gtest/gtest.h>

#include "apiserver/api_server.h"
#include "base/scope.h"

namespace caravel::apiserver {
namespace {

using json::Value;

class AdmissionTest : public testing::Test {
 protected:
  VirtualExecutor ex{11};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;

  void SetUp() override {
    auto r = run_task(ex, ApiServer::start(ex, *store, ApiServerOptions()));
    ASSERT_TRUE(r.ok()) << r.error().message;
    server = std::move(*r);
    call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  }
  struct Answer {
    int code = 0;
    Value object;
    std::vector<std::string> warnings;
    std::string message() const { return object["message"].as_string(); }
  };
  Request request(std::string method, std::string path, std::string body, std::string type) {
    Request r;
    r.method = method;
    if (size_t q = path.find("?dryRun=All"); q != path.npos) {
      path.resize(q);
      r.query.emplace_back("dryRun", "All");
    }
    r.path = path;
    r.body = body;
    r.content_type = type;
    auto u = std::make_shared<User>();
    u->name = "admin";
    u->groups = {"system:authenticated", "system:masters"};
    r.user = u;
    r.user_agent = "test/1";
    parse_request_info(r);
    return r;
  }
  Answer call(std::string method, std::string path, std::string body = "", std::string type = "application/json") {
    Request r = request(method, path, body, type);
    Response res = run_task(ex, handle(&r));
    Answer a;
    a.code = res.status;
    a.warnings = res.warnings;
    if (res.body) {
      auto v = json::parse(*res.body);
      if (v.ok()) a.object = *v;
    }
    return a;
  }
  Answer patch(std::string path, std::string body) { return call("PATCH", path, body, "application/merge-patch+json"); }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  Task<void> count(Request r, int* made, int* refused) {
    Response res = co_await server->handle(r);
    ++*(res.status == 201 ? made : refused);
  }
  static std::string pod(std::string name, std::string spec = R"("containers":[{"name":"c","image":"nginx"}])") {
    return R"({"metadata":{"name":")" + name + R"("},"spec":{)" + spec + "}}";
  }
  static constexpr const char* kPods = "/api/v1/namespaces/default/pods";
};

TEST_F(AdmissionTest, ConcurrentCreatesNeverExceedAQuota) {
  std::string quotas = "/api/v1/namespaces/default/resourcequotas";
  ASSERT_EQ(call("POST", quotas, R"({"metadata":{"name":"q"},"spec":{"hard":{"pods":"5"}}})").code, 201);
  ASSERT_EQ(call("PUT", quotas + "/q/status", R"({"metadata":{"name":"q"},"status":{"hard":{"pods":"5"},"used":{"pods":"0"}}})").code, 200);
  EXPECT_EQ(call("POST", std::string(kPods) + "?dryRun=All", pod("dry")).code, 201);
  EXPECT_EQ(call("GET", quotas + "/q").object["status"]["used"]["pods"].as_string(), "0");
  int made = 0, refused = 0;
  TaskScope scope;
  for (int i = 0; i < 40; ++i) scope.spawn(count(request("POST", kPods, pod("p" + std::to_string(i)), "application/json"), &made, &refused));
  ex.run_for(std::chrono::seconds(10));
  EXPECT_EQ(made, 5);
  EXPECT_EQ(refused, 35);
  EXPECT_EQ(call("GET", quotas + "/q").object["status"]["used"]["pods"].as_string(), "5");
  Answer a = call("POST", kPods, pod("late"));
  EXPECT_EQ(a.code, 403);
  EXPECT_EQ(a.message(), "pods \"late\" is forbidden: exceeded quota: q, requested: pods=1, used: pods=5, limited: pods=5");
}

TEST_F(AdmissionTest, AWriteThatFailsReservesNothing) {
  std::string quotas = "/api/v1/namespaces/default/resourcequotas", maps = "/api/v1/namespaces/default/configmaps";
  call("POST", quotas, R"({"metadata":{"name":"q"},"spec":{"hard":{"configmaps":"3"}}})");
  call("PUT", quotas + "/q/status", R"({"metadata":{"name":"q"},"status":{"hard":{"configmaps":"3"},"used":{"configmaps":"0"}}})");
  EXPECT_EQ(call("POST", maps, R"({"metadata":{"name":"a"}})").code, 201);
  EXPECT_EQ(call("POST", maps, R"({"metadata":{"name":"a"}})").code, 409);
  EXPECT_EQ(call("GET", quotas + "/q").object["status"]["used"]["configmaps"].as_string(), "1");
}

TEST_F(AdmissionTest, PodSecurityRefusesPodsAndWarnsOfTemplates) {
  ASSERT_EQ(call("POST", kPods, pod("before")).code, 201);
  Answer labelled = patch("/api/v1/namespaces/default", R"({"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"restricted"}}})");
  ASSERT_EQ(labelled.code, 200) << labelled.message();
  EXPECT_EQ(labelled.warnings, (std::vector<std::string>{"existing pods in namespace \"default\" violate the new PodSecurity enforce level \"restricted:latest\"",
                                                         "before: allowPrivilegeEscalation != false, unrestricted capabilities, runAsNonRoot != true, seccompProfile"}));
  Answer refused = call("POST", kPods, pod("after"));
  EXPECT_EQ(refused.code, 403);
  EXPECT_EQ(refused.message().substr(0, 99), "pods \"after\" is forbidden: violates PodSecurity \"restricted:latest\": allowPrivilegeEscalation != fa");
  EXPECT_EQ(patch(std::string(kPods) + "/before", R"({"metadata":{"labels":{"a":"b"}}})").code, 200) << "nothing changed that the standards look at";
  Answer workload = call("POST", "/apis/apps/v1/namespaces/default/deployments",
                         R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  EXPECT_EQ(workload.code, 201);
  ASSERT_EQ(workload.warnings.size(), 1u);
  EXPECT_EQ(workload.warnings[0].substr(0, 48), "would violate PodSecurity \"restricted:latest\": a");
  Answer wrong = patch("/api/v1/namespaces/default", R"({"metadata":{"labels":{"pod-security.kubernetes.io/enforce":"strict"}}})");
  EXPECT_EQ(wrong.code, 422);
  EXPECT_EQ(wrong.message(),
            "Namespace \"default\" is invalid: metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted");
}

TEST_F(AdmissionTest, ClaimsAreProtectedAndGrowOnlyWhereTheirClassAllowsIt) {
  std::string claims = "/api/v1/namespaces/default/persistentvolumeclaims";
  call("POST", "/apis/storage.k8s.io/v1/storageclasses", R"({"metadata":{"name":"fixed"},"provisioner":"p"})");
  Answer made = call("POST", claims, R"({"metadata":{"name":"c"},"spec":{"storageClassName":"fixed","accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(json::dump(made.object["metadata"]["finalizers"]), R"(["kubernetes.io/pvc-protection"])");
  std::string more = R"({"spec":{"resources":{"requests":{"storage":"2Gi"}}}})";
  EXPECT_EQ(patch(claims + "/c", more).code / 100, 4);
  ASSERT_EQ(call("PATCH", claims + "/c/status", R"({"status":{"phase":"Bound"}})", "application/merge-patch+json").code, 200);
  EXPECT_EQ(patch(claims + "/c", more).message(), "persistentvolumeclaims \"c\" is forbidden: only dynamically provisioned pvc can be resized and the storageclass that provisions the pvc must support resize");
  patch("/apis/storage.k8s.io/v1/storageclasses/fixed", R"({"allowVolumeExpansion":true})");
  EXPECT_EQ(patch(claims + "/c", more).code, 200);
}

TEST_F(AdmissionTest, AnIngressTakesTheDefaultClass) {
  call("POST", "/apis/networking.k8s.io/v1/ingressclasses",
       R"({"metadata":{"name":"edge","annotations":{"ingressclass.kubernetes.io/is-default-class":"true"}},"spec":{"controller":"example.com/edge"}})");
  Answer made = call("POST", "/apis/networking.k8s.io/v1/namespaces/default/ingresses",
                     R"({"metadata":{"name":"i"},"spec":{"defaultBackend":{"service":{"name":"s","port":{"number":80}}}}})");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(made.object["spec"]["ingressClassName"].as_string(), "edge");
}

TEST_F(AdmissionTest, AdmissionLeavesNoNullsBehind) {
  Answer made = call("POST", kPods, pod("p"));
  EXPECT_EQ(json::dump(made.object).find(":null"), std::string::npos) << json::dump(made.object);
  Answer claim = call("POST", "/api/v1/namespaces/default/persistentvolumeclaims", R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":"1Gi"}}}})");
  EXPECT_EQ(json::dump(claim.object).find(":null"), std::string::npos) << json::dump(claim.object);
}

TEST_F(AdmissionTest, LimitRangerFillsInWhatContainersLeaveOutAndNotesIt) {
  call("POST", "/api/v1/namespaces/default/limitranges",
       R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","default":{"cpu":"500m","memory":"1Gi"},"defaultRequest":{"cpu":"100m"}}]}})");
  Answer made = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"initContainers":[{"name":"i","image":"x"}],"containers":[{"name":"c","image":"x","resources":{"limits":{"cpu":"1"}}}]}})");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(made.object.path({"metadata", "annotations", "kubernetes.io/limit-ranger"}).as_string(),
            "LimitRanger plugin set: memory request for container c; memory limit for container c; cpu, memory request for init container i; cpu, memory limit for init container i");
}

TEST_F(AdmissionTest, LimitRangerBoundsPodsAndClaims) {
  call("POST", "/api/v1/namespaces/default/limitranges",
       R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Pod","max":{"cpu":"1"},"min":{"memory":"64Mi"},"maxLimitRequestRatio":{"cpu":"2"}},{"type":"PersistentVolumeClaim","min":{"storage":"1Gi"},"max":{"storage":"2Gi"}}]}})");
  auto pod = [&](const char* resources) {
    std::string c = std::string(R"("image":"x","resources":)") + resources + "}";
    return call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"a",)" + c + R"(,{"name":"b",)" + c + "]}}").message();
  };
  EXPECT_EQ(pod(R"({"limits":{"cpu":"600m","memory":"64Mi"}})"), "pods \"p\" is forbidden: maximum cpu usage per Pod is 1, but limit is 1200m");
  EXPECT_EQ(pod(R"({"limits":{"cpu":"500m"}})"), "pods \"p\" is forbidden: minimum memory usage per Pod is 64Mi.  No request is specified");
  EXPECT_EQ(pod(R"({"limits":{"cpu":"500m","memory":"32Mi"},"requests":{"cpu":"100m"}})"), "pods \"p\" is forbidden: cpu max limit to request ratio per Pod is 2, but provided ratio is 5.000000");
  EXPECT_EQ(pod("{}"), "pods \"p\" is forbidden: [minimum memory usage per Pod is 64Mi.  No request is specified, maximum cpu usage per Pod is 1.  No limit is specified, cpu max limit to request ratio per Pod is 2, but no request is specified or request is 0]");
  auto claim = [&](const std::string& size) {
    return call("POST", "/api/v1/namespaces/default/persistentvolumeclaims", R"({"metadata":{"name":"c"},"spec":{"accessModes":["ReadWriteOnce"],"resources":{"requests":{"storage":")" + size + "\"}}}}").message();
  };
  EXPECT_EQ(claim("500Mi"), "persistentvolumeclaims \"c\" is forbidden: minimum storage usage per PersistentVolumeClaim is 1Gi, but request is 500Mi");
  EXPECT_EQ(claim("3Gi"), "persistentvolumeclaims \"c\" is forbidden: maximum storage usage per PersistentVolumeClaim is 2Gi, but request is 3Gi");
  EXPECT_EQ(claim("1Gi"), "");
}

TEST_F(AdmissionTest, LimitRangerBoundsAResizeToo) {
  ASSERT_EQ(call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"200m"},"limits":{"cpu":"400m"}}}]}})").code, 201);
  call("POST", "/api/v1/namespaces/default/limitranges", R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","min":{"cpu":"100m"},"max":{"cpu":"500m"}}]}})");
  auto resize = [&](const std::string& request, const std::string& limit) {
    return call("PATCH", "/api/v1/namespaces/default/pods/p/resize", R"({"spec":{"containers":[{"name":"c","resources":{"requests":{"cpu":")" + request + R"("},"limits":{"cpu":")" + limit + R"("}}}]}})",
                "application/strategic-merge-patch+json");
  };
  EXPECT_EQ(resize("50m", "400m").message(), "pods \"p\" is forbidden: minimum cpu usage per Container is 100m, but request is 50m");
  EXPECT_EQ(resize("200m", "600m").message(), "pods \"p\" is forbidden: maximum cpu usage per Container is 500m, but limit is 600m");
  EXPECT_EQ(resize("300m", "500m").code, 200);
  EXPECT_EQ(patch("/api/v1/namespaces/default/pods/p", R"({"metadata":{"labels":{"a":"b"}}})").code, 200) << "other changes are not looked at";
}

TEST_F(AdmissionTest, ANewPodsLabelKeysBecomeSelectors) {
  auto pod = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"k","labels":{"app":"x","rev":"7"}},"spec":{"containers":[{"name":"c","image":"i"}],
    "affinity":{"podAntiAffinity":{"requiredDuringSchedulingIgnoredDuringExecution":[{"topologyKey":"h","labelSelector":{"matchLabels":{"a":"b"}},"matchLabelKeys":["rev","none"],"mismatchLabelKeys":["app"]}]}},
    "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","labelSelector":{},"matchLabelKeys":["rev"]}]}})");
  ASSERT_EQ(pod.code, 201) << pod.message();
  const Value& term = pod.object.path({"spec", "affinity", "podAntiAffinity", "requiredDuringSchedulingIgnoredDuringExecution"}).at(0);
  EXPECT_EQ(json::dump(term["labelSelector"]["matchExpressions"]), R"([{"key":"rev","operator":"In","values":["7"]},{"key":"app","operator":"NotIn","values":["x"]}])");
  EXPECT_EQ(json::dump(pod.object.path({"spec", "topologySpreadConstraints"}).at(0)["labelSelector"]), R"({"matchExpressions":[{"key":"rev","operator":"In","values":["7"]}]})");
  // A key that the selector had already is there twice then.
  auto twice = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"t","labels":{"rev":"7"}},"spec":{"containers":[{"name":"c","image":"i"}],
    "topologySpreadConstraints":[{"maxSkew":1,"topologyKey":"z","whenUnsatisfiable":"DoNotSchedule","labelSelector":{"matchLabels":{"rev":"7"}},"matchLabelKeys":["rev"]}]}})");
  EXPECT_EQ(twice.code, 422);
  EXPECT_NE(twice.message().find("spec.topologySpreadConstraints[0][0]: Invalid value: \"rev\": exists in both matchLabelKeys and labelSelector"), std::string::npos) << twice.message();
}

TEST_F(AdmissionTest, AppArmorAnnotationsBecomeFields) {
  auto pod = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"aa","annotations":{"container.apparmor.security.beta.kubernetes.io/c":"runtime/default"}},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_EQ(pod.code, 201) << pod.message();
  EXPECT_EQ(json::dump(pod.object.path({"spec", "containers"}).at(0)["securityContext"]["appArmorProfile"]), R"({"type":"RuntimeDefault"})");
  ASSERT_EQ(pod.warnings.size(), 1u);
  EXPECT_EQ(pod.warnings[0], "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead");
}

TEST_F(AdmissionTest, QosClassKnowsWhatLimitRangesAdded) {
  ASSERT_EQ(call("POST", "/api/v1/namespaces/default/limitranges", R"({"metadata":{"name":"l"},"spec":{"limits":[{"type":"Container","defaultRequest":{"cpu":"1"},"default":{"cpu":"2"}}]}})").code, 201);
  auto pod = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"q"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  EXPECT_EQ(pod.object.path({"status", "qosClass"}).as_string(), "Burstable");
}

TEST_F(AdmissionTest, RuntimeClassMergesAndRefusesOnlyWhatDiffers) {
  ASSERT_EQ(call("POST", "/apis/node.k8s.io/v1/runtimeclasses", R"({"metadata":{"name":"kata"},"handler":"h","overhead":{"podFixed":{"cpu":"250m"}},
    "scheduling":{"nodeSelector":{"a":"b"},"tolerations":[{"key":"k","operator":"Exists"}]}})")
                .code,
            201);
  auto pod = [&](const std::string& name, const std::string& spec) {
    return call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":")" + name + R"("},"spec":{"runtimeClassName":"kata","containers":[{"name":"c","image":"i"}])" + spec + "}}");
  };
  auto plain = pod("r1", R"(,"tolerations":[{"key":"k","operator":"Equal","value":"v","effect":"NoSchedule"}])");
  ASSERT_EQ(plain.code, 201) << plain.message();
  EXPECT_EQ(json::dump(plain.object["spec"]["overhead"]), R"({"cpu":"250m"})");
  EXPECT_EQ(json::dump(plain.object["spec"]["nodeSelector"]), R"({"a":"b"})");
  ASSERT_EQ(plain.object["spec"]["tolerations"].size(), 3u);  // two of every pod's; the class's covers the pod's own
  EXPECT_EQ(json::dump(plain.object["spec"]["tolerations"].at(2)), R"({"key":"k","operator":"Exists"})");
  EXPECT_EQ(pod("r2", R"(,"overhead":{"cpu":"0.25"})").code, 201);
  auto other = pod("r3", R"(,"overhead":{"cpu":"1"})");
  EXPECT_EQ(other.code, 403);
  EXPECT_NE(other.message().find("pod rejected: Pod's Overhead doesn't match RuntimeClass's defined Overhead"), std::string::npos) << other.message();
  EXPECT_EQ(pod("r4", R"(,"nodeSelector":{"a":"z"})").code, 403);
}

TEST_F(AdmissionTest, OwnersAreListedOnce) {
  auto made = call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"o","ownerReferences":[{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"},{"apiVersion":"v1","kind":"Pod","name":"p","uid":"u"}]}})");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(made.object["metadata"]["ownerReferences"].size(), 1u);
  ASSERT_EQ(made.warnings.size(), 1u);
  EXPECT_NE(made.warnings[0].find("duplicate UID(s) observed: u"), std::string::npos);
}

TEST_F(AdmissionTest, FinalizersWithoutADomainAreTheServersOwn) {
  auto made = [&](const char* finalizer) { return call("POST", "/api/v1/namespaces/default/configmaps?dryRun=All", std::string(R"({"metadata":{"name":"f","finalizers":[")") + finalizer + R"("]}})"); };
  EXPECT_EQ(made("orphan").code, 201);
  auto good = made("a.b/c");
  EXPECT_EQ(good.code, 201);
  EXPECT_EQ(good.object["metadata"].find("resourceVersion"), nullptr);  // nothing was stored
  auto bad = made("foo");
  EXPECT_EQ(bad.code, 422);
  EXPECT_NE(bad.message().find("metadata.finalizers[0]: Invalid value: \"foo\": name is neither a standard finalizer name nor is it fully qualified"), std::string::npos) << bad.message();
}

}  // namespace
}  // namespace caravel::apiserver
