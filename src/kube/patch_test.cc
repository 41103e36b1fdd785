#include "kube/patch.h"

#include <gtest/gtest.h>

#include "base/strings.h"
#include "base/yaml.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"

namespace caravel::kube {
namespace {

json::Value y(const char* text) { return *yaml::parse(text); }

TEST(JsonPatch, Operations) {
  json::Value doc = y("{a: {b: [1, 2]}, c: x}");
  auto r = json_patch(doc, y(R"([{op: add, path: /a/b/-, value: 3}, {op: remove, path: /c}, {op: replace, path: /a/b/0, value: 9}, {op: copy, from: /a/b, path: /d}, {op: test, path: /d/1, value: 2}, {op: move, from: /d, path: /e~1f}])"));
  ASSERT_TRUE(r.ok()) << r.error().message;
  EXPECT_TRUE(*r == y("{a: {b: [9, 2, 3]}, 'e/f': [9, 2, 3]}"));
  EXPECT_FALSE(json_patch(doc, y("[{op: remove, path: /zz}]")).ok());
  EXPECT_FALSE(json_patch(doc, y("[{op: test, path: /c, value: y}]")).ok());
  EXPECT_FALSE(json_patch(doc, y("[{op: add, path: /a/b/7, value: 1}]")).ok());
}

TEST(MergePatch, Rfc7386) {
  EXPECT_TRUE(merge_patch(y("{a: 1, b: {c: 2, d: 3}}"), y("{a: null, b: {c: 5}, e: [1]}")) == y("{b: {c: 5, d: 3}, e: [1]}"));
  EXPECT_TRUE(merge_patch(y("[1]"), y("{a: 1}")) == y("{a: 1}"));
}

struct Strategic : ::testing::Test {
  SchemaPtr schema = schema_of(apps::Deployment::type_info());
  json::Value apply(const char* original, const char* patch) {
    auto r = strategic_merge_patch(*schema, y(original), y(patch));
    EXPECT_TRUE(r.ok()) << (r.ok() ? "" : r.error().message);
    return r.ok() ? *r : json::Value();
  }
};

TEST_F(Strategic, ContainersMergeByName) {
  auto r = apply("{spec: {template: {spec: {containers: [{name: a, image: x}, {name: b, image: y}]}}}}",
                 "{spec: {template: {spec: {containers: [{name: b, image: z}, {name: c, image: w}]}}}}");
  EXPECT_TRUE(r == y("{spec: {template: {spec: {containers: [{name: a, image: x}, {name: b, image: z}, {name: c, image: w}]}}}}")) << json::dump(r);
}

// Upstream's order: what the patch adds stands before what only the server has, unless an element of both says otherwise.
TEST_F(Strategic, WhatThePatchAddsComesFirst) {
  auto names = [&](const char* live, const char* patch, const char* order = nullptr) {
    auto list = [](std::string text) {
      std::string out;
      for (auto& n : split(text, ' ')) out += (out.empty() ? "" : ", ") + ("{name: " + n + "}");
      return "[" + out + "]";
    };
    std::string p = "{spec: {template: {spec: {containers: " + list(patch) + (order ? ", $setElementOrder/containers: " + list(order) : "") + "}}}}";
    auto r = apply(("{spec: {template: {spec: {containers: " + list(live) + "}}}}").c_str(), p.c_str());
    std::string out;
    for (auto& c : std::as_const(r)["spec"]["template"]["spec"]["containers"].as_array()) out += c["name"].as_string();
    return out;
  };
  EXPECT_EQ(names("a", "n"), "na");
  EXPECT_EQ(names("a b c", "n b"), "nabc");
  EXPECT_EQ(names("a b c", "b n"), "abnc");
  EXPECT_EQ(names("a b c", "c a"), "bca");
  EXPECT_EQ(names("a b c", "n", "b n"), "abnc");
  EXPECT_EQ(names("s a b", "n", "a n b"), "sanb");
}

TEST_F(Strategic, DeleteReplaceAndOrder) {
  auto r = apply("{spec: {template: {spec: {containers: [{name: a}, {name: b}, {name: c}]}}}}",
                 "{spec: {template: {spec: {$setElementOrder/containers: [{name: c}, {name: a}], containers: [{$patch: delete, name: b}]}}}}");
  EXPECT_TRUE(r == y("{spec: {template: {spec: {containers: [{name: c}, {name: a}]}}}}")) << json::dump(r);
  r = apply("{spec: {template: {spec: {containers: [{name: a}]}}}}", "{spec: {template: {spec: {containers: [{$patch: replace}, {name: z}]}}}}");
  EXPECT_TRUE(r == y("{spec: {template: {spec: {containers: [{name: z}]}}}}")) << json::dump(r);
  r = apply("{spec: {selector: {matchLabels: {a: b}}}}", "{spec: {selector: {$patch: replace, matchLabels: {c: d}}}}");
  EXPECT_TRUE(r == y("{spec: {selector: {matchLabels: {c: d}}}}"));
}

TEST_F(Strategic, RetainKeysAndAtomicLists) {
  auto r = apply("{spec: {strategy: {type: RollingUpdate, rollingUpdate: {maxSurge: 1}}}}", "{spec: {strategy: {$retainKeys: [type], type: Recreate}}}");
  EXPECT_TRUE(r == y("{spec: {strategy: {type: Recreate}}}")) << json::dump(r);
  r = apply("{spec: {template: {spec: {containers: [{name: a, command: [x, y]}]}}}}", "{spec: {template: {spec: {containers: [{name: a, command: [z]}]}}}}");
  EXPECT_TRUE(r == y("{spec: {template: {spec: {containers: [{name: a, command: [z]}]}}}}"));
}

TEST_F(Strategic, PrimitiveListsAndNulls) {
  auto r = apply("{metadata: {finalizers: [a, b], labels: {x: '1', z: '2'}}}", "{metadata: {$deleteFromPrimitiveList/finalizers: [a], finalizers: [c], labels: {x: null}}}");
  EXPECT_TRUE(r == y("{metadata: {finalizers: [c, b], labels: {z: '2'}}}")) << json::dump(r);
  EXPECT_FALSE(strategic_merge_patch(*schema, y("{spec: {template: {spec: {containers: [{name: a}]}}}}"), y("{spec: {template: {spec: {containers: [{image: a}]}}}}")).ok());
}

TEST_F(Strategic, ThreeWay) {
  json::Value last = y("{spec: {replicas: 2, template: {spec: {containers: [{name: a, image: x}, {name: side, image: s}]}}}}");
  json::Value modified = y("{spec: {template: {spec: {containers: [{name: a, image: y}]}}}}");
  json::Value live = y("{spec: {replicas: 2, paused: true, template: {spec: {containers: [{name: a, image: x, imagePullPolicy: Always}, {name: side, image: s}, {name: injected}]}}}}");
  auto p = three_way_strategic_patch(*schema, last, modified, live);
  ASSERT_TRUE(p.ok());
  auto r = strategic_merge_patch(*schema, live, *p);
  ASSERT_TRUE(r.ok());
  EXPECT_TRUE(*r == y("{spec: {paused: true, template: {spec: {containers: [{name: a, image: y, imagePullPolicy: Always}, {name: injected}]}}}}")) << json::dump(*r) << json::dump(*p);
  EXPECT_TRUE(three_way_merge_patch(y("{a: 1, b: {c: 1}}"), y("{b: {d: 2}}"), y("{a: 1, b: {c: 1, x: 0}}")) == y("{a: null, b: {c: null, d: 2}}"));
}

TEST(Schema, PruneNamesWhatItDrops) {
  json::Value d = y("{apiVersion: apps/v1, kind: Deployment, metadata: {name: a, foo: 1}, spec: {replicas: 1, replica: 2, template: {spec: {containers: [{name: a, img: x}]}}}}");
  std::vector<std::string> unknown;
  prune(*schema_of(apps::Deployment::type_info()), d, &unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"metadata.foo", "spec.replica", "spec.template.spec.containers[0].img"}));
  EXPECT_EQ(d["spec"].find("replica"), nullptr);
}

