// The API server through the in-process transport, in virtual time.
#include "apiserver/api_server.h"

#include <gtest/gtest.h>

#include "base/scope.h"
#include "base/strings.h"
#include "net/x509.h"

namespace caravel::apiserver {
namespace {

using json::Value;

class ApiServerTest : public testing::Test {
 protected:
  VirtualExecutor ex{7};
  std::unique_ptr<store::Store> store = store::make_memory_store(ex);
  std::unique_ptr<ApiServer> server;
  std::unique_ptr<kube::Transport> admin, other;

  void SetUp() override {
    ApiServerOptions o;
    o.tokens.signing_key = *net::generate_key(net::KeyType::kEcdsaP256);
    auto r = run_task(ex, ApiServer::start(ex, *store, o));
    ASSERT_TRUE(r.ok()) << r.error().message;
    server = std::move(*r);
    User u;
    u.name = "admin";
    u.groups = {"system:masters", "system:authenticated"};
    admin = server->transport(u);
    User v;
    v.name = "jane";
    v.groups = {"system:authenticated"};
    other = server->transport(v);
  }
  struct Answer {
    int code = 0;
    Value object;
    std::vector<std::string> warnings = {};
    std::string message() const { return object["message"].as_string(); }
    const Value& finalizers() const { return object["metadata"]["finalizers"]; }
  };
  Answer call(std::string method, std::string path, std::string body = "", std::string type = "application/json", kube::Transport* as = nullptr) {
    Request r;
    r.method = method;
    size_t q = path.find('?');
    r.path = path.substr(0, q);
    if (q != path.npos) {
      size_t at = q + 1;
      while (at < path.size()) {
        size_t end = std::min(path.find('&', at), path.size()), eq = path.find('=', at);
        r.query.emplace_back(path.substr(at, eq - at), path.substr(eq + 1, end - eq - 1));
        at = end + 1;
      }
    }
    r.body = body;
    r.content_type = type;
    auto u = std::make_shared<User>();
    u->name = as ? "jane" : "admin";
    u->groups = {"system:authenticated"};
    if (!as) u->groups.push_back("system:masters");
    r.user = u;
    r.user_agent = "test/1";
    parse_request_info(r);
    Response res = run_task(ex, handle(&r));
    Answer a;
    a.code = res.status;
    a.warnings = res.warnings;
    if (res.body) {
      auto v = json::parse(*res.body);
      if (v.ok()) a.object = *v;
    }
    return a;
  }
  Task<Response> handle(Request* r) {
    Response res = co_await server->handle(*r);
    co_return res;
  }
  static std::string pod(std::string name, std::string labels = "{}") {
    return R"({"apiVersion":"v1","kind":"Pod","metadata":{"name":")" + name + R"(","labels":)" + labels + R"(},"spec":{"containers":[{"name":"c","image":"nginx"}]}})";
  }
  void default_account() { call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})"); }
};

TEST_F(ApiServerTest, CreatesReadsUpdatesAndDeletes) {
  Answer made = call("POST", "/api/v1/namespaces/default/configmaps", R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"v"}})");
  ASSERT_EQ(made.code, 201) << json::dump(made.object);
  EXPECT_FALSE(made.object["metadata"]["uid"].as_string().empty());
  EXPECT_EQ(made.object["metadata"]["namespace"].as_string(), "default");
  std::string rv = made.object["metadata"]["resourceVersion"].as_string();
  ASSERT_FALSE(rv.empty());
  Answer got = call("GET", "/api/v1/namespaces/default/configmaps/a");
  EXPECT_EQ(json::dump_sorted(got.object), json::dump_sorted(made.object));
  Value changed = got.object;
  changed["data"]["k"] = "w";
  Answer put = call("PUT", "/api/v1/namespaces/default/configmaps/a", json::dump(changed));
  EXPECT_EQ(put.code, 200);
  EXPECT_NE(put.object["metadata"]["resourceVersion"].as_string(), rv);
  Answer stale = call("PUT", "/api/v1/namespaces/default/configmaps/a", json::dump(changed));
  EXPECT_EQ(stale.code, 409);
  EXPECT_EQ(stale.object["reason"].as_string(), "Conflict");
  Answer same = call("PUT", "/api/v1/namespaces/default/configmaps/a", json::dump(put.object));
  EXPECT_EQ(same.object["metadata"]["resourceVersion"], put.object["metadata"]["resourceVersion"]);
  EXPECT_EQ(call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})").object["reason"].as_string(), "AlreadyExists");
  EXPECT_EQ(call("DELETE", "/api/v1/namespaces/default/configmaps/a").object["status"].as_string(), "Success");
  Answer gone = call("GET", "/api/v1/namespaces/default/configmaps/a");
  EXPECT_EQ(gone.code, 404);
  EXPECT_EQ(gone.object["message"].as_string(), "configmaps \"a\" not found");
}

