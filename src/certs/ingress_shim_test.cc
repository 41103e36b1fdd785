// ingress-shim: which Certificates an annotated Ingress asks for.
#include "certs/ingress_shim.h"

#include <gtest/gtest.h>

#include "kube/dynamic_informer.h"

namespace caravel::certs {
namespace {

json::Value annotated_ingress(std::initializer_list<std::pair<const char*, const char*>> annotations) {
  json::Value i = *json::parse(R"({"apiVersion": "networking.k8s.io/v1", "kind": "Ingress",
      "metadata": {"name": "shop", "namespace": "ns", "uid": "i1", "labels": {"app": "shop"}},
      "spec": {"tls": [{"hosts": ["shop.example.com", "www.example.com"], "secretName": "shop-tls"},
                       {"hosts": ["api.example.com"], "secretName": "api-tls"}]}})");
  for (auto& [key, value] : annotations) i["metadata"]["annotations"][std::string("cert-manager.io/") + key] = value;
  return i;
}

// The only entry's spec, with the issuer "ca".
json::Value spec_with(const char* annotation, const char* value) {
  json::Value i = annotated_ingress({{"issuer", "ca"}, {annotation, value}});
  auto plan = certificates_of_ingress(i);
  EXPECT_TRUE(plan.ok()) << annotation;
  return plan.ok() ? std::as_const(plan->certificates[0])["spec"] : json::Value();
}

std::string refusal(const json::Value& ingress) {
  auto plan = certificates_of_ingress(ingress);
  return plan.ok() ? "accepted" : plan.error().message;
}

TEST(IngressShim, EachTlsEntryGetsACertificateNamedAfterItsSecret) {
  auto plan = certificates_of_ingress(annotated_ingress({{"cluster-issuer", "letsencrypt"}}));
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->certificates.size(), 2u);
  const json::Value& c = plan->certificates[0];
  EXPECT_EQ(kube::name_of(c), "shop-tls");
  EXPECT_EQ(kube::namespace_of(c), "ns");
  EXPECT_EQ(kube::label(c, "app"), "shop");
  EXPECT_TRUE(kube::is_owned_by(c, "i1"));
  EXPECT_EQ(c["spec"], *json::parse(R"({"dnsNames": ["shop.example.com", "www.example.com"], "secretName": "shop-tls",
      "issuerRef": {"name": "letsencrypt", "kind": "ClusterIssuer", "group": "cert-manager.io"},
      "usages": ["digital signature", "key encipherment"]})"));
  EXPECT_EQ(kube::name_of(plan->certificates[1]), "api-tls");
  EXPECT_EQ(plan->secrets_named, (std::set<std::string>{"api-tls", "shop-tls"}));
}

TEST(IngressShim, AnIngressThatNamesNoIssuerIsLeftAlone) {
  auto plan = certificates_of_ingress(annotated_ingress({{"common-name", "x"}}));
  ASSERT_TRUE(plan.ok());
  EXPECT_FALSE(plan->managed) << "Certificates made before the annotation was removed stay";
  json::Value going = annotated_ingress({{"issuer", "ca"}});
  going["metadata"]["deletionTimestamp"] = "2026-01-01T00:00:00Z";
  EXPECT_FALSE(certificates_of_ingress(going)->managed);
  json::Value no_tls = annotated_ingress({{"issuer", "ca"}});
  no_tls["spec"].erase("tls");
  plan = certificates_of_ingress(no_tls);
  EXPECT_TRUE(plan->managed && plan->certificates.empty()) << "and this one's Certificates go";
}

TEST(IngressShim, IssuerAnnotationsNameTheIssuer) {
  EXPECT_EQ(spec_with("issuer", "ca")["issuerRef"], *json::parse(R"({"name": "ca", "kind": "Issuer", "group": "cert-manager.io"})"));
  auto plan = certificates_of_ingress(annotated_ingress({{"issuer", "pca"}, {"issuer-kind", "AWSPCAIssuer"}, {"issuer-group", "awspca.cert-manager.io"}}));
  EXPECT_EQ(std::as_const(plan->certificates[0])["spec"]["issuerRef"],
            *json::parse(R"({"name": "pca", "kind": "AWSPCAIssuer", "group": "awspca.cert-manager.io"})"));
}

TEST(IngressShim, ContradictingIssuerAnnotationsAreRefused) {
  for (auto* other : {"issuer", "issuer-kind", "issuer-group"})
    EXPECT_EQ(refusal(annotated_ingress({{"cluster-issuer", "a"}, {other, "b"}})),
              std::string("Could not determine issuer for ingress due to bad annotations: both \"cert-manager.io/") + other +
                  "\" and \"cert-manager.io/cluster-issuer\" may not be set");
}

