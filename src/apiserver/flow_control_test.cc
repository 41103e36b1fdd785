#include "apiserver/flow_control.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"
#include "base/scope.h"

namespace caravel::apiserver {
namespace {

class FlowControlTest : public testing::Test {
 protected:
  VirtualExecutor ex{11};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;

  void SetUp() override {
    auto r = run_task(ex, ApiServer::start(ex, *store, ApiServerOptions()));
    ASSERT_TRUE(r.ok()) << r.error().message;
    server = std::move(*r);
  }
  Request request(std::string method, std::string path, std::string user, std::vector<std::string> groups) {
    Request r;
    r.method = std::move(method);
    r.path = std::move(path);
    auto u = std::make_shared<User>();
    u->name = std::move(user);
    u->groups = std::move(groups);
    r.user = u;
    parse_request_info(r);
    return r;
  }
  void create(std::string plural, std::string body) {
    Request r = request("POST", "/apis/flowcontrol.apiserver.k8s.io/v1/" + plural, "admin", {"system:masters"});
    r.body = std::move(body);
    r.content_type = "application/json";
    int code = run_task(ex, send(&r));
    ASSERT_EQ(code, 201) << plural;
  }
  Task<int> send(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res.status;
  }
  Task<void> enter(Request r, std::vector<FlowControl::Admitted>* done) {
    FlowControl::Admitted a = co_await server->flow_control()->enter(r);
    done->push_back(std::move(a));
  }
};

TEST_F(FlowControlTest, TheBuiltInSchemasSortRequestsAsUpstream) {
  FlowControl& f = *server->flow_control();
  EXPECT_EQ(f.classify(request("GET", "/api/v1/pods", "admin", {"system:masters", "system:authenticated"})).schema, "exempt");
  EXPECT_EQ(f.classify(request("GET", "/healthz", "system:anonymous", {"system:unauthenticated"})).schema, "probes");
  EXPECT_EQ(f.classify(request("PATCH", "/api/v1/nodes/n/status", "system:node:n", {"system:nodes", "system:authenticated"})).schema, "system-node-high");
  EXPECT_EQ(f.classify(request("GET", "/api/v1/pods", "system:node:n", {"system:nodes", "system:authenticated"})).schema, "system-nodes");
  EXPECT_EQ(f.classify(request("GET", "/api/v1/namespaces/a/pods", "system:kube-scheduler", {"system:authenticated"})).flow, "kube-scheduler/a");
  EXPECT_EQ(f.classify(request("GET", "/api/v1/pods", "system:serviceaccount:a:b", {"system:serviceaccounts", "system:authenticated"})).schema, "service-accounts");
  EXPECT_EQ(f.classify(request("GET", "/api/v1/pods", "jane", {"system:authenticated"})).flow, "global-default/jane");
}

TEST_F(FlowControlTest, AFullLevelQueuesThenRefusesAndSeatsComeBack) {
  create("prioritylevelconfigurations",
         R"({"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Queue","queuing":{"queues":1,"handSize":1,"queueLengthLimit":1}}}}})");
  create("flowschemas",
         R"({"metadata":{"name":"tiny"},"spec":{"matchingPrecedence":10,"priorityLevelConfiguration":{"name":"tiny"},"rules":[{"subjects":[{"kind":"User","user":{"name":"jane"}}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}})");
  // One share of 246 is three of 600 seats, rounded up.
  std::vector<FlowControl::Admitted> done;
  TaskScope scope;
  for (int i = 0; i < 5; ++i) scope.spawn(enter(request("GET", "/version", "jane", {"system:authenticated"}), &done));
  ex.run_ready();
  ASSERT_EQ(done.size(), 4u);  // three run, one is refused, one waits
  EXPECT_TRUE(done[3].refused);
  EXPECT_FALSE(done[3].schema_uid.empty());
  done.erase(done.begin());  // a seat comes back
  ex.run_ready();
  ASSERT_EQ(done.size(), 4u);
  EXPECT_FALSE(done[3].refused);
  // Nobody gives a seat back: the wait ends with a refusal.
  scope.spawn(enter(request("GET", "/version", "jane", {"system:authenticated"}), &done));
  ex.run_until(ex.now() + kQueueWaitMax + std::chrono::seconds(1));
  ASSERT_EQ(done.size(), 5u);
  EXPECT_TRUE(done[4].refused);
}

}  // namespace
}  // namespace caravel::apiserver
