// What only the etcd engine promises: a cluster, several API servers, plain JSON for etcdctl.
#include "store/etcd.h"

#include <gtest/gtest.h>

#include "store/etcd_messages.h"
#include "store/etcd_test_server.h"

namespace caravel::store {
namespace {

Txn put_txn(std::string key, std::string value, std::optional<int64_t> expect = std::nullopt, size_t stamp = kNoStamp) {
  Txn t;
  if (expect) t.compares.push_back({key, *expect});
  Op op;
  op.key = std::move(key);
  op.value = std::move(value);
  op.stamp_at = stamp;
  t.ops.push_back(std::move(op));
  return t;
}

TEST(EtcdEndpoints, AreChecked) {
  auto e = parse_etcd_endpoints("etcd=http://a:2379/,https://b:2379");
  ASSERT_TRUE(e.ok());
  EXPECT_EQ(*e, (std::vector<std::string>{"http://a:2379", "https://b:2379"}));
  EXPECT_FALSE(parse_etcd_endpoints("etcd=a:2379").ok());
  EXPECT_FALSE(parse_etcd_endpoints("sqlite=x").ok());
}

TEST(EtcdMessages, GarbageIsRefused) {
  EXPECT_FALSE(etcd::decode_range("\xff\xff\xff").ok());
  EXPECT_FALSE(etcd::decode_txn(std::string("\x1a\x05\x0a\x03\x0a\xff\x01", 7)).ok());
  EXPECT_FALSE(etcd::decode_watch("\x5a\x7f").ok());
}

TEST(EtcdMessages, TheRevisionGoesBehindTheFirstEmptyResourceVersion) {
  EXPECT_EQ(*etcd::stamped(R"({"resourceVersion":"","x":{"resourceVersion":""}})", 7), R"({"resourceVersion":"7","x":{"resourceVersion":""}})");
  EXPECT_EQ(*etcd::stamped("{}", 7), "{}");
}

struct EtcdTest : testing::Test {
  net::EventLoop loop;
  void SetUp() override {
    if (!EtcdServer::available()) GTEST_SKIP() << "install etcd-server";
  }
  std::unique_ptr<Store> open(std::vector<std::string> endpoints) {
    EtcdOptions o;
    o.endpoints = std::move(endpoints);
    auto r = net::run_on(loop, open_etcd_store(&loop, o));
    EXPECT_TRUE(r.ok()) << r.error().message;
    return r.ok() ? std::move(*r) : nullptr;
  }
};

TEST_F(EtcdTest, TwoServersSeeEachOthersWritesAndAttachmentsStayAtHome) {
  EtcdServer server;
  auto a = open({server.url()}), b = open({server.url()});
  ASSERT_TRUE(a && b);
  std::vector<std::pair<int64_t, bool>> at_a, at_b;  // revision, had an attachment
  auto sink = [](auto* out) {
    WatchSink s;
    s.events = [out](std::span<const Event> events) {
      for (auto& e : events) out->emplace_back(e.kv.mod_revision, e.attachment != nullptr);
    };
    s.ended = [](Error) {};
    return s;
  };
  auto wa = a->watch("/registry/", 0, sink(&at_a)), wb = b->watch("/registry/", 0, sink(&at_b));
  Txn t = put_txn("/registry/x", R"({"metadata":{"resourceVersion":""}})", 0, 32);
  t.ops[0].attachment = std::make_shared<int>(1);
  auto r = net::run_on(loop, a->txn(std::move(t)));
  ASSERT_TRUE(r.ok() && r->succeeded) << (r.ok() ? "refused" : r.error().message);
  ASSERT_EQ(at_a.size(), 1u);  // before the writer was answered
  EXPECT_TRUE(at_a[0].second);
  auto got = net::run_on(loop, b->get("/registry/x"));  // linearizable: b has it, too
  ASSERT_TRUE(got.ok() && *got);
  EXPECT_EQ(*(*got)->value, "{\"metadata\":{\"resourceVersion\":\"" + std::to_string(r->revision) + "\"}}");
  ASSERT_EQ(at_b.size(), 1u);
  EXPECT_EQ(at_b[0], std::make_pair(r->revision, false));
  // Of two writers with one expectation one wins.
  auto first = net::run_on(loop, b->txn(put_txn("/registry/x", "2", r->revision)));
  auto second = net::run_on(loop, a->txn(put_txn("/registry/x", "3", r->revision)));
  EXPECT_TRUE(first->succeeded);
  EXPECT_FALSE(second->succeeded);
  EXPECT_EQ(*second->values[0]->value, "2");
}

TEST_F(EtcdTest, NobodyThereIsSaidWithTheEndpoints) {
  EtcdOptions o;
  o.endpoints = {"http://127.0.0.1:1"};
  Task<Result<std::unique_ptr<Store>>> opening = open_etcd_store(&loop, o);
  auto r = net::run_on(loop, within(loop, 200ms, std::move(opening)));
  EXPECT_FALSE(r);  // still trying: an etcd that is about to start is waited for
}

struct Writer {
  std::map<std::string, std::string> acknowledged;
  int refused = 0, written = 0;
  bool stop = false;
};
Task<void> write_on(Store* store, int id, Writer* w) {
  std::string key = "/registry/w/" + std::to_string(id);
  int64_t rev = 0;
  for (int i = 0; !w->stop; ++i) {
    std::string value = std::to_string(id) + ":" + std::to_string(i);
    auto r = co_await store->txn(put_txn(key, value, rev));
    if (!r.ok() || !r->succeeded) {
      ++w->refused;
      auto now = co_await store->get(key);
      if (now.ok()) rev = *now ? (*now)->mod_revision : 0;
      continue;
    }
    rev = r->revision;
    w->acknowledged[key] = value;
    ++w->written;
  }
}

TEST_F(EtcdTest, AMemberKilledUnderLoadLosesNoAcknowledgedWrite) {
  int client[3], peer[3];
  std::string cluster;
  for (int i = 0; i < 3; ++i) {
    client[i] = free_port(), peer[i] = free_port();
    cluster += (i ? ",m" : "m") + std::to_string(i) + "=http://127.0.0.1:" + std::to_string(peer[i]);
  }
  std::vector<std::unique_ptr<EtcdServer>> members;
  std::vector<std::string> urls;
  for (int i = 0; i < 3; ++i) {
    members.push_back(std::make_unique<EtcdServer>("m" + std::to_string(i), client[i], peer[i], cluster));
    urls.push_back(members.back()->url());
  }
  auto store = open(urls);
  ASSERT_TRUE(store);
  std::vector<int64_t> seen;
  WatchSink sink;
  sink.events = [&](std::span<const Event> events) {
    for (auto& e : events) seen.push_back(e.kv.mod_revision);
  };
  sink.ended = [](Error) { FAIL() << "the watch ended"; };
  auto watch = store->watch("/registry/", 0, std::move(sink));
  Writer w;
  {
    TaskScope scope;
    for (int i = 0; i < 8; ++i) scope.spawn(write_on(store.get(), i, &w));
    drive(loop, [&] { return w.written >= 60; });
    members[0]->kill_now();  // the one that we talk to
    int then = w.written;
    drive(loop, [&] { return w.written >= then + 60; });
    w.stop = true;
    drive(loop, [&] { return scope.running() == 0; });
  }
  EXPECT_TRUE(std::is_sorted(seen.begin(), seen.end()));
  EXPECT_EQ(std::adjacent_find(seen.begin(), seen.end()), seen.end());
  EXPECT_GE(seen.size(), static_cast<size_t>(w.written));
  // Ask a server that was never told anything.
  auto fresh = open({urls[2], urls[1]});
  ASSERT_TRUE(fresh);
  for (auto& [key, value] : w.acknowledged) {
    auto now = net::run_on(loop, fresh->get(key));
    ASSERT_TRUE(now.ok() && *now) << key;
    EXPECT_EQ(*(*now)->value, value);
  }
}

}  // namespace
}  // namespace caravel::store