TEST_F(ApiServerTest, PodsGetDefaultsTokenVolumeAndGracefulDeletion) {
  EXPECT_EQ(call("POST", "/api/v1/namespaces/default/pods", pod("early")).code, 403);
  default_account();
  Answer made = call("POST", "/api/v1/namespaces/default/pods", pod("p"));
  ASSERT_EQ(made.code, 201) << json::dump(made.object);
  const Value& spec = made.object["spec"];
  EXPECT_EQ(spec["restartPolicy"].as_string(), "Always");
  EXPECT_EQ(spec["containers"].at(0)["imagePullPolicy"].as_string(), "Always");
  EXPECT_EQ(spec["containers"].at(0)["volumeMounts"].at(0)["mountPath"].as_string(), "/var/run/secrets/kubernetes.io/serviceaccount");
  EXPECT_EQ(spec["tolerations"].size(), 2u);
  EXPECT_EQ(made.object["status"]["phase"].as_string(), "Pending");
  EXPECT_EQ(made.object["status"]["qosClass"].as_string(), "BestEffort");
  Answer bound = call("POST", "/api/v1/namespaces/default/pods/p/binding", R"({"target":{"kind":"Node","name":"n1"}})");
  EXPECT_EQ(bound.code, 201) << json::dump(bound.object);
  Answer again = call("POST", "/api/v1/namespaces/default/pods/p/binding", R"({"target":{"kind":"Node","name":"n2"}})");
  EXPECT_EQ(again.code, 409);
  Answer got = call("GET", "/api/v1/namespaces/default/pods/p");
  EXPECT_EQ(got.object["spec"]["nodeName"].as_string(), "n1");
  EXPECT_EQ(got.object["status"]["conditions"].at(0)["type"].as_string(), "PodScheduled");
  Answer on_node = call("GET", "/api/v1/pods?fieldSelector=spec.nodeName=n1");
  EXPECT_EQ(on_node.object["items"].size(), 1u);
  Answer del = call("DELETE", "/api/v1/namespaces/default/pods/p");
  EXPECT_EQ(del.object["metadata"]["deletionGracePeriodSeconds"].as_int(), 30);
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/pods/p").code, 200);
  call("DELETE", "/api/v1/namespaces/default/pods/p?gracePeriodSeconds=0");
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/pods/p").code, 404);
}

TEST_F(ApiServerTest, StatusAndSpecAreSeparateAndGenerationCountsSpecs) {
  std::string body = R"({"metadata":{"name":"d"},"spec":{"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i:1"}]}}},"status":{"replicas":9}})";
  std::string base = "/apis/apps/v1/namespaces/default/deployments";
  Answer made = call("POST", base, body);
  ASSERT_EQ(made.code, 201) << json::dump(made.object);
  EXPECT_EQ(made.object["status"]["replicas"].as_int(), 0);
  EXPECT_EQ(made.object["metadata"]["generation"].as_int(), 1);
  EXPECT_EQ(made.object["spec"]["strategy"]["rollingUpdate"]["maxSurge"].as_string(), "25%");
  Answer labelled = call("PATCH", base + "/d", R"({"metadata":{"labels":{"x":"y"}},"status":{"replicas":3}})", "application/merge-patch+json");
  EXPECT_EQ(labelled.object["metadata"]["generation"].as_int(), 1);
  EXPECT_EQ(labelled.object["status"]["replicas"].as_int(), 0);
  Answer status = call("PATCH", base + "/d/status", R"({"spec":{"replicas":7},"status":{"replicas":3}})", "application/merge-patch+json");
  EXPECT_EQ(status.object["status"]["replicas"].as_int(), 3);
  EXPECT_EQ(status.object["spec"]["replicas"].as_int(), 1);
  Answer scale = call("PATCH", base + "/d/scale", R"({"spec":{"replicas":5}})", "application/merge-patch+json");
  EXPECT_EQ(scale.object["kind"].as_string(), "Scale");
  EXPECT_EQ(scale.object["status"]["selector"].as_string(), "a=b");
  Answer got = call("GET", base + "/d");
  EXPECT_EQ(got.object["spec"]["replicas"].as_int(), 5);
  EXPECT_EQ(got.object["metadata"]["generation"].as_int(), 2);
  Answer strategic = call("PATCH", base + "/d", R"({"spec":{"template":{"spec":{"containers":[{"name":"side","image":"s"}]}}}})", "application/strategic-merge-patch+json");
  EXPECT_EQ(strategic.object.path({"spec", "template", "spec", "containers"}).size(), 2u);
}

