// The AWS Load Balancer Controller's documented behaviour: which load balancer a Service or an Ingress wants.
#include "loadbalancer/model.h"

#include <gtest/gtest.h>

#include "kube/dynamic_informer.h"

namespace caravel::loadbalancer {
namespace {

constexpr char kAlb[] = "alb.ingress.kubernetes.io/";
constexpr char kNlb[] = "service.beta.kubernetes.io/aws-load-balancer-";
using Annotations = std::initializer_list<std::pair<const char*, const char*>>;

std::shared_ptr<const json::Value> doc(const char* text) { return std::make_shared<const json::Value>(*json::parse(text)); }

json::Value annotated(const char* text, const char* prefix, Annotations annotations) {
  json::Value o = *json::parse(text);
  for (auto& [key, value] : annotations) o["metadata"]["annotations"][std::string(prefix) + key] = value;
  return o;
}

json::Value nlb_service(Annotations annotations = {}) {
  return annotated(R"({"metadata": {"name": "web", "namespace": "shop", "uid": "u1"}, "spec": {"type": "LoadBalancer",
      "loadBalancerClass": "service.k8s.aws/nlb", "ports": [{"name": "http", "port": 80}, {"name": "tls", "port": 443, "protocol": "TCP"}]}})",
                   kNlb, annotations);
}

Objects slices_of_web() {
  return {doc(R"({"metadata": {"namespace": "shop", "labels": {"kubernetes.io/service-name": "web"}}, "ports": [{"name": "http", "port": 8080}],
      "endpoints": [{"addresses": ["10.0.0.2"], "conditions": {"ready": true}}, {"addresses": ["10.0.0.3"], "conditions": {"ready": false}},
                    {"addresses": ["10.0.0.1"]}]})"),
          doc(R"({"metadata": {"namespace": "other", "labels": {"kubernetes.io/service-name": "web"}}, "ports": [{"name": "http", "port": 8080}],
      "endpoints": [{"addresses": ["10.9.9.9"]}]})")};
}

Objects services() {
  return {doc(R"({"metadata": {"name": "web", "namespace": "shop"}, "spec": {"ports": [{"name": "http", "port": 80}, {"name": "admin", "port": 81}]}})"),
          doc(R"({"metadata": {"name": "api", "namespace": "shop"}, "spec": {"ports": [{"name": "http", "port": 80}]}})")};
}

json::Value alb_ingress(Annotations annotations = {}, const char* paths = R"([{"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}])") {
  json::Value i = annotated(R"({"metadata": {"name": "shop", "namespace": "shop", "uid": "i1"}, "spec": {"ingressClassName": "alb"}})", kAlb, annotations);
  json::Value rule = json::Value::object();
  rule["host"] = "shop.example.com";
  rule["http"]["paths"] = *json::parse(paths);
  i["spec"]["rules"].push_back(std::move(rule));
  return i;
}

WantedBalancer wanted(const json::Value& ingress) {
  auto r = balancer_of_ingress(ingress, services(), slices_of_web());
  EXPECT_TRUE(r.ok()) << r.error().message;
  return r.ok() ? *r : WantedBalancer();
}

std::string refused(Annotations annotations) {
  auto r = balancer_of_ingress(alb_ingress(annotations), services(), slices_of_web());
  return r.ok() ? "accepted" : r.error().message;
}

TEST(ResourceName, IsReadableUniqueAndAtMost32Characters) {
  std::string name = resource_name("a-very-long-namespace", "my.service-name", "1");
  EXPECT_TRUE(name.starts_with("k8s-averylon-myservic-")) << name;
  EXPECT_EQ(name.size(), 32u);
  EXPECT_NE(name, resource_name("a-very-long-namespace", "my.service-name", "2"));
}

TEST(Service, IsOursByClassOrByTheOldAnnotation) {
  EXPECT_TRUE(is_ours(nlb_service()));
  json::Value s = nlb_service();
  s["spec"]["loadBalancerClass"] = "example.com/other";
  EXPECT_FALSE(is_ours(s));
  s["spec"].erase("loadBalancerClass");
  EXPECT_FALSE(is_ours(s)) << "the in-tree controller's";
  s["metadata"]["annotations"][std::string(kNlb) + "type"] = "external";
  EXPECT_TRUE(is_ours(s));
  s["metadata"]["annotations"][std::string(kNlb) + "type"] = "nlb";
  EXPECT_FALSE(is_ours(s));
  s = nlb_service();
  s["spec"]["type"] = "ClusterIP";
  EXPECT_FALSE(is_ours(s));
}

