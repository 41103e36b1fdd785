// Aggregated API servers through a scripted far end, and watches in protobuf, in virtual time.
#include <gtest/gtest.h>

#include "apiserver/aggregation/aggregator.h"
#include "apiserver/aggregation/discovered.h"
#include "apiserver/aggregation/openapi_merge.h"
#include "apiserver/api_server.h"
#include "apiserver/builtin_model.h"
#include "apiserver/protobuf_watch.h"
#include "kube/types/meta.h"

namespace caravel::apiserver {
namespace {

using json::Value;

struct FarServer {
  std::map<std::string, std::string> pages;
  std::vector<std::pair<std::string, net::Headers>> asked;
  RemoteServer last;
};

class FakeTransport final : public AggregateTransport {
 public:
  explicit FakeTransport(FarServer& far) : far_(&far) {}
  Task<Result<net::ClientResponse>> exchange(RemoteServer to, net::ClientRequest q) override {
    far_->last = to;
    far_->asked.emplace_back(q.method + " " + q.url, q.headers);
    net::ClientResponse r;
    auto it = far_->pages.find(q.url);
    r.status = it == far_->pages.end() ? 404 : 200;
    if (it != far_->pages.end()) r.body = it->second;
    r.headers.add("content-type", "application/json");
    co_return r;
  }
  Task<Status> forward(RemoteServer, net::Headers, net::ServerRequest&, net::ResponseWriter&) override { co_return unavailable("there is no wire here"); }

 private:
  FarServer* far_;
};

class AggregationTest : public testing::Test {
 protected:
  VirtualExecutor ex{7};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;
  FarServer far;

  void SetUp() override {
    ApiServerOptions o;
    o.client_ca = "CA";
    o.front_proxy_ca = "FRONT";
    auto r = run_task(ex, ApiServer::start(ex, *store, std::move(o)));
    ASSERT_TRUE(r.ok()) << r.error().message;
    server = std::move(*r);
    server->aggregator().use(std::make_unique<FakeTransport>(far));
  }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  Request request(std::string method, std::string path, std::string body = "") {
    Request r;
    r.method = std::move(method);
    r.path = std::move(path);
    r.body = std::move(body);
    r.content_type = "application/json";
    auto u = std::make_shared<User>();
    u->name = "jane";
    u->groups = {"system:masters"};
    u->extra["Acme/Team"] = {"blue"};
    r.user = u;
    return r;
  }
  std::pair<int, Value> call(std::string method, std::string path, std::string body = "", std::string accept = "") {
    Request r = request(std::move(method), std::move(path), std::move(body));
    r.accept = std::move(accept);
    parse_request_info(r);
    Response res = run_task(ex, handle(&r));
    auto v = json::parse(res.body ? *res.body : "{}");
    return {res.status, v.ok() ? *v : Value()};
  }
  std::string reason(const std::string& name) {
    ex.run_for(std::chrono::seconds(1));
    const Value o = call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/" + name).second;
    for (auto& c : o["status"]["conditions"].as_array())
      if (c["type"].as_string() == "Available") return c["reason"].as_string();
    return "";
  }
  void make_remote() {
    auto made = call("POST", "/apis/apiregistration.k8s.io/v1/apiservices",
                     R"({"metadata":{"name":"v1beta1.metrics.k8s.io"},"spec":{"group":"metrics.k8s.io","version":"v1beta1","groupPriorityMinimum":100,"versionPriority":100,
                        "insecureSkipTLSVerify":true,"service":{"name":"ms","namespace":"default"}}})");
    ASSERT_EQ(made.first, 201) << json::dump(made.second);
  }
  void make_service() {
    call("POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"ms"},"spec":{"ports":[{"name":"https","port":443,"targetPort":4443}]}})");
    call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
         R"({"metadata":{"name":"ms-1","labels":{"kubernetes.io/service-name":"ms"}},"addressType":"IPv4","endpoints":[{"addresses":["10.0.0.7"]}],"ports":[{"name":"https","port":4443}]})");
  }
};

