#include "controllers/service_account_token.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Secret;
using kube::core::ServiceAccount;

Secret secret() {
  Secret s;
  s.metadata.namespace_ = "ns";
  s.metadata.name = "robot-token";
  s.type = kTokenSecretType;
  s.metadata.annotations[kTokenAccount] = "robot";
  return s;
}
ServiceAccount account(const std::string& uid) {
  ServiceAccount a;
  a.metadata.name = "robot";
  a.metadata.uid = uid;
  return a;
}

TEST(ServiceAccountTokens, ASecretIsFilledInOnce) {
  Secret s = secret();
  ASSERT_TRUE(is_token_secret(s));
  EXPECT_TRUE(needs_token(s));
  EXPECT_TRUE(complete_token_secret(s, account("u1"), "CA"));
  EXPECT_EQ(s.metadata.annotations[kTokenAccountUid], "u1");
  EXPECT_EQ(s.data["ca.crt"], "CA");
  EXPECT_EQ(s.data["namespace"], "ns");
  s.data["token"] = "t";
  EXPECT_FALSE(needs_token(s));
  EXPECT_FALSE(complete_token_secret(s, account("u1"), "CA")) << "nothing is left to do";
  s.metadata.annotations.erase(kTokenAccountUid);
  EXPECT_FALSE(complete_token_secret(s, account("u1"), "CA")) << "its notes alone are no reason to write";
  EXPECT_TRUE(complete_token_secret(s, account("u1"), "CA2")) << "the CA was changed";
  EXPECT_EQ(s.metadata.annotations[kTokenAccountUid], "u1");
  s.data["namespace"] = "";
  EXPECT_TRUE(complete_token_secret(s, account("u1"), "CA2"));
  EXPECT_EQ(s.data["namespace"], "ns");
}

TEST(ServiceAccountTokens, ASecretGoesWithItsAccount) {
  Secret s = secret();
  ServiceAccount a = account("u1"), b = account("u2");
  EXPECT_TRUE(is_token_secret_stale(s, nullptr));
  EXPECT_FALSE(is_token_secret_stale(s, &a));
  complete_token_secret(s, a, "CA");
  EXPECT_FALSE(is_token_secret_stale(s, &a));
  EXPECT_TRUE(is_token_secret_stale(s, &b)) << "another account of the same name";
}

TEST(ServiceAccountTokens, OtherSecretsAreLeftAlone) {
  Secret s = secret();
  s.type = "Opaque";
  EXPECT_FALSE(is_token_secret(s));
}

}  // namespace
}  // namespace caravel::controllers