TEST(IngressShim, AnnotationsBecomeFieldsOfTheSpec) {
  EXPECT_EQ(spec_with("common-name", "shop.example.com")["commonName"].as_string(), "shop.example.com");
  EXPECT_EQ(spec_with("duration", "24h")["duration"].as_string(), "24h0m0s");
  EXPECT_EQ(spec_with("renew-before", "90m")["renewBefore"].as_string(), "1h30m0s");
  EXPECT_EQ(spec_with("renew-before-percentage", "25")["renewBeforePercentage"].as_int(), 25);
  EXPECT_EQ(spec_with("revision-history-limit", "3")["revisionHistoryLimit"].as_int(), 3);
  EXPECT_EQ(spec_with("usages", "server auth, client auth")["usages"], json::Value::array({"server auth", "client auth"}));
  EXPECT_EQ(spec_with("uri-sans", "spiffe://a/b")["uris"], json::Value::array({"spiffe://a/b"}));
  EXPECT_EQ(spec_with("subject-organizations", "A,B").path({"subject", "organizations"}), json::Value::array({"A", "B"}));
  EXPECT_EQ(spec_with("private-key-algorithm", "ECDSA").path({"privateKey", "algorithm"}).as_string(), "ECDSA");
  EXPECT_EQ(spec_with("private-key-size", "384").path({"privateKey", "size"}).as_int(), 384);
  EXPECT_EQ(spec_with("private-key-rotation-policy", "Always").path({"privateKey", "rotationPolicy"}).as_string(), "Always");
}

TEST(IngressShim, ABadAnnotationIsNamed) {
  EXPECT_NE(refusal(annotated_ingress({{"issuer", "ca"}, {"duration", "a year"}})).find("invalid annotation cert-manager.io/duration: "), std::string::npos);
  EXPECT_EQ(refusal(annotated_ingress({{"issuer", "ca"}, {"private-key-size", "big"}})),
            "invalid annotation cert-manager.io/private-key-size: \"big\" is not a whole number");
}

TEST(IngressShim, HostsThatAreAddressesBecomeIpAddresses) {
  json::Value i = annotated_ingress({{"issuer", "ca"}, {"ip-sans", "10.0.0.9"}});
  i["spec"]["tls"] = *json::parse(R"([{"hosts": ["a.example.com", "10.0.0.7", "2001:db8::1"], "secretName": "s"}])");
  auto plan = certificates_of_ingress(i);
  const json::Value& spec = std::as_const(plan->certificates[0])["spec"];
  EXPECT_EQ(spec["dnsNames"], json::Value::array({"a.example.com"}));
  EXPECT_EQ(spec["ipAddresses"], json::Value::array({"10.0.0.7", "2001:db8::1", "10.0.0.9"}));
}

TEST(IngressShim, AnIncompleteTlsEntryIsSkippedAndTheOthersAreServed) {
  json::Value i = annotated_ingress({{"issuer", "ca"}});
  i["spec"]["tls"] = *json::parse(R"([{"hosts": ["a.example.com"]}, {"secretName": "empty"}, {"hosts": ["b.example.com"], "secretName": "b"}])");
  auto plan = certificates_of_ingress(i);
  ASSERT_TRUE(plan.ok());
  ASSERT_EQ(plan->certificates.size(), 1u);
  EXPECT_EQ(kube::name_of(plan->certificates[0]), "b");
  EXPECT_EQ(plan->problems, (std::vector<std::string>{"Skipped a TLS block: spec.tls[0].secretName: Required value",
                                                      "Skipped a TLS block: spec.tls[1].hosts: Required value"}));
  EXPECT_TRUE(plan->secrets_named.count("empty")) << "a Certificate for it stays while the Ingress names its Secret";
}

TEST(IngressShim, TwoEntriesMayNotShareASecret) {
  json::Value i = annotated_ingress({{"issuer", "ca"}});
  i["spec"]["tls"].arr()[1]["secretName"] = "shop-tls";
  EXPECT_EQ(refusal(i), "spec.tls[1].secretName: Invalid value: \"shop-tls\": this secret name must only appear in a single TLS entry");
}

TEST(ShimUpdate, BringsACertificateUpToDateAndKeepsWhatIsNotTheShims) {
  json::Value existing = certificates_of_ingress(annotated_ingress({{"issuer", "ca"}, {"common-name", "a"}, {"private-key-size", "4096"}}))->certificates[0];
  existing["spec"]["secretTemplate"]["labels"]["mine"] = "yes";
  existing["status"]["revision"] = 4;
  EXPECT_FALSE(shim_update(existing, existing));

  json::Value ingress = annotated_ingress({{"issuer", "other"}});
  ingress["metadata"]["labels"]["app"] = "renamed";
  auto updated = shim_update(existing, certificates_of_ingress(ingress)->certificates[0]);
  ASSERT_TRUE(updated);
  const json::Value& c = *updated;
  EXPECT_EQ(c.path({"spec", "issuerRef", "name"}).as_string(), "other");
  EXPECT_FALSE(c["spec"].contains("commonName")) << "its annotation is gone";
  EXPECT_FALSE(c["spec"].contains("privateKey"));
  EXPECT_EQ(kube::label(c, "app"), "renamed");
  EXPECT_EQ(c.path({"spec", "secretTemplate", "labels", "mine"}).as_string(), "yes");
  EXPECT_EQ(c.path({"status", "revision"}).as_int(), 4);
  EXPECT_FALSE(shim_update(c, certificates_of_ingress(ingress)->certificates[0]));
}

}  // namespace
}  // namespace caravel::certs
