#include <gtest/gtest.h>

#include "base/strings.h"
#include "node/cri/messages.h"
#include "node/cri/protobuf.h"

namespace caravel::node::cri {
namespace {

using protobuf::decode;
using protobuf::encode;

TEST(Protobuf, WritesFieldNumbersAndLeavesZeroValuesOut) {
  Mount m;
  m.container_path = "/a";
  m.readonly = true;
  EXPECT_EQ(hex_encode(encode(m)), "0a022f611801");
  EXPECT_EQ(encode(Mount{}), "");
}

TEST(Protobuf, AnOptionalMessageIsPresentEvenWhenEmpty) {
  LinuxContainerSecurityContext c;
  c.run_as_user.emplace();  // user 0 is not "no user"
  EXPECT_EQ(hex_encode(encode(c)), "2a00");
  LinuxContainerSecurityContext back;
  ASSERT_TRUE(decode(encode(c), &back).ok());
  ASSERT_TRUE(back.run_as_user.has_value());
  EXPECT_EQ(back.run_as_user->value, 0);
}

TEST(Protobuf, RoundTripsANestedMessage) {
  CreateContainerRequest q;
  q.pod_sandbox_id = "s";
  q.config.envs.push_back({"A", "1"});
  q.config.labels["x"] = "y";
  q.config.command = {"sh", ""};
  q.config.linux_.resources.oom_score_adj = -997;
  q.config.linux_.security_context.supplemental_groups = {1, 300};
  CreateContainerRequest back;
  ASSERT_TRUE(decode(encode(q), &back).ok());
  EXPECT_EQ(back.config.linux_.resources.oom_score_adj, -997);
  EXPECT_EQ(back.config.command, (std::vector<std::string>{"sh", ""}));
  EXPECT_EQ(back.config.labels["x"], "y");
  EXPECT_EQ(back.config.linux_.security_context.supplemental_groups, (std::vector<int64_t>{1, 300}));
  EXPECT_EQ(encode(back), encode(q));
}

TEST(Protobuf, SkipsUnknownFieldsAndRefusesWhatIsCutOff) {
  ContainerId id;
  ASSERT_TRUE(decode(*hex_decode("7a0178"
                                 "0a0161"),
                     &id)
                  .ok());
  EXPECT_EQ(id.container_id, "a");
  EXPECT_FALSE(decode(*hex_decode("0a05616263"), &id).ok());
  EXPECT_FALSE(decode(*hex_decode("ff"), &id).ok());
  EXPECT_FALSE(decode(*hex_decode("0b"), &id).ok());
}

}  // namespace
}  // namespace caravel::node::cri
