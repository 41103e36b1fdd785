// Services and their IPAddresses, through the server and as a decision.
#include "apiserver/service_ip_repair.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"

namespace caravel::apiserver {
namespace {

using json::Value;

class ServiceIpTest : public testing::Test {
 protected:
  VirtualExecutor ex{3};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;
  void SetUp() override {
    server = std::move(*run_task(ex, ApiServer::start(ex, *store, ApiServerOptions())));
    settle();
  }
  void settle(Duration d = std::chrono::seconds(1)) { ex.run_until(ex.now() + d); }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  Value call(std::string method, std::string path, std::string body = "", std::string type = "application/json") {
    Request r;
    r.method = std::move(method);
    r.path = std::move(path);
    r.body = std::move(body);
    r.content_type = std::move(type);
    auto u = std::make_shared<User>();
    u->name = "admin";
    u->groups = {"system:masters"};
    r.user = u;
    parse_request_info(r);
    Response res = run_task(ex, handle(&r));
    return *json::parse(*res.body);
  }
  Value service(const std::string& name, const std::string& ip = "") {
    return call("POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":")" + name + R"("},"spec":{"clusterIP":")" + ip + R"(","ports":[{"port":1}]}})");
  }
  std::string owner(const std::string& ip) { return call("GET", "/apis/networking.k8s.io/v1/ipaddresses/" + ip).path({"spec", "parentRef", "name"}).as_string(); }
};

TEST_F(ServiceIpTest, EveryAddressIsAnObjectThatComesAndGoesWithItsService) {
  EXPECT_EQ(owner("172.20.0.1"), "kubernetes");
  std::string ip = service("a")["spec"]["clusterIP"].as_string();
  EXPECT_EQ(owner(ip), "a");
  call("PATCH", "/api/v1/namespaces/default/services/a", R"({"spec":{"type":"ExternalName","externalName":"x.y","clusterIP":null,"clusterIPs":null,"ports":null}})", "application/merge-patch+json");
  EXPECT_EQ(owner(ip), "");
  std::string again = call("PATCH", "/api/v1/namespaces/default/services/a", R"({"spec":{"type":"ClusterIP","externalName":null,"ports":[{"port":1}]}})", "application/merge-patch+json")["spec"]["clusterIP"].as_string();
  EXPECT_EQ(owner(again), "a");
  call("DELETE", "/api/v1/namespaces/default/services/a");
  EXPECT_EQ(owner(again), "");
}

TEST_F(ServiceIpTest, AnAddressThatSomebodyTookIsNotGivenAway) {
  call("POST", "/apis/networking.k8s.io/v1/ipaddresses", R"({"metadata":{"name":"172.20.9.9"},"spec":{"parentRef":{"resource":"things","name":"x"}}})");
  EXPECT_EQ(service("a", "172.20.9.9")["message"].as_string(),
            "Service \"a\" is invalid: spec.clusterIPs: Invalid value: [\"172.20.9.9\"]: failed to allocate IP 172.20.9.9: provided IP is already allocated");
}

TEST_F(ServiceIpTest, ASecondRangeGivesMoreOnceItIsReady) {
  call("POST", "/apis/networking.k8s.io/v1/servicecidrs", R"({"metadata":{"name":"more"},"spec":{"cidrs":["10.7.0.0/29"]}})");
  EXPECT_EQ(service("a", "10.7.0.3")["code"].as_int(), 422);
  call("PATCH", "/apis/networking.k8s.io/v1/servicecidrs/more/status", R"({"status":{"conditions":[{"type":"Ready","status":"True","reason":"","message":"","lastTransitionTime":"2026-01-01T00:00:00Z"}]}})", "application/merge-patch+json");
  EXPECT_EQ(service("a", "10.7.0.3")["spec"]["clusterIP"].as_string(), "10.7.0.3");
  EXPECT_EQ(service("b", "10.7.0.7")["code"].as_int(), 422);  // broadcast
}

TEST_F(ServiceIpTest, WhatSomebodyRemovesComesBack) {
  call("DELETE", "/apis/networking.k8s.io/v1/ipaddresses/172.20.0.1");
  call("DELETE", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes");
  settle();
  EXPECT_EQ(owner("172.20.0.1"), "kubernetes");
  EXPECT_EQ(call("GET", "/apis/networking.k8s.io/v1/servicecidrs/kubernetes").path({"status", "conditions"}).at(0)["message"].as_string(), "Kubernetes default Service CIDR is ready");
}

TEST_F(ServiceIpTest, AnOrphanIsRemovedAfterItsGrace) {
  call("POST", "/apis/networking.k8s.io/v1/ipaddresses",
       R"({"metadata":{"name":"172.20.9.9","labels":{"ipaddress.kubernetes.io/ip-family":"IPv4","ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}},"spec":{"parentRef":{"resource":"services","namespace":"default","name":"gone"}}})");
  settle(std::chrono::seconds(30));
  EXPECT_EQ(owner("172.20.9.9"), "gone");
  settle(std::chrono::seconds(40));
  EXPECT_EQ(owner("172.20.9.9"), "");
}

TEST(IpRepairPlanTest, TwoServicesWithOneAddressAreToldApart) {
  Value a = *json::parse(R"({"metadata":{"namespace":"n","name":"a"},"spec":{"clusterIPs":["10.0.0.2"]}})");
  Value b = *json::parse(R"({"metadata":{"namespace":"n","name":"b"},"spec":{"clusterIPs":["10.0.0.2"]}})");
  Value ip = *json::parse(
      R"({"metadata":{"name":"10.0.0.2","labels":{"ipaddress.kubernetes.io/ip-family":"IPv4","ipaddress.kubernetes.io/managed-by":"ipallocator.k8s.io"}},"spec":{"parentRef":{"resource":"services","namespace":"n","name":"a"}}})");
  IpRepairPlan p = plan_ip_repair({&a, &b}, {&ip}, {*kube::IpRange::parse("10.0.0.0/24")}, Time{});
  ASSERT_EQ(p.actions.size(), 1u);
  EXPECT_EQ(p.actions[0].kind, IpRepair::kTell);
  EXPECT_EQ(p.actions[0].message, "Cluster IP [IPv4]:10.0.0.2 was assigned to multiple services; please recreate service");
  p = plan_ip_repair({&b}, {&ip}, {}, Time{});
  ASSERT_EQ(p.actions.size(), 2u);
  EXPECT_EQ(p.actions[0].reason, "ClusterIPOutOfRange");
  EXPECT_EQ(p.actions[1].kind, IpRepair::kRecreate);
}

}  // namespace
}  // namespace caravel::apiserver
