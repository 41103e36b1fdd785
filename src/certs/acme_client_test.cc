// ACME (RFC 8555) as a client must speak it, against a server that is a function.
#include "certs/acme_client.h"

#include <gtest/gtest.h>

#include <deque>

#include "base/scope.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::certs {
namespace {

constexpr char kDirectory[] = "https://acme.test/dir";

struct Posted {
  std::string url, signature;
  json::Value head, payload;
  std::string signed_text;
};

// Answers POSTs with what was put into `answers`, first come first served, and checks nothing itself.
struct FakeAcme {
  Task<Result<net::ClientResponse>> answer(net::ClientRequest r) {
    net::ClientResponse out;
    out.status = 200;
    if (r.method == "GET") {
      ++directory_reads;
      out.status = directory_status;
      out.body = R"({"newNonce": "https://acme.test/nonce", "newAccount": "https://acme.test/account", "newOrder": "https://acme.test/order"})";
    } else if (r.method == "HEAD") {
      EXPECT_EQ(r.url, "https://acme.test/nonce");
      ++nonces_asked;
      out.headers.set("replay-nonce", "fresh-" + std::to_string(nonces_asked));
    } else {
      EXPECT_EQ(r.headers.get("content-type"), "application/jose+json");
      const json::Value jws = *json::parse(r.body);
      std::string payload = *base64url_decode(jws["payload"].as_string());
      posted.push_back({r.url, *base64url_decode(jws["signature"].as_string()), *json::parse(*base64url_decode(jws["protected"].as_string())),
                        payload.empty() ? json::Value() : *json::parse(payload), jws["protected"].as_string() + "." + jws["payload"].as_string()});
      if (answers.empty()) co_return unavailable("no answer left");
      out = std::move(answers.front());
      answers.pop_front();
    }
    co_return out;
  }

  void will_answer(int status, const char* body, const char* nonce = "", const char* location = "") {
    net::ClientResponse r;
    r.status = status;
    r.headers.set("content-type", status < 400 ? "application/json" : "application/problem+json");
    if (*nonce) r.headers.set("replay-nonce", nonce);
    if (*location) r.headers.set("location", location);
    r.body = body;
    answers.push_back(std::move(r));
  }

  std::deque<net::ClientResponse> answers;
  std::vector<Posted> posted;
  int directory_reads = 0, nonces_asked = 0, directory_status = 200;
};

struct AcmeTest : testing::Test {
  AcmeClient client(const std::string& account = "https://acme.test/account/1") {
    return AcmeClient([this](net::ClientRequest r) { return acme.answer(std::move(r)); }, kDirectory, key, account);
  }
  std::string nonce_of(size_t i) const { return acme.posted.at(i).head["nonce"].as_string(); }