TEST_F(ApiServerTest, StrictDecodingNamesUnknownAndDuplicateFields) {
  std::string url = "/api/v1/namespaces/default/configmaps";
  Answer a = call("POST", url + "?fieldValidation=Strict", R"({"metadata":{"name":"x","foo":1},"dat":{},"data":{},"data":{}})");
  EXPECT_EQ(a.code, 400);
  EXPECT_EQ(a.object["message"].as_string(),
            "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"metadata.foo\", unknown field \"dat\", duplicate field \"data\"");
}

TEST_F(ApiServerTest, ListsInConsistentPages) {
  for (int i = 0; i < 5; ++i) call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c)" + std::to_string(i) + "\"}}");
  Answer first = call("GET", "/api/v1/namespaces/default/configmaps?limit=2");
  EXPECT_EQ(first.object["items"].size(), 2u);
  EXPECT_EQ(first.object["metadata"]["remainingItemCount"].as_int(), 3);
  call("DELETE", "/api/v1/namespaces/default/configmaps/c2");
  call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c21"}})");
  std::string rest;
  std::string token = first.object["metadata"]["continue"].as_string();
  while (!token.empty()) {
    Answer page = call("GET", "/api/v1/namespaces/default/configmaps?limit=2&continue=" + token);
    EXPECT_EQ(page.object["metadata"]["resourceVersion"], first.object["metadata"]["resourceVersion"]);
    for (auto& i : page.object["items"].as_array()) rest += i["metadata"]["name"].as_string() + " ";
    token = page.object["metadata"]["continue"].as_string();
  }
  EXPECT_EQ(rest, "c2 c3 c4 ");
}

TEST_F(ApiServerTest, RbacForbidsAndAllows) {
  Answer no = call("GET", "/api/v1/namespaces/default/pods", "", "", other.get());
  EXPECT_EQ(no.code, 403);
  EXPECT_EQ(no.object["message"].as_string(), "pods is forbidden: User \"jane\" cannot list resource \"pods\" in API group \"\" in the namespace \"default\"");
  call("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings",
       R"({"metadata":{"name":"j"},"roleRef":{"apiGroup":"rbac.authorization.k8s.io","kind":"ClusterRole","name":"view"},"subjects":[{"kind":"User","name":"jane"}]})");
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/pods", "", "", other.get()).code, 200);
  EXPECT_EQ(call("GET", "/api/v1/namespaces/default/secrets", "", "", other.get()).code, 403);
  EXPECT_EQ(call("GET", "/api/v1/namespaces/kube-system/pods", "", "", other.get()).code, 403);
}

