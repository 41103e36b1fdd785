// Admission webhooks as clients and webhooks see them, through the whole server in virtual time.
#include "apiserver/webhook_test_fixture.h"

namespace caravel::apiserver {
namespace {

using json::Value;

TEST_F(WebhookTest, ARefusalCarriesItsCodeReasonAndMessage) {
  hooks->answers["/a"] = [](const Value&) { return no("no such thing here", 418, "Teapot"); };
  ASSERT_EQ(configure("Validating", "c", hook("a")).code, 201);
  Answer a = make_map("m");
  EXPECT_EQ(a.code, 418);
  EXPECT_EQ(a.at("reason").as_string(), "Teapot");
  EXPECT_EQ(a.message(), R"(admission webhook "a.example.com" denied the request: no such thing here)");
  hooks->answers["/a"] = [](const Value&) { return no(""); };
  EXPECT_EQ(make_map("m").message(), R"(admission webhook "a.example.com" denied the request without explanation)");
  EXPECT_EQ(make_map("m").code, 400);
  ASSERT_EQ(call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations").code, 200);
  EXPECT_EQ(make_map("m").code, 201) << "the configuration is gone at once";
}

TEST_F(WebhookTest, AReviewSaysWhatIsAskedByWhom) {
  hooks->answers["/a"] = [](const Value&) { return yes(); };
  configure("Validating", "c", hook("a"));
  make_map("m", R"(,"data":{"k":"v"})");
  ASSERT_EQ(hooks->seen.size(), 1u);
  EXPECT_EQ(hooks->seen[0].url, "https://hook.test/a?timeout=10s");
  const Value& q = hooks->seen[0].request;
  EXPECT_EQ(json::dump(q["kind"]), R"({"group":"","version":"v1","kind":"ConfigMap"})");
  EXPECT_EQ(json::dump(q["resource"]), R"({"group":"","version":"v1","resource":"configmaps"})");
  EXPECT_EQ(q["operation"].as_string() + " " + q["namespace"].as_string() + "/" + q["name"].as_string(), "CREATE default/m");
  EXPECT_EQ(q["userInfo"]["username"].as_string(), "admin");
  EXPECT_EQ(q.path({"object", "data", "k"}).as_string(), "v");
  EXPECT_TRUE(q["oldObject"].is_null());
  EXPECT_EQ(q["options"]["kind"].as_string(), "CreateOptions");
  patch(std::string(kMapsPath) + "/m", R"({"data":{"k":"w"}})");
  const Value& u = hooks->seen[1].request;
  EXPECT_EQ(u["operation"].as_string() + u.path({"oldObject", "data", "k"}).as_string() + u.path({"object", "data", "k"}).as_string(), "UPDATEvw");
  call("DELETE", std::string(kMapsPath) + "/m");
  const Value& d = hooks->seen[2].request;
  EXPECT_EQ(d["operation"].as_string() + d.path({"oldObject", "data", "k"}).as_string(), "DELETEw");
  EXPECT_TRUE(d["object"].is_null());
}

TEST_F(WebhookTest, MutatingOnesFollowEachOtherByName) {
  hooks->answers["/one"] = [](const Value& q) {
    return q.path({"object", "data", "start"}).as_string() == "yes" ? change(R"([{"op":"add","path":"/data/one","value":"yes"}])") : yes();
  };
  hooks->answers["/two"] = [](const Value& q) {
    return q.path({"object", "data", "one"}).as_string() == "yes" ? change(R"([{"op":"add","path":"/data/two","value":"yes"}])") : yes();
  };
  configure("Mutating", "b", hook("two"));
  configure("Mutating", "a", hook("one"));
  Answer a = make_map("m", R"(,"data":{"start":"yes"})");
  EXPECT_EQ(json::dump(a.at("data")), R"({"one":"yes","start":"yes","two":"yes"})");
}

TEST_F(WebhookTest, AnEarlierOneIsCalledAgainWhenItAsksForThat) {
  int calls = 0;
  hooks->answers["/first"] = [&](const Value&) {
    ++calls;
    return yes();
  };
  hooks->answers["/second"] = [](const Value&) { return change(R"([{"op":"add","path":"/data","value":{"x":"y"}}])"); };
  configure("Mutating", "a", hook("first", R"("reinvocationPolicy":"IfNeeded")") + "," + hook("second"));
  EXPECT_EQ(make_map("m").code, 201);
  EXPECT_EQ(calls, 2);
}

TEST_F(WebhookTest, WhatAMutatingOneAddsIsDefaulted) {
  hooks->answers["/p"] = [](const Value&) { return change(R"([{"op":"add","path":"/spec/initContainers","value":[{"name":"added","image":"i"}]}])"); };
  call("POST", "/api/v1/namespaces/default/serviceaccounts", R"({"metadata":{"name":"default"}})");
  configure("Mutating", "a", hook("p", "", R"({"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods"]})"));
  Answer a = call("POST", "/api/v1/namespaces/default/pods", R"({"metadata":{"name":"p"},"spec":{"containers":[{"name":"c","image":"i"}]}})");
  ASSERT_EQ(a.code, 201) << a.message();
  EXPECT_EQ(a.at("spec.initContainers").at(0)["terminationMessagePolicy"].as_string(), "File");
}

TEST_F(WebhookTest, AFailureIsFatalUnlessItMayBeIgnored) {
  configure("Validating", "c", hook("absent"));
  Answer a = make_map("m");
  EXPECT_EQ(a.code, 500);
  EXPECT_EQ(a.at("reason").as_string(), "InternalError");
  EXPECT_EQ(a.message(), R"(Internal error occurred: failed calling webhook "absent.example.com": failed to call webhook: the server could not find the requested resource)");
  patch("/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c", "{\"webhooks\":[" + hook("absent", R"("failurePolicy":"Ignore")") + "]}");
  EXPECT_EQ(make_map("m").code, 201);
}

TEST_F(WebhookTest, SlowOnesTimeOut) {
  hooks->answers["/slow"] = [](const Value&) { return yes(); };
  hooks->delays["/slow"] = std::chrono::seconds(5);
  configure("Validating", "c", hook("slow", R"("timeoutSeconds":1)"));
  Time before = ex.now();
  EXPECT_EQ(make_map("m").message(),
            R"(Internal error occurred: failed calling webhook "slow.example.com": failed to call webhook: Post "https://hook.test/slow?timeout=1s": context deadline exceeded)");
  EXPECT_EQ(ex.now() - before, std::chrono::seconds(1));
  call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c");
  configure("Validating", "c", hook("slow", R"("timeoutSeconds":10)"));
  EXPECT_EQ(make_map("m").code, 201);
}

TEST_F(WebhookTest, AServiceIsReachedThroughItsEndpointsUnderItsName) {
  hooks->answers["/check"] = [](const Value&) { return yes(); };
  std::string w = R"({"name":"s.example.com","clientConfig":{"service":{"namespace":"default","name":"hook","path":"/check","port":8443},"caBundle":"Q0E="},"admissionReviewVersions":["v1"],)"
                  R"("sideEffects":"None","rules":[)" +
                  std::string(kMaps) + "]}";
  ASSERT_EQ(configure("Validating", "c", w).code, 201);
  EXPECT_EQ(make_map("m").message(), R"(Internal error occurred: failed calling webhook "s.example.com": failed to call webhook: Post "https://hook.default.svc:8443/check?timeout=10s": services "hook" not found)");
  call("POST", "/api/v1/namespaces/default/services", R"({"metadata":{"name":"hook"},"spec":{"ports":[{"port":8443,"targetPort":9000}]}})");
  EXPECT_NE(make_map("m").message().find("no endpoints available for service \"hook\""), std::string::npos);
  call("POST", "/apis/discovery.k8s.io/v1/namespaces/default/endpointslices",
       R"({"metadata":{"name":"hook-1","labels":{"kubernetes.io/service-name":"hook"}},"addressType":"IPv4","endpoints":[{"addresses":["10.1.2.3"]}],"ports":[{"name":"","port":9000}]})");
  EXPECT_EQ(make_map("m").code, 201);
  EXPECT_EQ(hooks->seen[0].connect_to, "10.1.2.3:9000");
  EXPECT_EQ(hooks->seen[0].ca, "CA");
}

TEST_F(WebhookTest, RulesSelectorsAndConditionsChooseRequests) {
  hooks->answers["/a"] = [](const Value&) { return no("seen"); };
  configure("Validating", "c", hook("a", R"("objectSelector":{"matchLabels":{"watched":"yes"}},"namespaceSelector":{"matchLabels":{"team":"x"}},)"
                                         R"("matchConditions":[{"name":"not-skipped","expression":"object.metadata.name != 'skip-me'"}])",
                                    R"({"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps","pods/attach"],"scope":"Namespaced"})"));
  const std::string labelled = R"({"metadata":{"name":"NAME","labels":{"watched":"yes"}}})";
  auto body = [&](std::string name) { return replace_all(labelled, "NAME", name); };
  EXPECT_EQ(call("POST", kMapsPath, body("a")).code, 201) << "the namespace is not selected";
  patch("/api/v1/namespaces/default", R"({"metadata":{"labels":{"team":"x"}}})");
  EXPECT_EQ(call("POST", kMapsPath, body("b")).code, 400);
  EXPECT_EQ(call("POST", kMapsPath, body("skip-me")).code, 201);
  EXPECT_EQ(make_map("plain").code, 201);
  EXPECT_EQ(call("POST", "/api/v1/namespaces/default/secrets", body("s")).code, 201);
}

TEST_F(WebhookTest, AConditionThatCannotBeJudgedRefuses) {
  hooks->answers["/a"] = [](const Value&) { return yes(); };
  configure("Validating", "c", hook("a", R"("matchConditions":[{"name":"odd","expression":"object.data.missing == 'x'"}])"));
  Answer a = make_map("m", R"(,"data":{"k":"v"})");
  EXPECT_EQ(a.code, 403);
  EXPECT_EQ(a.message(), R"(configmaps "m" is forbidden: expression 'object.data.missing == 'x'' resulted in error: no such key: missing)");
  EXPECT_EQ(hooks->seen.size(), 0u);
}

TEST_F(WebhookTest, AnAuthorizerAnswersConditions) {
  hooks->answers["/a"] = [](const Value&) { return no("seen"); };
  ASSERT_EQ(configure("Validating", "c", hook("a", R"x("matchConditions":[{"name":"may","expression":"authorizer.group('').resource('pods').namespace('default').check('create').allowed()"},
      {"name":"may-not","expression":"!authorizer.serviceAccount('default','nobody').group('').resource('pods').check('create').allowed()"}])x"))
                .code,
            201);
  EXPECT_EQ(make_map("m").code, 400);
}

TEST_F(WebhookTest, WarningsReachTheClientAndDryRunNeedsNoSideEffects) {
  hooks->answers["/a"] = [](const Value&) {
    Value v = yes();
    v["warnings"] = Value::array({"mind the gap"});
    return v;
  };
  configure("Validating", "c", hook("a"));
  EXPECT_EQ(call("POST", std::string(kMapsPath) + "?dryRun=All", R"({"metadata":{"name":"m"}})").warnings, std::vector<std::string>{"mind the gap"});
}

TEST_F(WebhookTest, ConnectionsAreJudgedByTheirOptions) {
  hooks->answers["/a"] = [](const Value& q) { return no("attaching to pod '" + q["name"].as_string() + "' is not allowed"); };
  configure("Validating", "c", hook("a", "", R"({"operations":["CONNECT"],"apiGroups":[""],"apiVersions":["v1"],"resources":["pods/attach"]})"));
  Request r = request("POST", "/api/v1/namespaces/default/pods/p/attach?stdin=true&container=c");
  Status s = run_task(ex, server->admit_connection(r));
  ASSERT_FALSE(s.ok());
  EXPECT_EQ(s.error().message, R"(admission webhook "a.example.com" denied the request: attaching to pod 'p' is not allowed)");
  EXPECT_EQ(json::dump(hooks->seen[0].request["object"]), R"({"kind":"PodAttachOptions","apiVersion":"v1","stdin":true,"container":"c"})");
  EXPECT_EQ(hooks->seen[0].request["subResource"].as_string(), "attach");
}

TEST_F(WebhookTest, ConfigurationsAreNotSubjectToWebhooks) {
  hooks->answers["/a"] = [](const Value&) { return no("mine"); };
  configure("Validating", "c", hook("a", "", R"({"operations":["*"],"apiGroups":["*"],"apiVersions":["*"],"resources":["*/*"]})"));
  EXPECT_EQ(call("DELETE", "/apis/admissionregistration.k8s.io/v1/validatingwebhookconfigurations/c").code, 200);
}

TEST_F(WebhookTest, AServerStartsWhateverItsWebhooksSay) {
  ASSERT_EQ(configure("Validating", "c", hook("absent", "", R"({"operations":["*"],"apiGroups":["*"],"apiVersions":["*"],"resources":["*/*"]})")).code, 201);
  server.reset();
  SetUp();
  ASSERT_TRUE(server);
  EXPECT_EQ(make_map("m").code, 500) << "still in force";
}

TEST_F(WebhookTest, ConfigurationsAreChecked) {
  auto message = [&](std::string webhook) { return configure("Validating", "c", webhook).message(); };
  const std::string invalid = R"(ValidatingWebhookConfiguration.admissionregistration.k8s.io "c" is invalid: webhooks[0].)";
  EXPECT_EQ(message(replace_all(hook("a"), "a.example.com", "short")), invalid + R"(name: Invalid value: "short": should be a domain with at least three segments separated by dots)");
  EXPECT_EQ(message(hook("a", R"("timeoutSeconds":31)")), invalid + "timeoutSeconds: Invalid value: 31: the timeout value must be between 1 and 30 seconds");
  EXPECT_EQ(message(replace_all(hook("a"), "https:", "http:")), invalid + R"(clientConfig.url: Invalid value: "http": 'https' is the only allowed URL scheme; desired format: https://host[/path])");
  EXPECT_EQ(message(replace_all(hook("a"), R"("sideEffects":"None")", R"("sideEffects":"Some")")), invalid + R"(sideEffects: Unsupported value: "Some": supported values: "None", "NoneOnDryRun")");
  EXPECT_EQ(message(replace_all(hook("a"), R"(["v1"],"sideEffects")", R"(["v0"],"sideEffects")")), invalid + R"(admissionReviewVersions: Invalid value: ["v0"]: must include at least one of v1, v1beta1)");
  EXPECT_NE(message(hook("a", R"("matchConditions":[{"name":"n","expression":"object.."}])")).find("matchConditions[0].expression: Invalid value: \"object..\": compilation failed: ERROR"), std::string::npos);
  EXPECT_EQ(message(hook("a", R"("matchConditions":[{"name":"n","expression":"1 + 1"}])")), invalid + R"(matchConditions[0].expression: Invalid value: "1 + 1": must evaluate to bool but got int)");
  EXPECT_EQ(message(hook("a") + "," + hook("a")), R"(ValidatingWebhookConfiguration.admissionregistration.k8s.io "c" is invalid: webhooks[1].name: Duplicate value: "a.example.com")");
}

}  // namespace
}  // namespace caravel::apiserver