TEST(Schema, CrdDefaultsAndPreserve) {
  auto s = schema_from_crd(y("{type: object, properties: {spec: {type: object, default: {}, properties: {n: {type: integer, default: 3}, free: {type: object, x-kubernetes-preserve-unknown-fields: true}}}}}"));
  ASSERT_TRUE(s.ok()) << s.error().message;
  json::Value v = y("{apiVersion: a/v1, kind: B, metadata: {name: x, labels: {l: m}}, extra: 1}");
  set_schema_defaults(**s, v);
  std::vector<std::string> unknown;
  prune(**s, v, &unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"extra"}));
  EXPECT_EQ(v["spec"]["n"].as_int(), 3);
  v = y("{spec: {free: {x: {y: 1}}, n: null}}");
  set_schema_defaults(**s, v);
  prune(**s, v);
  EXPECT_TRUE(v == y("{spec: {free: {x: {y: 1}}, n: 3}}"));
}

TEST(Schema, AnEmbeddedObjectsMetadataIsAnyObjectsWhateverItsSchemaSays) {
  auto s = schema_from_crd(*json::parse(R"({"type":"object","properties":{"template":{"type":"object","x-kubernetes-embedded-resource":true,"properties":{
      "metadata":{"type":"object","properties":{"name":{"type":"string"}}},"spec":{"type":"object","properties":{"a":{"type":"string"}}}}}}})"));
  ASSERT_TRUE(s.ok());
  json::Value v = *json::parse(R"({"template":{"apiVersion":"v1","kind":"X","metadata":{"name":"n","namespace":"ns","odd":1},"spec":{"a":"1","b":2}}})");
  std::vector<std::string> unknown;
  prune(**s, v, &unknown);
  EXPECT_EQ(unknown, (std::vector<std::string>{"template.metadata.odd", "template.spec.b"}));
  EXPECT_EQ(json::dump(v), R"({"template":{"apiVersion":"v1","kind":"X","metadata":{"name":"n","namespace":"ns"},"spec":{"a":"1"}}})");
}

