#include <gtest/gtest.h>

#include "base/strings.h"
#include "cloud/cloud.h"
#include "cloud/hollow_substrate.h"
#include "cloud/md5.h"
#include "cloud/query.h"

namespace caravel::cloud {
namespace {

struct Fixture : testing::Test {
  VirtualExecutor ex{7};
  std::unique_ptr<Journal> journal = make_memory_journal();
  std::unique_ptr<machines::Substrate> substrate = make_hollow_substrate(ex, {});
  std::unique_ptr<Cloud> cloud = std::make_unique<Cloud>(ex, CloudOptions{}, *journal, *substrate);
  void SetUp() override { ASSERT_TRUE(cloud->start().ok()); }

  Output call(const char* service, const char* action, const char* input) { return run_task(ex, cloud->call(service, action, *json::parse(input), cloud->root())); }
  Value must(const char* service, const char* action, const std::string& input) {
    auto r = call(service, action, input.c_str());
    EXPECT_TRUE(r.ok()) << action << ": " << (r.ok() ? "" : r.error().details + " " + r.error().message);
    return r.ok() ? *r : Value();
  }
  std::string subnet(const char* cidr) {
    Value out = must("ec2", "DescribeSubnets", std::string(R"({"Filters":[{"Name":"cidr-block","Values":[")") + cidr + "\"]}]}");
    return std::as_const(out)["Subnets"].at(0)["SubnetId"].as_string();
  }
  std::string image() {
    Value out = must("ssm", "GetParameter", R"({"Name":"/aws/service/eks/optimized-ami/1.36/amazon-linux-2023/x86_64/standard/recommended/image_id"})");
    return std::as_const(out)["Parameter"]["Value"].as_string();
  }
  std::string run_one(const std::string& more = "") {
    Value out = must("ec2", "RunInstances", R"({"MinCount":1,"MaxCount":1,"InstanceType":"t3.medium","IamInstanceProfile":{"Name":"caravel-node"},"ImageId":")" + image() + R"(","SubnetId":")" + subnet("10.0.11.0/24") + "\"" + more + "}");
    return std::as_const(out)["Instances"].at(0)["InstanceId"].as_string();
  }
  std::string state(const std::string& id) { return (*cloud->records().find("instances", id))["State"]["Name"].as_string(); }
};

TEST_F(Fixture, AnInstanceBootsAndEndsInVirtualTime) {
  std::string id = run_one();
  EXPECT_EQ(state(id), "pending");
  ex.run_for(std::chrono::seconds(2));
  EXPECT_EQ(state(id), "running");
  must("ec2", "TerminateInstances", R"({"InstanceIds":[")" + id + "\"]}");
  EXPECT_EQ(state(id), "shutting-down");
  ex.run_for(std::chrono::seconds(2));
  EXPECT_EQ(state(id), "terminated");
  for (auto& [eni, e] : cloud->records().table("network-interfaces")) EXPECT_NE(e["_owner_id"].as_string(), id);
  ex.run_for(std::chrono::hours(2));
  EXPECT_EQ(cloud->records().find("instances", id), nullptr) << "terminated instances are shown for an hour";
}

TEST_F(Fixture, MetadataAnswersWhatTheAgentsAsk) {
  std::string id = run_one(R"(,"UserData":"aGVsbG8=")");
  auto get = [&](const std::string& path) { return cloud->instance_metadata(id, path).value_or("(404)"); };
  EXPECT_EQ(get("/latest/meta-data/instance-id"), id);
  EXPECT_EQ(get("/latest/meta-data/placement/availability-zone"), "us-east-1a");
  EXPECT_EQ(get("/2021-07-15/meta-data/placement/region"), "us-east-1");
  EXPECT_EQ(get("/latest/user-data"), "hello");
  EXPECT_EQ(get("/latest/meta-data/iam/security-credentials/"), "caravel-node");
  EXPECT_NE(get("/latest/meta-data/iam/security-credentials/caravel-node").find("ASIA"), std::string::npos);
  std::string mac = get("/latest/meta-data/mac");
  EXPECT_EQ(get("/latest/meta-data/network/interfaces/macs/" + mac + "/subnet-ipv4-cidr-block"), "10.0.11.0/24");
  EXPECT_EQ(get("/latest/meta-data/spot/instance-action"), "(404)");
  EXPECT_EQ(get("/latest/meta-data/nothing"), "(404)");
}

TEST_F(Fixture, ASpotInterruptionWarnsTwoMinutesAhead) {
  std::string id = run_one(R"(,"InstanceMarketOptions":{"MarketType":"spot"})");
  ex.run_for(std::chrono::seconds(2));
  ASSERT_TRUE(cloud->interrupt_spot(id).ok());
  EXPECT_TRUE(cloud->instance_metadata(id, "/latest/meta-data/spot/instance-action"));
  ex.run_for(std::chrono::seconds(110));
  EXPECT_EQ(state(id), "running");
  ex.run_for(std::chrono::seconds(15));
  EXPECT_EQ(state(id), "terminated");
}

TEST_F(Fixture, AFailedActionLeavesNothing) {
  size_t before = cloud->records().snapshot().size();
  std::string input = R"({"MinCount":1,"MaxCount":1000,"InstanceType":"t3.medium","ImageId":")" + image() + R"(","SubnetId":")" + subnet("10.0.11.0/24") + "\"}";
  auto r = call("ec2", "RunInstances", input.c_str());
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().details, "InsufficientFreeAddressesInSubnet");
  EXPECT_EQ(cloud->records().snapshot().size(), before);
}

TEST_F(Fixture, ARestartKeepsEverythingThatWasAnswered) {
  std::string id = run_one();
  ex.run_for(std::chrono::seconds(2));
  cloud.reset();
  cloud = std::make_unique<Cloud>(ex, CloudOptions{}, *journal, *substrate);
  ASSERT_TRUE(cloud->start().ok());
  EXPECT_EQ(state(id), "running");
}

TEST_F(Fixture, TheNetworkHasTheSeedsShape) {
  machines::NetworkState n = desired_network(cloud->records());
  EXPECT_EQ(n.subnets.size(), 9u);
  EXPECT_EQ(n.nat_gateways.size(), 3u);
  for (const auto& s : n.subnets) {
    std::string to;
    for (const auto& r : s.routes)
      if (r.destination == "0.0.0.0/0") to = r.target.substr(0, 3);
    bool is_public = s.name.find("public") != std::string::npos, is_private = s.name.find("private") != std::string::npos;
    EXPECT_EQ(to, is_public ? "igw" : is_private ? "nat"
                                                 : "")
        << s.name;
  }
}

TEST(Md5, MatchesRfc1321) {
  EXPECT_EQ(md5_hex(""), "d41d8cd98f00b204e9800998ecf8427e");
  EXPECT_EQ(md5_hex("message digest"), "f96b697d7cb7938d525a2f31aaf161d0");
}

}  // namespace
}  // namespace caravel::cloud
