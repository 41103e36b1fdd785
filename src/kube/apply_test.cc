#include "kube/apply.h"

#include <gtest/gtest.h>

#include "base/yaml.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"

namespace caravel::kube {
namespace {

json::Value y(const char* text) { return *yaml::parse(text); }
const Time kNow = *parse_rfc3339("2026-11-23T04:00:00Z");

struct Apply : ::testing::Test {
  SchemaPtr schema = schema_of(apps::Deployment::type_info());
  json::Value apply_ok(const json::Value* live, const char* config, const char* manager, bool force = false) {
    auto r = apply(*schema, live, y(config), {manager, "", kNow, force, {"status"}});
    EXPECT_TRUE(r.ok());
    EXPECT_TRUE(r->conflicts.empty()) << conflict_message(r->conflicts);
    return r->object;
  }
  const json::Value& entry(const json::Value& o, const char* manager) {
    static const json::Value none;
    for (auto& e : o["metadata"]["managedFields"].as_array())
      if (e["manager"].as_string() == manager) return e;
    return none;
  }
};

constexpr const char* kConfig = R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, labels: {app: d}}
spec:
  replicas: 2
  template:
    spec:
      containers:
      - name: web
        image: a
        ports: [{containerPort: 80}]
)";

TEST_F(Apply, CreateOwnsWhatItSent) {
  json::Value o = apply_ok(nullptr, kConfig, "me");
  EXPECT_EQ(json::dump(entry(o, "me")["fieldsV1"]),
            R"({"f:metadata":{"f:labels":{"f:app":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"web\"}":{".":{},"f:image":{},"f:name":{},"f:ports":{"k:{\"containerPort\":80,\"protocol\":\"TCP\"}":{".":{},"f:containerPort":{}}}}}}}}})");
  EXPECT_EQ(entry(o, "me")["operation"].as_string(), "Apply");
}

TEST_F(Apply, WhatIsNoLongerAppliedGoesAway) {
  json::Value o = apply_ok(nullptr, kConfig, "me");
  o["spec"]["paused"] = true;  // somebody else's
  json::Value n = apply_ok(&o, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {template: {spec: {containers: [{name: web, image: b}]}}}}", "me");
  EXPECT_EQ(n["spec"].find("replicas"), nullptr);
  EXPECT_EQ(n["metadata"].find("labels"), nullptr);
  EXPECT_EQ(n["spec"]["paused"].as_bool(), true);
  EXPECT_EQ(json::dump(n["spec"]["template"]["spec"]["containers"]), R"([{"name":"web","image":"b"}])");
}

TEST_F(Apply, ConflictsAndForce) {
  json::Value o = apply_ok(nullptr, kConfig, "me");
  json::Value scaled = o;
  scaled["spec"]["replicas"] = 5;
  track_update(*schema, &o, scaled, {"hpa", "", kNow, false, {"status"}});
  EXPECT_EQ(json::dump(entry(scaled, "hpa")["fieldsV1"]), R"({"f:spec":{"f:replicas":{}}})");
  EXPECT_EQ(json::dump(entry(scaled, "me")["fieldsV1"]).find("f:replicas"), std::string::npos);

  auto r = apply(*schema, &scaled, y(kConfig), {"me", "", kNow, false, {"status"}});
  ASSERT_TRUE(r.ok());
  ASSERT_EQ(r->conflicts.size(), 1u);
  EXPECT_EQ(conflict_message(r->conflicts), "Apply failed with 1 conflict: conflict with \"hpa\" using apps/v1 at 2026-11-23T04:00:00Z: .spec.replicas");
  json::Value forced = apply_ok(&scaled, kConfig, "me", true);
  EXPECT_EQ(forced["spec"]["replicas"].as_int(), 2);
  EXPECT_TRUE(entry(forced, "hpa").is_null());

  // The same value is shared, not fought over.
  json::Value shared = apply_ok(&forced, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 2}}", "other");
  EXPECT_FALSE(entry(shared, "other").is_null());
  r = apply(*schema, &shared, y("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}, spec: {replicas: 9, template: {spec: {containers: [{name: web, image: z}]}}}}"), {"other", "", kNow, false, {}});
  EXPECT_EQ(conflict_message(r->conflicts), "Apply failed with 2 conflicts: conflicts with \"me\":\n- .spec.replicas\n- .spec.template.spec.containers[name=\"web\"].image");
  // Two owners: leaving it out drops only one's claim.
  json::Value left = apply_ok(&shared, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}", "other");
  EXPECT_EQ(left["spec"]["replicas"].as_int(), 2);
  EXPECT_TRUE(entry(left, "other").is_null());
}