TEST_F(ApiServerTest, ServicesGetAddressesAndPorts) {
  Answer k = call("GET", "/api/v1/namespaces/default/services/kubernetes");
  EXPECT_EQ(k.object["spec"]["clusterIP"].as_string(), "172.20.0.1");
  Answer s = call("POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"s"},"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  ASSERT_EQ(s.code, 201) << json::dump(s.object);
  EXPECT_GE(s.object["spec"]["ports"].at(0)["nodePort"].as_int(), 30000);
  EXPECT_EQ(s.object["spec"]["clusterIP"].as_string().substr(0, 7), "172.20.");
  Answer clash = call("POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"t"},"spec":{"clusterIP":"172.20.0.1","ports":[{"port":80}]}})");
  EXPECT_EQ(clash.code, 422);
}

TEST_F(ApiServerTest, CustomResourcesAreServedAtOnceAndCleanedUp) {
  std::string crd = R"({"apiVersion":"apiextensions.k8s.io/v1","kind":"CustomResourceDefinition","metadata":{"name":"foos.ex.io"},"spec":{"group":"ex.io","scope":"Namespaced",
    "names":{"plural":"foos","kind":"Foo"},"versions":[{"name":"v1","served":true,"storage":true,"subresources":{"status":{}},
    "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{"n":{"type":"integer","default":3}}},"status":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}}}]}})";
  Answer made = call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", crd);
  ASSERT_EQ(made.code, 201) << json::dump(made.object);
  ex.run_for(1s);
  Answer got = call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.ex.io");
  bool established = false;
  for (auto& c : got.object["status"]["conditions"].as_array()) established = established || (c["type"].as_string() == "Established" && c["status"].as_string() == "True");
  EXPECT_TRUE(established) << json::dump(got.object);
  Answer foo = call("POST", "/apis/ex.io/v1/namespaces/default/foos", R"({"apiVersion":"ex.io/v1","kind":"Foo","metadata":{"name":"f"},"spec":{"x":1}})");
  ASSERT_EQ(foo.code, 201) << json::dump(foo.object);
  EXPECT_EQ(json::dump(foo.object["spec"]), R"({"n":3})");
  Answer st = call("PATCH", "/apis/ex.io/v1/namespaces/default/foos/f/status", R"({"status":{"ok":true}})", "application/merge-patch+json");
  EXPECT_EQ(json::dump(st.object["status"]), R"({"ok":true})");
  EXPECT_EQ(call("GET", "/apis/ex.io/v1").object["resources"].size(), 2u);
  call("DELETE", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.ex.io");
  ex.run_for(5s);
  EXPECT_EQ(call("GET", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/foos.ex.io").code, 404);
  EXPECT_EQ(call("GET", "/apis/ex.io/v1/namespaces/default/foos/f").code, 404);
}

TEST_F(ApiServerTest, RulesOfCustomResourcesAreChecked) {
  auto crd = [](const std::string& rule) {
    return R"({"metadata":{"name":"bars.ex.io"},"spec":{"group":"ex.io","scope":"Namespaced","names":{"plural":"bars","kind":"Bar"},"versions":[{"name":"v1","served":true,"storage":true,
      "schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","x-kubernetes-validations":[{"rule":")" +
           rule + R"("},
        {"rule":"self.name == oldSelf.name","message":"name is immutable","fieldPath":".name","reason":"FieldValueForbidden"}],
        "properties":{"min":{"type":"integer"},"max":{"type":"integer"},"name":{"type":"string"}}}}}}}]}})";
  };
  const std::string crds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions", bars = "/apis/ex.io/v1/namespaces/default/bars";
  Answer wrong = call("POST", crds, crd("self.mni <= self.max"));
  EXPECT_EQ(wrong.code, 422);
  EXPECT_NE(wrong.object["message"].as_string().find("x-kubernetes-validations[0].rule: Invalid value: {\"Rule\":\"self.mni \\u003c= self.max\""), std::string::npos) << json::dump(wrong.object);
  EXPECT_NE(wrong.object["message"].as_string().find("compilation failed: ERROR: <input>:1:5: undefined field 'mni'\n | self.mni <= self.max\n | ....^"), std::string::npos);
  ASSERT_EQ(call("POST", crds, crd("self.min <= self.max")).code, 201);
  ex.run_for(1s);
  Answer bad = call("POST", bars, R"({"apiVersion":"ex.io/v1","kind":"Bar","metadata":{"name":"b"},"spec":{"min":2,"max":1,"name":"x"}})");
  EXPECT_EQ(bad.code, 422);
  EXPECT_EQ(bad.object["message"].as_string(), "Bar.ex.io \"b\" is invalid: spec: Invalid value: \"object\": failed rule: self.min <= self.max");
  EXPECT_EQ(call("POST", bars, R"({"apiVersion":"ex.io/v1","kind":"Bar","metadata":{"name":"b"},"spec":{"min":1,"max":2,"name":"x"}})").code, 201);
  Answer change = call("PATCH", bars + "/b", R"({"spec":{"name":"y"}})", "application/merge-patch+json");
  EXPECT_EQ(change.code, 422);
  EXPECT_EQ(change.object["message"].as_string(), "Bar.ex.io \"b\" is invalid: spec.name: Forbidden: name is immutable");
  EXPECT_EQ(call("PATCH", bars + "/b", R"({"spec":{"max":9}})", "application/merge-patch+json").code, 200);
}

TEST_F(ApiServerTest, TokensAuthenticateUntilTheirAccountGoes) {
  default_account();
  Answer t = call("POST", "/api/v1/namespaces/default/serviceaccounts/default/token", R"({"spec":{"expirationSeconds":3600}})");
  ASSERT_EQ(t.code, 201) << json::dump(t.object);
  Credentials c;
  c.authorization = "Bearer " + t.object["status"]["token"].as_string();
  auto u = run_task(ex, server->authenticator().authenticate(c, "/api"));
  ASSERT_TRUE(u.ok());
  EXPECT_EQ((*u)->name, "system:serviceaccount:default:default");
  call("DELETE", "/api/v1/namespaces/default/serviceaccounts/default");
  EXPECT_FALSE(run_task(ex, server->authenticator().authenticate(c, "/api")).ok());
}

// What a Secret of type kubernetes.io/service-account-token holds is good as long as the Secret holds it.
TEST_F(ApiServerTest, TokensOfSecretsGoWithTheirSecret) {
  default_account();
  const std::string accounts = "/api/v1/namespaces/default/serviceaccounts", secrets = "/api/v1/namespaces/default/secrets";
  const std::string uid = call("GET", accounts + "/default").object["metadata"]["uid"].as_string();
  const std::string token = *server->secret_token("default", "default", uid, "robot");
  Credentials c;
  c.authorization = "Bearer " + token;
  auto who = [&] { return run_task(ex, server->authenticator().authenticate(c, "/api")); };
  EXPECT_FALSE(who().ok()) << "there is no such Secret";
  const std::string head = R"({"metadata":{"name":"robot","annotations":{"kubernetes.io/service-account.name":"default"}},"type":"kubernetes.io/service-account-token","data":{"token":")";
  ASSERT_EQ(call("POST", secrets, head + base64_encode(token) + R"("}})").code, 201);
  auto u = who();
  ASSERT_TRUE(u.ok()) << u.error().message;
  EXPECT_EQ((*u)->name, "system:serviceaccount:default:default");
  EXPECT_EQ((*u)->uid, uid);
  ASSERT_EQ(call("PUT", secrets + "/robot", head + base64_encode("another") + R"("}})").code, 200);
  EXPECT_FALSE(who().ok()) << "the Secret holds another";
  ASSERT_EQ(call("PUT", secrets + "/robot", head + base64_encode(token) + R"("}})").code, 200);
  EXPECT_TRUE(who().ok());
  call("DELETE", accounts + "/default");
  EXPECT_FALSE(who().ok());
}

