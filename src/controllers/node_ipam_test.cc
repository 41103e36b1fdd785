#include "controllers/node_ipam.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

kube::IpRange range(const char* text) { return *kube::IpRange::parse(text); }

TEST(NodeIpam, PiecesAreGivenInOrderAndThoseGivenBackLast) {
  CidrSet s = *CidrSet::make("10.244.0.0/22", 24);
  EXPECT_EQ(s.take()->text(), "10.244.0.0/24");
  EXPECT_EQ(s.take()->text(), "10.244.1.0/24");
  s.release(range("10.244.0.0/24"));
  EXPECT_EQ(s.take()->text(), "10.244.2.0/24");
  EXPECT_EQ(s.take()->text(), "10.244.3.0/24");
  EXPECT_EQ(s.take()->text(), "10.244.0.0/24");
  EXPECT_FALSE(s.take()) << "all are taken";
}

TEST(NodeIpam, WhatNodesHaveAndServicesUseIsNotGiven) {
  CidrSet s = *CidrSet::make("10.244.0.0/22", 24);
  s.occupy(range("10.244.0.0/24"));
  s.occupy(range("10.244.2.0/23"));    // larger than a piece
  s.occupy(range("172.20.0.0/16"));    // elsewhere
  s.release(range("10.244.3.16/28"));  // smaller than one
  EXPECT_EQ(s.take()->text(), "10.244.1.0/24");
  EXPECT_EQ(s.take()->text(), "10.244.3.0/24");
  EXPECT_FALSE(s.take());
}

TEST(NodeIpam, SizesThatCannotBeAreRefused) {
  EXPECT_FALSE(CidrSet::make("10.244.0.0/24", 16).ok());
  EXPECT_FALSE(CidrSet::make("10.0.0.0/8", 28).ok()) << "a million pieces";
  EXPECT_FALSE(CidrSet::make("fd00::/48", 64).ok());
  EXPECT_TRUE(CidrSet::make("10.0.0.0/8", 24).ok());
}

}  // namespace
}  // namespace caravel::controllers
