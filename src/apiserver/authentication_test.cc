// Whose bearer token it is: the token file, issuers of JWTs, webhooks.
#include <gtest/gtest.h>

#include "apiserver/authentication/token_file.h"

namespace caravel::apiserver {
namespace {

TEST(TokenFile, ALineIsATokenAUserHisUidAndHisGroups) {
  std::vector<std::string> warnings;
  auto t = parse_token_file("abc,jane,u1,\"devs,ops\"\n\ndef,\"a \"\"b\"\", c\",u2\r\nghi,joe,,one\n", warnings);
  ASSERT_TRUE(t.ok()) << t.error().message;
  ASSERT_EQ(t->size(), 3u);
  EXPECT_EQ((*t)[0].token, "abc");
  EXPECT_EQ((*t)[0].user.name, "jane");
  EXPECT_EQ((*t)[0].user.uid, "u1");
  EXPECT_EQ((*t)[0].user.groups, (std::vector<std::string>{"devs", "ops"}));
  EXPECT_EQ((*t)[1].user.name, "a \"b\", c");
  EXPECT_TRUE((*t)[1].user.groups.empty());
  EXPECT_EQ((*t)[2].user.groups, (std::vector<std::string>{"one"}));
  EXPECT_TRUE(warnings.empty());
}

TEST(TokenFile, ErrorsNameLinesAndNeverTokens) {
  std::vector<std::string> warnings;
  auto two = parse_token_file("good,jane,u1\n\nsecret,joe\n", warnings);
  ASSERT_FALSE(two.ok());
  EXPECT_EQ(two.error().message, "line 3: must have at least 3 columns (token, user name, user uid), found 2");
  auto quote = parse_token_file("good,jane,u1\nsecret,\"joe,u2\n", warnings);
  ASSERT_FALSE(quote.ok());
  EXPECT_EQ(quote.error().message.find("secret"), std::string::npos);
  EXPECT_NE(quote.error().message.find("line 2"), std::string::npos);
  EXPECT_FALSE(parse_token_file("se\"cret,joe,u\n", warnings).ok());
}

TEST(TokenFile, ATokenThatComesAgainCountsAsItsLastLineSays) {
  std::vector<std::string> warnings;
  auto t = parse_token_file("abc,jane,u1\n,joe,u2\nabc,jim,u3\n", warnings);
  ASSERT_TRUE(t.ok());
  ASSERT_EQ(t->size(), 1u);
  EXPECT_EQ((*t)[0].user.name, "jim");
  ASSERT_EQ(warnings.size(), 2u);
  EXPECT_EQ(warnings[0], "line 2: empty token, the line is skipped");
  EXPECT_EQ(warnings[1].find("abc"), std::string::npos);
}

}  // namespace
}  // namespace caravel::apiserver