TEST_F(ApiServerTest, ServerSideApplyConflictsAreTold) {
  std::string url = "/api/v1/namespaces/default/configmaps/a?fieldManager=";
  std::string one = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"1"}})";
  std::string two = R"({"apiVersion":"v1","kind":"ConfigMap","metadata":{"name":"a"},"data":{"k":"2"}})";
  Answer made = call("PATCH", url + "x", one, "application/apply-patch+yaml");
  ASSERT_EQ(made.code, 201) << json::dump(made.object);
  EXPECT_EQ(made.object["metadata"]["managedFields"].at(0)["operation"].as_string(), "Apply");
  Answer again = call("PATCH", url + "x", one, "application/apply-patch+yaml");
  EXPECT_EQ(again.object["metadata"]["resourceVersion"], made.object["metadata"]["resourceVersion"]);
  Answer no = call("PATCH", url + "y", two, "application/apply-patch+yaml");
  EXPECT_EQ(no.code, 409);
  EXPECT_EQ(no.object["message"].as_string(), "Apply failed with 1 conflict: conflict with \"x\": .data.k");
  Answer forced = call("PATCH", url + "y&force=true", two, "application/apply-patch+yaml");
  EXPECT_EQ(forced.object["data"]["k"].as_string(), "2");
}

// Whatever a stranger sends is answered, never a crash.
TEST_F(ApiServerTest, NonsenseIsRefused) {
  default_account();
  call("POST", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions",
       R"({"metadata":{"name":"foos.ex.io"},"spec":{"group":"ex.io","scope":"Namespaced","names":{"plural":"foos","kind":"Foo"},"versions":[{"name":"v1","served":true,"storage":true,"schema":{"openAPIV3Schema":{"type":"object","x-kubernetes-preserve-unknown-fields":true}}}]}})");
  ex.run_for(1s);
  call("POST", "/apis/ex.io/v1/namespaces/default/foos", R"({"apiVersion":"ex.io/v1","kind":"Foo","metadata":{"name":"f"}})");
  call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a"}})");
  const std::vector<std::string> bodies = {"", "x", "[]", "null", "1", "\"s\"", "{}", R"({"metadata":1})", R"({"metadata":{"finalizers":"x","labels":[]}})", R"({"spec":"x"})",
                                           R"({"metadata":{"name":"a"},"data":[1]})", R"([{"op":"replace","path":"","value":"x"}])", R"([{"op":"add","path":"/metadata","value":3}])",
                                           R"([{"op":"remove","path":"/metadata"}])", std::string("k8s\0zz", 6), R"({"spec":{"replicas":"x"}})", R"({"target":[]})", R"({"preconditions":[],"dryRun":{}})"};
  const std::vector<std::string> types = {"application/json", "application/yaml", "application/vnd.kubernetes.protobuf", "application/json-patch+json", "application/merge-patch+json",
                                          "application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain"};
  const std::vector<std::string> paths = {"/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps/a", "/apis/ex.io/v1/namespaces/default/foos",
                                          "/apis/ex.io/v1/namespaces/default/foos/f", "/api/v1/namespaces/default/pods/p/binding", "/api/v1/namespaces/default/pods/p/eviction",
                                          "/api/v1/namespaces/default/serviceaccounts/default/token", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews",
                                          "/apis/apps/v1/namespaces/default/deployments/d/scale", "/api/v1/namespaces/default/finalize", "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"};
  for (auto& method : {"POST", "PUT", "PATCH", "DELETE"})
    for (auto& path : paths)
      for (auto& type : types)
        for (auto& body : bodies) {
          if (std::string(method) == "DELETE" && path.find("/f") == std::string::npos) continue;
          Answer a = call(method, path + "?fieldManager=m", body, type);
          EXPECT_GE(a.code, 200);
        }
  call("GET", "/api/v1/namespaces/default/configmaps?continue=W10&limit=x&labelSelector=((&fieldSelector=,,");
  Credentials c;
  for (const char* token : {"W10.W10.x", "..", "a.b.c", "bnVsbA.bnVsbA.bnVsbA"}) {
    c.authorization = std::string("Bearer ") + token;
    EXPECT_FALSE(run_task(ex, server->authenticator().authenticate(c, "/api")).ok());
  }
  EXPECT_EQ(call("GET", "/readyz").code, 200);
}

