// When cert-manager issues a Certificate again, when it calls it ready, and what it asks for and writes.
#include "certs/certificate.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "certs/resources.h"
#include "kube/dynamic_informer.h"

namespace caravel::certs {
namespace {

using std::chrono::hours;
using std::chrono::minutes;

const Time kNow = Time::from_seconds(1'800'000'000);
constexpr hours kLife{90 * 24};

json::Value parsed(const char* text) { return *json::parse(text); }

json::Value web_certificate() {
  return parsed(R"({"metadata": {"name": "web", "namespace": "shop", "uid": "u1", "generation": 3, "labels": {"team": "a"}},
      "spec": {"secretName": "web-tls", "dnsNames": ["shop.example.com"], "privateKey": {"algorithm": "ECDSA"},
               "issuerRef": {"name": "ca", "kind": "ClusterIssuer"}}})");
}

std::string leaf_for(const json::Value& certificate, const std::string& key, Time not_before = kNow) {
  net::CertificateSpec spec;
  spec.names = requested_names(certificate);
  spec.not_before = not_before;
  spec.not_after = not_before + kLife;
  return *net::make_certificate(spec, key, "", "");
}

// A Certificate that was issued at kNow and lacks nothing.
struct Issued {
  explicit Issued(json::Value c = web_certificate()) : certificate(std::move(c)) {
    key = *net::generate_key(*requested_key_type(certificate));
    request = *request_for(certificate, 1, "web-abcde", key);
    request["status"]["certificate"] = base64_encode(leaf_for(certificate, key));
    secret = issued_secret(certificate, nullptr, request, key);
  }
  std::optional<Violation> need(Time now = kNow) const { return needs_issuance(certificate, &secret, &request, now); }
  std::optional<Violation> unready(Time now = kNow) const { return not_ready(certificate, &secret, &request, now); }
  std::optional<Violation> need_without_request() const { return needs_issuance(certificate, &secret, nullptr, kNow); }

