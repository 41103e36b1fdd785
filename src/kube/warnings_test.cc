#include "kube/warnings.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace caravel::kube {
namespace {

using json::Value;

std::string warned(const char* group, const char* kind, const char* text, const char* old = nullptr, const char* subresource = "") {
  const Value o = *json::parse(text), was = old ? *json::parse(old) : Value();
  std::string out;
  for (auto& w : object_warnings(group, kind, o, old ? &was : nullptr, subresource)) out += (out.empty() ? "" : " | ") + w;
  return out;
}

std::string ip(const char* text) {
  Warnings out;
  ip_warnings(FieldPath("p"), text, out);
  return out.empty() ? "" : out[0];
}

std::string cidr(const char* text) {
  Warnings out;
  cidr_warnings(FieldPath("p"), text, out);
  std::string all;
  for (auto& w : out) all += (all.empty() ? "" : " | ") + w;
  return all;
}

TEST(WarningsTest, Addresses) {
  EXPECT_EQ(ip("10.1.2.3"), "");
  EXPECT_EQ(ip("fd00::1"), "");
  EXPECT_EQ(ip("010.1.2.3"), "p: non-standard IP address \"010.1.2.3\" is invalid: use \"10.1.2.3\"");
  EXPECT_EQ(ip("::ffff:1.2.3.4"), "p: non-standard IP address \"::ffff:1.2.3.4\" is invalid: use \"1.2.3.4\"");
  EXPECT_EQ(ip("FD00:0::1"), "p: IPv6 address \"FD00:0::1\" should be in RFC 5952 canonical format (\"fd00::1\")");
  EXPECT_EQ(ip("1:0:0:2:0:0:0:3"), "p: IPv6 address \"1:0:0:2:0:0:0:3\" should be in RFC 5952 canonical format (\"1:0:0:2::3\")");
  EXPECT_EQ(ip("nonsense"), "");
  EXPECT_EQ(cidr("10.0.0.0/8"), "");
  EXPECT_EQ(cidr("10.1.2.3/8"), "p: CIDR value \"10.1.2.3/8\" is ambiguous in this context (should be \"10.0.0.0/8\" or \"10.1.2.3/32\"?)");
  EXPECT_EQ(cidr("010.0.0.0/8"), "p: non-standard CIDR value \"010.0.0.0/8\" is invalid: use \"10.0.0.0/8\"");
  EXPECT_EQ(cidr("FD00::/8"), "p: IPv6 CIDR value \"FD00::/8\" should be in RFC 5952 canonical format (\"fd00::/8\")");
}

TEST(WarningsTest, PodsLabelsVolumesAndPorts) {
  EXPECT_EQ(warned("", "Pod", R"({"metadata":{"name":"a.b"},"spec":{}})"),
            "metadata.name: this is used in the Pod's hostname, which can result in surprising behavior; a DNS label is recommended: "
            "[must not contain dots]");
  EXPECT_EQ(warned("", "Pod", R"({"metadata":{"name":"a"},"spec":{"nodeSelector":{"beta.kubernetes.io/os":"linux"},"terminationGracePeriodSeconds":-1}})"),
            "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead | "
            "spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1");
  EXPECT_EQ(warned("", "Pod", R"({"metadata":{"name":"a"},"spec":{"volumes":[{"name":"g","gitRepo":{}},{"name":"c","configMap":{"name":"m","items":[{"path":"a"},{"path":"a/b"}]}}]}})"),
            "spec.volumes[0].gitRepo: deprecated in v1.11, and disabled by default in v1.33+ | volume \"c\" (ConfigMap \"m\"): overlapping paths: \"a/b\" with \"a\"");
  EXPECT_EQ(warned("", "Pod", R"({"metadata":{"name":"a"},"spec":{"containers":[{"name":"x","ports":[{"name":"w","containerPort":80,"protocol":"TCP"}]},{"name":"y","ports":[{"name":"w","containerPort":80,"protocol":"TCP"}]}]}})"),
            "spec.containers[1].ports[0]: duplicate port definition with spec.containers[0].ports[0] | spec.containers[1].ports[0]: duplicate port name \"w\" with "
            "spec.containers[0].ports[0], services and probes that select ports by name will use spec.containers[0].ports[0]");
  EXPECT_EQ(warned("", "Pod", R"({"metadata":{"name":"a"},"spec":{"containers":[{"env":[{"name":"P","value":"1"},{"name":"P","value":"$(P):2"},{"name":"P","value":"3"}],"resources":{"limits":{"memory":"1500m"}}}]}})"),
            "spec.containers[0].resources.limits[memory]: fractional byte value \"1500m\" is invalid, must be an integer | "
            "spec.containers[0].env[2]: hides previous definition of \"P\", which may be dropped when using apply");
  // People seldom update pods by hand.
  EXPECT_EQ(warned("", "Pod", R"({"spec":{"terminationGracePeriodSeconds":-1}})", R"({})"), "");
}

TEST(WarningsTest, TemplatesAreLookedAtWhenTheSpecChanged) {
  const char *a = R"({"metadata":{"name":"d","generation":1},"spec":{"template":{"spec":{"terminationGracePeriodSeconds":-1}}}})",
             *b = R"({"metadata":{"name":"d","generation":2},"spec":{"template":{"spec":{"terminationGracePeriodSeconds":-1}}}})";
  const std::string why = "spec.template.spec.terminationGracePeriodSeconds: must be >= 0; negative values are invalid and will be treated as 1";
  EXPECT_EQ(warned("apps", "Deployment", a), why);
  EXPECT_EQ(warned("apps", "Deployment", a, a), "");
  EXPECT_EQ(warned("apps", "Deployment", b, a), why);
}

TEST(WarningsTest, OtherKinds) {
  EXPECT_EQ(warned("", "Service", R"({"spec":{"type":"ClusterIP","clusterIP":"None","sessionAffinity":"ClientIP","trafficDistribution":"PreferClose"}})"),
            "spec.SessionAffinity is ignored for headless services | spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
  EXPECT_EQ(warned("", "Service", R"({"spec":{"type":"ClusterIP","sessionAffinity":"None","externalIPs":["1.2.3.4"]}})"), "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
  EXPECT_EQ(warned("networking.k8s.io", "Ingress", R"({"metadata":{"annotations":{"kubernetes.io/ingress.class":"nginx"}},"spec":{}})"),
            "annotation \"kubernetes.io/ingress.class\" is deprecated, please use 'spec.ingressClassName' instead");
  EXPECT_EQ(warned("", "ResourceQuota", R"({"spec":{"hard":{"cpu":"2","limits.cpu":"1"}}})"), "ResourceQuota cpu (2) should be less than limits.cpu (1)");
  EXPECT_EQ(warned("", "Secret", R"({"type":"kubernetes.io/tls","data":{"tls.crt":"","tls.key":""}})"), "tls: failed to find any PEM data in certificate input");
  EXPECT_EQ(warned("", "PersistentVolumeClaim", R"({"spec":{"resources":{"requests":{"storage":"1500m"}}}})"), "spec.resources.requests[storage]: fractional byte value \"1500m\" is invalid, must be an integer");
  EXPECT_EQ(warned("", "Pod", R"({"status":{"podIPs":[{"ip":"010.0.0.1"}]}})", "{}", "status"), "status.podIPs[0].ip: non-standard IP address \"010.0.0.1\" is invalid: use \"10.0.0.1\"");
}

}  // namespace
}  // namespace caravel::kube