Task<void> collect(kube::Transport* t, std::string ns, std::string selector, std::string version, std::string* out, std::optional<Error>* error) {
  kube::ApiRequest r;
  r.verb = "watch";
  r.resource.version = "v1";
  r.resource.plural = "configmaps";
  r.ns = ns;
  if (!selector.empty()) r.query.emplace_back("labelSelector", selector);
  if (!version.empty()) r.query.emplace_back("resourceVersion", version);
  auto w = co_await t->watch(std::move(r));
  if (!w.ok()) {
    *error = w.error();
    co_return;
  }
  while (true) {
    auto e = co_await (*w)->next();
    if (!e.ok()) {
      *error = e.error();
      co_return;
    }
    if (!e->has_value()) co_return;
    static const char* const kNames[] = {"+", "~", "-", "b"};
    *out += kNames[static_cast<int>((*e)->type)] + (*(*e)->object)["metadata"]["name"].as_string() + " ";
  }
}

TEST_F(ApiServerTest, WatchesShowLeavingTheSelectorAsDeletion) {
  std::string all, red;
  std::optional<Error> error;
  TaskScope scope;
  call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"a","labels":{"c":"red"}}})");
  scope.spawn(collect(admin.get(), "default", "", "", &all, &error));
  scope.spawn(collect(admin.get(), "default", "c=red", "", &red, &error));
  ex.run_ready();
  call("PATCH", "/api/v1/namespaces/default/configmaps/a", R"({"metadata":{"labels":{"c":"blue"}}})", "application/merge-patch+json");
  call("PATCH", "/api/v1/namespaces/default/configmaps/a", R"({"metadata":{"labels":{"c":"red"}}})", "application/merge-patch+json");
  call("DELETE", "/api/v1/namespaces/default/configmaps/a");
  ex.run_ready();
  EXPECT_EQ(all, "+a ~a ~a -a ");
  EXPECT_EQ(red, "+a -a +a -a ");
  EXPECT_FALSE(error);
}

// Informers keep no managedFields, and what they show is changed and written back.
TEST_F(ApiServerTest, AWriteWithoutManagedFieldsLeavesThemToTheirManagers) {
  call("POST", "/api/v1/namespaces/default/configmaps?fieldManager=maker", R"({"metadata":{"name":"m"},"data":{"a":"1","b":"1"}})");
  Value m = call("GET", "/api/v1/namespaces/default/configmaps/m").object;
  m["metadata"].erase("managedFields");
  m["data"]["b"] = "2";
  EXPECT_EQ(call("PUT", "/api/v1/namespaces/default/configmaps/m?fieldManager=changer", json::dump(m)).code, 200);
  const Value after = call("GET", "/api/v1/namespaces/default/configmaps/m").object;
  std::map<std::string, std::string> owned;
  for (auto& e : after.path({"metadata", "managedFields"}).as_array()) owned[e["manager"].as_string()] = json::dump(e["fieldsV1"]);
  EXPECT_EQ(owned["maker"], R"({"f:data":{".":{},"f:a":{}}})");
  EXPECT_EQ(owned["changer"], R"({"f:data":{"f:b":{}}})");
}

// Readers in this process are given documents where others are sent text: the same ones.
TEST_F(ApiServerTest, ReadersInThisProcessGetTheDocumentsThatOthersGetAsText) {
  for (int i = 0; i < 5; ++i)
    call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"m)" + std::to_string(i) + R"(","labels":{"odd":")" + std::to_string(i % 2) + R"("}},"data":{"k":"v"}})");
  for (const std::string path : {"/api/v1/namespaces/default/configmaps", "/api/v1/namespaces/default/configmaps?limit=2", "/api/v1/configmaps?labelSelector=odd=1",
                                 "/api/v1/namespaces/none/configmaps", "/api/v1/namespaces/default/configmaps/m3", "/api/v1", "/apis", "/apis/apps/v1"}) {
    std::vector<Value> seen;
    for (bool in_process : {false, true}) {
      Request r;
      r.in_process = in_process;
      const size_t q = path.find('?');
      r.path = path.substr(0, q);
      if (q != path.npos) {
        const size_t eq = path.find('=', q);
        r.query.emplace_back(path.substr(q + 1, eq - q - 1), path.substr(eq + 1));
      }
      auto u = std::make_shared<User>();
      u->name = "admin";
      u->groups = {"system:masters", "system:authenticated"};
      r.user = u;
      parse_request_info(r);
      Response res = run_task(ex, handle(&r));
      ASSERT_EQ(res.status, 200) << path;
      if (in_process) {
        ASSERT_TRUE(res.value) << path;
        seen.push_back(*res.value);
      } else {
        ASSERT_TRUE(res.body) << path;
        seen.push_back(*json::parse(*res.body));
      }
    }
    // Documents are shared with other readers and keep what a list's text leaves out.
    if (seen[1].find("items")) {
      for (Value& item : seen[1]["items"].arr())
        for (std::string_view name : {"kind", "apiVersion"}) EXPECT_TRUE(item.erase(name)) << path;
    }
    EXPECT_EQ(json::dump_sorted(seen[0]), json::dump_sorted(seen[1])) << path;
  }
}

