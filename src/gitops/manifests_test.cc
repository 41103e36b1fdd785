// From a directory of files to the objects that are wanted.
#include "gitops/manifests.h"

#include <gtest/gtest.h>

#include "base/yaml.h"

namespace caravel::gitops {
namespace {

using Files = std::map<std::string, std::string>;

std::string config_map(const std::string& name) { return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\n"; }

json::Value directory(std::string_view text) {
  json::Value source = json::Value::object();
  source["directory"] = *yaml::parse(text);
  return source;
}

// The names of the objects, or the error.
std::vector<std::string> names(const Files& files, std::string_view options = "{}") {
  auto r = render_directory(files, directory(options));
  if (!r.ok()) return {"error: " + r.error().message};
  std::vector<std::string> out;
  for (auto& o : *r) out.push_back(o["metadata"]["name"].as_string());
  return out;
}
using Names = std::vector<std::string>;

bool says(const Names& result, std::initializer_list<std::string_view> parts) {
  if (result.size() != 1 || !result[0].starts_with("error: ")) return false;
  for (auto p : parts)
    if (result[0].find(p) == std::string::npos) return false;
  return true;
}

TEST(Manifests, EveryDocumentOfEveryFileIsAnObject) {
  EXPECT_EQ(names({{"a.yaml", config_map("a1") + "---\n" + config_map("a2") + "---\n# nothing\n---\n"}, {"b.yml", config_map("b")}, {"c.json", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"c"}})"}, {"README.md", "# no manifest"}}),
            (Names{"a1", "a2", "b", "c"}));
  EXPECT_EQ(names({}), Names{});
}

TEST(Manifests, ListsAreTheirItems) {
  EXPECT_EQ(names({{"l.yaml", "apiVersion: v1\nkind: List\nitems:\n- {apiVersion: v1, kind: ConfigMap, metadata: {name: x}}\n- {apiVersion: v1, kind: ConfigMapList, items: [{apiVersion: v1, kind: ConfigMap, metadata: {name: y}}]}\n"}}), (Names{"x", "y"}));
}

TEST(Manifests, IncludeAndExcludeAreGlobsOverPaths) {
  Files files = {{"a.yaml", config_map("a")}, {"b.yml", config_map("b")}, {"env/prod/c.yaml", config_map("c")}, {"env/dev/d.yaml", config_map("d")}};
  EXPECT_EQ(names(files, "{include: a.yaml}"), Names{"a"});
  EXPECT_EQ(names(files, "{include: '*.yaml'}"), (Names{"a", "d", "c"})) << "a star spans slashes, as upstream's";
  EXPECT_EQ(names(files, "{include: '{a.yaml,b.yml}'}"), (Names{"a", "b"}));
  EXPECT_EQ(names(files, "{include: '*.{yml,json}'}"), Names{"b"});
  EXPECT_EQ(names(files, "{exclude: 'env/*'}"), (Names{"a", "b"}));
  EXPECT_EQ(names(files, "{include: '*.yaml', exclude: 'env/dev/*'}"), (Names{"a", "c"})) << "exclude wins";
}

TEST(Manifests, AnExcludedFileMayBeBroken) { EXPECT_EQ(names({{"a.yaml", config_map("a")}, {"values.yaml", "kind: x\nmetadata: [\napiVersion: 1"}}, "{exclude: values.yaml}"), Names{"a"}); }

TEST(Manifests, ABrokenManifestNamesItsFile) {
  EXPECT_TRUE(says(names({{"ok.yaml", config_map("a")}, {"env/bad.yaml", config_map("b") + "data: [unclosed\n"}}), {"Failed to unmarshal", "env/bad.yaml"}));
  EXPECT_TRUE(says(names({{"bad.json", "{\"kind\": "}}), {"Failed to unmarshal", "bad.json"}));
  EXPECT_TRUE(says(names({{"half.yaml", config_map("a") + "---\nfoo: bar\n"}}), {"half.yaml", "Object 'Kind' is missing"})) << "a document of a file with manifests must be one";
  EXPECT_TRUE(says(names({{"flow.yaml", "{\"apiVersion\": \"v1\", \"kind\": \"ConfigMap\", \"metadata\": {\"name\": \"a\"}}\n---\nfoo: bar\n"}}), {"flow.yaml", "Object 'Kind' is missing"}));
  EXPECT_TRUE(says(names({{"nameless.yaml", "apiVersion: v1\nkind: ConfigMap\nmetadata: {}\n"}}), {"nameless.yaml", "metadata.name"}));
}

TEST(Manifests, YamlThatIsNoManifestIsPassedOver) {
  EXPECT_EQ(names({{"a.yaml", config_map("a")}, {"values.yaml", "replicas: 3\nimage: x\n"}, {"list.yaml", "- 1\n- 2\n"}, {"template.yaml", "{{ if .Values.x }}\nfoo: [\n"}}), Names{"a"});
}

TEST(Manifests, AFileMaySkipItself) { EXPECT_EQ(names({{"a.yaml", config_map("a")}, {"b.yaml", "# +argocd:skip-file-rendering\n" + config_map("b")}}), Names{"a"}); }

TEST(Manifests, OtherKindsOfSourcesAreRefusedInWords) {
  EXPECT_TRUE(says(names({{"kustomization.yaml", "resources: []\n"}, {"a.yaml", config_map("a")}}), {"Kustomize"}));
  EXPECT_TRUE(says(names({{"Chart.yaml", "name: x\n"}}), {"Helm"}));
  EXPECT_EQ(names({{"base/kustomization.yaml", "resources: []\n"}, {"a.yaml", config_map("a")}}), Names{"a"}) << "only the path itself decides";
}

TEST(Tracking, NamesApplicationGroupKindNamespaceAndName) {
  json::Value d = *yaml::parse("{apiVersion: apps/v1, kind: Deployment, metadata: {name: web, namespace: prod}}");
  EXPECT_EQ(tracking_id("shop", d), "shop:apps/Deployment:prod/web");
  EXPECT_EQ(tracking_id("shop", *yaml::parse(config_map("a"))), "shop:/ConfigMap:/a");
}

TEST(Tracking, ObjectsGetTheNamespaceOfTheDestination) {
  json::Value o = *yaml::parse(config_map("a"));
  prepare_object(o, "shop", "prod", true);
  EXPECT_EQ(o["metadata"]["namespace"].as_string(), "prod");
  EXPECT_EQ(o["metadata"]["annotations"][kTrackingAnnotation].as_string(), "shop:/ConfigMap:prod/a");
  o["metadata"]["namespace"] = "own";
  prepare_object(o, "shop", "prod", true);
  EXPECT_EQ(o["metadata"]["namespace"].as_string(), "own") << "one of its own stays";
  json::Value cluster = *yaml::parse("{apiVersion: v1, kind: Namespace, metadata: {name: n, namespace: stray}}");
  prepare_object(cluster, "shop", "prod", false);
  EXPECT_FALSE(cluster["metadata"].contains("namespace"));
}

}  // namespace
}  // namespace caravel::gitops
