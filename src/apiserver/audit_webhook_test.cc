// Audit events to a webhook: gathered or one by one, asked again, dropped and counted.
#include "apiserver/audit_webhook.h"

#include <gtest/gtest.h>

#include "apiserver/api_server.h"

namespace caravel::apiserver {
namespace {

using json::Value;

constexpr const char* kPolicy = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata, omitStages: [RequestReceived]}]\n";
constexpr const char* kAllStages = "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: Metadata}]\n";

class AuditWebhookTest : public testing::Test {
 protected:
  VirtualExecutor ex{5};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;
  AuditWebhook* webhook = nullptr;
  std::vector<Value> posts;
  std::vector<Time> posted_at;
  int status = 200;
  Duration takes = Duration(0);

  Task<Result<net::ClientResponse>> answer(net::ClientRequest q) {
    EXPECT_EQ(q.url, "https://audit.example/events");
    posts.push_back(*json::parse(q.body));
    posted_at.push_back(ex.now());
    if (takes > Duration(0)) co_await sleep(ex, takes);
    net::ClientResponse r;
    r.status = status;
    co_return r;
  }
  void start(AuditWebhookOptions o, const char* policy = kPolicy) {
    server = std::move(*run_task(ex, ApiServer::start(ex, *store, ApiServerOptions())));
    auto auditor = std::make_unique<Auditor>(server->core(), *AuditPolicy::parse(policy), nullptr);
    WebhookEndpoint to;
    to.url = "https://audit.example/events";
    auto made = std::make_unique<AuditWebhook>(server->core(), o, to, [this](net::ClientRequest q) { return answer(std::move(q)); });
    webhook = made.get();
    auditor->add(std::move(made));
    server->set_auditor(std::move(auditor));
  }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  int get(std::string path) {
    Request r;
    r.path = std::move(path);
    r.user = make_user("admin", {"system:authenticated", "system:masters"});
    parse_request_info(r);
    return run_task(ex, handle(&r)).status;
  }
  // Our own controllers' requests leave trails, too: only those of admin count.
  int seen() {
    int n = 0;
    for (const Value& p : posts)
      for (auto& e : p["items"].as_array()) n += e.path({"user", "username"}).as_string() == "admin";
    return n;
  }
  double lost(const char* plugin) {
    std::string all = server->core().metrics.expose(), line = std::string("apiserver_audit_error_total{plugin=\"") + plugin + "\"} ";
    size_t at = all.find(line);
    return at == all.npos ? 0 : std::stod(all.substr(at + line.size()));
  }
};

TEST_F(AuditWebhookTest, ABatchGoesWhenItsFirstEventHasWaitedLongEnough) {
  start({});
  Time begin = ex.now();
  get("/version");
  ex.run_for(10s);
  get("/version");
  EXPECT_EQ(seen(), 0);
  ex.run_for(25s);
  EXPECT_EQ(seen(), 2);
  ASSERT_GE(posts.size(), 1u);
  EXPECT_LE(posted_at[0] - begin, 31s);
  const Value first = posts[0];
  EXPECT_EQ(first["kind"].as_string(), "EventList");
  EXPECT_EQ(first["apiVersion"].as_string(), "audit.k8s.io/v1");
}

TEST_F(AuditWebhookTest, AFullBatchGoesAtOnceAndPostsAreThrottled) {
  AuditWebhookOptions o;
  o.batch_max = 2;
  o.posts_per_second = 1;
  o.burst = 1;
  start(o);
  for (int i = 0; i < 6; ++i) get("/version");
  ex.run_for(100ms);
  ASSERT_EQ(posts.size(), 1u);
  EXPECT_EQ(std::as_const(posts[0])["items"].size(), 2u);
  ex.run_for(3s);
  ASSERT_GE(posts.size(), 3u);
  EXPECT_GE(posted_at[2] - posted_at[1], 990ms);
}

TEST_F(AuditWebhookTest, WhatFindsTheBufferFullIsDroppedAndCounted) {
  AuditWebhookOptions o;
  o.buffer_size = 3;
  start(o);
  for (int i = 0; i < 5; ++i) get("/version");
  EXPECT_GE(lost("buffered"), 2);
  ex.run_for(40s);
  EXPECT_LE(seen(), 3);
}

TEST_F(AuditWebhookTest, AWebhookThatFailsIsAskedAgainFiveTimesInAll) {
  start({});
  status = 503;
  get("/version");
  ex.run_for(30min);
  EXPECT_GE(lost("webhook"), 1);
  size_t tries = posts.size();
  EXPECT_EQ(tries % 5, 0u);
  EXPECT_GE(tries, 5u);
}

TEST_F(AuditWebhookTest, ABlockingWebhookIsWaitedForAndItsFailureStopsNobody) {
  AuditWebhookOptions o;
  o.mode = AuditMode::kBlocking;
  start(o);
  takes = 2s;
  Time begin = ex.now();
  EXPECT_EQ(get("/version"), 200);
  EXPECT_GE(ex.now() - begin, 2s);
  EXPECT_EQ(seen(), 1);
  status = 400;
  EXPECT_EQ(get("/version"), 200);
  EXPECT_GE(lost("webhook"), 1);
}

TEST_F(AuditWebhookTest, StrictlyARequestWhoseArrivalCannotBeNotedIsRefused) {
  AuditWebhookOptions o;
  o.mode = AuditMode::kBlockingStrict;
  start(o, kAllStages);
  EXPECT_EQ(get("/version"), 200);
  status = 400;
  EXPECT_EQ(get("/version"), 500);
  EXPECT_NE(server->core().metrics.expose().find("apiserver_audit_requests_rejected_total 1"), std::string::npos);
}

TEST_F(AuditWebhookTest, AtTheEndWhatHasGatheredIsSent) {
  start({});
  get("/version");
  run_task(ex, server->auditor()->drain());
  EXPECT_EQ(seen(), 1);
}

TEST(AuditModes, AreNamed) {
  EXPECT_EQ(*audit_mode("batch"), AuditMode::kBatch);
  EXPECT_FALSE(audit_mode("later").ok());
  AuditWebhookOptions o;
  o.buffer_size = 0;
  EXPECT_FALSE(check_audit_options(o).ok());
}

}  // namespace
}  // namespace caravel::apiserver
