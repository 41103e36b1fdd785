// The controllers together, against an API server that is a map: from a Certificate to its Secret.
#include <gtest/gtest.h>

#include <deque>

#include "base/strings.h"
#include "certs/certificate.h"
#include "certs/context.h"

namespace caravel::certs {
namespace {

constexpr Duration kPatience = std::chrono::seconds(20);

class MapServer final : public kube::Transport {
 public:
  explicit MapServer(Executor& ex) : ex_(&ex) {}

  Task<Result<kube::ApiResponse>> call(kube::ApiRequest q) override {
    co_await yield(*ex_);
    json::Value body = q.text().empty() ? json::Value() : *json::parse(q.text());
    if (q.verb == "list") {
      json::Value list = json::Value::object();
      list["metadata"]["resourceVersion"] = std::to_string(version_);
      list["items"] = json::Value::array();
      for (auto& [k, v] : objects)
        if (k.starts_with(q.resource.plural + "/")) list["items"].push_back(v);
      co_return kube::ApiResponse{200, std::move(list)};
    }
    if (q.verb == "create") {
      std::string prefix = std::as_const(body)["metadata"]["generateName"].as_string();
      if (!prefix.empty()) body["metadata"]["name"] = prefix + std::to_string(version_);
      body["metadata"]["uid"] = "uid-" + std::to_string(version_);
      q.name = kube::name_of(body);
    }
    std::string key = q.resource.plural + "/" + q.ns + "/" + q.name;
    auto it = objects.find(key);
    if (q.verb == "create" ? it != objects.end() : it == objects.end()) co_return refusal(it == objects.end() ? 404 : 409, it == objects.end() ? "NotFound" : "AlreadyExists");
    if (q.verb == "get") co_return kube::ApiResponse{200, it->second};
    if (q.verb == "delete") {
      json::Value old = it->second;
      objects.erase(it);
      tell(key, kube::WatchEventType::kDeleted, old);
      co_return kube::ApiResponse{200, std::move(old)};
    }
    if (q.verb == "update") {
      if (!(std::as_const(body)["metadata"]["resourceVersion"] == std::as_const(it->second)["metadata"]["resourceVersion"])) co_return refusal(409, "Conflict");
      json::Value kept = it->second;
      if (q.subresource == "status") kept["status"] = std::as_const(body)["status"];
      else kept = body;
      body = std::move(kept);
    }
    put(key, std::move(body));
    ++writes[q.verb + " " + q.resource.plural];
    co_return kube::ApiResponse{200, objects[key]};
  }

  Task<Result<std::unique_ptr<kube::WatchStream>>> watch(kube::ApiRequest q) override {
    auto w = std::make_shared<Watcher>();
    w->plural = q.resource.plural;
    w->ready = std::make_unique<Event>(*ex_);
    watchers_.push_back(w);
    std::unique_ptr<kube::WatchStream> s = std::make_unique<Stream>(w);
    co_return s;
  }

  void put(const std::string& key, json::Value v) {
    bool fresh = !objects.count(key);
    v["metadata"]["resourceVersion"] = std::to_string(++version_);
    objects[key] = v;
    tell(key, fresh ? kube::WatchEventType::kAdded : kube::WatchEventType::kModified, v);
  }

  std::map<std::string, json::Value> objects;  // "secrets/ns/name"
  std::map<std::string, int> writes;           // "create certificaterequests"

 private:
  struct Watcher {
    std::string plural;
    std::deque<kube::WatchEvent> queue;
    std::unique_ptr<Event> ready;
  };
  class Stream final : public kube::WatchStream {
   public:
    explicit Stream(std::shared_ptr<Watcher> w) : w_(std::move(w)) {}
    Task<Result<std::optional<kube::WatchEvent>>> next() override {
      while (w_->queue.empty()) {
        co_await w_->ready->wait();
        w_->ready->reset();
      }
      auto e = std::move(w_->queue.front());
      w_->queue.pop_front();
      co_return e;
    }

