#include "scheduler/queue.h"

#include <gtest/gtest.h>

#include "scheduler/cluster.h"

namespace caravel::scheduler {
namespace {

constexpr Time kStart = {1'000'000'000'000};

TEST(Queue, HigherPriorityFirstThenOlder) {
  Queue q;
  q.add("a/young", 0, kStart + 2s);
  q.add("a/old", 0, kStart + 1s);
  q.add("a/important", 1000, kStart + 3s);
  EXPECT_EQ(q.pop(kStart), "a/important");
  EXPECT_EQ(q.pop(kStart), "a/old");
  EXPECT_EQ(q.pop(kStart), "a/young");
  EXPECT_EQ(q.pop(kStart), std::nullopt);
}

TEST(Queue, AnEventWakesOnlyPodsThatItMayHelp) {
  Queue q;
  q.add("needs-cpu", 0, kStart);
  q.add("needs-label", 0, kStart);
  q.pop(kStart), q.pop(kStart);
  q.failed("needs-cpu", kNodeResourcesFit, kStart);
  q.failed("needs-label", kNodeAffinity, kStart);
  q.wake(kPodDeleted, kStart + 2s);
  EXPECT_EQ(q.pop(kStart + 2s), "needs-cpu");
  EXPECT_EQ(q.unschedulable(), 1u);
  q.wake(kNodeLabels, kStart + 2s, [](const std::string&, uint32_t) { return false; });
  EXPECT_EQ(q.pop(kStart + 2s), std::nullopt) << "the hint said no";
}

TEST(Queue, BackoffDoublesUpToTenSecondsAfterErrors) {
  Queue q;
  q.add("p", 0, kStart);
  Time now = kStart;
  for (int64_t expected : {1, 2, 4, 8, 10, 10}) {
    ASSERT_EQ(q.pop(now), "p");
    q.errored("p", now);
    ASSERT_EQ(q.next_due(), now + std::chrono::seconds(expected));
    EXPECT_EQ(q.pop(now + std::chrono::seconds(expected) - 1ns), std::nullopt);
    now = now + std::chrono::seconds(expected);
  }
}

TEST(Queue, AWokenPodIsTakenEarlyWhenNothingElseIsReady) {
  Queue q;
  q.add("p", 0, kStart);
  q.pop(kStart);
  q.failed("p", kNodeResourcesFit, kStart);
  q.wake(kNodeAdded, kStart + 10ms);
  EXPECT_EQ(q.backing_off(), 1u);
  q.add("other", 0, kStart + 1s);
  EXPECT_EQ(q.pop(kStart + 20ms), "other");
  EXPECT_EQ(q.pop(kStart + 20ms), "p");
}

TEST(Queue, ANodeThatBecomesRightInStepsWakesThePod) {
  Queue q;
  q.add("p", 0, kStart);
  q.pop(kStart);
  q.failed("p", kNodeResourcesFit, kStart);
  bool fits = false;
  auto hint = [&](const std::string&, uint32_t) { return fits; };
  q.wake(kNodeAdded, kStart + 2s, hint);        // empty and tainted
  q.wake(kNodeAllocatable, kStart + 3s, hint);  // room, still tainted
  EXPECT_EQ(q.pop(kStart + 3s), std::nullopt);
  fits = true;
  q.wake(kNodeTaints, kStart + 4s, hint);
  EXPECT_EQ(q.pop(kStart + 4s), "p");
}

TEST(Queue, UnschedulablePodsAreTriedAgainAfterFiveMinutes) {
  Queue q;
  q.add("p", 0, kStart);
  q.pop(kStart);
  q.failed("p", kNodeAffinity, kStart);
  EXPECT_EQ(q.pop(kStart + 299s), std::nullopt);
  EXPECT_EQ(q.pop(kStart + 300s), "p");
}

TEST(Queue, ARemovedPodIsForgottenWhereverItWaits) {
  Queue q;
  for (const char* key : {"active", "backoff", "unschedulable"}) q.add(key, 0, kStart);
  q.errored("backoff", kStart);
  q.failed("unschedulable", kNodeAffinity, kStart);
  for (const char* key : {"active", "backoff", "unschedulable"}) q.remove(key);
  q.wake(kAllEvents, kStart);
  EXPECT_EQ(q.pop(kStart + 1000s), std::nullopt);
  EXPECT_EQ(q.next_due(), std::nullopt);
}

TEST(Queue, VolumePluginsAskForTheEventsThatTheyCanUse) {
  EXPECT_FALSE(events_for(kVolumeBinding) & kPodDeleted);
  EXPECT_FALSE(events_for(kVolumeZone) & kPodDeleted);
  EXPECT_TRUE(events_for(kVolumeRestrictions) & kPodDeleted);
  EXPECT_FALSE(events_for(kVolumeRestrictions) & kNodeLabels);
  EXPECT_TRUE(events_for(kVolumeBinding) & kAttachLimits) << "a CSINode";
}

}  // namespace
}  // namespace caravel::scheduler