  FakeAcme acme;
  std::string key = *net::generate_key(net::KeyType::kEcdsaP256);
  VirtualExecutor ex{1};
};

constexpr char kBadNonce[] = R"({"type": "urn:ietf:params:acme:error:badNonce", "detail": "stale"})";

TEST_F(AcmeTest, RegistersWithTheKeyItselfAndThenSignsAsTheAccount) {
  acme.will_answer(201, "{}", "", "https://acme.test/account/7");
  acme.will_answer(200, R"({"status": "pending"})");
  AcmeClient c = client("");
  auto url = run_task(ex, c.register_account("ops@example.com"));
  ASSERT_TRUE(url.ok()) << url.error().message;
  EXPECT_EQ(*url, "https://acme.test/account/7");
  ASSERT_TRUE(run_task(ex, c.get_order("https://acme.test/order/1")).ok());
  const json::Value &first = acme.posted.at(0).head, &second = acme.posted.at(1).head;
  EXPECT_EQ(acme.posted[0].payload, *json::parse(R"({"termsOfServiceAgreed": true, "contact": ["mailto:ops@example.com"]})"));
  EXPECT_EQ(first["jwk"], *json::parse(*net::public_jwk(key)));
  EXPECT_FALSE(first.contains("kid"));
  EXPECT_EQ(second["kid"].as_string(), "https://acme.test/account/7");
  EXPECT_FALSE(second.contains("jwk")) << "RFC 8555 6.2: one of them, never both";
  EXPECT_EQ(acme.directory_reads, 1);
}

TEST_F(AcmeTest, ARequestIsSignedOverItsUrlAndNonceWithTheAlgorithmOfTheKey) {
  struct Case {
    net::KeyType type;
    const char* algorithm;
  };
  for (auto& c : {Case{net::KeyType::kEcdsaP256, "ES256"}, Case{net::KeyType::kEcdsaP384, "ES384"}, Case{net::KeyType::kRsa2048, "RS256"}}) {
    key = *net::generate_key(c.type);
    acme.posted.clear();
    acme.will_answer(200, "{}");
    auto r = run_task(ex, client().get_order("https://acme.test/order/1"));
    ASSERT_TRUE(r.ok()) << c.algorithm << ": " << r.error().message;
    const Posted& p = acme.posted.at(0);
    EXPECT_EQ(p.head["alg"].as_string(), c.algorithm);
    EXPECT_EQ(p.head["url"].as_string(), "https://acme.test/order/1");
    EXPECT_TRUE(p.payload.is_null()) << "a read is a POST without payload";
    EXPECT_TRUE(net::jose_verify(c.algorithm, *net::public_key_pem(key), p.signed_text, p.signature)) << c.algorithm;
  }
}

TEST_F(AcmeTest, UsesEachNonceOnceAndTheOneOfTheLastAnswerNext) {
  acme.will_answer(200, "{}", "n1");
  acme.will_answer(200, "{}");
  acme.will_answer(200, "{}");
  AcmeClient c = client();
  for (int i = 0; i < 3; ++i) ASSERT_TRUE(run_task(ex, c.get_order("https://acme.test/order/1")).ok());
  EXPECT_EQ(nonce_of(0), "fresh-1");
  EXPECT_EQ(nonce_of(1), "n1");
  EXPECT_EQ(nonce_of(2), "fresh-2");
}

TEST_F(AcmeTest, ABadNonceIsTriedAgainWithTheNonceOfTheRefusal) {
  acme.will_answer(400, kBadNonce, "n2");
  acme.will_answer(200, R"({"status": "ready"})");
  auto r = run_task(ex, client().get_order("https://acme.test/order/1"));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_EQ(r->status, "ready");
  EXPECT_EQ(nonce_of(1), "n2");
}

TEST_F(AcmeTest, ButNotForEver) {
  for (int i = 0; i < 20; ++i) acme.will_answer(400, kBadNonce, "n");
  auto r = run_task(ex, client().get_order("https://acme.test/order/1"));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().details, "urn:ietf:params:acme:error:badNonce");
  EXPECT_EQ(acme.posted.size(), 6u);
}

TEST_F(AcmeTest, AProblemDocumentBecomesOneSentence) {
  acme.will_answer(400, R"({"type": "urn:ietf:params:acme:error:rejectedIdentifier", "detail": "Some names are refused", "subproblems": [
      {"type": "t", "detail": "policy forbids it", "identifier": {"type": "dns", "value": "bad.example.com"}}]})");
  auto r = run_task(ex, client().new_order({"bad.example.com"}, {}));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "400 urn:ietf:params:acme:error:rejectedIdentifier: Some names are refused; bad.example.com: policy forbids it");
  EXPECT_EQ(r.error().details, "urn:ietf:params:acme:error:rejectedIdentifier");
  EXPECT_EQ(acme.posted.size(), 1u) << "a refusal is not repeated";
}

