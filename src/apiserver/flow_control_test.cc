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
         R"({"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"borrowingLimitPercent":0,"limitResponse":{"type":"Queue","queuing":{"queues":1,"handSize":1,"queueLengthLimit":1}}}}})");
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

TEST_F(FlowControlTest, ABusyLevelBorrowsWhatOthersLend) {
  create("prioritylevelconfigurations",
         R"({"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Queue","queuing":{"queues":1,"handSize":1,"queueLengthLimit":50}}}}})");
  create("flowschemas",
         R"({"metadata":{"name":"tiny"},"spec":{"matchingPrecedence":10,"priorityLevelConfiguration":{"name":"tiny"},"rules":[{"subjects":[{"kind":"User","user":{"name":"jane"}}],"nonResourceRules":[{"verbs":["*"],"nonResourceURLs":["*"]}]}]}})");
  std::vector<FlowControl::Admitted> done;
  TaskScope scope;
  for (int i = 0; i < 40; ++i) scope.spawn(enter(request("GET", "/version", "jane", {"system:authenticated"}), &done));
  ex.run_ready();
  EXPECT_EQ(done.size(), 3u);
  ex.run_until(ex.now() + kBorrowingPeriod + std::chrono::seconds(1));
  EXPECT_EQ(done.size(), 40u);
  for (auto& d : done) EXPECT_FALSE(d.refused);
}

TEST_F(FlowControlTest, AWideRequestWaitsForItsSeatsAndNobodyOvertakesIt) {
  create("prioritylevelconfigurations",
         R"({"metadata":{"name":"tiny"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":5,"borrowingLimitPercent":0,"lendablePercent":0,"limitResponse":{"type":"Queue","queuing":{"queues":1,"handSize":1,"queueLengthLimit":9}}}}})");
  create("flowschemas",
         R"({"metadata":{"name":"tiny"},"spec":{"matchingPrecedence":10,"priorityLevelConfiguration":{"name":"tiny"},"rules":[{"subjects":[{"kind":"User","user":{"name":"jane"}}],"resourceRules":[{"verbs":["*"],"apiGroups":["*"],"resources":["*"],"namespaces":["*"]}]}]}})");
  FlowControl& f = *server->flow_control();
  for (int i = 0; i < 150; ++i) {
    Request r = request("POST", "/api/v1/namespaces/default/configmaps", "admin", {"system:masters"});
    r.body = R"({"metadata":{"name":"m)" + std::to_string(i) + R"("}})";
    r.content_type = "application/json";
    ASSERT_EQ(run_task(ex, send(&r)), 201);
  }
  Request list = request("GET", "/api/v1/namespaces/default/configmaps", "jane", {"system:authenticated"});
  Request get = request("GET", "/api/v1/namespaces/default/configmaps/m1", "jane", {"system:authenticated"});
  ASSERT_EQ(f.width(list, "tiny").seats, 2);
  // Five shares of 250 are twelve seats.
  std::vector<FlowControl::Admitted> done;
  TaskScope scope;
  for (int i = 0; i < 11; ++i) scope.spawn(enter(get, &done));
  scope.spawn(enter(list, &done));
  scope.spawn(enter(get, &done));
  ex.run_ready();
  EXPECT_EQ(done.size(), 11u) << "one seat is free: too few for the list, and the last one stands behind it";
  Request dump = request("GET", "/debug/api_priority_and_fairness/dump_requests", "admin", {"system:masters"});
  dump.query = {{"includeRequestDetails", "1"}};
  std::optional<Response> shown = f.serve_dump(dump);
  ASSERT_TRUE(shown);
  std::string requests = *shown->body;
  std::erase(requests, ' ');
  EXPECT_NE(requests.find(",jane,list,/api/v1/namespaces/default/configmaps,default,,v1,configmaps,"), std::string::npos) << requests;
  dump.path = "/debug/api_priority_and_fairness/dump_priority_levels";
  std::string levels = *f.serve_dump(dump)->body;
  std::string line = levels.substr(levels.find("\ntiny,") + 1);
  std::erase(line, ' ');
  EXPECT_EQ(line.substr(0, line.find('\n')), "tiny,1,false,false,2,11,11,0,0,0");
  dump.path = "/debug/api_priority_and_fairness/dump_queues";
  EXPECT_NE(f.serve_dump(dump)->body->find("PendingRequests"), std::string::npos);
  dump.path = "/debug/api_priority_and_fairness/dump_more";
  EXPECT_FALSE(f.serve_dump(dump));
  done.erase(done.begin());
  ex.run_ready();
  EXPECT_EQ(done.size(), 11u) << "the list runs";
  done.erase(done.begin());
  ex.run_ready();
  EXPECT_EQ(done.size(), 11u) << "and the one behind it";
}

