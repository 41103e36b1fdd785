// The scheduler with extenders: through the whole API server in virtual time with an extender in the test, and
// the transport against a real HTTP server.
#include "server/extender_transport.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"
#include "kube/types/core.h"
#include "net/http.h"
#include "scheduler/scheduler.h"

namespace caravel::server {
namespace {

using json::Value;

Value parse(const std::string& text) { return json::parse(text).value(); }

// Answers as the test says and keeps what was asked.
class FakeExtender final : public scheduler::ExtenderTransport {
 public:
  std::map<std::string, std::function<Result<Value>(const Value&)>> verbs;
  std::map<std::string, std::vector<Value>> asked;
  Task<Result<Value>> post(const scheduler::ExtenderConfig&, std::string verb, Value body) override {
    Result<Value> answer = verbs.at(verb)(body);
    asked[verb].push_back(std::move(body));
    co_return answer;
  }
};

class ExtenderTest : public testing::Test {
 protected:
  VirtualExecutor ex{3};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<apiserver::ApiServer> api;
  std::unique_ptr<kube::Transport> transport;
  std::optional<kube::Client> client;
  FakeExtender fake;
  scheduler::ExtenderConfig config;
  std::unique_ptr<scheduler::Scheduler> scheduler;
  TaskScope scope;

  void SetUp() override {
    auto started = run_task(ex, apiserver::ApiServer::start(ex, *store, apiserver::ApiServerOptions()));
    ASSERT_TRUE(started.ok());
    api = std::move(*started);
    apiserver::User admin;
    admin.name = "admin";
    admin.groups = {"system:masters", "system:authenticated"};
    transport = api->transport(admin);
    client.emplace(*transport, "test");
    create({"", "v1", "serviceaccounts", "ServiceAccount", true}, R"({"metadata":{"name":"default"}})");
    for (const char* name : {"a", "b", "c"})
      create(kube::core::Node::resource(), R"({"metadata":{"name":")" + std::string(name) + R"(","labels":{"kubernetes.io/hostname":")" + name +
                                               R"("}},"status":{"allocatable":{"cpu":"2","memory":"4Gi","pods":"10"}}})");
    config.url_prefix = "http://extender.test/v1";
    config.node_cache_capable = true;
    config.weight = 1;
  }
  void create(kube::Resource r, const std::string& text) {
    const std::string ns = r.namespaced ? "default" : "";
    Value v = parse(text);
    v["apiVersion"] = r.api_version();
    v["kind"] = r.kind;
    auto made = run_task(ex, client->create(r, ns, v));
    ASSERT_TRUE(made.ok()) << made.error().message;
    if (r.kind != "Node") return;
    Value with = *made;
    with["status"] = v["status"];
    with["spec"] = Value::object();
    kube::WriteOptions o;
    auto untainted = run_task(ex, client->update(r, with, o));
    ASSERT_TRUE(untainted.ok()) << untainted.error().message;
    Value again = *untainted;
    again["status"] = v["status"];
    o.subresource = "status";
    ASSERT_TRUE(run_task(ex, client->update(r, again, o)).ok());
  }
  void pod(const std::string& name, const std::string& spec = "") {
    create(kube::core::Pod::resource(),
           R"({"metadata":{"name":")" + name + R"("},"spec":{)" + spec + R"("containers":[{"name":"c","image":"x","resources":{"requests":{"cpu":"1500m"}}}]}})");
  }
  Value look(const std::string& name) {
    auto p = run_task(ex, client->get(kube::core::Pod::resource(), "default", name));
    return p.ok() ? *p : Value();
  }
  std::string node_of(const std::string& name) { return std::as_const(*std::make_unique<Value>(look(name)))["spec"]["nodeName"].as_string(); }
  std::string message_of(const std::string& name) {
    const Value p = look(name);
    for (const Value& c : p["status"]["conditions"].as_array())
      if (c["type"].as_string() == "PodScheduled") return c["message"].as_string();
    return "";
  }
  void start() {
    scheduler::Options o;
    o.extenders = {config};
    o.transport = &fake;
    scheduler = std::make_unique<scheduler::Scheduler>(ex, kube::Client(*transport, "kube-scheduler"), o);
    scheduler->start(scope);
    ex.run_for(std::chrono::seconds(1));
  }
  void TearDown() override { scope.cancel_all(); }
};

TEST_F(ExtenderTest, ItsFilterAndItsScoresDecide) {
  config.filter_verb = "filter", config.prioritize_verb = "prioritize", config.weight = 5;
  fake.verbs["filter"] = [](const Value&) { return parse(R"({"NodeNames":["b","c"],"FailedNodes":{"a":"no license"}})"); };
  fake.verbs["prioritize"] = [](const Value&) { return parse(R"([{"Host":"b","Score":1},{"Host":"c","Score":10}])"); };
  start();
  pod("p");
  ex.run_for(std::chrono::seconds(2));
  EXPECT_EQ(node_of("p"), "c");
  ASSERT_EQ(fake.asked["filter"].size(), 1u);
  const Value args = fake.asked["filter"][0];
  EXPECT_EQ(args["Pod"]["metadata"]["name"].as_string(), "p");
  EXPECT_EQ(args["NodeNames"].size(), 3u);
  EXPECT_EQ(fake.asked["prioritize"].size(), 1u);
}

