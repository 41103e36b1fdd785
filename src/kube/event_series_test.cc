// When repeats of an event become a series, and when that is written.
#include "kube/event_series.h"

#include <gtest/gtest.h>

namespace caravel::kube {
namespace {

const Time kNow = *parse_rfc3339("2026-11-28T10:00:00Z");

SeriesEvent event(const std::string& version = "7", Time when = kNow) {
  return {{"v1", "Pod", "shop", "web", "u-1", version, ""}, std::nullopt, "Warning", "FailedScheduling", "Scheduling", "0/3 nodes are available", when};
}

TEST(SeriesLog, TheFirstIsWrittenTheSecondBeginsASeriesAndTheRestAreCounted) {
  SeriesLog log;
  EXPECT_TRUE(log.add(event(), "shop", "web.1").create);
  auto second = log.add(event("7", kNow + 1s), "shop", "web.2");
  EXPECT_FALSE(second.create);
  ASSERT_TRUE(second.series);
  EXPECT_EQ(second.series->name, "web.1");
  EXPECT_EQ(second.series->count, 2);
  EXPECT_EQ(second.series->last, kNow + 1s);
  auto third = log.add(event("7", kNow + 2s), "shop", "web.3");
  EXPECT_FALSE(third.create || third.series);
  ASSERT_EQ(log.all().size(), 1u);
  EXPECT_EQ(log.all()[0].count, 3);
}

TEST(SeriesLog, AnotherVersionOfTheObjectOrAnotherActionIsAnotherEvent) {
  SeriesLog log;
  EXPECT_TRUE(log.add(event("7"), "shop", "web.1").create);
  EXPECT_TRUE(log.add(event("8"), "shop", "web.2").create);
  SeriesEvent other = event("7");
  other.action = "Binding";
  EXPECT_TRUE(log.add(other, "shop", "web.3").create);
  other.related = ObjectReference{"v1", "Node", "", "n", "u-2", "1", ""};
  EXPECT_TRUE(log.add(other, "shop", "web.4").create);
  SeriesEvent same = event("7");
  same.note = "another note";
  EXPECT_FALSE(log.add(same, "shop", "web.5").create) << "the note is not looked at";
}

TEST(SeriesLog, ASeriesThatHasEndedIsWrittenOnceMoreAndForgotten) {
  SeriesLog log;
  log.add(event("1"), "shop", "once.1");
  for (int i = 0; i < 4; ++i) log.add(event("2", kNow + i * 1min), "shop", "web.1");
  EXPECT_TRUE(log.ended(kNow + 5min).empty());
  EXPECT_TRUE(log.ended(kNow + 7min).empty()) << "the single event is forgotten, the series goes on";
  EXPECT_EQ(log.size(), 1u);
  auto ended = log.ended(kNow + 10min);
  ASSERT_EQ(ended.size(), 1u);
  EXPECT_EQ(ended[0].count, 4);
  EXPECT_EQ(ended[0].last, kNow + 3min);
  EXPECT_EQ(log.size(), 0u);
  EXPECT_TRUE(log.add(event("2", kNow + 11min), "shop", "web.9").create);
}

TEST(SeriesLog, WhatIsKnownIsBounded) {
  SeriesLog log;
  for (int i = 0; i < 10'000; ++i) log.add(event(std::to_string(i)), "shop", "web." + std::to_string(i));
  EXPECT_EQ(log.size(), 4096u);
  EXPECT_TRUE(log.add(event("0"), "shop", "web.x").create) << "the oldest were forgotten";
  EXPECT_FALSE(log.add(event("9999"), "shop", "web.y").create);
}

}  // namespace
}  // namespace caravel::kube