// What is worth another try and what has failed for good is told by the code.
TEST_F(AcmeTest, RefusalsAreToldFromTroubles) {
  AcmeClient c = client();
  auto code = [&](int status) {
    acme.will_answer(status, R"({"type": "t", "detail": "d"})");
    return run_task(ex, c.get_order("https://acme.test/order/1")).error().code;
  };
  EXPECT_EQ(code(403), Code::kInvalid);
  EXPECT_EQ(code(404), Code::kNotFound);
  EXPECT_EQ(code(429), Code::kTooMany);
  EXPECT_EQ(code(500), Code::kUnavailable);
  EXPECT_EQ(code(503), Code::kUnavailable);
}

TEST_F(AcmeTest, AnAbsentDirectoryIsNamed) {
  acme.directory_status = 503;
  auto r = run_task(ex, client().new_order({"a.example.com"}, {}));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "the ACME directory https://acme.test/dir answered 503");
}

TEST_F(AcmeTest, AnOrderNamesItsIdentifiersAndIsReadBack) {
  acme.will_answer(201, R"({"status": "pending", "finalize": "https://acme.test/f", "authorizations": ["https://acme.test/a1"]})", "", "https://acme.test/order/9");
  auto order = run_task(ex, client().new_order({"a.example.com"}, {"10.0.0.1"}));
  ASSERT_TRUE(order.ok());
  EXPECT_EQ(acme.posted.at(0).url, "https://acme.test/order");
  EXPECT_EQ(acme.posted[0].payload, *json::parse(R"({"identifiers": [{"type": "dns", "value": "a.example.com"}, {"type": "ip", "value": "10.0.0.1"}]})"));
  EXPECT_EQ(order->url, "https://acme.test/order/9");
  EXPECT_EQ(order->status, "pending");
  EXPECT_EQ(order->finalize_url, "https://acme.test/f");
  EXPECT_EQ(order->authorizations, (std::vector<std::string>{"https://acme.test/a1"}));
}

TEST_F(AcmeTest, AFailedChallengeTellsWhy) {
  acme.will_answer(200, R"({"type": "http-01", "status": "invalid", "token": "t", "url": "u",
      "error": {"type": "urn:ietf:params:acme:error:connection", "detail": "10.0.0.1: connection refused"}})");
  auto c = run_task(ex, client().get_challenge("https://acme.test/c"));
  ASSERT_TRUE(c.ok());
  EXPECT_EQ(c->status, "invalid");
  EXPECT_EQ(c->error, "urn:ietf:params:acme:error:connection: 10.0.0.1: connection refused");
}

TEST_F(AcmeTest, AcceptingSendsAnEmptyObjectAndFinalizingTheCsrAsDer) {
  acme.will_answer(200, R"({"status": "processing"})");
  acme.will_answer(200, R"({"status": "valid", "certificate": "https://acme.test/cert"})");
  AcmeClient c = client();
  ASSERT_TRUE(run_task(ex, c.accept_challenge("https://acme.test/c")).ok());
  EXPECT_EQ(acme.posted.at(0).payload, json::Value::object());
  net::CertificateNames names;
  names.dns_names = {"a.example.com"};
  AcmeOrder order;
  order.url = "https://acme.test/order/9";
  order.finalize_url = "https://acme.test/f";
  auto done = run_task(ex, c.finalize(order, *net::make_csr(names, key)));
  ASSERT_TRUE(done.ok()) << done.error().message;
  EXPECT_EQ(done->certificate_url, "https://acme.test/cert");
  EXPECT_EQ(done->url, order.url);
  auto csr = net::parse_csr(*base64url_decode(std::as_const(acme.posted.at(1).payload)["csr"].as_string()));
  ASSERT_TRUE(csr.ok());
  EXPECT_EQ(csr->names.dns_names, names.dns_names);
}

TEST_F(AcmeTest, TheKeyAuthorizationBindsTheTokenToTheAccountKey) {
  EXPECT_EQ(*client().key_authorization("tok"), "tok." + net::jwk_thumbprint(*net::public_jwk(key)));
  std::string before = *client().key_authorization("tok");
  key = *net::generate_key(net::KeyType::kEcdsaP256);
  EXPECT_NE(*client().key_authorization("tok"), before);
}

}  // namespace
}  // namespace caravel::certs