  json::Value certificate, request, secret;
  std::string key;
};

std::string said(const std::optional<Violation>& v) { return v ? v->reason + ": " + v->message : "nothing"; }

TEST(Trigger, ACertificateThatWasJustIssuedNeedsNothingAndIsReady) {
  Issued i;
  EXPECT_EQ(said(i.need()), "nothing");
  EXPECT_EQ(said(i.unready()), "nothing");
  EXPECT_EQ(said(i.need_without_request()), "nothing");
}

TEST(Trigger, NamesTheFirstThingThatIsMissing) {
  Issued i;
  EXPECT_EQ(said(needs_issuance(i.certificate, nullptr, nullptr, kNow)), "DoesNotExist: Issuing certificate as Secret does not exist");
  json::Value key = i.secret["data"]["tls.key"];
  i.secret["data"].erase("tls.key");
  EXPECT_EQ(said(i.need()), "MissingData: Issuing certificate as Secret does not contain a private key");
  i.secret["data"].erase("tls.crt");
  i.secret["data"].erase("ca.crt");
  EXPECT_EQ(said(i.need()), "MissingData: Issuing certificate as Secret does not contain any data");
  i.secret["data"]["tls.key"] = key;
  EXPECT_EQ(said(i.need()), "MissingData: Issuing certificate as Secret does not contain a certificate");
  i.secret["data"]["tls.crt"] = base64_encode("no certificate");
  EXPECT_EQ(said(i.need()), "InvalidCertificate: Issuing certificate as Secret contains an invalid certificate");
}

TEST(Trigger, TheKeyMustBelongToTheCertificateAndToTheRequest) {
  Issued i, other;
  json::Value secret = i.secret;
  secret["data"]["tls.key"] = other.secret["data"]["tls.key"];
  EXPECT_EQ(needs_issuance(i.certificate, &secret, &i.request, kNow)->reason, "InvalidKeyPair");
  EXPECT_EQ(said(needs_issuance(i.certificate, &other.secret, &i.request, kNow)),
            "SecretMismatch: Secret contains a private key that does not match the current CertificateRequest");
}

TEST(Trigger, AnotherKeyAlgorithmOrSizeReissuesButTheOldOneStaysReady) {
  Issued i;
  i.certificate["spec"]["privateKey"]["size"] = 384;
  EXPECT_EQ(said(i.need()), "SecretMismatch: Existing private key is not up to date for spec: [spec.privateKey.size]");
  EXPECT_EQ(said(i.unready()), "nothing");
  i.certificate["spec"].erase("privateKey");
  EXPECT_EQ(said(i.need()), "SecretMismatch: Existing private key is not up to date for spec: [spec.privateKey.algorithm]") << "the default is RSA";
}

TEST(Trigger, AnotherIssuerReissues) {
  Issued i;
  i.certificate["spec"]["issuerRef"]["name"] = "letsencrypt";
  EXPECT_EQ(said(i.need()), "IncorrectIssuer: Issuing certificate as Secret was previously issued by \"ClusterIssuer.cert-manager.io/ca\"");
  EXPECT_EQ(said(i.unready()), "RequestChanged: Fields on existing CertificateRequest resource not up to date: [spec.issuerRef]");
  i.certificate["spec"]["issuerRef"] = parsed(R"({"name": "ca", "kind": "ClusterIssuer", "group": "awspca.cert-manager.io"})");
  EXPECT_EQ(i.need()->reason, "IncorrectIssuer");
  i.certificate["spec"]["issuerRef"]["group"] = "cert-manager.io";
  EXPECT_EQ(said(i.need()), "nothing") << "the group's default, spelled out";
  i.certificate["spec"]["issuerRef"].erase("kind");
  EXPECT_EQ(i.need()->reason, "IncorrectIssuer") << "the default kind is Issuer";
}

TEST(Trigger, AChangedSpecReissuesAndTheMessageNamesTheFields) {
  struct Case {
    const char *change, *field;
  };
  for (auto& c : {Case{R"({"dnsNames": ["shop.example.com", "new.example.com"]})", "spec.dnsNames"},
                  Case{R"({"dnsNames": ["new.example.com"], "uris": ["spiffe://shop"]})", "spec.dnsNames spec.uris"},
                  Case{R"({"ipAddresses": ["10.0.0.1"]})", "spec.ipAddresses"},
                  Case{R"({"commonName": "shop.example.com"})", "spec.commonName"},
                  Case{R"({"subject": {"organizations": ["Shop"]}})", "spec.subject.organizations"},
                  Case{R"({"isCA": true})", "spec.isCA"},
                  Case{R"({"usages": ["client auth"]})", "spec.usages"},
                  Case{R"({"duration": "24h"})", "spec.duration"}}) {
    Issued i;
    json::Value change = parsed(c.change);
    for (auto& m : change.as_object()) i.certificate["spec"][m.key] = m.value;
    std::string want = std::string("RequestChanged: Fields on existing CertificateRequest resource not up to date: [") + c.field + "]";
    EXPECT_EQ(said(i.need()), want);
    EXPECT_EQ(said(i.unready()), want);
  }
}

TEST(Trigger, AnotherSpellingOfTheSameSpecDoesNotReissue) {
  json::Value c = web_certificate();
  c["spec"]["dnsNames"] = json::Value::array({"a.example.com", "b.example.com"});
  c["spec"]["commonName"] = "a.example.com";
  c["spec"]["duration"] = "2160h";
  c["spec"]["usages"] = json::Value::array({"server auth", "client auth"});
  Issued i(c);
  EXPECT_EQ(said(i.need()), "nothing");
  i.certificate["spec"]["dnsNames"] = json::Value::array({"b.example.com", "a.example.com"});
  i.certificate["spec"]["usages"] = json::Value::array({"client auth", "server auth"});
  i.certificate["spec"]["duration"] = "2160h0m0s";
  EXPECT_EQ(said(i.need()), "nothing");
  i.certificate["spec"].erase("duration");
  EXPECT_EQ(said(i.need()), "nothing") << "90 days is the default";
  i.certificate["spec"].erase("commonName");
  EXPECT_EQ(i.need()->reason, "RequestChanged");
}

TEST(Trigger, AnIPv6AddressMayBeWrittenInAnyOfItsForms) {
  json::Value c = web_certificate();
  c["spec"]["ipAddresses"] = json::Value::array({"2001:DB8:0:0::1", "10.0.0.1"});
  Issued i(c);
  EXPECT_EQ(said(i.need()), "nothing") << "else it would be issued again for ever";
}

// A CertificateRequest that was deleted is no reason to issue again as long as the certificate says what it must.
TEST(Trigger, WithoutARequestTheCertificateItselfIsCompared) {
  Issued i;
  i.certificate["spec"]["usages"] = json::Value::array({"client auth"});
  EXPECT_EQ(said(i.need_without_request()), "nothing");
  i.certificate["spec"]["dnsNames"].push_back("new.example.com");
  EXPECT_EQ(said(i.need_without_request()), "SecretMismatch: Existing issued Secret is not up to date for spec: [spec.dnsNames]");
}

TEST(Trigger, RenewsAtTheRenewalTimeAndExpiresAtTheEnd) {
  Issued i;
  Time renewal = kNow + hours(60 * 24);
  EXPECT_EQ(said(i.need(renewal - minutes(1))), "nothing");
  EXPECT_EQ(said(i.need(renewal)), "Renewing: Renewing certificate as renewal was scheduled at " + format_rfc3339(renewal));
  EXPECT_EQ(said(i.unready(renewal)), "nothing") << "it is good until it expires";
  EXPECT_EQ(i.unready(kNow + kLife + minutes(1))->reason, "Expired");
}

TEST(RenewalTime, IsTwoThirdsOfTheLifeUnlessTheSpecSaysOtherwise) {
  auto after = [](const char* spec, Duration life) {
    json::Value c = json::Value::object();
    c["spec"] = parsed(spec);
    return renewal_time(c, kNow, kNow + life) - kNow;
  };
  EXPECT_EQ(after("{}", hours(90)), Duration(hours(60)));
  EXPECT_EQ(after(R"({"renewBefore": "10h"})", hours(90)), Duration(hours(80)));
  EXPECT_EQ(after(R"({"renewBeforePercentage": 25})", minutes(60)), Duration(minutes(45)));
  EXPECT_EQ(after(R"({"renewBefore": "10h", "renewBeforePercentage": 50})", hours(90)), Duration(hours(80))) << "the duration wins";
  for (auto* senseless : {R"({"renewBefore": "90h"})", R"({"renewBefore": "0s"})", R"({"renewBefore": "-1h"})", R"({"renewBefore": "soon"})",
                          R"({"renewBeforePercentage": 100})", R"({"renewBeforePercentage": 0})"})
    EXPECT_EQ(after(senseless, hours(90)), Duration(hours(60))) << senseless;
  EXPECT_EQ(after("{}", std::chrono::seconds(10)), Duration(std::chrono::seconds(6))) << "truncated to seconds";
}

TEST(Backoff, DoublesFromAnHourTo32) {
  std::vector<int64_t> got;
  for (int64_t attempts : {0, 1, 2, 3, 4, 5, 6, 7, 100}) got.push_back(failure_backoff(attempts) / hours(1));
  EXPECT_EQ(got, (std::vector<int64_t>{1, 1, 2, 4, 8, 16, 32, 32, 32}));
}

TEST(Backoff, HoldsAFailedIssuanceBackUntilItIsOverOrTheSpecChanges) {
  json::Value status = parsed(R"({"failedIssuanceAttempts": 2, "conditions": [{"type": "Issuing", "status": "False", "observedGeneration": 3}]})");
  EXPECT_FALSE(held_back_until(status, 3, kNow)) << "nothing failed yet";
  status["lastFailureTime"] = format_rfc3339(kNow);
  EXPECT_EQ(held_back_until(status, 3, kNow + minutes(119)), kNow + hours(2));
  EXPECT_FALSE(held_back_until(status, 3, kNow + hours(2)));
  EXPECT_FALSE(held_back_until(status, 4, kNow + minutes(1))) << "the new spec may be right";
}

TEST(PrivateKey, HasTheAlgorithmAndSizeAskedFor) {
  struct Case {
    const char *spec, *algorithm;
    int bits;
  };
  for (auto& c : {Case{"{}", "RSA", 2048}, Case{R"({"algorithm": "RSA", "size": 3072})", "RSA", 3072}, Case{R"({"algorithm": "ECDSA"})", "ECDSA", 256},
                  Case{R"({"algorithm": "ECDSA", "size": 384})", "ECDSA", 384}, Case{R"({"algorithm": "ECDSA", "size": 521})", "ECDSA", 521}}) {
    json::Value certificate = web_certificate();
    certificate["spec"]["privateKey"] = parsed(c.spec);
    std::string key = *net::generate_key(*requested_key_type(certificate));
    auto info = net::parse_key(key);
    ASSERT_TRUE(info.ok());
    EXPECT_EQ(info->algorithm, c.algorithm);
    EXPECT_EQ(info->bits, c.bits);
    EXPECT_TRUE(differing_key_fields(certificate, key).empty()) << c.spec;
  }
  json::Value ed = web_certificate();
  ed["spec"]["privateKey"] = parsed(R"({"algorithm": "Ed25519", "size": 17})");
  std::string key = *net::generate_key(*requested_key_type(ed));
  EXPECT_EQ(net::parse_key(key)->algorithm, "Ed25519");
  EXPECT_TRUE(differing_key_fields(ed, key).empty()) << "Ed25519 has one size; the field is ignored";
}

TEST(PrivateKey, ASizeThatIsNotOfferedIsRefusedRatherThanReplaced) {
  json::Value c = web_certificate();
  c["spec"]["privateKey"] = parsed(R"({"algorithm": "RSA", "size": 1024})");
  EXPECT_NE(requested_key_type(c).error().message.find("unsupported RSA key size 1024"), std::string::npos);
  c["spec"]["privateKey"] = parsed(R"({"algorithm": "ECDSA", "size": 2048})");
  EXPECT_NE(requested_key_type(c).error().message.find("unsupported ECDSA key size 2048"), std::string::npos);
  c["spec"]["privateKey"] = parsed(R"({"algorithm": "DSA"})");
  EXPECT_NE(requested_key_type(c).error().message.find("\"DSA\""), std::string::npos);
}

TEST(Request, CarriesTheNamesTheKeyAndWhatTheSignerMustKnow) {
  json::Value c = web_certificate();
  json::Value more = parsed(R"({"commonName": "shop.example.com", "subject": {"organizations": ["Shop"]}, "ipAddresses": ["10.0.0.1"],
      "uris": ["spiffe://shop/web"], "duration": "24h", "isCA": true, "usages": ["cert sign"]})");
  for (auto& m : more.as_object()) c["spec"][m.key] = m.value;
  std::string key = *net::generate_key(net::KeyType::kEcdsaP256);
  const json::Value r = *request_for(c, 7, "web-abcde", key);
  EXPECT_EQ(kube::name_of(r), "web-7");
  EXPECT_EQ(kube::namespace_of(r), "shop");
  EXPECT_EQ(kube::label(r, "team"), "a");
  EXPECT_EQ(kube::annotation(r, kCertificateNameKey), "web");
  EXPECT_EQ(kube::annotation(r, kRevisionKey), "7");
  EXPECT_EQ(kube::annotation(r, kPrivateKeySecretKey), "web-abcde");
  EXPECT_TRUE(kube::is_owned_by(r, "u1"));
  EXPECT_EQ(r["spec"]["issuerRef"], std::as_const(c)["spec"]["issuerRef"]);
  EXPECT_EQ(r["spec"]["duration"].as_string(), "24h");
  EXPECT_TRUE(r["spec"]["isCA"].as_bool());
  EXPECT_EQ(r["spec"]["usages"], json::Value::array({"cert sign"}));
  auto csr = net::parse_csr(*base64_decode(r["spec"]["request"].as_string()));
  ASSERT_TRUE(csr.ok());
  EXPECT_EQ(csr->names.common_name, "shop.example.com");
  EXPECT_EQ(csr->names.organizations, (std::vector<std::string>{"Shop"}));
  EXPECT_EQ(csr->names.dns_names, (std::vector<std::string>{"shop.example.com"}));
  EXPECT_EQ(csr->names.ip_addresses, (std::vector<std::string>{"10.0.0.1"}));
  EXPECT_EQ(csr->names.uris, (std::vector<std::string>{"spiffe://shop/web"}));
  EXPECT_TRUE(request_uses_key(r, key));
  EXPECT_FALSE(request_uses_key(r, *net::generate_key(net::KeyType::kEcdsaP256)));
}

TEST(Request, UsagesAreThoseOfATlsServerByDefault) {
  const json::Value r = *request_for(web_certificate(), 1, "s", *net::generate_key(net::KeyType::kEcdsaP256));
  EXPECT_EQ(r["spec"]["usages"], json::Value::array({"digital signature", "key encipherment"}));
  EXPECT_FALSE(r["spec"].contains("isCA"));
  EXPECT_FALSE(r["spec"].contains("duration"));
}

TEST(IssuedSecret, SaysWhoMadeItAndWhatTheCertificateIsFor) {
  Issued i;
  EXPECT_EQ(kube::name_of(i.secret), "web-tls");
  EXPECT_EQ(i.secret["type"].as_string(), "kubernetes.io/tls");
  EXPECT_EQ(secret_data(i.secret, "tls.key"), i.key);
  EXPECT_EQ(kube::label(i.secret, "controller.cert-manager.io/fao"), "true");
  EXPECT_EQ(kube::annotation(i.secret, "cert-manager.io/certificate-name"), "web");
  EXPECT_EQ(kube::annotation(i.secret, "cert-manager.io/issuer-name"), "ca");
  EXPECT_EQ(kube::annotation(i.secret, "cert-manager.io/issuer-kind"), "ClusterIssuer");
  EXPECT_EQ(kube::annotation(i.secret, "cert-manager.io/alt-names"), "shop.example.com");
  EXPECT_FALSE(std::as_const(i.secret)["data"].contains("ca.crt")) << "the signer gave none";
}

TEST(IssuedSecret, DescribesTheCertificateAsIssuedNotAsAskedFor) {
  Issued i;
  json::Value as_issued = i.certificate;
  as_issued["spec"]["commonName"] = "chosen-by-issuer";
  as_issued["spec"]["dnsNames"].push_back("www.example.com");
  i.request["status"]["certificate"] = base64_encode(leaf_for(as_issued, i.key));
  i.request["status"]["ca"] = base64_encode("root");
  json::Value secret = issued_secret(i.certificate, nullptr, i.request, i.key);
  EXPECT_EQ(kube::annotation(secret, "cert-manager.io/common-name"), "chosen-by-issuer");
  EXPECT_EQ(kube::annotation(secret, "cert-manager.io/alt-names"), "shop.example.com,www.example.com");
  EXPECT_EQ(secret_data(secret, "ca.crt"), "root");
}

TEST(IssuedSecret, KeepsWhatOthersPutIntoItAndAddsTheTemplate) {
  Issued i;
  json::Value existing = i.secret;
  existing["data"]["extra"] = base64_encode("kept");
  existing["metadata"]["labels"]["mine"] = "kept";
  i.certificate["spec"]["secretTemplate"] =
      parsed(R"({"labels": {"team": "a"}, "annotations": {"reflect": "yes", "cert-manager.io/issuer-name": "another"}})");
  json::Value secret = issued_secret(i.certificate, &existing, i.request, i.key);
  EXPECT_EQ(secret_data(secret, "extra"), "kept");
  EXPECT_EQ(kube::label(secret, "mine"), "kept");
  EXPECT_EQ(kube::label(secret, "team"), "a");
  EXPECT_EQ(kube::annotation(secret, "reflect"), "yes");
  EXPECT_EQ(said(needs_issuance(i.certificate, &secret, &i.request, kNow)), "nothing") << "a template cannot forge the issuer";
}

}  // namespace
}  // namespace caravel::certs