TEST(Service, GetsAnInternalNetworkLoadBalancerWithAListenerForEachPort) {
  auto b = balancer_of_service(nlb_service(), slices_of_web());
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->type, "network");
  EXPECT_FALSE(b->internet_facing);
  EXPECT_EQ(b->stack, "shop/web");
  ASSERT_EQ(b->listeners.size(), 2u);
  EXPECT_EQ(b->listeners[0].port, 80);
  EXPECT_EQ(b->listeners[0].protocol, "TCP");
  EXPECT_EQ(b->listeners[0].default_target_group, 0);
  EXPECT_EQ(b->listeners[1].port, 443);
  EXPECT_EQ(b->listeners[1].default_target_group, 1);
  EXPECT_EQ(b->target_groups[0].targets, (std::vector<TargetAddress>{{"10.0.0.1", 8080}, {"10.0.0.2", 8080}})) << "ready pods, at the pod's port";
  EXPECT_TRUE(b->target_groups[1].targets.empty());
  EXPECT_EQ(b->target_groups[1].port, 443);
  EXPECT_NE(b->target_groups[0].name, b->target_groups[1].name);
}

TEST(Service, TheSameServiceOfAnotherClusterHasOtherTargetGroups) {
  json::Value twin = nlb_service();
  twin["metadata"]["uid"] = "u2";
  auto a = balancer_of_service(nlb_service(), {}), b = balancer_of_service(twin, {});
  EXPECT_NE(a->name, b->name);
  EXPECT_NE(a->target_groups[0].name, b->target_groups[0].name);
}

TEST(Service, HealthChecksAreTcpUnlessAskedOtherwise) {
  HealthCheck tcp = balancer_of_service(nlb_service(), {})->target_groups[0].health;
  EXPECT_EQ(tcp.protocol, "TCP");
  EXPECT_EQ(tcp.port, "traffic-port");
  EXPECT_EQ(std::tuple(tcp.interval_s, tcp.timeout_s, tcp.healthy, tcp.unhealthy), std::tuple(10, 10, 3, 3));
  HealthCheck http = balancer_of_service(nlb_service({{"healthcheck-protocol", "http"}}), {})->target_groups[0].health;
  EXPECT_EQ(std::tuple(http.protocol, http.path, http.matcher, http.timeout_s), std::tuple("HTTP", "/", "200-399", 6));
  HealthCheck own = balancer_of_service(nlb_service({{"healthcheck-protocol", "HTTP"}, {"healthcheck-path", "/up"}, {"healthcheck-port", "9000"}, {"healthcheck-interval", "30"}, {"healthcheck-timeout", "7"}, {"healthcheck-healthy-threshold", "2"}, {"healthcheck-unhealthy-threshold", "4"}}), {})->target_groups[0].health;
  EXPECT_EQ(std::tuple(own.path, own.port, own.interval_s, own.timeout_s, own.healthy, own.unhealthy), std::tuple("/up", "9000", 30, 7, 2, 4));
}

TEST(Service, AnnotationsNameTheSchemeAndTheLoadBalancer) {
  auto b = balancer_of_service(nlb_service({{"scheme", "internet-facing"}, {"name", "front"}, {"nlb-target-type", "ip"}}), {});
  ASSERT_TRUE(b.ok());
  EXPECT_TRUE(b->internet_facing);
  EXPECT_EQ(b->name, "front");
}