TEST_F(FlowControlTest, ASchemaWhoseLevelIsMissingSaysSo) {
  create("flowschemas", R"({"metadata":{"name":"lost"},"spec":{"matchingPrecedence":10,"priorityLevelConfiguration":{"name":"none"}}})");
  ex.run_until(ex.now() + std::chrono::seconds(1));
  auto dangling = [&](const char* name) {
    auto v = server->core().types.find("flowcontrol.apiserver.k8s.io", "v1", "flowschemas")->storage->cache->get("", name)->value();
    const json::Value& c = v->path({"status", "conditions"});
    return c.size() == 1 ? c.at(0)["status"].as_string() + " " + c.at(0)["reason"].as_string() + " " + c.at(0)["message"].as_string() : std::to_string(c.size());
  };
  EXPECT_EQ(dangling("lost"), "True NotFound This FlowSchema references the PriorityLevelConfiguration object named \"none\" but there is no such object");
  EXPECT_EQ(dangling("exempt"), "False Found This FlowSchema references the PriorityLevelConfiguration object named \"exempt\" and it exists");
  create("prioritylevelconfigurations", R"({"metadata":{"name":"none"},"spec":{"type":"Limited","limited":{"nominalConcurrencyShares":1,"limitResponse":{"type":"Reject"}}}})");
  ex.run_until(ex.now() + std::chrono::seconds(1));
  EXPECT_EQ(dangling("lost").substr(0, 11), "False Found");
}

TEST(BorrowingTest, IdleLevelsLendDownToTheirFloorAndNobodyGoesOverItsCeiling) {
  LevelSeats busy, idle, bounded;
  busy.nominal = idle.nominal = bounded.nominal = 100;
  busy.lower = 100, busy.upper = 300;
  idle.lower = 40, idle.upper = 300;
  bounded.lower = 100, bounded.upper = 110;
  std::vector<LevelSeats*> all = {&busy, &idle, &bounded};
  std::vector<SeatDemand::Summary> demand = {{250, 0, 250}, {0, 0, 0}, {200, 0, 200}};
  adjust_seats(all, demand, 300);
  EXPECT_EQ(idle.current, 40);
  EXPECT_LE(bounded.current, 110);
  EXPECT_GE(busy.current, 150);
  EXPECT_LE(busy.current + idle.current + bounded.current, 301);
  // The lender wants its seats back: it has them at the next adjustment.
  demand[1] = {100, 0, 100};
  adjust_seats(all, demand, 300);
  EXPECT_EQ(idle.current, 100);
}

TEST(BorrowingTest, DemandIsRememberedAsAnEnvelope) {
  SeatDemand d;
  Time t = *parse_rfc3339("2026-01-01T00:00:00Z");
  d.set(0, t);
  d.set(10, t + std::chrono::seconds(5));
  auto s = d.take(t + std::chrono::seconds(10));
  EXPECT_DOUBLE_EQ(s.average, 5);
  EXPECT_DOUBLE_EQ(s.deviation, 5);
  EXPECT_DOUBLE_EQ(s.high, 10);
  EXPECT_DOUBLE_EQ(d.take(t + std::chrono::seconds(20)).average, 10);
}

}  // namespace
}  // namespace caravel::apiserver
