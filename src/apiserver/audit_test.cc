// Which requests the audit policy logs, and what their events say.
#include "apiserver/audit.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"
#include "base/scope.h"

namespace caravel::apiserver {
namespace {

using json::Value;

constexpr const char* kPolicy = R"(
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
- level: None
  users: [quiet]
- level: Metadata
  resources: [{group: "", resources: [secrets, "pods/exec"]}]
- level: RequestResponse
  omitManagedFields: true
  verbs: [create]
  namespaces: [default]
- level: Request
  nonResourceURLs: ["/version*"]
- level: None
)";

Request request(std::string method, std::string path, std::string body = "", std::string user = "admin") {
  Request r;
  r.method = method;
  r.path = path;
  r.body = body;
  r.content_type = "application/json";
  auto u = std::make_shared<User>();
  u->name = user;
  u->groups = {"system:authenticated", "system:masters"};
  r.user = u;
  parse_request_info(r);
  return r;
}

TEST(AuditPolicyTest, TheFirstMatchingRuleDecides) {
  AuditPolicy p = *AuditPolicy::parse(kPolicy);
  auto level = [&](Request r) { return p.decide(r).level; };
  EXPECT_EQ(level(request("GET", "/api/v1/namespaces/default/secrets/s")), AuditLevel::kMetadata);
  EXPECT_EQ(level(request("GET", "/api/v1/namespaces/default/secrets/s", "", "quiet")), AuditLevel::kNone);
  EXPECT_EQ(level(request("POST", "/api/v1/namespaces/default/pods/p/exec")), AuditLevel::kMetadata);
  EXPECT_EQ(level(request("POST", "/api/v1/namespaces/default/pods")), AuditLevel::kRequestResponse);
  EXPECT_EQ(level(request("POST", "/api/v1/namespaces/other/pods")), AuditLevel::kNone);
  EXPECT_EQ(level(request("GET", "/version")), AuditLevel::kRequest);
  EXPECT_EQ(level(request("GET", "/healthz")), AuditLevel::kNone);
}

TEST(AuditPolicyTest, NonsenseIsNamed) {
  EXPECT_FALSE(AuditPolicy::parse("kind: Policy\napiVersion: audit.k8s.io/v1\n").ok());
  EXPECT_EQ(AuditPolicy::parse("kind: Policy\napiVersion: audit.k8s.io/v1\nrules: [{level: Loud}]\n").error().message,
            "rules[0].level: Unsupported value: \"Loud\": supported values: None, Metadata, Request, RequestResponse");
}

class AuditTest : public testing::Test {
 protected:
  VirtualExecutor ex{5};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;
  std::vector<Value> events;
  void SetUp() override {
    server = std::move(*run_task(ex, ApiServer::start(ex, *store, ApiServerOptions())));
    auto sink = [this](const std::string& line) { events.push_back(*json::parse(line)); };
    server->set_auditor(std::make_unique<Auditor>(server->core(), *AuditPolicy::parse(kPolicy), sink));
  }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  int send(Request r) { return run_task(ex, handle(&r)).status; }
};

TEST_F(AuditTest, SecretsAreLoggedWithoutTheirContents) {
  EXPECT_EQ(send(request("POST", "/api/v1/namespaces/default/secrets", R"({"metadata":{"name":"s"},"stringData":{"k":"hush"}})")), 201);
  ASSERT_EQ(events.size(), 1u);
  const Value e = events[0];
  EXPECT_EQ(json::dump(e).find("hush"), std::string::npos);
  EXPECT_EQ(e["level"].as_string(), "Metadata");
  EXPECT_EQ(e["stage"].as_string(), "ResponseComplete");
  EXPECT_EQ(e["verb"].as_string(), "create");
  EXPECT_EQ(e["user"]["username"].as_string(), "admin");
  EXPECT_EQ(json::dump(e["objectRef"]), R"({"resource":"secrets","namespace":"default","apiVersion":"v1","name":"s"})");
  EXPECT_EQ(e["responseStatus"]["code"].as_int(), 201);
  EXPECT_EQ(e["annotations"]["authorization.k8s.io/decision"].as_string(), "allow");
}

TEST_F(AuditTest, BodiesAreLoggedWhereTheRuleSaysSo) {
  EXPECT_EQ(send(request("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"m"},"data":{"k":"v"}})")), 201);
  ASSERT_EQ(events.size(), 1u);
  const Value e = events[0];
  EXPECT_EQ(e["requestObject"]["data"]["k"].as_string(), "v");
  EXPECT_FALSE(e["responseObject"]["metadata"]["uid"].as_string().empty());
  EXPECT_TRUE(e["responseObject"]["metadata"]["managedFields"].is_null());
  EXPECT_EQ(send(request("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"m"}})")), 409);
  EXPECT_EQ(std::as_const(events).back()["responseStatus"]["reason"].as_string(), "AlreadyExists");
}

TEST_F(AuditTest, WhoTakesAnothersPlaceIsNamedBesideHim) {
  Request r = request("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"m"}})", "jane");
  auto jane = std::make_shared<User>();
  jane->name = "jane";
  auto boss = std::make_shared<User>();
  boss->name = "boss";
  jane->impersonator = boss;
  r.user = jane;
  EXPECT_EQ(send(r), 403);
  const Value e = events.back();
  EXPECT_EQ(e["user"]["username"].as_string(), "boss");
  EXPECT_EQ(e["impersonatedUser"]["username"].as_string(), "jane");
  EXPECT_EQ(e["annotations"]["authorization.k8s.io/decision"].as_string(), "forbid");
}

TEST_F(AuditTest, TheReasonOfADecisionIsNoted) {
  Request r = request("GET", "/version", "", "jane");
  auto jane = std::make_shared<User>();
  jane->name = "jane";
  jane->groups = {"system:authenticated"};
  r.user = jane;
  EXPECT_EQ(send(r), 200);
  EXPECT_EQ(events.back().path({"annotations", "authorization.k8s.io/reason"}).as_string(),
            "RBAC: allowed by ClusterRoleBinding \"system:discovery\" of ClusterRole \"system:discovery\" to Group \"system:authenticated\"");
}

TEST_F(AuditTest, ARefusedAuthenticationIsLogged) {
  Request r = request("GET", "/version");
  r.user = nullptr;
  server->auditor()->unauthenticated(r, {"bearer"});
  const Value e = events.back();
  EXPECT_EQ(e["stage"].as_string(), "ResponseStarted");
  EXPECT_EQ(e["responseStatus"]["code"].as_int(), 401);
  EXPECT_EQ(e["responseStatus"]["message"].as_string(), "Authentication failed, attempted: bearer");
}

TEST_F(AuditTest, PodSecurityNotesWhatItAppliedAndWhatWouldBreak) {
  Request label = request("PATCH", "/api/v1/namespaces/default", R"({"metadata":{"labels":{"pod-security.kubernetes.io/audit":"baseline"}}})");
  label.content_type = "application/merge-patch+json";
  EXPECT_EQ(send(label), 200);
  EXPECT_EQ(send(request("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})")), 201);
  EXPECT_EQ(send(request("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"hostNetwork":true,"containers":[{"name":"c","image":"i"}]}})")), 201);
  const Value& notes = events.back()["annotations"];
  EXPECT_EQ(notes["pod-security.kubernetes.io/enforce-policy"].as_string(), "privileged:latest");
  EXPECT_EQ(notes["pod-security.kubernetes.io/audit-violations"].as_string(), "would violate PodSecurity \"baseline:latest\": host namespaces (hostNetwork=true)");
}

}  // namespace
}  // namespace caravel::apiserver