TEST_F(ExtenderTest, WhatItTurnsDownIsToldAndTriedAgainWhenSomethingChanges) {
  config.filter_verb = "filter";
  fake.verbs["filter"] = [](const Value&) { return parse(R"({"NodeNames":[],"FailedAndUnresolvableNodes":{"a":"no license","b":"no license","c":"no license"}})"); };
  start();
  pod("p");
  ex.run_for(std::chrono::seconds(3));
  EXPECT_EQ(node_of("p"), "");
  EXPECT_EQ(message_of("p").substr(0, 49), "0/3 nodes are available: 3 no license. no new cla");
  fake.verbs["filter"] = [](const Value& q) {
    Value v;
    v["NodeNames"] = q["NodeNames"];
    return v;
  };
  create(kube::core::Node::resource(), R"({"metadata":{"name":"d"},"status":{"allocatable":{"cpu":"2","memory":"4Gi","pods":"10"}}})");
  ex.run_for(std::chrono::seconds(30));
  EXPECT_NE(node_of("p"), "");
}

TEST_F(ExtenderTest, AFailureIsAnErrorUnlessItMayBeIgnored) {
  config.filter_verb = "filter";
  fake.verbs["filter"] = [](const Value&) -> Result<Value> { return unavailable("connection refused"); };
  start();
  pod("p");
  ex.run_for(std::chrono::seconds(2));
  EXPECT_EQ(node_of("p"), "");
  EXPECT_GE(fake.asked["filter"].size(), 2u) << "it is tried again after the back-off";
  scope.cancel_all();
  scheduler.reset();
  config.ignorable = true;
  start();
  ex.run_for(std::chrono::seconds(2));
  EXPECT_NE(node_of("p"), "");
}

TEST_F(ExtenderTest, ItBinds) {
  config.bind_verb = "bind";
  fake.verbs["bind"] = [](const Value&) { return Value::object(); };
  start();
  pod("p");
  ex.run_for(std::chrono::seconds(2));
  ASSERT_EQ(fake.asked["bind"].size(), 1u);
  const Value args = fake.asked["bind"][0];
  EXPECT_EQ(args["PodName"].as_string(), "p");
  EXPECT_EQ(args["PodNamespace"].as_string(), "default");
  EXPECT_FALSE(args["Node"].as_string().empty());
  EXPECT_EQ(node_of("p"), "") << "the extender has said that it did, and did not";
}

TEST_F(ExtenderTest, ItChoosesAmongTheVictims) {
  create({"scheduling.k8s.io", "v1", "priorityclasses", "PriorityClass", false}, R"({"metadata":{"name":"high"},"value":1000})");
  config.preempt_verb = "preempt";
  fake.verbs["preempt"] = [](const Value& q) {  // only what is on b may go
    Value v;
    v["NodeNameToMetaVictims"]["b"] = q["NodeNameToMetaVictims"]["b"];
    return v;
  };
  start();
  for (const char* name : {"x", "y", "z"}) pod(name);
  ex.run_for(std::chrono::seconds(2));
  pod("important", R"("priorityClassName":"high",)");
  ex.run_for(std::chrono::seconds(5));
  ASSERT_GE(fake.asked["preempt"].size(), 1u);
  EXPECT_EQ(std::as_const(fake.asked["preempt"][0])["NodeNameToMetaVictims"].size(), 3u);
  const Value now = look("important");
  EXPECT_TRUE(now["status"]["nominatedNodeName"].as_string() == "b" || now["spec"]["nodeName"].as_string() == "b") << json::dump(now);
}

// --- the transport ---

Task<void> answer(net::ServerRequest& request, net::ResponseWriter& writer) {
  auto body = co_await request.body->read_all(1 << 20);
  if (!body.ok()) co_return;
  const int status = request.target.path == "/scheduler/filter" ? 200 : 500;
  net::Headers headers{{"content-type", "application/json"}};
  std::string text = R"({"got":)" + *body + R"(,"method":")" + request.method + "\"}";
  Status s = co_await writer.send(status, headers, std::move(text));
  (void)s;
}

Task<void> ask(net::EventLoop& loop, scheduler::ExtenderTransport& transport, const scheduler::ExtenderConfig& e, std::string verb, Value body,
               std::optional<Result<Value>>& out) {
  out = co_await transport.post(e, std::move(verb), std::move(body));
  loop.stop();
}
Result<Value> ask_now(net::EventLoop& loop, scheduler::ExtenderTransport& transport, const scheduler::ExtenderConfig& e, std::string verb, Value body) {
  std::optional<Result<Value>> out;
  TaskScope scope;
  scope.spawn(ask(loop, transport, e, std::move(verb), std::move(body), out));
  if (!out) loop.run();
  return std::move(*out);
}

TEST(ExtenderTransport, PostsJsonToPrefixAndVerb) {
  net::EventLoop loop;
  auto listener = net::listen(loop, {"127.0.0.1:0"});
  ASSERT_TRUE(listener.ok()) << listener.error().message;
  scheduler::ExtenderConfig e;
  e.url_prefix = "http://" + (*listener)->address() + "/scheduler/";
  net::HttpServer server(loop, answer);
  server.serve(std::move(*listener));
  auto transport = make_extender_transport(loop);
  auto good = ask_now(loop, *transport, e, "filter", parse(R"({"Pod":1})"));
  ASSERT_TRUE(good.ok()) << good.error().message;
  EXPECT_EQ(json::dump(*good), R"({"got":{"Pod":1},"method":"POST"})");
  auto bad = ask_now(loop, *transport, e, "prioritize", Value::object());
  ASSERT_FALSE(bad.ok());
  EXPECT_EQ(bad.error().message, "failed prioritize with extender at URL " + e.url_prefix + ", code 500");
}

}  // namespace
}  // namespace caravel::server