TEST(OpenApiMerge, OnlyTheServicesOwnPathsCountAndDefinitionsThatDifferAreRenamed) {
  Value ours = *json::parse(R"({"paths":{"/version":{"get":1}},"definitions":{"Meta":{"type":"object"},"Same":{"type":"string"}}})");
  Value theirs = *json::parse(R"({"paths":{"/version":{"get":2},"/apis/a.io/v1/boats":{"get":{"schema":{"$ref":"#/definitions/Boat"}}},"/apis/a.io/v2/boats":{}},
    "definitions":{"Meta":{"type":"object","properties":{"x":{}}},"Same":{"type":"string"},"Unused":{},
      "Boat":{"properties":{"meta":{"$ref":"#/definitions/Meta"},"name":{"$ref":"#/definitions/Same"}}},
      "Fleet":{"x-kubernetes-group-version-kind":[{"group":"a.io","version":"v1","kind":"Fleet"}]}}})");
  merge_openapi(ours, openapi_part(theirs, "a.io", "v1"));
  const Value& o = ours;
  EXPECT_EQ(o.path({"paths", "/version", "get"}).as_int(), 1);
  EXPECT_TRUE(o["paths"].find("/apis/a.io/v1/boats"));
  EXPECT_FALSE(o["paths"].find("/apis/a.io/v2/boats"));
  EXPECT_EQ(o.path({"definitions", "Boat", "properties", "meta", "$ref"}).as_string(), "#/definitions/Meta_v2");
  EXPECT_EQ(o.path({"definitions", "Boat", "properties", "name", "$ref"}).as_string(), "#/definitions/Same");
  EXPECT_TRUE(o.path({"definitions", "Meta", "properties"}).is_null());
  EXPECT_TRUE(o.path({"definitions", "Meta_v2", "properties", "x"}).is_object());
  EXPECT_TRUE(o["definitions"].find("Fleet"));
  EXPECT_FALSE(o["definitions"].find("Unused"));
  EXPECT_TRUE(openapi_part(theirs, "b.io", "v1").is_null());
}

TEST_F(AggregationTest, WhatThisServerServesHasLocalApiServices) {
  EXPECT_EQ(reason("v1."), "Local");
  EXPECT_EQ(reason("v1.apps"), "Local");
  Value crd = call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
                   R"({"metadata":{"name":"boats.sea.io"},"spec":{"group":"sea.io","scope":"Namespaced","names":{"plural":"boats","kind":"Boat"},
                      "versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object"}}}]}})")
                  .second;
  EXPECT_EQ(reason("v1.sea.io"), "Local");
  EXPECT_EQ(call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.io").second["metadata"]["labels"][kAutomanaged].as_string(), "true");
  call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/boats.sea.io");
  ex.run_for(std::chrono::seconds(3));
  EXPECT_EQ(call("GET", "/apis/apiregistration.k8s.io/v1/apiservices/v1.sea.io").first, 404);
}

TEST_F(AggregationTest, AServiceIsAvailableOnceItAnswers) {
  make_remote();
  EXPECT_EQ(reason("v1beta1.metrics.k8s.io"), "ServiceNotFound");
  EXPECT_EQ(call("GET", "/apis/metrics.k8s.io/v1beta1/nodes").first, 503);
  make_service();
  EXPECT_EQ(reason("v1beta1.metrics.k8s.io"), "FailedDiscoveryCheck");
  far.pages["/apis/metrics.k8s.io/v1beta1"] = R"({"kind":"APIResourceList","resources":[{"name":"nodes","singularName":"node","namespaced":false,"kind":"NodeMetrics","verbs":["get","list"]}]})";
  far.pages["/apis/metrics.k8s.io/v1beta1/nodes"] = R"({"kind":"NodeMetricsList"})";
  ex.run_for(std::chrono::seconds(31));
  EXPECT_EQ(reason("v1beta1.metrics.k8s.io"), "Passed");
  EXPECT_EQ(far.last.address, "10.0.0.7:4443");
  EXPECT_EQ(far.last.server_name, "ms.default.svc");
  auto nodes = call("GET", "/apis/metrics.k8s.io/v1beta1/nodes");
  EXPECT_EQ(nodes.second["kind"].as_string(), "NodeMetricsList");
  const net::Headers& h = far.asked.back().second;
  EXPECT_EQ(h.get("x-remote-user"), "jane");
  EXPECT_EQ(h.get("x-remote-group"), "system:masters");
  EXPECT_EQ(h.get("x-remote-extra-acme%2fteam") + h.get("x-remote-extra-acme%2Fteam"), "blueblue");
  call("DELETE", "/api/v1/namespaces/default/services/ms");
  EXPECT_EQ(reason("v1beta1.metrics.k8s.io"), "ServiceNotFound");
}

