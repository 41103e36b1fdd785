#include "controllers/housekeeping.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

TEST(Housekeeping, LargerClustersTrustCachesLongerWithoutFlapping) {
  size_t step = 0;
  EXPECT_EQ(node_ttl(100, step), 0);
  EXPECT_EQ(node_ttl(101, step), 15);
  EXPECT_EQ(node_ttl(95, step), 15);  // stays within the overlap
  EXPECT_EQ(node_ttl(89, step), 0);
  EXPECT_EQ(node_ttl(5000, step), 300);
  EXPECT_EQ(node_ttl(3, step), 0);
}

TEST(Housekeeping, OnlyBootstrapTokensEnd) {
  kube::core::Secret s;
  s.data["expiration"] = "2026-01-02T03:04:05Z";
  EXPECT_FALSE(token_end(s));
  s.type = "bootstrap.kubernetes.io/token";
  EXPECT_EQ(token_end(s), *parse_rfc3339("2026-01-02T03:04:05Z"));
  s.data["expiration"] = "soon";
  EXPECT_EQ(token_end(s), Time{});  // unreadable: not to be trusted
  s.data.erase("expiration");
  EXPECT_FALSE(token_end(s));
}

// An hour counts from the answer: one that comes late is still there to be read.
TEST(Housekeeping, ACertificateRequestGoesAnHourAfterItsAnswerOrADayWithoutOne) {
  kube::certificates::CertificateSigningRequest c;
  const Time made = Time::from_seconds(1'000'000), late = made + 23h;
  c.metadata.creation_timestamp = made;
  EXPECT_EQ(csr_end(c), made + 24h);
  c.status.conditions.emplace_back();
  c.status.conditions[0].type = "Approved";
  c.status.conditions[0].last_update_time = late;
  EXPECT_FALSE(csr_end(c)) << "its signer has not signed yet";
  c.status.certificate = "PEM";
  EXPECT_EQ(csr_end(c), late + 1h);
  for (const char* type : {"Denied", "Failed"}) {
    c.status.certificate.clear();
    c.status.conditions[0].type = type;
    EXPECT_EQ(csr_end(c), late + 1h) << type;
  }
}

}  // namespace
}  // namespace caravel::controllers
