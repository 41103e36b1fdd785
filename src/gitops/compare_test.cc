// What counts as OutOfSync, and what is sent to bring it in sync.
#include "gitops/compare.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/yaml.h"

namespace caravel::gitops {
namespace {

json::Value y(std::string_view text) {
  auto v = yaml::parse(text);
  EXPECT_TRUE(v.ok()) << text;
  return v.ok() ? *v : json::Value();
}

// The patch as text; "{}" is in sync.
std::string patch(std::string_view last, std::string_view wanted, std::string_view live, std::vector<std::string> ignored = {}) { return json::dump(three_way_patch(y(last), y(wanted), y(live), ignored)); }

TEST(Compare, DefaultsAndStatusAreNoDifference) {
  EXPECT_EQ(patch("", "{spec: {replicas: 2, template: {spec: {containers: [{name: a, image: x}]}}}}",
                  "{metadata: {uid: u, generation: 4}, spec: {replicas: 2, revisionHistoryLimit: 10, template: {spec: {dnsPolicy: ClusterFirst, containers: [{name: a, image: x, imagePullPolicy: Always}]}}}, status: {replicas: 2}}"),
            "{}");
  EXPECT_EQ(patch("", "{status: {replicas: 9}}", "{status: {replicas: 2}}"), "{}") << "a status in git is not applied";
}

TEST(Compare, AWantedValueThatDiffersOrIsAbsentIsADifference) {
  EXPECT_EQ(patch("", "{spec: {replicas: 3, paused: true}}", "{spec: {replicas: 2}}"), R"({"spec":{"replicas":3,"paused":true}})");
  EXPECT_EQ(patch("", "{metadata: {labels: {a: '1'}}}", "{metadata: {labels: {a: '2', b: '3'}}}"), R"({"metadata":{"labels":{"a":"1"}}})");
}

TEST(Compare, WhatWasAppliedAndIsNoLongerWantedGoes) {
  EXPECT_EQ(patch("{data: {a: '1', b: '2'}}", "{data: {a: '1'}}", "{data: {a: '1', b: '2', c: '3'}}"), R"({"data":{"b":null}})") << "c belongs to somebody else";
  EXPECT_EQ(patch("{data: {a: '1', b: '2'}}", "{data: {a: '1'}}", "{data: {a: '1'}}"), "{}") << "it is gone already";
  EXPECT_EQ(patch("", "{data: {a: '1'}}", "{data: {a: '1', b: '2'}}"), "{}") << "never ours";
}

TEST(Compare, ZerosThatTheServerLeavesOutAreNoDifference) {
  EXPECT_EQ(patch("", "{spec: {paused: false, minReadySeconds: 0, serviceName: '', selector: {}, volumes: []}}", "{spec: {}}"), "{}");
  EXPECT_EQ(patch("", "{spec: {replicas: 0, paused: false}}", "{spec: {replicas: 1, paused: true}}"), R"({"spec":{"replicas":0,"paused":false}})");
  EXPECT_EQ(patch("", "{spec: {replicas: 1}}", "{spec: {}}"), R"({"spec":{"replicas":1}})");
}

TEST(Compare, QuantitiesAreEqualByValueWhereQuantitiesStand) {
  const char* wanted = "{spec: {containers: [{name: a, resources: {limits: {cpu: 1000m, memory: 1024Mi}, requests: {cpu: 0.5}}}]}}";
  EXPECT_EQ(patch("", wanted, "{spec: {containers: [{name: a, resources: {limits: {cpu: '1', memory: 1Gi}, requests: {cpu: 500m}}}]}}"), "{}");
  EXPECT_NE(patch("", wanted, "{spec: {containers: [{name: a, resources: {limits: {cpu: '2', memory: 1Gi}, requests: {cpu: 500m}}}]}}"), "{}");
  EXPECT_EQ(patch("", "{spec: {hard: {pods: 10}}}", "{spec: {hard: {pods: '10'}}}"), "{}");
  EXPECT_EQ(patch("", "{target: {averageValue: 1000m}}", "{target: {averageValue: '1'}}"), "{}");
  EXPECT_NE(patch("", "{data: {cpu: 1000m}}", "{data: {cpu: '1'}}"), "{}") << "text is text elsewhere";
}

TEST(Compare, ListsAreOfOneLengthAndOrder) {
  EXPECT_EQ(patch("", "{args: [a, b]}", "{args: [a, b]}"), "{}");
  EXPECT_EQ(patch("", "{args: [b, a]}", "{args: [a, b]}"), R"({"args":["b","a"]})");
  EXPECT_EQ(patch("", "{args: [a]}", "{args: [a, b]}"), R"({"args":["a"]})");
}

TEST(Compare, StringDataOfASecretIsComparedWithItsData) {
  std::string encoded = base64_encode("hunter2");
  EXPECT_EQ(patch("", "{kind: Secret, stringData: {p: hunter2}}", "{kind: Secret, data: {p: " + encoded + "}}"), "{}");
  EXPECT_EQ(patch("", "{kind: Secret, stringData: {p: hunter2}}", "{kind: Secret, data: {p: YQ==}}"), R"({"data":{"p":")" + encoded + "\"}}");
  EXPECT_EQ(patch("{kind: Secret, stringData: {p: hunter2, q: a}}", "{kind: Secret, stringData: {p: hunter2}}", "{kind: Secret, data: {p: " + encoded + ", q: YQ==}}"), R"({"data":{"q":null}})");
}

TEST(IgnoreDifferences, LeaveOutWhatTheirPointersName) {
  EXPECT_EQ(patch("", "{spec: {replicas: 3}}", "{spec: {replicas: 7}}", {"/spec/replicas"}), "{}");
  EXPECT_EQ(patch("", "{spec: {replicas: 3, paused: true}}", "{spec: {replicas: 7}}", {"/spec/replicas"}), R"({"spec":{"paused":true}})") << "the rest still counts";
  EXPECT_EQ(patch("{spec: {replicas: 3}}", "{spec: {}}", "{spec: {replicas: 3}}", {"/spec/replicas"}), "{}") << "also when it would go";
  EXPECT_EQ(patch("", "{metadata: {annotations: {a/b: x, c~d: x}}}", "{metadata: {annotations: {a/b: y, c~d: y}}}", {"/metadata/annotations/a~1b", "/metadata/annotations/c~0d"}), "{}");
  EXPECT_EQ(patch("", "{a: 1}", "{a: 2}", {"", "a", "/b/c"}), R"({"a":1})") << "pointers to nothing";
}

TEST(IgnoreDifferences, ReachIntoLists) {
  const char *wanted = "{spec: {containers: [{name: a, image: x}, {name: b, image: x}]}}", *live = "{spec: {containers: [{name: a, image: y}, {name: b, image: x}]}}";
  EXPECT_EQ(patch("", wanted, live, {"/spec/containers/0/image"}), "{}");
  EXPECT_NE(patch("", wanted, live, {"/spec/containers/1/image"}), "{}");
  EXPECT_EQ(patch("", wanted, live, {"/spec/containers/0"}), "{}");
  EXPECT_NE(patch("", wanted, live, {"/spec/containers/7/image", "/spec/containers/-1", "/spec/containers/x"}), "{}");
}

TEST(IgnoreDifferences, ApplyByGroupKindNameAndNamespace) {
  json::Value web = y("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: prod}}");
  auto rules = [&](std::string_view text) { return ignored_pointers(y(text), web); };
  using Pointers = std::vector<std::string>;
  EXPECT_EQ(rules("[{group: apps, kind: Deployment, jsonPointers: [/a, /b]}]"), (Pointers{"/a", "/b"}));
  EXPECT_EQ(rules("[{group: apps, kind: Deployment, name: web, namespace: prod, jsonPointers: [/a]}]"), Pointers{"/a"});
  EXPECT_EQ(rules("[{group: '*', kind: '*', jsonPointers: [/a]}]"), Pointers{"/a"});
  EXPECT_EQ(rules("[{kind: Deployment, jsonPointers: [/a]}]"), Pointers{}) << "no group is the core group";
  EXPECT_EQ(rules("[{group: apps, kind: StatefulSet, jsonPointers: [/a]}]"), Pointers{});
  EXPECT_EQ(rules("[{group: apps, kind: Deployment, name: api, jsonPointers: [/a]}]"), Pointers{});
  EXPECT_EQ(rules("[{group: apps, kind: Deployment, namespace: dev, jsonPointers: [/a]}]"), Pointers{});
}

TEST(LastApplied, IsKeptInKubectlsAnnotationAndReadBack) {
  json::Value wanted = y("{kind: ConfigMap, data: {a: '1'}, metadata: {name: n, annotations: {mine: x}}}");
  json::Value sent = with_last_applied(wanted);
  EXPECT_EQ(sent["metadata"]["annotations"]["mine"].as_string(), "x");
  EXPECT_EQ(last_applied_of(sent), wanted);
  EXPECT_EQ(last_applied_of(with_last_applied(sent)), wanted) << "it never holds itself";
  EXPECT_TRUE(last_applied_of(wanted).is_null());
  EXPECT_TRUE(last_applied_of(y("{metadata: {annotations: {kubectl.kubernetes.io/last-applied-configuration: '{broken'}}}")).is_null());
}

}  // namespace
}  // namespace caravel::gitops
