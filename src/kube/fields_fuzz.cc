// managedFields as clients may send them, and apply on top of them; kubeconfigs.
#include <unistd.h>

#include <cstdio>
#include <filesystem>
#include <fstream>

#include "base/fuzz.h"
#include "kube/apply.h"
#include "kube/kubeconfig.h"
#include "kube/types/apps.h"

using namespace caravel;

FUZZ(Fields, R"({"f:metadata":{"f:labels":{".":{},"f:a":{}}},"f:spec":{"f:replicas":{},"f:template":{"f:spec":{"f:containers":{"k:{\"name\":\"c\"}":{".":{},"f:image":{}}}}}}})",
     R"({"f:spec":{"f:x":{"v:\"a\"":{},"i:0":{},"k:{\"a\":1,\"b\":true}":{}}}})", R"({"f:":{}})") {
  auto v = json::parse(input);
  if (!v.ok()) return;
  kube::FieldSet s = kube::FieldSet::from_fields_v1(*v);
  json::Value out = s.to_fields_v1();
  kube::FieldSet again = kube::FieldSet::from_fields_v1(out);
  EXPECT_EQ(json::dump_sorted(again.to_fields_v1()), json::dump_sorted(out));
  for (auto& p : s.paths()) (void)kube::field_path_text(p);
  EXPECT_TRUE(s.subtract(s).empty());
  // An object that carries such an entry may be applied to and updated.
  static const kube::SchemaPtr schema = kube::schema_of(kube::apps::Deployment::type_info());
  json::Value live = *json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":1,"template":{"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  json::Value entry = json::Object{{"manager", "x"}, {"operation", "Apply"}, {"apiVersion", "apps/v1"}, {"fieldsType", "FieldsV1"}};
  entry["fieldsV1"] = *v;
  live["metadata"]["managedFields"] = json::Value::array({entry});
  json::Value config = *json::parse(R"({"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"d"},"spec":{"replicas":2}})");
  kube::ApplyOptions o;
  o.manager = "me";
  (void)kube::apply(*schema, &live, config, o).ok();
  o.manager = "x";
  (void)kube::apply(*schema, &live, config, o).ok();
  json::Value next = live;
  next["spec"]["replicas"] = 5;
  kube::track_update(*schema, &live, next, o);
}

FUZZ(Kubeconfig, "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{name: c, context: {cluster: k, user: u, namespace: n}}]\nclusters: [{name: k, cluster: {server: 'https://h:1', certificate-authority-data: YQ==}}]\nusers: [{name: u, user: {token: t, client-key-data: YQ==}}]\n",
     "{\"current-context\":\"c\",\"contexts\":[],\"clusters\":{}}", "current-context: c\ncontexts: c\n") {
  static const std::string path = (std::filesystem::temp_directory_path() / ("caravel-fuzz-kubeconfig-" + std::to_string(::getpid()))).string();
  std::ofstream(path, std::ios::binary) << input;
  auto c = kube::load_kubeconfig(path);
  if (c.ok()) {
    EXPECT_FALSE(c->server.empty());
  }
  std::remove(path.c_str());
}
