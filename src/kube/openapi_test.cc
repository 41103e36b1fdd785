#include "kube/openapi.h"

#include <gtest/gtest.h>

#include <set>

namespace caravel::kube {
namespace {

void collect_refs(const json::Value& v, std::set<std::string>& out) {
  if (const json::Value* r = v.find("$ref"); r && r->is_string()) out.insert(r->as_string());
  for (auto& m : v.as_object()) collect_refs(m.value, out);
  for (auto& i : v.as_array()) collect_refs(i, out);
}

TEST(OpenApi, EveryReferenceIsThere) {
  for (auto* k : all_kinds()) {
    if (k->crd) continue;
    json::Value d = openapi_v3(k->resource().group, k->resource().version);
    std::set<std::string> refs;
    collect_refs(d, refs);
    for (auto& r : refs) EXPECT_TRUE(d["components"]["schemas"].find(r.substr(std::string("#/components/schemas/").size()))) << r;
  }
}

// kubectl explain --recursive stops at a property whose schema is empty.
TEST(OpenApi, NoPropertyIsWithoutASchema) {
  for (auto* k : all_kinds()) {
    if (k->crd) continue;
    const json::Value d = openapi_v3(k->resource().group, k->resource().version);
    for (auto& type : d["components"]["schemas"].as_object())
      for (auto& p : type.value["properties"].as_object()) {
        EXPECT_GT(p.value.size(), 0u) << type.key.view() << "." << p.key.view();
        for (auto inner : {"items", "additionalProperties"}) {
          const json::Value* i = p.value.find(inner);
          EXPECT_TRUE(!i || i->size() > 0) << type.key.view() << "." << p.key.view();
        }
      }
  }
}

// What kubectl looks for to learn that the server validates fields itself.
TEST(OpenApi, PatchTakesFieldValidation) {
  json::Value d = openapi_v3("apps", "v1");
  const json::Value& patch = d["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"];
  EXPECT_EQ(patch["x-kubernetes-group-version-kind"]["kind"].as_string(), "Deployment");
  bool found = false;
  for (auto& p : patch["parameters"].as_array()) found |= p["name"].as_string() == "fieldValidation";
  EXPECT_TRUE(found);
  const json::Value& containers = d["components"]["schemas"]["io.k8s.api.core.v1.PodSpec"]["properties"]["containers"];
  EXPECT_EQ(containers["x-kubernetes-patch-merge-key"].as_string(), "name");
  EXPECT_EQ(containers["x-kubernetes-list-type"].as_string(), "map");
}

TEST(OpenApi, CustomKinds) {
  const KindInfo* np = find_by_name("nodepools");
  json::Value crd = crd_manifest(*np);
  json::Value d = openapi_v3("karpenter.sh", "v1", {{np->resource(), crd["spec"]["versions"].at(0)["schema"]["openAPIV3Schema"], true, true}});
  EXPECT_TRUE(d["components"]["schemas"].find("sh.karpenter.v1.NodePool"));
  EXPECT_TRUE(d["paths"].find("/apis/karpenter.sh/v1/nodepools/{name}/scale"));
  const json::Value& patch = d["paths"]["/apis/karpenter.sh/v1/nodepools/{name}"]["patch"]["requestBody"]["content"];
  EXPECT_TRUE(patch.find("application/merge-patch+json"));
  EXPECT_FALSE(patch.find("application/strategic-merge-patch+json"));
}

}  // namespace
}  // namespace caravel::kube
