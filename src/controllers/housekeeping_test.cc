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

}  // namespace
}  // namespace caravel::controllers