   private:
    std::shared_ptr<Watcher> w_;
  };

  static kube::ApiResponse refusal(int status, const char* reason) {
    json::Value o = json::Value::object();
    o["kind"] = "Status";
    o["reason"] = reason;
    o["message"] = reason;
    return {status, std::move(o)};
  }
  void tell(const std::string& key, kube::WatchEventType type, const json::Value& v) {
    for (auto& w : watchers_) {
      if (!key.starts_with(w->plural + "/")) continue;
      w->queue.push_back({type, v});
      w->ready->set();
    }
  }

  Executor* ex_;
  int64_t version_ = 1;
  std::vector<std::shared_ptr<Watcher>> watchers_;
};

struct ControllersTest : testing::Test {
  ControllersTest() : context(loop, kube::Client(server, "cert-manager"), {}) {
    put_json("issuers/shop/self", R"({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "self", "namespace": "shop", "uid": "i"}, "spec": {"selfSigned": {}}})");
    put_json("certificates/shop/web", R"({"apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "web", "namespace": "shop", "uid": "c", "generation": 1},
        "spec": {"secretName": "web-tls", "dnsNames": ["shop.example.com"], "privateKey": {"algorithm": "ECDSA"}, "issuerRef": {"name": "self"}}})");
    controllers.push_back(make_certificate_controller(context));
    controllers.push_back(make_request_controller(context));
    controllers.push_back(make_ingress_shim(context));
    controllers.push_back(make_issuer_controller(context));
  }
  void put_json(const char* key, const char* text) { server.put(key, *json::parse(text)); }
  const json::Value& object(const char* key) { return server.objects[key]; }
  const json::Value& certificate() { return object("certificates/shop/web"); }
  std::string names_in_secret() {
    auto info = net::parse_certificate(secret_data(object("secrets/shop/web-tls"), "tls.crt"));
    return info.ok() ? join(info->names.dns_names, " ") : "none";
  }
  int64_t revision() { return certificate()["status"]["revision"].as_int(); }
  void change_spec(const std::function<void(json::Value& spec)>& change) {
    json::Value c = certificate();
    change(c["spec"]);
    c["metadata"]["generation"] = std::as_const(c)["metadata"]["generation"].as_int() + 1;
    server.put("certificates/shop/web", std::move(c));
  }

  // Runs the controllers while `script` goes on.
  bool run(std::function<Task<bool>()> script) { return net::run_on(loop, play(std::move(script))); }
  Task<bool> play(std::function<Task<bool>()> script) {
    TaskScope scope;
    for (auto* i : {&context.certificates, &context.requests, &context.issuers, &context.cluster_issuers, &context.orders, &context.secrets, &context.ingresses}) i->start(scope);
    for (auto* i : {&context.certificates, &context.requests, &context.issuers, &context.cluster_issuers, &context.orders, &context.secrets, &context.ingresses}) co_await i->wait_synced();
    for (size_t i = 0; i < running; ++i) controllers[i]->start(scope);
    co_return co_await script();
  }
  Task<bool> until(std::function<bool()> holds) {
    Time end = loop.now() + kPatience;
    while (!holds()) {
      if (loop.now() > end) co_return false;
      co_await sleep(loop, std::chrono::milliseconds(5));
    }
    co_return true;
  }

  net::EventLoop loop;
  MapServer server{loop};
  Context context;
  std::vector<std::unique_ptr<kube::Controller>> controllers;
  size_t running = 4;  // of them
};

