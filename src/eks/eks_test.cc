#include <gtest/gtest.h>

#include "eks/instance.h"
#include "eks/user_data.h"

namespace caravel::eks {
namespace {

TEST(Instance, NodeConfigOutOfMimeUserData) {
  const std::string text =
      "MIME-Version: 1.0\nContent-Type: multipart/mixed; boundary=\"//\"\n\n--//\nContent-Type: application/node.eks.aws\n\n---\n"
      "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster:\n    name: caravel\n    apiServerEndpoint: https://10.0.11.10:443\n"
      "    certificateAuthority: Q0E=\n  kubelet:\n    config:\n      maxPods: 17\n      registerWithTaints:\n      - {key: karpenter.sh/unregistered, effect: NoExecute}\n"
      "    flags: [\"--node-labels=a=b,c=d\", \"--bootstrap-token=abcdef.0123456789abcdef\"]\n--//--\n";
  auto c = parse_node_config(text);
  ASSERT_TRUE(c.ok()) << c.error().message;
  EXPECT_EQ(c->api_server_endpoint, "https://10.0.11.10:443");
  EXPECT_EQ(c->certificate_authority, "CA");
  EXPECT_EQ(c->max_pods, 17);
  EXPECT_EQ(c->labels["c"], "d");
  EXPECT_EQ(c->bootstrap_token, "abcdef.0123456789abcdef");
  ASSERT_EQ(c->taints.size(), 1u);
  EXPECT_EQ(c->taints[0].effect, "NoExecute");
  EXPECT_FALSE(parse_node_config("#!/bin/sh\necho hi\n").ok());
}

TEST(Instance, EksReservations) {
  InstanceFacts f;  // m5.large
  f.cpus = 2;
  f.memory_mib = 8192;
  f.enis = 3;
  f.addresses_per_eni = 10;
  NodeResources r = node_resources(f, NodeConfig());
  EXPECT_EQ(r.capacity["pods"].value(), 29);
  EXPECT_EQ(r.allocatable["cpu"].text(), "1930m");
  EXPECT_EQ(r.allocatable["memory"].value(), (8192ll - 255 - 11 * 29 - 100) << 20);
}

TEST(UserData, reads_a_mime_message_with_two_node_configs_and_a_script) {
  auto d = parse_user_data(
      "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"//\"\r\n\r\n"
      "--//\r\nContent-Type: application/node.eks.aws\r\n\r\n"
      "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  cluster:\n    name: demo\n  kubelet:\n    flags: [--a]\n"
      "\r\n--//\r\nContent-Type: text/x-shellscript; charset=us-ascii\r\n\r\n#!/bin/sh\necho hi\n"
      "\r\n--//\r\nContent-Type: application/node.eks.aws\r\n\r\n"
      "apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec:\n  kubelet:\n    config: {maxPods: 29}\n    flags: [--b]\n"
      "\r\n--//--\r\n");
  ASSERT_TRUE(d.ok()) << d.error().message;
  EXPECT_EQ(json::dump(d->node_config["spec"]), R"({"cluster":{"name":"demo"},"kubelet":{"flags":["--a","--b"],"config":{"maxPods":29}}})");
  ASSERT_EQ(d->scripts.size(), 1u);
  EXPECT_NE(d->scripts[0].find("echo hi"), std::string::npos);
}

TEST(UserData, reads_one_bare_part_and_refuses_nonsense) {
  auto bare = parse_user_data("apiVersion: node.eks.aws/v1alpha1\nkind: NodeConfig\nspec: {cluster: {name: x}}\n");
  ASSERT_TRUE(bare.ok());
  EXPECT_EQ(bare->node_config.path({"spec", "cluster", "name"}).as_string(), "x");
  EXPECT_EQ(parse_user_data("#!/bin/sh\ntrue\n")->scripts.size(), 1u);
  EXPECT_TRUE(parse_user_data("")->node_config.is_null());
  EXPECT_FALSE(parse_user_data("Content-Type: application/node.eks.aws\n\nkind: Pod\n").ok());
}

}  // namespace
}  // namespace caravel::eks
