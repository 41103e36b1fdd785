// `caravel simulate`: the file, and what comes of it.
#include "sim/scenario.h"

#include <gtest/gtest.h>

#include "base/log.h"
#include "sim/rehearsal.h"

namespace caravel::sim {
namespace {

std::string error_of(const std::string& yaml) {
  auto s = parse_scenario(yaml);
  return s.ok() ? "" : s.error().message;
}

TEST(Scenario, AMistakeIsNamedByItsField) {
  EXPECT_EQ(error_of("timeline: [{at: soon, failNode: hollow-00000}]"), "timeline[0].at: \"soon\" is not a duration; write 90s or 1h30m");
  EXPECT_EQ(error_of("timeline: [{at: 5s}]"), "timeline[0]: needs `at` and exactly one thing that happens");
  EXPECT_EQ(error_of("nodes: {count: 0}"), "nodes.count: 0 is not a number from 1 to 100000");
  EXPECT_EQ(error_of("nodez: 3"), "nodez: unknown field; there are: nodes, duration, seed, apply, timeline");
  EXPECT_EQ(error_of("timeline: [{at: 5s, scale: {kind: Deploymint, name: x, replicas: 1}}]"),
            "timeline[0].scale.kind: \"Deploymint\" is no kind that the cluster knows");
  EXPECT_EQ(error_of("timeline: [{at: 5s, scale: {kind: Deployment, name: x, replicas: many}}]"),
            "timeline[0].scale.replicas: \"many\" is not a number from 0 to 1000000");
  EXPECT_EQ(error_of("apply: [{apiVersion: v1, kind: Pud, metadata: {name: x}}]"), "apply[0]: no kind \"Pud\" in \"v1\"");
  EXPECT_TRUE(error_of("timeline: [{at: 5s, failZone: mars}]").starts_with("timeline[0]: there is no zone \"mars\""));
  EXPECT_NE(error_of("timeline: [{at: 5s").find("line "), std::string::npos);
}

TEST(Scenario, ALoadCurveIsStepsOfScaling) {
  auto s = parse_scenario("timeline: [{at: 10m, load: {kind: Deployment, name: web, from: 2, to: 8, over: 30m, every: 10m}}]");
  ASSERT_TRUE(s.ok()) << s.error().message;
  ASSERT_EQ(s->steps.size(), 4u);
  EXPECT_EQ(s->steps[1].at, Duration(20min));
  EXPECT_EQ(s->steps[1].replicas, 4);
  EXPECT_EQ(s->steps[3].replicas, 8);
}

const char* kZoneLoss = R"(
duration: 5m
nodes: {count: 3, zones: 3, cpu: "2"}
apply:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: default}
    spec:
      replicas: 3
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec:
          containers: [{name: main, image: "x:1", resources: {requests: {cpu: 1500m}}}]
timeline:
  - {at: 1m, scale: {kind: Deployment, name: web, replicas: 4}}
  - {at: 2m, failZone: us-east-1b}
  - {at: 4m, recoverZone: us-east-1b}
)";

TEST(Scenario, MistakesThatWouldChangeNothingAreNamed) {
  auto said = [](const char* text) {
    auto s = parse_scenario(text);
    return s.ok() ? std::string("accepted") : s.error().message;
  };
  EXPECT_EQ(said("duration: 10m\ntimeline: [{at: 20m, failNode: hollow-00000}]"), "timeline[0].at: 20m0s is after the end of the scenario; `duration` is 10m0s");
  EXPECT_EQ(said("duration: 10m\ntimeline: [{at: 9m, load: {kind: Deployment, name: x, from: 1, to: 5, over: 10m, every: 1m}}]"), "accepted") << "a curve may go on";
  EXPECT_EQ(said("nodes: {cpu: lots}"), "nodes.cpu: \"lots\" is not an amount; write 4, 500m or 16Gi");
  EXPECT_EQ(said("nodes: {memory: 0}"), "nodes.memory: 0 is not an amount; write 4, 500m or 16Gi");
}

TEST(Scenario, TellsWhatWaitedAndWhatServed) {
  set_log_level(LogLevel::kError);
  auto s = parse_scenario(kZoneLoss);
  ASSERT_TRUE(s.ok()) << s.error().message;
  auto o = rehearse(*s);
  ASSERT_TRUE(o.ok()) << o.error().message;
  const auto& waiting = o->waiting.at("Deployment default/web");
  EXPECT_EQ(waiting.pods, 4);
  ASSERT_EQ(waiting.still.size(), 1u) << "the fourth has no room";
  EXPECT_TRUE(waiting.still.begin()->second.starts_with("0/3 nodes are available: 3 Insufficient cpu.")) << waiting.still.begin()->second;
  const auto& web = o->availability.at("Deployment default/web");
  EXPECT_EQ(web.fewest, 2);
  EXPECT_EQ(web.serving, 3);
  EXPECT_GE(web.short_of_pods, Duration(3min));
  EXPECT_EQ(web.none, Duration(0));
  std::string told = describe(*o);
  EXPECT_NE(told.find("zone us-east-1b fails"), std::string::npos);
  EXPECT_NE(told.find("node hollow-00001 is NotReady"), std::string::npos);
  // The same again, byte for byte.
  auto again = rehearse(*s);
  ASSERT_TRUE(again.ok());
  EXPECT_EQ(describe(*again), told);
  EXPECT_EQ(json::dump(to_json(*again)), json::dump(to_json(*o)));
}

}  // namespace
}  // namespace caravel::sim