TEST_F(ControllersTest, ACertificateIsIssuedOnceAndAgainWhenItsSpecChanges) {
  std::string first_key;
  EXPECT_TRUE(run([&]() -> Task<bool> {
    if (!co_await until([&] { return revision() == 1; })) co_return false;
    first_key = secret_data(object("secrets/shop/web-tls"), "tls.key");
    co_await sleep(loop, std::chrono::milliseconds(200));
    change_spec([](json::Value& spec) { spec["dnsNames"].push_back("www.example.com"); });
    if (!co_await until([&] { return revision() == 2; })) co_return false;
    co_await sleep(loop, std::chrono::milliseconds(200));
    co_return true;
  }));
  EXPECT_EQ(names_in_secret(), "shop.example.com www.example.com");
  EXPECT_EQ(revision(), 2) << "no issuance for what the caches had not heard of yet";
  EXPECT_EQ(server.writes["create certificaterequests"], 2);
  EXPECT_TRUE(kube::condition_is(certificate()["status"]["conditions"], "Ready", "True"));
  EXPECT_EQ(kube::find_condition(certificate()["status"]["conditions"], "Issuing"), nullptr);
  EXPECT_FALSE(certificate()["status"].contains("nextPrivateKeySecretName"));
  for (auto& [key, o] : server.objects) EXPECT_TRUE(!key.starts_with("secrets/") || key == "secrets/shop/web-tls") << key << ": the temporary key stays behind";
  EXPECT_NE(secret_data(object("secrets/shop/web-tls"), "tls.key"), first_key) << "rotationPolicy Always is the default";
}

TEST_F(ControllersTest, ANewSecretTemplateIsAppliedWithoutIssuing) {
  EXPECT_TRUE(run([&]() -> Task<bool> {
    if (!co_await until([&] { return revision() == 1; })) co_return false;
    change_spec([](json::Value& spec) { spec["secretTemplate"] = *json::parse(R"({"labels": {"team": "a"}, "annotations": {"reflect": "yes"}})"); });
    co_return co_await until([&] { return kube::label(object("secrets/shop/web-tls"), "team") == "a"; });
  }));
  EXPECT_EQ(kube::annotation(object("secrets/shop/web-tls"), "reflect"), "yes");
  EXPECT_EQ(revision(), 1);
}

TEST_F(ControllersTest, RotationPolicyNeverKeepsTheKey) {
  change_spec([](json::Value& spec) { spec["privateKey"]["rotationPolicy"] = "Never"; });
  std::string first_key;
  EXPECT_TRUE(run([&]() -> Task<bool> {
    if (!co_await until([&] { return revision() == 1; })) co_return false;
    first_key = secret_data(object("secrets/shop/web-tls"), "tls.key");
    change_spec([](json::Value& spec) { spec["dnsNames"] = json::Value::array({"new.example.com"}); });
    co_return co_await until([&] { return revision() == 2; });
  }));
  EXPECT_EQ(names_in_secret(), "new.example.com");
  EXPECT_EQ(secret_data(object("secrets/shop/web-tls"), "tls.key"), first_key);
}

TEST_F(ControllersTest, ARequestThatFailsIsSaidAndHeldBack) {
  put_json("issuers/shop/self", R"({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "self", "namespace": "shop", "uid": "i"},
      "spec": {"vault": {}}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}})");
  running = 3;  // without the issuers' controller: the issuer stays ready
  EXPECT_TRUE(run([&]() -> Task<bool> {
    if (!co_await until([&] { return certificate()["status"]["failedIssuanceAttempts"].as_int() == 1; })) co_return false;
    co_await sleep(loop, std::chrono::milliseconds(200));
    co_return true;
  }));
  auto* issuing = kube::find_condition(certificate()["status"]["conditions"], "Issuing");
  ASSERT_TRUE(issuing);
  EXPECT_EQ((*issuing)["status"].as_string(), "False");
  EXPECT_TRUE((*issuing)["message"].as_string().starts_with("The certificate request has failed to complete and will be retried: ")) << (*issuing)["message"].as_string();
  EXPECT_EQ(server.writes["create certificaterequests"], 1) << "the next one is an hour away";
  EXPECT_FALSE(kube::condition_is(certificate()["status"]["conditions"], "Ready", "True"));
}