TEST(Service, WhatCannotBeDoneIsSaid) {
  auto why = [](Annotations a) {
    auto r = balancer_of_service(nlb_service(a), {});
    return r.ok() ? "accepted" : r.error().message;
  };
  EXPECT_EQ(why({{"scheme", "public"}}), "unknown scheme: public in annotation service.beta.kubernetes.io/aws-load-balancer-scheme; use internal or internet-facing");
  EXPECT_EQ(why({{"nlb-target-type", "instance"}}),
            "annotation service.beta.kubernetes.io/aws-load-balancer-nlb-target-type: \"instance\" is not supported here; use ip");
  EXPECT_EQ(why({{"healthcheck-interval", "10s"}}), "failed to parse int64 annotation, service.beta.kubernetes.io/aws-load-balancer-healthcheck-interval: 10s");
  json::Value udp = nlb_service({{"ssl-cert", "arn"}});
  udp["spec"]["ports"].arr()[0]["protocol"] = "UDP";
  auto b = balancer_of_service(udp, {});
  ASSERT_TRUE(b.ok());
  EXPECT_EQ(b->listeners.size(), 1u);
  EXPECT_EQ(b->problems.size(), 2u);
}

TEST(Ingress, IsOursByItsClassesControllerOrTheOldAnnotation) {
  Objects classes = {doc(R"({"metadata": {"name": "alb"}, "spec": {"controller": "ingress.k8s.aws/alb"}})"),
                     doc(R"({"metadata": {"name": "nginx"}, "spec": {"controller": "k8s.io/ingress-nginx"}})")};
  json::Value i = alb_ingress();
  EXPECT_TRUE(is_alb_ingress(i, classes));
  EXPECT_FALSE(is_alb_ingress(i, {})) << "the class is what says so, not its name";
  i["spec"]["ingressClassName"] = "nginx";
  EXPECT_FALSE(is_alb_ingress(i, classes));
  i["spec"].erase("ingressClassName");
  EXPECT_FALSE(is_alb_ingress(i, classes));
  i["metadata"]["annotations"]["kubernetes.io/ingress.class"] = "alb";
  EXPECT_TRUE(is_alb_ingress(i, {}));
}

TEST(Ingress, GetsAnInternalApplicationLoadBalancerOnPort80) {
  WantedBalancer b = wanted(alb_ingress());
  EXPECT_EQ(b.type, "application");
  EXPECT_FALSE(b.internet_facing);
  EXPECT_EQ(b.stack, "shop/shop");
  ASSERT_EQ(b.listeners.size(), 1u);
  EXPECT_EQ(std::pair(b.listeners[0].port, b.listeners[0].protocol), std::pair(80, std::string("HTTP")));
  EXPECT_EQ(b.listeners[0].default_target_group, kNotFoundAnswer);
  ASSERT_EQ(b.target_groups.size(), 1u);
  EXPECT_EQ(b.target_groups[0].protocol, "HTTP");
  EXPECT_EQ(b.target_groups[0].targets.size(), 2u);
  EXPECT_TRUE(b.problems.empty());
  b = wanted(alb_ingress({{"scheme", "internet-facing"}, {"load-balancer-name", "front"}}));
  EXPECT_TRUE(b.internet_facing);
  EXPECT_EQ(b.name, "front");
}

TEST(Ingress, HealthChecksFollowTheAnnotations) {
  HealthCheck h = wanted(alb_ingress()).target_groups[0].health;
  EXPECT_EQ(std::tuple(h.protocol, h.path, h.port, h.matcher), std::tuple("HTTP", "/", "traffic-port", "200"));
  EXPECT_EQ(std::tuple(h.interval_s, h.timeout_s, h.healthy, h.unhealthy), std::tuple(15, 5, 2, 2));
  h = wanted(alb_ingress({{"backend-protocol", "https"}, {"healthcheck-path", "/up"}, {"healthcheck-port", "9000"}, {"success-codes", "200,204"}, {"healthcheck-interval-seconds", "30"}, {"healthcheck-timeout-seconds", "7"}, {"healthy-threshold-count", "3"}, {"unhealthy-threshold-count", "4"}})).target_groups[0].health;
  EXPECT_EQ(std::tuple(h.protocol, h.path, h.port, h.matcher), std::tuple("HTTPS", "/up", "9000", "200,204")) << "the backend's protocol";
  EXPECT_EQ(std::tuple(h.interval_s, h.timeout_s, h.healthy, h.unhealthy), std::tuple(30, 7, 3, 4));
}

TEST(Ingress, AnotherBackendProtocolNeedsAnotherTargetGroup) {
  EXPECT_NE(wanted(alb_ingress()).target_groups[0].name, wanted(alb_ingress({{"backend-protocol", "HTTPS"}})).target_groups[0].name)
      << "ELBv2 cannot change a target group's protocol";
}

