#include "net/x509.h"

#include <gtest/gtest.h>

#include "base/json.h"
#include "base/strings.h"

namespace caravel::net {
namespace {

const Time kNow = *parse_rfc3339("2026-06-01T00:00:00Z");

CertificateSpec ca_spec() {
  CertificateSpec s;
  s.names.common_name = "test CA";
  s.not_before = kNow - std::chrono::hours(1);
  s.not_after = kNow + std::chrono::hours(24);
  s.is_ca = true;
  return s;
}

class X509ForEachKey : public testing::TestWithParam<KeyType> {};

TEST_P(X509ForEachKey, a_ca_signs_a_request_and_the_chain_verifies) {
  auto ca_key = generate_key(KeyType::kEcdsaP256);
  auto ca = make_certificate(ca_spec(), *ca_key, "", "");
  ASSERT_TRUE(ca.ok()) << ca.error().message;
  auto key = generate_key(GetParam());
  CertificateNames names{"app.example", {"system:nodes"}, {"app.example", "*.app.example"}, {"10.0.0.1", "::1"}, {"spiffe://a/b"}};
  auto csr = make_csr(names, *key);
  ASSERT_TRUE(csr.ok()) << csr.error().message;
  auto info = parse_csr(*csr);
  ASSERT_TRUE(info.ok()) << info.error().message;
  EXPECT_EQ(info->names.dns_names, names.dns_names);
  EXPECT_EQ(info->names.ip_addresses, names.ip_addresses);
  EXPECT_EQ(info->names.organizations, names.organizations);
  EXPECT_EQ(*csr_public_key_pem(*csr), *public_key_pem(*key));
  EXPECT_TRUE(parse_csr(*csr_to_der(*csr)).ok());

  CertificateSpec spec;
  spec.names = info->names;
  spec.not_before = kNow;
  spec.not_after = kNow + std::chrono::hours(2);
  spec.server_auth = true;
  auto leaf = sign_csr(*csr, spec, *ca, *ca_key);
  ASSERT_TRUE(leaf.ok()) << leaf.error().message;
  auto parsed = parse_certificate(*leaf);
  ASSERT_TRUE(parsed.ok());
  EXPECT_EQ(parsed->issuer_common_name, "test CA");
  EXPECT_EQ(parsed->not_after, spec.not_after);
  EXPECT_EQ(parsed->key_usages, std::vector<std::string>{"server auth"});
  EXPECT_FALSE(parsed->is_ca);
  EXPECT_TRUE(key_matches_certificate(*key, *leaf));
  EXPECT_FALSE(key_matches_certificate(*ca_key, *leaf));
  EXPECT_TRUE(verify_chain(*leaf, "", *ca, kNow + std::chrono::minutes(1)));
  EXPECT_FALSE(verify_chain(*leaf, "", *ca, kNow + std::chrono::hours(3))) << "expired";
  auto other = make_certificate(ca_spec(), *generate_key(KeyType::kEcdsaP256), "", "");
  EXPECT_FALSE(verify_chain(*leaf, "", *other, kNow + std::chrono::minutes(1))) << "another CA";
}

INSTANTIATE_TEST_SUITE_P(Keys, X509ForEachKey, testing::Values(KeyType::kEcdsaP256, KeyType::kEcdsaP384, KeyType::kRsa2048, KeyType::kEd25519));

TEST(Jose, signatures_verify_only_with_the_right_key_data_and_algorithm) {
  struct Case {
    std::string alg;
    KeyType type;
  } cases[] = {{"RS256", KeyType::kRsa2048}, {"ES256", KeyType::kEcdsaP256}, {"ES384", KeyType::kEcdsaP384}};
  for (auto& c : cases) {
    auto key = generate_key(c.type);
    auto sig = jose_sign(c.alg, *key, "header.payload");
    ASSERT_TRUE(sig.ok()) << sig.error().message;
    auto pub = public_key_pem(*key);
    EXPECT_TRUE(jose_verify(c.alg, *pub, "header.payload", *sig));
    EXPECT_FALSE(jose_verify(c.alg, *pub, "header.payloaD", *sig));
    EXPECT_FALSE(jose_verify(c.alg == "RS256" ? "ES256" : "RS256", *pub, "header.payload", *sig));
    EXPECT_FALSE(jose_verify("none", *pub, "header.payload", *sig));
    auto jwk = public_jwk(*key);
    ASSERT_TRUE(jwk.ok());
    EXPECT_TRUE(json::parse(*jwk).ok());
    EXPECT_EQ(*jwk, *public_jwk(*pub));
  }
}

TEST(X509, refuses_a_tampered_request) {
  auto csr = *make_csr({"a", {}, {}, {}, {}}, *generate_key(KeyType::kEcdsaP256));
  auto der = *csr_to_der(csr);
  der[der.size() / 2] ^= 1;
  EXPECT_FALSE(parse_csr(der).ok());
  EXPECT_FALSE(parse_csr("hello").ok());
  EXPECT_FALSE(parse_certificate("hello").ok());
}

}  // namespace
}  // namespace caravel::net