TEST_F(ControllersTest, ACaIssuerSignsWithItsSecretOnceThatIsThere) {
  put_json("issuers/shop/self", R"({"apiVersion": "cert-manager.io/v1", "kind": "Issuer", "metadata": {"name": "self", "namespace": "shop", "uid": "i"},
      "spec": {"ca": {"secretName": "root"}}})");
  std::string root_key = *net::generate_key(net::KeyType::kEcdsaP256), root;
  net::CertificateSpec spec;
  spec.names.common_name = "root";
  spec.not_before = loop.now() - std::chrono::hours(1);
  spec.not_after = loop.now() + std::chrono::hours(24 * 365);
  spec.is_ca = true;
  root = *net::make_certificate(spec, root_key, "", "");
  std::string reason_before;
  EXPECT_TRUE(run([&]() -> Task<bool> {
    auto ready = [&] { return kube::find_condition(object("issuers/shop/self")["status"]["conditions"], "Ready"); };
    if (!co_await until([&] { return ready() != nullptr; })) co_return false;
    reason_before = (*ready())["reason"].as_string();
    json::Value secret = json::Value::object();
    secret["metadata"]["name"] = "root";
    secret["metadata"]["namespace"] = "shop";
    secret["data"]["tls.crt"] = base64_encode(root);
    secret["data"]["tls.key"] = base64_encode(root_key);
    server.put("secrets/shop/root", std::move(secret));
    co_return co_await until([&] { return revision() == 1; });
  }));
  EXPECT_EQ(reason_before, "ErrGetKeyPair");
  std::string chain = secret_data(object("secrets/shop/web-tls"), "tls.crt");
  EXPECT_EQ(net::split_pem(chain).size(), 1u) << "the root is no part of the chain";
  EXPECT_EQ(secret_data(object("secrets/shop/web-tls"), "ca.crt"), root);
  EXPECT_TRUE(net::verify_chain(chain, "", root, loop.now()));
}

TEST_F(ControllersTest, TheShimFollowsTheIngressAndLeavesOthersCertificatesAlone) {
  const char* both = R"([{"hosts": ["a.example.com"], "secretName": "a-tls"}, {"hosts": ["b.example.com"], "secretName": "b-tls"}, {"hosts": ["c.example.com"], "secretName": "web"}])";
  auto put_ingress = [&](const char* annotations, const char* tls) {
    json::Value i = *json::parse(R"({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress", "metadata": {"name": "i", "namespace": "shop", "uid": "ing"}})");
    i["metadata"]["annotations"] = *json::parse(annotations);
    i["spec"]["tls"] = *json::parse(tls);
    server.put("ingresses/shop/i", std::move(i));
  };
  auto there = [&](const char* name) { return server.objects.count(std::string("certificates/shop/") + name) > 0; };
  put_ingress(R"({"cert-manager.io/issuer": "self"})", both);
  EXPECT_TRUE(run([&]() -> Task<bool> {
    if (!co_await until([&] { return there("a-tls") && there("b-tls"); })) co_return false;
    put_ingress(R"({"cert-manager.io/issuer": "self", "cert-manager.io/common-name": "a.example.com"})", R"([{"hosts": ["a.example.com"], "secretName": "a-tls"}])");
    if (!co_await until([&] { return !there("b-tls") && object("certificates/shop/a-tls")["spec"]["commonName"].is_string(); })) co_return false;
    put_ingress("{}", "[]");
    co_await sleep(loop, std::chrono::milliseconds(200));
    co_return true;
  }));
  EXPECT_TRUE(there("a-tls")) << "without the issuer annotation the Ingress is not the shim's any more";
  EXPECT_EQ(certificate()["spec"]["dnsNames"], json::Value::array({"shop.example.com"})) << "somebody else's, of the same name";
}

}  // namespace
}  // namespace caravel::certs
