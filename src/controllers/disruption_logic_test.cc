#include "controllers/disruption_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Pod;

const Time kNow = Time::from_seconds(1'700'000'000);

Pod marked(const std::string& reason, Duration ago) {
  Pod p;
  p.status.phase = "Running";
  kube::core::PodCondition c;
  c.type = "DisruptionTarget";
  c.status = "True";
  c.reason = reason;
  c.last_transition_time = kNow - ago;
  p.status.conditions.push_back(c);
  return p;
}

TEST(Disruption, ThePodThatStaysIsNoTargetAfterTwoMinutes) {
  EXPECT_EQ(until_stale_disruption(marked("EvictionByEvictionAPI", 30s), kNow), Duration(90s));
  EXPECT_EQ(until_stale_disruption(marked("EvictionByEvictionAPI", 5min), kNow), Duration(0));
  EXPECT_FALSE(until_stale_disruption(Pod(), kNow));
}

TEST(Disruption, WhatTheKubeletSaysAndWhatIsSaidOfGoingPodsStays) {
  EXPECT_FALSE(until_stale_disruption(marked("TerminationByKubelet", 5min), kNow));
  Pod ended = marked("EvictionByEvictionAPI", 5min), going = ended;
  ended.status.phase = "Failed";
  going.metadata.deletion_timestamp = kNow;
  EXPECT_FALSE(until_stale_disruption(ended, kNow));
  EXPECT_FALSE(until_stale_disruption(going, kNow));
}

}  // namespace
}  // namespace caravel::controllers
