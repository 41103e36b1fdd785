// The Pod Security Standards, in upstream's words.
#include "apiserver/admission/pod_security.h"

#include <gtest/gtest.h>

namespace caravel::apiserver::pod_security {
namespace {

using json::Value;

std::string said(Level level, std::string_view spec, int minor = kLatest, std::string_view metadata = "{}") {
  LevelVersion v;
  v.level = level;
  v.minor = minor;
  return details(check(v, *json::parse(metadata), *json::parse(spec)));
}

TEST(PodSecurity, RestrictedNamesAllThatAPlainPodLacks) {
  EXPECT_EQ(said(Level::kRestricted, R"({"containers":[{"name":"c"}]})"),
            "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), "
            "unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), "
            "runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), "
            "seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")");
}

TEST(PodSecurity, AHardenedPodPassesRestricted) {
  EXPECT_EQ(said(Level::kRestricted, R"({"securityContext":{"runAsNonRoot":true,"seccompProfile":{"type":"RuntimeDefault"}},"volumes":[{"name":"v","emptyDir":{}}],
    "containers":[{"name":"c","securityContext":{"allowPrivilegeEscalation":false,"capabilities":{"drop":["ALL"],"add":["NET_BIND_SERVICE"]}}}]})"),
            "");
}

TEST(PodSecurity, BaselineForbidsWhatReachesTheHost) {
  std::string spec = R"({"hostNetwork":true,"hostPID":true,"volumes":[{"name":"h","hostPath":{"path":"/"}}],"securityContext":{"sysctls":[{"name":"kernel.msgmax"}]},
    "containers":[{"name":"a","ports":[{"hostPort":80}],"securityContext":{"privileged":true,"capabilities":{"add":["SYS_ADMIN"]}}},{"name":"b","ports":[{"hostPort":81}]}]})";
  EXPECT_EQ(said(Level::kBaseline, spec),
            "non-default capabilities (container \"a\" must not include \"SYS_ADMIN\" in securityContext.capabilities.add), "
            "host namespaces (hostNetwork=true, hostPID=true), hostPath volumes (volume \"h\"), hostPort (containers \"a\", \"b\" use hostPorts 80, 81), "
            "privileged (container \"a\" must not set securityContext.privileged=true), forbidden sysctls (kernel.msgmax)");
  EXPECT_EQ(said(Level::kPrivileged, spec), "");
  EXPECT_NE(said(Level::kRestricted, spec).find("restricted volume types (volume \"h\" uses restricted volume type \"hostPath\")"), std::string::npos);
  EXPECT_EQ(said(Level::kRestricted, spec).find("hostPath volumes"), std::string::npos) << "the restricted rule stands for the baseline one";
}

TEST(PodSecurity, RulesBeginWithTheirVersion) {
  std::string spec = R"({"containers":[{"name":"c","livenessProbe":{"httpGet":{"host":"1.2.3.4"}}}]})";
  EXPECT_EQ(said(Level::kBaseline, spec, 33), "");
  EXPECT_EQ(said(Level::kBaseline, spec, 34), "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"1.2.3.4\")");
  EXPECT_EQ(said(Level::kBaseline, R"({"containers":[]})", 18, R"({"annotations":{"seccomp.security.alpha.kubernetes.io/pod":"unconfined"}})"),
            "seccompProfile (forbidden annotation seccomp.security.alpha.kubernetes.io/pod=\"unconfined\")");
}

TEST(PodSecurity, LabelsMakeThePolicy) {
  std::vector<std::string> problems;
  Policy p = policy_of(*json::parse(R"({"pod-security.kubernetes.io/enforce":"baseline","pod-security.kubernetes.io/enforce-version":"v1.30"})"), &problems);
  EXPECT_EQ(text(p.enforce), "baseline:v1.30");
  EXPECT_EQ(text(p.warn), "baseline:v1.30");
  EXPECT_EQ(text(p.audit), "privileged:latest");
  EXPECT_TRUE(problems.empty());
  p = policy_of(*json::parse(R"({"pod-security.kubernetes.io/enforce":"strict","pod-security.kubernetes.io/warn-version":"1.2"})"), &problems);
  EXPECT_EQ(text(p.enforce), "restricted:latest");
  EXPECT_EQ(problems, (std::vector<std::string>{"metadata.labels[pod-security.kubernetes.io/enforce]: Invalid value: \"strict\": must be one of privileged, baseline, restricted",
                                                "metadata.labels[pod-security.kubernetes.io/warn-version]: Invalid value: \"1.2\": must be \"latest\" or \"v1.x\""}));
}

}  // namespace
}  // namespace caravel::apiserver::pod_security
