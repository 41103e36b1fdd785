// Custom resources in versions between which a webhook converts.
#include "apiserver/webhook_test_fixture.h"

namespace caravel::apiserver {
namespace {

// v1 has spec.host and spec.port, v2 has spec.address "host:port".
Value converted(const Value& from, const std::string& api_version) {
  Value o = from;
  o["apiVersion"] = api_version;
  const Value& spec = from["spec"];
  Value next = Value::object();
  if (api_version == "example.com/v2") {
    next["address"] = spec["host"].as_string() + ":" + spec["port"].as_string();
  } else {
    auto parts = split(spec["address"].as_string(), ':');
    next["host"] = parts[0];
    next["port"] = parts.size() > 1 ? parts[1] : "";
  }
  o["spec"] = std::move(next);
  return o;
}

class ConversionTest : public WebhookTest {
 protected:
  size_t calls = 0;

  void SetUp() override {
    WebhookTest::SetUp();
    hooks->converter = [this](const Value& q) {
      ++calls;
      Value r = Value::object();
      Value list = Value::array();
      for (auto& o : q["objects"].as_array()) list.push_back(converted(o, q["desiredAPIVersion"].as_string()));
      r["convertedObjects"] = std::move(list);
      r["result"]["status"] = "Success";
      return r;
    };
    Answer a = call("POST", kCrds, crd("v1"));
    ASSERT_EQ(a.code, 201) << a.message();
    ex.run_for(std::chrono::seconds(2));
  }
  static std::string crd(std::string storage) {
    auto version = [&](std::string name, std::string properties) {
      return R"({"name":")" + name + R"(","selectableFields":[{"jsonPath":")" + (name == "v1" ? ".spec.host" : ".spec.address") + R"("}],"served":true,"storage":)" + (name == storage ? "true" : "false") + R"(,"schema":{"openAPIV3Schema":{"type":"object","properties":{"spec":{"type":"object","properties":{)" +
             properties + "}}}}}}";
    };
    return R"({"metadata":{"name":"doors.example.com"},"spec":{"group":"example.com","scope":"Namespaced","names":{"plural":"doors","kind":"Door"},"versions":[)" +
           version("v1", R"("host":{"type":"string"},"port":{"type":"string"})") + "," + version("v2", R"("address":{"type":"string"})") +
           R"(],"conversion":{"strategy":"Webhook","webhook":{"conversionReviewVersions":["v1"],"clientConfig":{"url":"https://hook.test/convert"}}}}})";
  }
  static std::string path(std::string version, std::string name = "") { return "/apis/example.com/" + version + "/namespaces/default/doors" + (name.empty() ? "" : "/" + name); }
  static constexpr const char* kCrds = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";
};

TEST_F(ConversionTest, AnObjectIsShownAndWrittenInEachVersion) {
  Answer made = call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(calls, 0u);
  Answer two = call("GET", path("v2", "a"));
  EXPECT_EQ(two.at("apiVersion").as_string() + " " + two.at("spec.address").as_string(), "example.com/v2 h:80");
  EXPECT_EQ(two.at("metadata.uid").as_string(), made.at("metadata.uid").as_string());
  Answer patched = patch(path("v2", "a"), R"({"spec":{"address":"h:443"}})");
  EXPECT_EQ(patched.at("spec.address").as_string(), "h:443") << patched.message();
  EXPECT_EQ(call("GET", path("v1", "a")).at("spec.port").as_string(), "443");
  Answer other = call("POST", path("v2"), R"({"apiVersion":"example.com/v2","kind":"Door","metadata":{"name":"b"},"spec":{"address":"x:1"}})");
  EXPECT_EQ(other.at("apiVersion").as_string(), "example.com/v2");
  EXPECT_EQ(call("GET", path("v1", "b")).at("spec.host").as_string(), "x");
  EXPECT_EQ(call("DELETE", path("v2", "b")).code, 200);
}

TEST_F(ConversionTest, AMixedListIsConvertedInOneCall) {
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  Answer crd_now = call("GET", std::string(kCrds) + "/doors.example.com");
  Answer moved = call("PATCH", std::string(kCrds) + "/doors.example.com", R"([{"op":"replace","path":"/spec/versions/0/storage","value":false},{"op":"replace","path":"/spec/versions/1/storage","value":true}])",
                      "application/json-patch+json");
  ASSERT_EQ(moved.code, 200) << moved.message();
  ex.run_for(std::chrono::seconds(2));
  EXPECT_EQ(json::dump(call("GET", std::string(kCrds) + "/doors.example.com").at("status.storedVersions")), R"(["v1","v2"])");
  call("POST", path("v2"), R"({"apiVersion":"example.com/v2","kind":"Door","metadata":{"name":"b"},"spec":{"address":"x:1"}})");
  calls = 0;
  Answer list = call("GET", path("v2"));
  ASSERT_EQ(list.at("items").size(), 2u) << list.message();
  EXPECT_EQ(list.at("items").at(0).path({"spec", "address"}).as_string(), "h:80");
  EXPECT_EQ(list.at("items").at(1).path({"spec", "address"}).as_string(), "x:1");
  EXPECT_EQ(calls, 1u);
  EXPECT_EQ(call("GET", path("v1")).at("items").at(1).path({"spec", "host"}).as_string(), "x");
}

TEST_F(ConversionTest, AConverterMustKeepAnObjectsIdentity) {
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  hooks->converter = [](const Value& q) {
    Value o = converted(q["objects"].at(0), q["desiredAPIVersion"].as_string());
    o["metadata"]["name"] = "another";
    Value r = Value::object();
    r["convertedObjects"] = Value::array({o});
    r["result"]["status"] = "Success";
    return r;
  };
  Answer a = call("GET", path("v2", "a"));
  EXPECT_EQ(a.code, 500);
  EXPECT_EQ(a.message(), "Internal error occurred: conversion webhook for example.com/v1, Kind=Door returned invalid converted object at index 0: must have the same name: another != a");
  hooks->converter = [](const Value&) {
    Value r = Value::object();
    r["result"]["status"] = "Failure";
    r["result"]["message"] = "cannot";
    return r;
  };
  EXPECT_EQ(call("GET", path("v2")).message(), "Internal error occurred: conversion webhook for example.com/v1, Kind=Door failed: cannot");
}

TEST_F(ConversionTest, SelectorsNameFieldsOfTheVersionThatIsAskedFor) {
  auto names = [&](const std::string& target) {
    Answer list = call("GET", target);
    std::string out = list.code == 200 ? "" : list.message();
    for (auto& o : list.at("items").as_array()) out += o.path({"metadata", "name"}).as_string() + " ";
    return out;
  };
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"b"},"spec":{"host":"h","port":"81"}})");
  EXPECT_EQ(names(path("v1") + "?fieldSelector=spec.host=h"), "a b ");
  EXPECT_EQ(names(path("v2") + "?fieldSelector=spec.address=h:81"), "b ");
  EXPECT_EQ(names(path("v2") + "?fieldSelector=spec.address!=h:81,metadata.name=a"), "a ");
  EXPECT_NE(names(path("v2") + "?fieldSelector=spec.host=h").find("field label not supported: spec.host"), std::string::npos);

  Request r = request("GET", path("v2") + "?watch=true&fieldSelector=spec.address=h:80");
  Response res = run_task(ex, handle(&r));
  ASSERT_TRUE(res.watch);
  patch(path("v1", "b"), R"({"spec":{"port":"80"}})");                                                                                  // comes in
  patch(path("v1", "b"), R"({"metadata":{"labels":{"x":"y"}}})");                                                                       // stays
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"c"},"spec":{"host":"h","port":"9"}})");  // none of ours
  Answer out = patch(path("v1", "a"), R"({"spec":{"port":"82"}})");                                                                     // goes
  call("DELETE", path("v1", "b"));
  std::string seen;
  for (int i = 0; i < 5 && std::count(seen.begin(), seen.end(), ';') < 5; ++i) {
    for (auto& e : run_task(ex, res.watch->next())) {
      const Value o = std::move(*json::parse(*e.object));
      seen += std::string(e.type) + " " + o.path({"metadata", "name"}).as_string() + " " + o.path({"spec", "address"}).as_string() + ";";
      if (e.type == "DELETED" && o.path({"metadata", "name"}).as_string() == "a") {
        EXPECT_EQ(o.path({"metadata", "resourceVersion"}).as_string(), out.at("metadata.resourceVersion").as_string());
      }
    }
  }
  EXPECT_EQ(seen, "ADDED a h:80;ADDED b h:80;MODIFIED b h:80;DELETED a h:80;DELETED b h:80;");

  call("DELETE", path("v2") + "?fieldSelector=spec.address=h:82");
  EXPECT_EQ(names(path("v1")), "c ");
}

TEST_F(ConversionTest, WatchersSeeTheVersionTheyAskedFor) {
  Request r = request("GET", path("v2") + "?watch=true");
  Response res = run_task(ex, handle(&r));
  ASSERT_TRUE(res.watch);
  call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  auto events = run_task(ex, res.watch->next());
  ASSERT_EQ(events.size(), 1u);
  EXPECT_NE(events[0].wire->find(R"("address":"h:80")"), std::string::npos) << *events[0].wire;
}

TEST_F(ConversionTest, WebhooksSeeTheVersionOfTheirRules) {
  hooks->answers["/a"] = [](const Value&) { return change(R"([{"op":"replace","path":"/spec/address","value":"changed:9"}])"); };
  configure("Mutating", "c", hook("a", "", R"({"operations":["CREATE"],"apiGroups":["example.com"],"apiVersions":["v2"],"resources":["doors"]})"));
  Answer made = call("POST", path("v1"), R"({"apiVersion":"example.com/v1","kind":"Door","metadata":{"name":"a"},"spec":{"host":"h","port":"80"}})");
  EXPECT_EQ(made.at("spec.host").as_string() + made.at("spec.port").as_string(), "changed9") << made.message();
}

}  // namespace
}  // namespace caravel::apiserver