std::vector<std::vector<std::string>> patterns_of(const char* paths) {
  std::vector<std::vector<std::string>> out;
  int priority = 0;
  WantedBalancer b = wanted(alb_ingress({}, paths));
  for (auto& r : b.listeners[0].rules) {
    EXPECT_EQ(r.priority, ++priority);
    EXPECT_EQ(r.host, "shop.example.com");
    out.push_back(r.paths);
  }
  return out;
}

TEST(Rules, ExactPathsComeFirstThenTheLongestPrefixesThenTheOthers) {
  using P = std::vector<std::vector<std::string>>;
  EXPECT_EQ(patterns_of(R"([{"path": "/z*", "pathType": "ImplementationSpecific"}, {"path": "/", "pathType": "Prefix"}, {"path": "/a/b", "pathType": "Prefix"},
                            {"path": "/a", "pathType": "Exact"}, {"path": "/y*"}, {"path": "/longest", "pathType": "Prefix"}])"),
            (P{{"/a"}, {"/longest", "/longest/*"}, {"/a/b", "/a/b/*"}, {"/*"}, {"/z*"}, {"/y*"}}));
}

TEST(Rules, APrefixMatchesWholeElementsWithOrWithoutItsSlash) {
  using P = std::vector<std::vector<std::string>>;
  EXPECT_EQ(patterns_of(R"([{"path": "/foo/", "pathType": "Prefix"}])"), (P{{"/foo", "/foo/*"}}));
  EXPECT_EQ(patterns_of(R"([{"pathType": "ImplementationSpecific"}])"), (P{{}})) << "no path is any path";
  for (auto* type : {"Exact", "Prefix"}) {
    std::string paths = std::string(R"([{"path": "/a*", "pathType": ")") + type + "\"}]";
    auto r = balancer_of_ingress(alb_ingress({}, paths.c_str()), services(), {});
    ASSERT_FALSE(r.ok()) << type;
    EXPECT_NE(r.error().message.find("path shouldn't contain wildcards: /a*"), std::string::npos);
  }
}

TEST(Rules, PathsToTheSameServicePortShareATargetGroup) {
  WantedBalancer b = wanted(alb_ingress({}, R"([{"path": "/a", "pathType": "Exact", "backend": {"service": {"name": "web", "port": {"number": 80}}}},
      {"path": "/b", "pathType": "Exact", "backend": {"service": {"name": "web", "port": {"name": "http"}}}},
      {"path": "/c", "pathType": "Exact", "backend": {"service": {"name": "web", "port": {"name": "admin"}}}},
      {"path": "/d", "pathType": "Exact", "backend": {"service": {"name": "api", "port": {"number": 80}}}}])"));
  std::vector<int> groups;
  for (auto& r : b.listeners[0].rules) groups.push_back(r.target_group);
  EXPECT_EQ(groups, (std::vector<int>{0, 0, 1, 2}));
  EXPECT_EQ(b.target_groups.size(), 3u);
}

// Else its requests would fall through to the next rule that matches: another backend's.
TEST(Rules, APathWhoseServiceIsAbsentAnswers503) {
  WantedBalancer b = wanted(alb_ingress({}, R"([{"path": "/a", "pathType": "Prefix", "backend": {"service": {"name": "gone", "port": {"number": 80}}}},
      {"path": "/", "pathType": "Prefix", "backend": {"service": {"name": "web", "port": {"number": 80}}}}])"));
  ASSERT_EQ(b.listeners[0].rules.size(), 2u);
  EXPECT_EQ(b.listeners[0].rules[0].target_group, kMissingBackendAnswer);
  EXPECT_EQ(b.problems, (std::vector<std::string>{"backend service shop/gone or its port does not exist"}));
}

TEST(Rules, TheDefaultBackendTakesTheRest) {
  json::Value i = alb_ingress();
  i["spec"]["defaultBackend"] = *json::parse(R"({"service": {"name": "api", "port": {"number": 80}}})");
  WantedBalancer b = wanted(i);
  EXPECT_EQ(b.listeners[0].default_target_group, 1);
  EXPECT_NE(b.target_groups[1].name.find("-api-"), std::string::npos);
}

