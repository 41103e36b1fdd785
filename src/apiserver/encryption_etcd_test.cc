// The state as a careful operator keeps it: in an etcd cluster that speaks TLS with certificates on both sides, and
// encrypted there.
#include <gtest/gtest.h>

#include "apiserver/encryption.h"
#include "base/strings.h"
#include "store/etcd.h"
#include "store/etcd_test_server.h"

namespace caravel::apiserver {
namespace {

struct EncryptedEtcd : testing::Test {
  net::EventLoop loop;
  store::EtcdTls tls;
  std::vector<std::unique_ptr<store::EtcdServer>> members;
  std::vector<std::string> urls;

  void SetUp() override {
    if (!store::EtcdServer::available()) GTEST_SKIP() << "install etcd-server";
    int client[3], peer[3];
    std::string cluster;
    for (int i = 0; i < 3; ++i) {
      client[i] = store::free_port(), peer[i] = store::free_port();
      cluster += (i ? ",m" : "m") + std::to_string(i) + "=https://127.0.0.1:" + std::to_string(peer[i]);
    }
    for (int i = 0; i < 3; ++i) {
      members.push_back(std::make_unique<store::EtcdServer>("m" + std::to_string(i), client[i], peer[i], cluster, &tls));
      urls.push_back(members.back()->url());
    }
  }
  std::unique_ptr<store::Store> open(std::vector<std::string> endpoints) {
    net::TlsClientOptions t;
    t.ca = tls.ca();
    t.certificate = tls.certificate();
    t.key = tls.key();
    store::EtcdOptions o;
    o.endpoints = std::move(endpoints);
    o.tls = *net::make_tls_client(t);
    auto r = net::run_on(loop, store::open_etcd_store(&loop, o));
    EXPECT_TRUE(r.ok()) << r.error().message;
    return r.ok() ? std::move(*r) : nullptr;
  }
  std::unique_ptr<store::Store> encrypted(std::vector<std::string> endpoints) {
    const std::string config =
        "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n"
        "  - aesgcm: {keys: [{name: k1, secret: \"" +
        base64_encode(std::string(32, 'a')) + "\"}]}\n";
    return make_encrypted_store(loop, open(std::move(endpoints)), std::make_shared<EncryptionRules>(std::move(*parse_encryption_config(config))));
  }
  int64_t put(store::Store& s, std::string name, int64_t expect = 0) {
    store::Op op;
    op.key = "/registry/core/secrets/a/" + name;
    op.value = R"({"metadata":{"resourceVersion":""},"data":"hush"})";
    op.stamp_at = op.value.find("\"\"}") + 1;
    store::Txn t;
    t.compares.push_back({op.key, expect});
    t.ops.push_back(std::move(op));
    auto r = net::run_on(loop, s.txn(std::move(t)));
    EXPECT_TRUE(r.ok() && r->succeeded) << name;
    return r.ok() ? r->revision : 0;
  }
  std::string read(store::Store& s, std::string name) {
    auto r = net::run_on(loop, s.get("/registry/core/secrets/a/" + name, 0));
    return r.ok() && *r ? *(*r)->value : "";
  }
};

TEST_F(EncryptedEtcd, SecretsAreSealedThereAndSurviveALostMember) {
  auto a = encrypted(urls), b = encrypted({urls[1], urls[2]});
  std::vector<std::string> seen;
  store::WatchSink sink;
  sink.events = [&](std::span<const store::Event> events) {
    for (auto& e : events) seen.push_back(*e.kv.value);
  };
  sink.ended = [](Error) { FAIL() << "the watch ended"; };
  auto watch = b->watch("/registry/", 0, std::move(sink));
  const int64_t revision = put(*a, "one");
  const std::string plain = R"({"metadata":{"resourceVersion":")" + std::to_string(revision) + R"("},"data":"hush"})";
  EXPECT_EQ(read(*b, "one"), plain);
  EXPECT_EQ(seen, (std::vector<std::string>{plain}));
  auto bare = open(urls);
  EXPECT_EQ(read(*bare, "one").substr(0, 21), "k8s:enc:aesgcm:v1:k1:");
  members[0]->kill_now();  // the one that `a` talks to
  const int64_t later = put(*a, "two");
  EXPECT_GT(later, revision);
  EXPECT_NE(read(*b, "two").find("hush"), std::string::npos);
  EXPECT_EQ(seen.size(), 2u);
  auto listed = net::run_on(loop, a->list({"/registry/core/secrets/", "", 0, 0}));
  ASSERT_TRUE(listed.ok());
  EXPECT_EQ(listed->items.size(), 2u);
}

TEST_F(EncryptedEtcd, WhoShowsNoCertificateIsNotLetIn) {
  ASSERT_TRUE(open(urls));  // it is up
  net::TlsClientOptions t;
  t.ca = tls.ca();
  store::EtcdOptions o;
  o.endpoints = urls;
  o.tls = *net::make_tls_client(t);
  Task<Result<std::unique_ptr<store::Store>>> opening = store::open_etcd_store(&loop, o);
  auto r = net::run_on(loop, within(loop, std::chrono::milliseconds(700), std::move(opening)));
  EXPECT_TRUE(!r || !r->ok());
}

}  // namespace
}  // namespace caravel::apiserver
