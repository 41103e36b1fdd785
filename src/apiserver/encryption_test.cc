// Encryption at rest: layouts, rotation, and what lies in the store.
#include "apiserver/encryption.h"
#include "apiserver/encryption_test_store.h"

#include <gtest/gtest.h>

#include "base/scope.h"
#include "base/strings.h"

namespace caravel::apiserver {
namespace {

std::string from_hex(std::string_view h) {
  std::string out;
  for (size_t i = 0; i + 1 < h.size(); i += 2) out.push_back(static_cast<char>(std::stoi(std::string(h.substr(i, 2)), nullptr, 16)));
  return out;
}
std::string key32(char c) { return base64_encode(std::string(32, c)); }
std::string config(std::string providers, std::string resources = "[secrets]") {
  return "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: " + resources + "\n  providers:\n" + providers;
}
std::string gcm(std::string name, char c) { return "  - aesgcm: {keys: [{name: " + name + ", secret: \"" + key32(c) + "\"}]}\n"; }

TEST(Encryption, WhatIsSealedOpensAndNothingElseDoes) {
  for (auto* make : {make_aes_gcm, make_aes_cbc, make_secretbox}) {
    auto t = make("k", std::string(32, 'a')), other = make("k", std::string(32, 'b'));
    for (std::string plain : {std::string(), std::string("x"), std::string(1000, 'y')}) {
      auto sealed = t->seal(plain, "/registry/core/secrets/a/b");
      ASSERT_TRUE(sealed.ok());
      auto opened = t->open(*sealed, "/registry/core/secrets/a/b");
      ASSERT_TRUE(opened.ok()) << t->prefix();
      EXPECT_EQ(*opened, plain);
      auto wrong = other->open(*sealed, "/registry/core/secrets/a/b");
      EXPECT_FALSE(wrong.ok() && *wrong == plain && !plain.empty()) << t->prefix();
    }
  }
  auto g = make_aes_gcm("k", std::string(16, 'a'));
  EXPECT_FALSE(g->open(*g->seal("v", "/one"), "/other").ok()) << "a value moved to another key does not open";
}

TEST(Encryption, SecretboxIsNaCls) {
  // The test vector of NaCl's crypto_secretbox.
  auto t = make_secretbox("k", from_hex("1b27556473e985d462cd51197a9a46c76009549eac6474f206c4ee0844f68389"));
  auto plain = t->open(from_hex("69696ee955b62b73cd62bda875fc73d68219e0036b7a0b37"
                                "f3ffc7703f9400e52a7dfb4b3d3305d98e993b9f48681273c29650ba32fc76ce48332ea7164d96a4476fb8c531a1186ac0dfc17c98dce87b4da7f011ec48c97271d2c20f9b928fe2"
                                "270d6fb863d51738b48eeee314a7cc8ab932164548e526ae90224368517acfeabd6bb3732bc0e9da99832b61ca01b6de56244a9e88d5f9b37973f622a43d14a6599b1f654cb45a74"
                                "e355a5"),
                       "");
  ASSERT_TRUE(plain.ok()) << plain.error().message;
  EXPECT_EQ(plain->substr(0, 4), from_hex("be075fc5"));
}

TEST(Encryption, ConfigurationsAreChecked) {
  auto why = [](std::string text) {
    auto r = parse_encryption_config(text);
    return r.ok() ? "" : r.error().message;
  };
  EXPECT_EQ(why(config(gcm("k", 'a') + "  - identity: {}\n")), "");
  EXPECT_NE(why(config("  - aesgcm: {keys: [{name: k, secret: \"YWJj\"}]}\n")).find("got 3, expected one of [16 24 32]"), std::string::npos);
  EXPECT_NE(why(config("  - kms: {name: x}\n")).find("Use KMSv2 instead"), std::string::npos);
  EXPECT_NE(why("kind: Pod\n").find("EncryptionConfiguration"), std::string::npos);
}

class EncryptedStoreTest : public testing::Test {
 protected:
  VirtualExecutor ex{3};
  std::unique_ptr<store::Store> plain = store::make_memory_store(ex);
  std::unique_ptr<store::Store> with(std::string providers) { return make_encrypted_store(ex, std::make_unique<Borrowed>(*plain), std::make_shared<EncryptionRules>(std::move(*parse_encryption_config(config(providers))))); }
  int64_t put(store::Store& s, std::string key, int64_t expect = 0) {
    store::Op op;
    op.key = key;
    op.value = R"({"metadata":{"resourceVersion":""},"data":"hush"})";
    op.stamp_at = op.value.find("\"\"}") + 1;
    store::Txn t;
    t.compares.push_back({key, expect});
    t.ops.push_back(std::move(op));
    auto r = run_task(ex, s.txn(std::move(t)));
    EXPECT_TRUE(r.ok() && r->succeeded);
    return r->revision;
  }
  Result<std::string> read(store::Store& s, std::string key) {
    auto r = run_task(ex, s.get(key, 0));
    if (!r.ok()) return std::move(r).error();
    return *(*r)->value;
  }
};

TEST_F(EncryptedStoreTest, ListedResourcesAreUnreadableAtRestAndCarryTheirRevision) {
  auto s = with(gcm("k1", 'a') + "  - identity: {}\n");
  int64_t revision = put(*s, "/registry/core/secrets/a/b");
  put(*s, "/registry/core/configmaps/a/b");
  EXPECT_EQ(read(*plain, "/registry/core/secrets/a/b")->substr(0, 22), "k8s:enc:aesgcm:v1:k1:" + read(*plain, "/registry/core/secrets/a/b")->substr(21, 1));
  EXPECT_EQ(read(*plain, "/registry/core/secrets/a/b")->find("hush"), std::string::npos);
  EXPECT_NE(read(*plain, "/registry/core/configmaps/a/b")->find("hush"), std::string::npos);
  EXPECT_EQ(*read(*s, "/registry/core/secrets/a/b"), R"({"metadata":{"resourceVersion":")" + std::to_string(revision) + R"("},"data":"hush"})");
}

TEST_F(EncryptedStoreTest, KeysRotateAndOldValuesStayReadable) {
  put(*plain, "/registry/core/secrets/a/old");
  auto first = with(gcm("k1", 'a') + "  - identity: {}\n");
  put(*first, "/registry/core/secrets/a/one");
  auto second = with(gcm("k2", 'b') + gcm("k1", 'a') + "  - identity: {}\n");
  put(*second, "/registry/core/secrets/a/two");
  for (std::string name : {"old", "one", "two"}) EXPECT_NE(read(*second, "/registry/core/secrets/a/" + name)->find("hush"), std::string::npos) << name;
  auto lost = with(gcm("k2", 'b'));
  auto gone = read(*lost, "/registry/core/secrets/a/one");
  ASSERT_FALSE(gone.ok());
  EXPECT_NE(gone.error().message.find("no matching prefix found"), std::string::npos);
}

TEST_F(EncryptedStoreTest, AValueUnderAnOlderKeyIsOutdated) {
  auto outdated = [&](store::Store& s) { return *run_task(ex, s.outdated("/registry/core/secrets/a/s")); };
  auto first = with(gcm("k1", 'a') + "  - identity: {}\n");
  EXPECT_FALSE(outdated(*first)) << "there is none";
  put(*first, "/registry/core/secrets/a/s");
  EXPECT_FALSE(outdated(*first));
  EXPECT_TRUE(outdated(*with(gcm("k2", 'b') + gcm("k1", 'a'))));
  EXPECT_TRUE(outdated(*with("  - identity: {}\n" + gcm("k1", 'a')))) << "to be decrypted";
  put(*plain, "/registry/core/secrets/a/t");
  EXPECT_TRUE(*run_task(ex, first->outdated("/registry/core/secrets/a/t"))) << "written before encryption";
  put(*first, "/registry/core/configmaps/a/s");
  EXPECT_FALSE(*run_task(ex, first->outdated("/registry/core/configmaps/a/s"))) << "not to be encrypted";
}

TEST_F(EncryptedStoreTest, OtherRulesHoldFromTheNextAccessOn) {
  auto rules = std::make_shared<EncryptionRules>(std::move(*parse_encryption_config(config(gcm("k1", 'a')))));
  auto s = make_encrypted_store(ex, std::make_unique<Borrowed>(*plain), rules);
  put(*s, "/registry/core/secrets/a/one");
  rules->set(std::move(*parse_encryption_config(config(gcm("k2", 'b') + gcm("k1", 'a')))));
  put(*s, "/registry/core/secrets/a/two");
  EXPECT_EQ(read(*plain, "/registry/core/secrets/a/two")->substr(0, 21), "k8s:enc:aesgcm:v1:k2:");
  EXPECT_NE(read(*s, "/registry/core/secrets/a/one")->find("hush"), std::string::npos);
}

TEST_F(EncryptedStoreTest, WatchesSeePlainValues) {
  auto s = with(gcm("k1", 'a'));
  std::string seen;
  store::WatchSink sink;
  sink.events = [&](std::span<const store::Event> events) {
    for (auto& e : events) seen += *e.kv.value;
  };
  sink.ended = [](Error) {};
  auto sub = s->watch("/registry/", 0, std::move(sink));
  put(*s, "/registry/core/secrets/a/b");
  ex.run_for(std::chrono::seconds(1));
  EXPECT_NE(seen.find("hush"), std::string::npos);
}

}  // namespace
}  // namespace caravel::apiserver