TEST(ListenPorts, AreHttpsWithACertificateAndAsAskedFor) {
  WantedBalancer b = wanted(alb_ingress({{"certificate-arn", "arn:1"}}));
  ASSERT_EQ(b.listeners.size(), 1u);
  EXPECT_EQ(std::tuple(b.listeners[0].port, b.listeners[0].protocol, b.listeners[0].certificate_arn), std::tuple(443, "HTTPS", "arn:1"));
  b = wanted(alb_ingress({{"listen-ports", R"([{"HTTP": 8080}, {"HTTPS": 8443}])"}, {"certificate-arn", "arn:1, arn:2"}}));
  ASSERT_EQ(b.listeners.size(), 2u);
  EXPECT_EQ(std::tuple(b.listeners[0].port, b.listeners[0].protocol, b.listeners[0].certificate_arn), std::tuple(8080, "HTTP", ""));
  EXPECT_EQ(std::tuple(b.listeners[1].port, b.listeners[1].protocol, b.listeners[1].certificate_arn), std::tuple(8443, "HTTPS", "arn:1"));
  EXPECT_EQ(b.listeners[0].rules.size(), b.listeners[1].rules.size());
  EXPECT_EQ(b.problems.size(), 1u) << "the second certificate";
}

TEST(ListenPorts, SslRedirectSendsHttpToThatHttpsPort) {
  WantedBalancer b = wanted(alb_ingress({{"listen-ports", R"([{"HTTP": 80}, {"HTTPS": 8443}])"}, {"certificate-arn", "arn:1"}, {"ssl-redirect", "8443"}}));
  EXPECT_EQ(b.listeners[0].redirect_to_https, 8443);
  EXPECT_TRUE(b.listeners[0].rules.empty());
  EXPECT_EQ(b.listeners[1].redirect_to_https, 0);
  EXPECT_EQ(b.listeners[1].rules.size(), 1u);
}

TEST(Ingress, BadAnnotationsAreRefusedByName) {
  EXPECT_EQ(refused({{"scheme", "public"}}), "unknown scheme: public in annotation alb.ingress.kubernetes.io/scheme; use internal or internet-facing");
  EXPECT_EQ(refused({{"target-type", "instance"}}), "annotation alb.ingress.kubernetes.io/target-type: \"instance\" is not supported here; use ip");
  EXPECT_EQ(refused({{"backend-protocol", "GRPC"}}), "annotation alb.ingress.kubernetes.io/backend-protocol: unsupported \"GRPC\"; use HTTP or HTTPS");
  EXPECT_EQ(refused({{"healthy-threshold-count", "two"}}), "failed to parse int64 annotation, alb.ingress.kubernetes.io/healthy-threshold-count: two");
  EXPECT_EQ(refused({{"listen-ports", R"([{"TCP": 80}])"}}), "annotation alb.ingress.kubernetes.io/listen-ports: listen protocol must be HTTP or HTTPS: TCP");
  EXPECT_EQ(refused({{"listen-ports", R"([{"HTTP": 70000}])"}}), "annotation alb.ingress.kubernetes.io/listen-ports: listen port must be within [1, 65535]: 70000");
  EXPECT_EQ(refused({{"listen-ports", "[]"}}), "annotation alb.ingress.kubernetes.io/listen-ports: empty listen-ports");
  EXPECT_TRUE(refused({{"listen-ports", "80"}}).ends_with("empty listen-ports"));
  EXPECT_TRUE(refused({{"listen-ports", "[{"}}).starts_with("annotation alb.ingress.kubernetes.io/listen-ports: "));
  EXPECT_EQ(refused({{"listen-ports", R"([{"HTTPS": 443}])"}}),
            "no certificate for the HTTPS listener on port 443; name one in alb.ingress.kubernetes.io/certificate-arn");
  EXPECT_EQ(refused({{"ssl-redirect", "443"}}), "listener does not exist for SSLRedirect port: 443");
  EXPECT_EQ(refused({{"ssl-redirect", "80"}}), "listener protocol non-SSL for SSLRedirect port: 80");
}

TEST(Ingress, AGroupIsNotFormedAndThatIsSaid) { EXPECT_EQ(wanted(alb_ingress({{"group.name", "g"}})).problems.size(), 1u); }

}  // namespace
}  // namespace caravel::loadbalancer
