// Who answers when admission itself asks what somebody may do: the whole chain of authorizers, webhooks included.
// And reviews, which are requests that admission sees like others.
#include <gtest/gtest.h>

#include "apiserver/authorization/access.h"
#include "apiserver/webhook_test_fixture.h"

namespace caravel::apiserver {
namespace {

class AdmissionAccessTest : public WebhookTest {
 protected:
  std::vector<Value> asked;                                                    // spec of each review that the authorization webhook was sent
  std::function<bool(const Value&)> may = [](const Value&) { return false; };  // by resourceAttributes

  Task<Result<net::ClientResponse>> answer(net::ClientRequest q) {
    co_await sleep(ex, std::chrono::milliseconds(20));
    Value review = *json::parse(q.body);
    asked.push_back(review["spec"]);
    review["status"]["allowed"] = may(std::as_const(review)["spec"]["resourceAttributes"]);
    net::ClientResponse r;
    r.status = 200;
    r.body = json::dump(review);
    co_return r;
  }
  void SetUp() override {
    WebhookTest::SetUp();
    WebhookAuthorizer config;
    config.name = "w";
    config.keep_allowed = config.keep_refused = Duration(0);
    WebhookEndpoint to;
    to.url = "https://access.example/";
    std::vector<AccessChain::Link> links(2);
    links[0].type = AuthorizerType::kWebhook;
    links[0].webhook = std::make_unique<AccessWebhook>(ex, config, to, [this](net::ClientRequest q) { return answer(std::move(q)); });
    links[1].type = AuthorizerType::kRbac;
    server->set_access(std::make_unique<AccessChain>(*server->core().authorizer, std::move(links)));
  }
  Answer as_jane(std::string method, std::string path, std::string body = "") {
    Request r = request(method, path, body);
    r.user = make_user("jane", {"system:authenticated"});
    Response res = run_task(ex, handle(&r));
    Answer a;
    a.code = res.status;
    if (res.body)
      if (auto v = json::parse(*res.body); v.ok()) a.object = *v;
    return a;
  }
  bool was_asked(const char* verb) {
    for (const Value& s : asked)
      if (s.path({"resourceAttributes", "verb"}).as_string() == verb) return true;
    return false;
  }
};

constexpr const char* kRoles = "/apis/rbac.authorization.k8s.io/v1/clusterroles";
constexpr const char* kRole = R"({"metadata":{"name":"all"},"rules":[{"apiGroups":["*"],"resources":["*"],"verbs":["*"]}]})";

TEST_F(AdmissionAccessTest, AWebhookMayAllowEscalation) {
  may = [](const Value& a) { return a["verb"].as_string() == "create"; };
  EXPECT_EQ(as_jane("POST", kRoles, kRole).code, 403);
  EXPECT_TRUE(was_asked("escalate"));
  may = [](const Value& a) { return a["verb"].as_string() == "create" || a["verb"].as_string() == "escalate"; };
  EXPECT_EQ(as_jane("POST", kRoles, kRole).code, 201);
}

TEST_F(AdmissionAccessTest, ExpressionsAskTheChainWithTheirSelectors) {
  const std::string base = "/apis/admissionregistration.k8s.io/v1/validatingadmissionpolic";
  Answer made = call("POST", base + "ies",
                     R"x({"metadata":{"name":"p"},"spec":{"matchConstraints":{"resourceRules":[{"operations":["CREATE"],"apiGroups":[""],"apiVersions":["v1"],"resources":["configmaps"]}]},
"matchConditions":[{"name":"c","expression":"!authorizer.requestResource.check('skip').allowed()"}],
"validations":[{"expression":"authorizer.group('').resource('pods').fieldSelector('spec.nodeName=n1').labelSelector('app in (a,b),!x').check('list').allowed()","messageExpression":"authorizer.requestResource.check('explain').reason() + 'no pods'"}]}})x");
  ASSERT_EQ(made.code, 201) << made.message();
  ASSERT_EQ(call("POST", base + "ybindings", R"({"metadata":{"name":"b"},"spec":{"policyName":"p","validationActions":["Deny"]}})").code, 201);
  may = [](const Value& a) { return a["verb"].as_string() == "create"; };
  Answer refused = as_jane("POST", kMapsPath, R"({"metadata":{"name":"m"}})");
  EXPECT_EQ(refused.code, 422);
  EXPECT_NE(refused.message().find("denied request: no pods"), std::string::npos) << refused.message();
  Value seen;
  for (const Value& s : asked)
    if (s.path({"resourceAttributes", "verb"}).as_string() == "list") seen = s["resourceAttributes"];
  EXPECT_EQ(json::dump(seen["fieldSelector"]), R"({"requirements":[{"key":"spec.nodeName","operator":"In","values":["n1"]}]})");
  EXPECT_EQ(json::dump(seen["labelSelector"]), R"({"requirements":[{"key":"app","operator":"In","values":["a","b"]},{"key":"x","operator":"DoesNotExist"}]})");
  may = [](const Value& a) { return a["verb"].as_string() == "create" || (a["verb"].as_string() == "list" && !a["fieldSelector"].is_null()); };
  EXPECT_EQ(as_jane("POST", kMapsPath, R"({"metadata":{"name":"m"}})").code, 201);
}