TEST_F(ApiServerTest, AWatchFromACompactedVersionIsGone) {
  for (int i = 0; i < 40'000; ++i) {
    store::Txn t;
    store::Op op;
    op.key = "/registry/core/configmaps/default/x";
    op.value = R"({"kind":"ConfigMap","apiVersion":"v1","metadata":{"name":"x","namespace":"default","resourceVersion":""}})";
    op.stamp_at = op.value.size() - 3;
    t.ops.push_back(op);
    run_task(ex, store->txn(t)).ok();
  }
  std::string out;
  std::optional<Error> error;
  TaskScope scope;
  scope.spawn(collect(admin.get(), "default", "", "5", &out, &error));
  ex.run_ready();
  ASSERT_TRUE(error);
  EXPECT_EQ(error->code, Code::kGone);
}

TEST_F(ApiServerTest, AListInPagesExpiresAndGoesOnInconsistently) {
  for (int i = 0; i < 6; ++i) call("POST", "/api/v1/namespaces/default/configmaps", R"({"metadata":{"name":"c)" + std::to_string(i) + "\"}}");
  Answer first = call("GET", "/api/v1/namespaces/default/configmaps?limit=2");
  std::string token = first.object["metadata"]["continue"].as_string();
  call("DELETE", "/api/v1/namespaces/default/configmaps/c3");
  Answer second = call("GET", "/api/v1/namespaces/default/configmaps?limit=2&continue=" + token);
  EXPECT_EQ(second.object["items"].at(1)["metadata"]["name"].as_string(), "c3");  // as it was
  ex.run_until(ex.now() + std::chrono::minutes(6));
  Answer late = call("GET", "/api/v1/namespaces/default/configmaps?limit=2&continue=" + token);
  EXPECT_EQ(late.code, 410);
  EXPECT_EQ(late.object["reason"].as_string(), "Expired");
  std::string other = late.object["metadata"]["continue"].as_string();
  ASSERT_FALSE(other.empty());
  Answer rest = call("GET", "/api/v1/namespaces/default/configmaps?limit=2&continue=" + other);
  ASSERT_EQ(rest.code, 200);
  EXPECT_EQ(rest.object["items"].at(0)["metadata"]["name"].as_string(), "c2");
  EXPECT_EQ(rest.object["items"].at(1)["metadata"]["name"].as_string(), "c4");
  EXPECT_NE(rest.object["metadata"]["resourceVersion"], first.object["metadata"]["resourceVersion"]);
  // What follows belongs to the new version.
  Answer last = call("GET", "/api/v1/namespaces/default/configmaps?limit=2&continue=" + rest.object["metadata"]["continue"].as_string());
  EXPECT_EQ(last.object["metadata"]["resourceVersion"], rest.object["metadata"]["resourceVersion"]);
}

TEST_F(ApiServerTest, JobsAndReplicationControllersOrphanUnlessToldOtherwise) {
  const std::string spec = R"({"template":{"metadata":{"labels":{"a":"b"}},"spec":{"restartPolicy":"Never","containers":[{"name":"c","image":"i"}]}}})";
  auto job = [&](const std::string& name) { return call("POST", "/apis/batch/v1/namespaces/default/jobs", R"({"metadata":{"name":")" + name + R"("},"spec":)" + spec + "}").code; };
  ASSERT_EQ(job("a"), 201);
  Answer gone = call("DELETE", "/apis/batch/v1/namespaces/default/jobs/a");
  ASSERT_EQ(gone.warnings.size(), 1u);
  EXPECT_EQ(gone.warnings[0], "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them or set propagationPolicy=Orphan to suppress this warning");
  EXPECT_EQ(json::dump(gone.finalizers()), R"(["orphan"])");
  ASSERT_EQ(job("b"), 201);
  gone = call("DELETE", "/apis/batch/v1/namespaces/default/jobs/b?propagationPolicy=Background");
  EXPECT_TRUE(gone.warnings.empty());
  EXPECT_EQ(gone.object["status"].as_string(), "Success");
  ASSERT_EQ(job("c"), 201);
  EXPECT_EQ(call("DELETE", "/apis/batch/v1/namespaces/default/jobs").warnings.size(), 1u);
  EXPECT_EQ(json::dump(call("GET", "/apis/batch/v1/namespaces/default/jobs/c").finalizers()), R"(["orphan"])");
  ASSERT_EQ(call("POST", "/api/v1/namespaces/default/replicationcontrollers",
                 R"({"metadata":{"name":"r"},"spec":{"replicas":0,"selector":{"a":"b"},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})")
                .code,
            201);
  gone = call("DELETE", "/api/v1/namespaces/default/replicationcontrollers/r");
  EXPECT_TRUE(gone.warnings.empty());
  EXPECT_EQ(json::dump(gone.finalizers()), R"(["orphan"])");
}

