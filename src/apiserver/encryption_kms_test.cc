// Encryption at rest by a key management plug-in: seeds, rotation, what happens while the plug-in is away.
#include "apiserver/encryption_kms.h"
#include "apiserver/encryption_test_store.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "base/strings.h"
#include "kube/wire.h"
#include "net/event_loop.h"
#include "net/http.h"

namespace caravel::apiserver {
namespace {

namespace wire = kube::wire;

// What a plug-in knows. "Encrypts" by turning bytes round, under the name of its key.
struct Plugin {
  std::string key_id = "key-1", healthz = "ok";
  bool away = false;
  int encrypted = 0, decrypted = 0;
  static std::string turned(std::string s) { return {s.rbegin(), s.rend()}; }
};

class Direct final : public KmsService {
 public:
  explicit Direct(Plugin& p) : p_(&p) {}
  Task<Result<KmsStatus>> status() override {
    if (p_->away) co_return unavailable("nobody there");
    co_return KmsStatus{"v2", p_->healthz, p_->key_id};
  }
  Task<Result<KmsSealed>> encrypt(std::string plain, std::string) override {
    if (p_->away) co_return unavailable("nobody there");
    ++p_->encrypted;
    KmsSealed s;
    s.ciphertext = Plugin::turned(plain);
    s.key_id = p_->key_id;
    s.annotations["note.example.com"] = "n";
    co_return s;
  }
  Task<Result<std::string>> decrypt(KmsSealed sealed, std::string) override {
    if (p_->away) co_return unavailable("nobody there");
    EXPECT_EQ(sealed.annotations["note.example.com"], "n");
    ++p_->decrypted;
    co_return Plugin::turned(sealed.ciphertext);
  }

 private:
  Plugin* p_;
};

constexpr const char* kConfig =
    "kind: EncryptionConfiguration\napiVersion: apiserver.config.k8s.io/v1\nresources:\n- resources: [secrets]\n  providers:\n"
    "  - kms: {apiVersion: v2, name: vault, endpoint: 'unix:///run/kms.sock', timeout: 1s}\n";

class KmsTest : public testing::Test {
 protected:
  VirtualExecutor ex{3};
  Plugin plugin;
  std::unique_ptr<store::Store> plain = store::make_memory_store(ex);