TEST_F(AdmissionAccessTest, AListsSelectorsAreShownToAuthorizers) {
  may = [](const Value& a) { return !a["labelSelector"].is_null(); };
  EXPECT_EQ(as_jane("GET", kMapsPath).code, 403);
  EXPECT_EQ(as_jane("GET", std::string(kMapsPath) + "?labelSelector=app=web").code, 200);
}

TEST_F(AdmissionAccessTest, AConditionOfAWebhookAsksTheChain) {
  hooks->answers["/w"] = [](const Value&) { return no("never"); };
  ASSERT_EQ(configure("Validating", "w", hook("w", R"x("matchConditions":[{"name":"c","expression":"!authorizer.requestResource.check('skip').allowed()"}])x")).code, 201);
  may = [](const Value& a) { return a["verb"].as_string() == "create"; };
  EXPECT_EQ(as_jane("POST", kMapsPath, R"({"metadata":{"name":"m"}})").code, 400) << "never";
  may = [](const Value& a) { return a["verb"].as_string() == "create" || a["verb"].as_string() == "skip"; };
  EXPECT_EQ(as_jane("POST", kMapsPath, R"({"metadata":{"name":"m"}})").code, 201);
}

TEST_F(AdmissionAccessTest, ReviewsAreShownToWebhooksWhichMayChangeOrRefuseThem) {
  const std::string rules = R"({"operations":["CREATE"],"apiGroups":["authorization.k8s.io","authentication.k8s.io"],"apiVersions":["v1"],"resources":["*"]})";
  hooks->answers["/change"] = [](const Value& q) {
    if (q["kind"]["kind"].as_string() == "SubjectAccessReview") return change(R"([{"op":"replace","path":"/spec/user","value":"joe"}])");
    return q["kind"]["kind"].as_string() == "TokenReview" ? no("no tokens here") : yes();
  };
  ASSERT_EQ(configure("Mutating", "m", hook("change", "", rules)).code, 201);
  may = [](const Value&) { return true; };
  Answer a = call("POST", "/apis/authorization.k8s.io/v1/subjectaccessreviews", R"({"spec":{"user":"jane","resourceAttributes":{"verb":"get","resource":"pods","labelSelector":{"rawSelector":"a=b"}}}})");
  EXPECT_EQ(a.code, 201) << a.message();
  EXPECT_TRUE(a.at("status.allowed").as_bool());
  ASSERT_EQ(asked.size(), 1u);
  EXPECT_EQ(std::as_const(asked[0])["user"].as_string(), "joe");
  EXPECT_EQ(std::as_const(asked[0]).path({"resourceAttributes", "labelSelector", "requirements"}).size(), 1u);
  ASSERT_GE(hooks->seen.size(), 1u);
  const Value& shown = hooks->seen[0].request;
  EXPECT_EQ(shown["operation"].as_string(), "CREATE");
  EXPECT_EQ(shown["resource"]["resource"].as_string(), "subjectaccessreviews");
  EXPECT_EQ(shown["object"]["kind"].as_string(), "SubjectAccessReview");
  Answer token = call("POST", "/apis/authentication.k8s.io/v1/tokenreviews", R"({"spec":{"token":"x"}})");
  EXPECT_NE(token.message().find("no tokens here"), std::string::npos);
}

}  // namespace
}  // namespace caravel::apiserver