TEST_F(AggregationTest, DiscoveryIsMergedInTheOrderOfPriorities) {
  make_remote();
  make_service();
  far.pages["/apis/metrics.k8s.io/v1beta1"] = R"({"resources":[{"name":"nodes","singularName":"node","namespaced":false,"kind":"NodeMetrics","verbs":["get"]}]})";
  far.pages["/openapi/v2"] = R"({"paths":{"/apis/metrics.k8s.io/v1beta1/nodes":{"get":{}}},"definitions":{}})";
  far.pages["/openapi/v3"] = R"({"paths":{"apis/metrics.k8s.io/v1beta1":{"serverRelativeURL":"/openapi/v3/apis/metrics.k8s.io/v1beta1?hash=1"}}})";
  ASSERT_EQ(reason("v1beta1.metrics.k8s.io"), "Passed");
  std::vector<std::string> names;
  Value groups = call("GET", "/apis").second;
  for (auto& g : groups["groups"].as_array()) names.push_back(std::as_const(g)["name"].as_string());
  EXPECT_EQ(names.front(), "apiregistration.k8s.io");
  EXPECT_EQ(names.back(), "metrics.k8s.io");
  Value v2 = call("GET", "/apis", "", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").second;
  const Value last = v2["items"].as_array().back();
  EXPECT_EQ(last["metadata"]["name"].as_string(), "metrics.k8s.io");
  EXPECT_EQ(last["versions"].at(0)["freshness"].as_string(), "Current");
  EXPECT_EQ(last["versions"].at(0)["resources"].at(0)["resource"].as_string(), "nodes");
  EXPECT_TRUE(call("GET", "/openapi/v3").second["paths"].find("apis/metrics.k8s.io/v1beta1"));
  const Value swagger = call("GET", "/openapi/v2").second;
  EXPECT_TRUE(swagger["paths"].find("/apis/metrics.k8s.io/v1beta1/nodes"));
  EXPECT_TRUE(swagger["paths"].find("/api/v1/namespaces/{namespace}/pods"));
  call("DELETE", "/api/v1/namespaces/default/services/ms");
  ex.run_for(std::chrono::seconds(1));
  v2 = call("GET", "/apis", "", "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList").second;
  EXPECT_EQ(std::as_const(v2)["items"].as_array().back()["versions"].at(0)["freshness"].as_string(), "Stale");
}

TEST_F(AggregationTest, TheFrontProxyIsPublished) {
  Value data = call("GET", "/api/v1/namespaces/kube-system/configmaps/extension-apiserver-authentication").second["data"];
  EXPECT_EQ(data["client-ca-file"].as_string(), "CA");
  EXPECT_EQ(data["requestheader-client-ca-file"].as_string(), "FRONT");
  EXPECT_EQ(data["requestheader-allowed-names"].as_string(), R"(["front-proxy-client"])");
  EXPECT_EQ(data["requestheader-group-headers"].as_string(), R"(["X-Remote-Group"])");
}

TEST(Discovered, ResourceListsGoBothWays) {
  Value list = *json::parse(R"({"kind":"APIResourceList","apiVersion":"v1","groupVersion":"g/v1","resources":[
    {"name":"pods","singularName":"pod","namespaced":true,"kind":"PodMetrics","verbs":["get"],"shortNames":["pm"]},
    {"name":"pods/scale","singularName":"","namespaced":true,"kind":"Scale","verbs":["get"]}]})");
  EXPECT_EQ(resource_list_of(resources_of_resource_list(list, "g", "v1"), "g", "v1"), list);
}

// --- protobuf ---

struct Frame {
  std::string type, object;
};
uint64_t read_varint(std::string_view& in) {
  uint64_t v = 0;
  for (int shift = 0;; shift += 7) {
    auto c = static_cast<unsigned char>(in.at(0));
    in.remove_prefix(1);
    v |= static_cast<uint64_t>(c & 0x7f) << shift;
    if (!(c & 0x80)) return v;
  }
}
std::string_view field(std::string_view& in, int number) {
  EXPECT_EQ(read_varint(in), static_cast<uint64_t>(number) << 3 | 2);
  size_t n = read_varint(in);
  std::string_view out = in.substr(0, n);
  in.remove_prefix(n);
  return out;
}
std::vector<Frame> frames(std::string_view in) {
  std::vector<Frame> out;
  while (in.size() >= 4) {
    size_t n = 0;
    for (int i = 0; i < 4; ++i) n = n << 8 | static_cast<unsigned char>(in[i]);
    std::string_view event = in.substr(4, n);
    in.remove_prefix(4 + n);
    Frame f;
    f.type = field(event, 1);
    std::string_view raw = field(event, 2);
    f.object = field(raw, 1);
    EXPECT_TRUE(event.empty() && raw.empty());
    out.push_back(std::move(f));
  }
  EXPECT_TRUE(in.empty());
  return out;
}