  std::unique_ptr<store::Store> server() {
    KmsConnect connect = [this](std::string name, std::string socket, Duration) -> std::unique_ptr<ValueTransformer> {
      EXPECT_EQ(socket, "/run/kms.sock");
      return std::make_unique<KmsTransformer>(ex, name, std::make_unique<Direct>(plugin));
    };
    auto rules = parse_encryption_config(kConfig, connect);
    EXPECT_TRUE(rules.ok());
    return make_encrypted_store(ex, std::make_unique<Borrowed>(*plain), std::make_shared<EncryptionRules>(std::move(*rules)));
  }
  Status put(store::Store& s, std::string name, std::string value) {
    store::Op op;
    op.key = "/registry/core/secrets/a/" + name;
    op.value = std::move(value);
    store::Txn t;
    t.ops.push_back(std::move(op));
    auto r = run_task(ex, s.txn(std::move(t)));
    if (!r.ok()) return std::move(r).error();
    return ok();
  }
  Result<std::string> read(store::Store& s, std::string name) {
    auto r = run_task(ex, s.get("/registry/core/secrets/a/" + name, 0));
    if (!r.ok()) return std::move(r).error();
    return *(*r)->value;
  }
};

TEST_F(KmsTest, OneSeedServesAllWritesAndTheNextServerAsksForItOnce) {
  auto s = server();
  for (int i = 0; i < 20; ++i) ASSERT_TRUE(put(*s, std::to_string(i), "hush").ok());
  EXPECT_EQ(plugin.encrypted, 1);
  auto at_rest = read(*plain, "3");
  EXPECT_EQ(at_rest->substr(0, 21), "k8s:enc:kms:v2:vault:");
  EXPECT_EQ(at_rest->find("hush"), std::string::npos);
  EXPECT_NE(*at_rest, *read(*plain, "4")) << "each value has a key of its own";
  EXPECT_EQ(plugin.decrypted, 0);
  auto later = server();
  for (int i = 0; i < 20; ++i) EXPECT_EQ(*read(*later, std::to_string(i)), "hush");
  EXPECT_EQ(plugin.decrypted, 1);
}

TEST_F(KmsTest, AnotherKeyOfThePluginMeansAnotherSeed) {
  auto s = server();
  ASSERT_TRUE(put(*s, "old", "hush").ok());
  plugin.key_id = "key-2";
  ex.run_for(2min);
  EXPECT_EQ(plugin.encrypted, 2);
  EXPECT_TRUE(*run_task(ex, s->outdated("/registry/core/secrets/a/old")));
  ASSERT_TRUE(put(*s, "new", "hush").ok());
  EXPECT_FALSE(*run_task(ex, s->outdated("/registry/core/secrets/a/new")));
  EXPECT_NE(read(*plain, "new")->find("key-2"), std::string::npos);
  EXPECT_EQ(*read(*s, "old"), "hush");
  EXPECT_EQ(*read(*s, "new"), "hush");
}

TEST_F(KmsTest, WithoutItsPluginAServerReadsWhatItKnowsAndSoonWritesNoMore) {
  auto s = server();
  ASSERT_TRUE(put(*s, "one", "hush").ok());
  plugin.away = true;
  ex.run_for(2min);
  EXPECT_TRUE(put(*s, "two", "hush").ok()) << "the seed is good for a while";
  ex.run_for(5min);
  Status refused = put(*s, "three", "hush");
  ASSERT_FALSE(refused.ok());
  EXPECT_NE(refused.error().message.find("KMS provider \"vault\""), std::string::npos) << refused.error().message;
  EXPECT_EQ(*read(*s, "two"), "hush");
  plugin.away = false;
  EXPECT_TRUE(put(*s, "three", "hush").ok());
  plugin.healthz = "sealed";
  ex.run_for(10min);
  EXPECT_NE(put(*s, "four", "hush").error().message.find("\"sealed\""), std::string::npos);
}

TEST_F(KmsTest, ItsHealthIsWhatThePluginSaidLast) {
  KmsTransformer t(ex, "vault", std::make_unique<Direct>(plugin));
  ex.run_for(1s);
  EXPECT_TRUE(t.remote_health()->ok());
  plugin.healthz = "sealed";
  ex.run_for(2min);
  EXPECT_NE(t.remote_health()->error().message.find("\"sealed\""), std::string::npos);
  plugin.healthz = "ok";
  ex.run_for(1min);
  EXPECT_TRUE(t.remote_health()->ok());
}

TEST_F(KmsTest, AWatchWaitsForTheSeedOfAnotherServerAndKeepsTheOrder) {
  auto mine = server(), other = server();
  std::vector<std::string> seen;
  store::WatchSink sink;
  sink.events = [&](std::span<const store::Event> events) {
    for (auto& e : events) seen.push_back(*e.kv.value);
  };
  sink.ended = [](Error) { FAIL() << "the watch ended"; };
  auto sub = mine->watch("/registry/", 0, std::move(sink));
  ASSERT_TRUE(put(*mine, "a", "1").ok());
  EXPECT_EQ(seen, (std::vector<std::string>{"1"})) << "one's own are there before the writer is answered";
  plugin.key_id = "key-2";  // the other server notices first, and this one cannot ask just now
  auto third = server();
  ASSERT_TRUE(put(*third, "b", "2").ok());
  ASSERT_TRUE(put(*mine, "c", "3").ok());
  ex.run_for(3s);
  EXPECT_EQ(seen, (std::vector<std::string>{"1", "2", "3"}));
}

TEST_F(KmsTest, AWatchWhoseValuesNobodyCanOpenEnds) {
  auto mine = server();
  bool ended = false;
  store::WatchSink sink;
  sink.events = [](std::span<const store::Event>) { FAIL() << "a sealed value was delivered"; };
  sink.ended = [&](Error) { ended = true; };
  auto sub = mine->watch("/registry/", 0, std::move(sink));
  ex.run_for(1s);
  Plugin elsewhere = plugin;
  {
    KmsTransformer theirs(ex, "vault", std::make_unique<Direct>(elsewhere));
    ex.run_for(1s);
    plugin.away = true;
    ASSERT_TRUE(put(*plain, "x", theirs.prefix() + *theirs.seal("hush", "/registry/core/secrets/a/x")).ok());
  }
  ex.run_for(30s);
  EXPECT_TRUE(ended);
}

TEST(KmsConfiguration, IsChecked) {
  auto why = [](std::string kms) {
    std::string text = kConfig;
    size_t at = text.find("{apiVersion");
    auto r = parse_encryption_config(text.substr(0, at) + kms + "\n", [](std::string, std::string, Duration) { return make_identity(); });
    return r.ok() ? "" : r.error().message;
  };
  EXPECT_EQ(why("{apiVersion: v2, name: a, endpoint: 'unix:///x'}"), "");
  EXPECT_NE(why("{name: a, endpoint: 'unix:///x'}").find("KMSv1 is deprecated"), std::string::npos);
  EXPECT_NE(why("{apiVersion: v3, name: a, endpoint: 'unix:///x'}").find("only v1 and v2 are supported"), std::string::npos);
  EXPECT_NE(why("{apiVersion: v2, endpoint: 'unix:///x'}").find("name is a required field"), std::string::npos);
  EXPECT_NE(why("{apiVersion: v2, name: a, endpoint: 'tcp://x'}").find("only unix is supported"), std::string::npos);
  EXPECT_NE(why("{apiVersion: v2, name: a, timeout: 0s, endpoint: 'unix:///x'}").find("positive"), std::string::npos);
}

// The same plug-in behind gRPC.
Task<void> serve_plugin(Plugin* p, net::ServerRequest& q, net::ResponseWriter& w) {
  auto body = co_await q.body->read_all(1 << 20);
  std::string in = body.ok() ? body->substr(5) : "", out;
  std::string first;
  wire::Reader r(in);
  for (wire::Item i; r.next(i);)
    if (i.number == 1) first = i.bytes;
  if (q.target.path == "/v2.KeyManagementService/Status") {
    wire::put_bytes(out, 1, "v2");
    wire::put_bytes(out, 2, p->healthz);
    wire::put_bytes(out, 3, p->key_id);
  } else if (q.target.path == "/v2.KeyManagementService/Encrypt") {
    ++p->encrypted;
    std::string entry;
    wire::put_bytes(entry, 1, "note.example.com");
    wire::put_bytes(entry, 2, "n");
    wire::put_bytes(out, 1, Plugin::turned(first));
    wire::put_bytes(out, 2, p->key_id);
    wire::put_bytes(out, 3, entry);
  } else if (q.target.path == "/v2.KeyManagementService/Decrypt") {
    ++p->decrypted;
    wire::put_bytes(out, 1, Plugin::turned(first));
  }
  std::string framed(5, '\0');
  framed[4] = static_cast<char>(out.size());
  net::Headers h{{"content-type", "application/grpc"}};
  Status s = co_await w.start(200, std::move(h));
  s = co_await w.write(framed + out);
  net::Headers trailers{{"grpc-status", "0"}};
  s = co_await w.finish(std::move(trailers));
}

TEST(KmsOverGrpc, SealsAndOpensThroughAUnixSocket) {
  net::EventLoop loop;
  Plugin plugin;
  const std::string socket = "/tmp/caravel-kms-" + std::to_string(getpid()) + ".sock";
  unlink(socket.c_str());
  auto listener = net::listen(loop, {"unix:" + socket});
  ASSERT_TRUE(listener.ok());
  net::HttpServer server(loop, [&plugin](net::ServerRequest& q, net::ResponseWriter& w) { return serve_plugin(&plugin, q, w); });
  server.serve(std::move(*listener));
  KmsTransformer a(loop, "vault", make_kms_client(loop, socket, 3s)), b(loop, "vault", make_kms_client(loop, socket, 3s));
  Status ready = net::run_on(loop, a.prepare_seal());
  ASSERT_TRUE(ready.ok()) << ready.error().message;
  auto sealed = a.seal("hush", "/registry/core/secrets/a/b");
  ASSERT_TRUE(sealed.ok());
  EXPECT_FALSE(b.opens_now(*sealed));
  Status fetched = net::run_on(loop, b.prepare_open(*sealed));
  ASSERT_TRUE(fetched.ok()) << fetched.error().message;
  EXPECT_EQ(*b.open(*sealed, "/registry/core/secrets/a/b"), "hush");
  EXPECT_FALSE(b.open(*sealed, "/registry/core/secrets/a/c").ok()) << "a value moved to another key does not open";
  EXPECT_EQ(plugin.decrypted, 1);
  unlink(socket.c_str());
}

}  // namespace
}  // namespace caravel::apiserver