TEST_F(Apply, SameAgainChangesNothing) {
  json::Value o = apply_ok(nullptr, kConfig, "me");
  auto again = apply(*schema, &o, y(kConfig), {"me", "", kNow + std::chrono::hours(1), false, {"status"}});
  EXPECT_EQ(json::dump(again->object), json::dump(o));
}

TEST_F(Apply, ItemsOfOthersStay) {
  json::Value o = apply_ok(nullptr, kConfig, "me");
  json::Value injected = o;
  injected["spec"]["template"]["spec"]["containers"].push_back(y("{name: sidecar, image: s}"));
  track_update(*schema, &o, injected, {"injector", "", kNow, false, {"status"}});
  json::Value n = apply_ok(&injected, kConfig, "me");
  EXPECT_EQ(n["spec"]["template"]["spec"]["containers"].size(), 2u);
  json::Value gone = apply_ok(&n, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: d}}", "me");
  EXPECT_EQ(json::dump(gone["spec"]["template"]["spec"]["containers"]), R"([{"name":"sidecar","image":"s"}])");
}

// A creation is tracked by a way of its own; it must come out as the comparison with an empty object does.
TEST_F(Apply, CreatorsOwnAllThereIs) {
  for (const char* text : {kConfig, "{}", "{apiVersion: apps/v1, kind: Deployment, metadata: {}}", "{metadata: {name: d, labels: {}}, spec: {}}", R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: d, namespace: n, uid: u, generation: 1, annotations: {z: "1", a: "2"}, finalizers: [x/b, x/a], ownerReferences: [{uid: o, kind: K, name: k, apiVersion: v1}]}
spec:
  selector: {matchLabels: {b: c}}
  strategy: {rollingUpdate: {maxSurge: 1, maxUnavailable: 25%}}
  template:
    metadata: {creationTimestamp: null}
    spec:
      nodeSelector: {k: v}
      tolerations: [{key: a}]
      volumes: [{name: v, emptyDir: {}}]
      containers:
      - {name: b, image: i, ports: [{containerPort: 80, protocol: TCP}, {containerPort: 53, protocol: UDP}, {containerPort: 53}], env: [{name: A, value: a}, {name: B}], resources: {}}
      - {name: a, command: [x], securityContext: {capabilities: {drop: [ALL]}}}
  unknown: {x: {y: [1]}}
status: {replicas: 1}
)",
                           "{spec: {template: {spec: {containers: [{name: twice, image: a}, {name: twice, tty: true}]}}}}"}) {
    const json::Value none = *canonical_json(apps::Deployment::type_info(), json::Value::object());  // with the members that it always writes
    for (const char* subresource : {"", "status"}) {
      json::Value created = y(text), compared = created;
      const ApplyOptions o{"m", subresource, kNow, false, {"status"}};
      track_update(*schema, nullptr, created, o);
      track_update(*schema, &none, compared, o);
      EXPECT_EQ(json::dump(created["metadata"]), json::dump(compared["metadata"]));
    }
  }
}

// The map or list that a field is in belongs to who made it, unless every object of the kind has it; selectors are owned whole.
TEST_F(Apply, CreatorsOwnTheContainersTheyMake) {
  json::Value o = *canonical_json(apps::Deployment::type_info(), y("{apiVersion: apps/v1, kind: Deployment, metadata: {name: d, labels: {a: b}}, spec: {selector: {matchLabels: {a: b}}, strategy: {rollingUpdate: {maxSurge: 1}}, template: {spec: {containers: [{name: c}]}}}}"));
  track_update(*schema, nullptr, o, {"m", "", kNow, false, {"status"}});
  EXPECT_EQ(json::dump(entry(o, "m")["fieldsV1"]), R"({"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:selector":{},"f:strategy":{"f:rollingUpdate":{".":{},"f:maxSurge":{}}},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:name":{},"f:resources":{}}}}}}})");
}

TEST_F(Apply, UpdatesAreTracked) {
  json::Value created = y(kConfig);
  track_update(*schema, nullptr, created, {"kubectl-create", "", kNow, false, {"status"}});
  EXPECT_FALSE(entry(created, "kubectl-create").is_null());
  json::Value changed = created;
  changed["metadata"]["managedFields"] = json::Array{};
  track_update(*schema, &created, changed, {"x", "", kNow, false, {"status"}});
  EXPECT_TRUE(changed["metadata"]["managedFields"].is_null());
  // Status goes to its own entry.
  json::Value st = created;
  st["status"]["replicas"] = 2;
  track_update(*schema, &created, st, {"controller", "status", kNow, false, {"spec"}});
  EXPECT_EQ(json::dump(entry(st, "controller")["fieldsV1"]), R"({"f:status":{".":{},"f:replicas":{}}})");
  EXPECT_EQ(entry(st, "controller")["subresource"].as_string(), "status");
}

}  // namespace
}  // namespace caravel::kube