class ProtobufWatchTest : public AggregationTest {
 protected:
  Task<std::vector<WireEvent>> next(WatchSession* s) {
    auto e = co_await s->next();
    co_return e;
  }
  Response watch(std::string path, std::vector<std::pair<std::string, std::string>> query, std::string accept) {
    Request r = request("GET", std::move(path));
    r.query = std::move(query);
    r.query.emplace_back("watch", "1");
    r.accept = std::move(accept);
    parse_request_info(r);
    return run_task(ex, handle(&r));
  }
  std::vector<Frame> read(Response& res) {
    std::string all;
    for (auto& e : run_task(ex, next(res.watch.get()))) all += *e.wire;
    return frames(all);
  }
};

TEST_F(ProtobufWatchTest, EventsAreFramesAroundWholeMessages) {
  call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"one"},"data":{"a":"b"}})");
  Response res = watch("/api/v1/namespaces/default/configmaps", {{"allowWatchBookmarks", "1"}, {"sendInitialEvents", "1"}, {"resourceVersionMatch", "NotOlderThan"}},
                       "application/vnd.kubernetes.protobuf;stream=watch");
  ASSERT_TRUE(res.watch);
  EXPECT_EQ(res.content_type, "application/vnd.kubernetes.protobuf;stream=watch");
  auto added = read(res);
  ASSERT_EQ(added.size(), 1u);
  EXPECT_EQ(added[0].type, "ADDED");
  auto model = server->core().types.find("", "v1", "configmaps")->model;
  auto object = model->from_protobuf(added[0].object);
  ASSERT_TRUE(object.ok()) << object.error().message;
  EXPECT_EQ((*object)["data"]["a"].as_string(), "b");
  auto mark = read(res);
  ASSERT_EQ(mark.size(), 1u);
  EXPECT_EQ(mark[0].type, "BOOKMARK");
  auto empty = model->from_protobuf(mark[0].object);
  ASSERT_TRUE(empty.ok());
  EXPECT_EQ((*empty)["metadata"]["annotations"]["k8s.io/initial-events-end"].as_string(), "true");
  call("PATCH", "/api/v1/namespaces/default/configmaps/one", "{}");
  call("DELETE", "/api/v1/namespaces/default/configmaps/one");
  auto gone = read(res);
  ASSERT_FALSE(gone.empty());
  EXPECT_EQ(gone.back().type, "DELETED");
}

TEST_F(ProtobufWatchTest, MetadataAloneAndErrorsAreMessagesToo) {
  call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"one"},"data":{"a":"b"}})");
  Response res = watch("/api/v1/namespaces/default/configmaps", {{"resourceVersion", "0"}}, "application/vnd.kubernetes.protobuf;as=PartialObjectMetadata;g=meta.k8s.io;v=v1;stream=watch");
  auto added = read(res);
  ASSERT_EQ(added.size(), 1u);
  auto partial = decode_envelope(kube::meta::PartialObjectMetadata::type_info(), added[0].object);
  ASSERT_TRUE(partial.ok()) << partial.error().message;
  EXPECT_EQ((*partial)["metadata"]["name"].as_string(), "one");
  EXPECT_EQ(status_protobuf(to_status(status::expired("too old")).object)->substr(0, 4), std::string("k8s\0", 4));
  std::string frame = watch_frame("ERROR", *status_protobuf(to_status(status::expired("too old")).object));
  auto error = frames(frame);
  auto decoded = decode_envelope(kube::meta::Status::type_info(), error[0].object);
  ASSERT_TRUE(decoded.ok());
  EXPECT_EQ((*decoded)["code"].as_int(), 410);
  EXPECT_EQ((*decoded)["reason"].as_string(), "Expired");
  Response table = watch("/api/v1/namespaces/default/configmaps", {{"resourceVersion", "0"}}, "application/vnd.kubernetes.protobuf;as=Table;g=meta.k8s.io;v=v1");
  EXPECT_EQ(table.status, 406);
  Response json = watch("/api/v1/namespaces/default/configmaps", {{"resourceVersion", "0"}}, "application/json;stream=watch,application/vnd.kubernetes.protobuf;stream=watch");
  EXPECT_EQ(json.content_type, "application/json");
}

}  // namespace
}  // namespace caravel::apiserver