TEST_F(ApiServerTest, PathsAndParametersThatSayNothing) {
  const std::string maps = "/api/v1/namespaces/default/configmaps";
  EXPECT_EQ(call("GET", "/zork").code, 404);
  EXPECT_TRUE(call("GET", "/apis/zork/v1/foos").object.is_null() || call("GET", "/apis/zork/v1/foos").object["kind"].as_string() != "Status");
  EXPECT_EQ(json::dump(call("GET", "/api/v1/zorks").object["details"]), "{}");
  EXPECT_EQ(call("GET", maps + "?limit=abc").message(), R"(strconv.ParseInt: parsing "abc": invalid syntax)");
  EXPECT_EQ(call("GET", maps + "?timeoutSeconds=99999999999999999999").message(), R"(strconv.ParseInt: parsing "99999999999999999999": value out of range)");
  const std::string timeout = "invalid timeout specified in the request URL - time: ";
  EXPECT_EQ(call("GET", maps + "?timeout=abc").message(), timeout + R"(invalid duration "abc")");
  EXPECT_EQ(call("GET", maps + "?timeout=1.5h3").message(), timeout + R"(missing unit in duration "1.5h3")");
  EXPECT_EQ(call("POST", maps + "?timeout=1x", R"({"metadata":{"name":"t"}})").message(), timeout + R"(unknown unit "x" in duration "1x")");
  EXPECT_EQ(call("GET", maps + "?timeout=1m30s").code, 200);
  EXPECT_EQ(call("GET", maps + "?continue=e30").message(), "invalid continue token: continue key is not valid: server does not recognize this encoded version ");
  EXPECT_EQ(call("GET", maps + "?fieldSelector=zork=x").message(), R"("zork" is not a known field selector: only "metadata.name", "metadata.namespace")");
  EXPECT_EQ(call("POST", maps, "{").message(), "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: unexpected end of JSON input ({)");
}

TEST_F(ApiServerTest, LabelSelectorsAreReadWordByWord) {
  auto told = [&](const std::string& selector) { return call("GET", "/api/v1/namespaces/default/configmaps?labelSelector=" + selector).message(); };
  const std::string r = "unable to parse requirement: ";
  EXPECT_EQ(told("a b"), r + "found 'b', expected: in, notin, =, ==, !=, gt, lt");
  EXPECT_EQ(told("=b"), "found '=', expected: !, identifier, or 'end of string'");
  EXPECT_EQ(told("a in"), r + "found '' expected: '('");
  EXPECT_EQ(told("a in ("), r + "found '', expected: ',', ')' or identifier");
  EXPECT_EQ(told("a in (b"), r + "found '', expected: ',' or ')'");
  EXPECT_EQ(told("a=b c"), "found 'c', expected: ',' or 'end of string'");
  EXPECT_EQ(told("a,"), "found '', expected: identifier after ','");
  EXPECT_EQ(told("a>b"), r + R"(values[0]: Invalid value: "b": for 'Gt', 'Lt' operators, the value must be an integer)");
  EXPECT_EQ(told("in=x,notin,a in (),!b,c!=d,e notin (f, g),h>3"), "");
}

TEST_F(ApiServerTest, AnAutoscalerWithoutPoliciesIsRefused) {
  auto made = [&](const std::string& behavior) {
    return call("POST", "/apis/autoscaling/v2/namespaces/default/horizontalpodautoscalers",
                R"({"metadata":{"name":"h"},"spec":{"scaleTargetRef":{"apiVersion":"apps/v1","kind":"Deployment","name":"x"},"maxReplicas":3,"behavior":{)" + behavior + "}}}");
  };
  EXPECT_EQ(made(R"("scaleUp":{"policies":[]})").message(),
            R"(HorizontalPodAutoscaler.autoscaling "h" is invalid: spec.behavior.scaleUp.policies: Required value: must specify at least one Policy)");
  EXPECT_EQ(made(R"("scaleUp":{})").code, 201);
}

TEST_F(ApiServerTest, HealthChecksAreCounted) {
  Answer a = call("GET", "/livez/ping");
  EXPECT_EQ(a.code, 200);
  EXPECT_EQ(call("GET", "/livez/none").code, 404);
}

}  // namespace
}  // namespace caravel::apiserver