TEST(Schema, OurCrdsBecomeSchemas) {
  for (auto& crd : all_crd_manifests())
    for (auto& version : crd["spec"]["versions"].as_array()) {
      auto s = schema_from_crd(version["schema"]["openAPIV3Schema"]);
      EXPECT_TRUE(s.ok()) << crd["metadata"]["name"].as_string() << ": " << (s.ok() ? "" : s.error().message);
    }
}

TEST(JsonPatch, CopiesOfCopiesAreBounded) {
  json::Value patch = json::Value::array();
  for (int i = 0; i < 60; ++i) patch.push_back(json::Object{{"op", "copy"}, {"from", "/data"}, {"path", "/data/k" + std::to_string(i)}});
  auto r = json_patch(*json::parse(R"({"data":{"a":"x"}})"), patch);
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::kInvalid);
  EXPECT_EQ(r.error().message.substr(0, 27), "Unable to complete the copy");
}

// Upstream's library takes more than RFC 6902 does.
TEST(JsonPatch, WhatIsNotThereCanBeReplacedAndCopied) {
  const json::Value doc = y("{a: {b: [1, 2]}, c: x}");
  auto is = [&](const char* patch, const char* want) {
    auto r = json_patch(doc, y(patch));
    ASSERT_TRUE(r.ok()) << patch << ": " << r.error().message;
    EXPECT_TRUE(*r == y(want)) << patch << ": " << json::dump(*r);
  };
  is("[{op: replace, path: /z, value: 1}]", "{a: {b: [1, 2]}, c: x, z: 1}");
  is("[{op: copy, from: /z, path: /y}]", "{a: {b: [1, 2]}, c: x, y: null}");
  is("[{op: add, path: data/k, value: 1}]", "{a: {b: [1, 2]}, c: x, k: 1}");  // up to the first slash nothing counts
  is("[{op: add, path: /a/b/-1, value: 3}]", "{a: {b: [1, 2, 3]}, c: x}");
  is("[{op: replace, path: '', value: {q: 1}}]", "{q: 1}");
  is("[{op: test, path: /z, value: null}]", "{a: {b: [1, 2]}, c: x}");
  for (auto patch : {"[{op: move, from: /z, path: /y}]", "[{op: replace, path: /a/b/2, value: 1}]", "[{op: add, path: '', value: {}}]", "[{op: replace, path: '', value: 5}]", "[{op: replace, path: /z/y, value: 1}]", "[{op: add, path: zork, value: 1}]", "[null]"})
    EXPECT_FALSE(json_patch(doc, y(patch)).ok()) << patch;
  EXPECT_EQ(json_patch(doc, y("[{op: 5, path: /a}]")).error().message, "error decoding patch: json: cannot unmarshal number into Go struct field jsonPatchOp.op of type string");
  EXPECT_EQ(json_patch(doc, y("{}"), true).error().message, "json: cannot unmarshal object into Go value of type jsonpatch.Patch");
}

// Messages show a patched document with its members sorted where the patch went.
TEST(Patches, ShownDocumentsAreSortedWhereTheyWereChanged) {
  const json::Value live = y("{kind: A, apiVersion: v1, spec: {z: 1, a: {y: 1, b: 2}}, data: {y: 1, b: 2}}");
  const json::Value patch = y("{spec: {z: 2}, new: {y: 1, b: [{z: 1, a: 2}]}}");
  EXPECT_EQ(json::dump(in_merge_patch_order(merge_patch(live, patch), live, patch)),
            R"({"apiVersion":"v1","data":{"y":1,"b":2},"kind":"A","new":{"b":[{"a":2,"z":1}],"y":1},"spec":{"a":{"y":1,"b":2},"z":2}})");
  const json::Value operations = y("[{op: add, path: /spec/a/k, value: 1}]");
  EXPECT_EQ(json::dump(in_json_patch_order(*json_patch(live, operations), operations)),
            R"({"apiVersion":"v1","data":{"y":1,"b":2},"kind":"A","spec":{"a":{"b":2,"k":1,"y":1},"z":1}})");
}

}  // namespace
}  // namespace caravel::kube
