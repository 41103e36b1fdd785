// Admission policies and their bindings, through the whole server in virtual time.
#include "apiserver/webhook_test_fixture.h"

namespace caravel::apiserver {
namespace {

class PolicyTest : public WebhookTest {
 protected:
  static constexpr const char* kGroupPath = "/apis/admissionregistration.k8s.io/v1/";
  static constexpr const char* kDeployments = "/apis/apps/v1/namespaces/default/deployments";
  static std::string rules(std::string group, std::string resource) {
    return R"("matchConstraints":{"resourceRules":[{"apiGroups":[")" + group + R"("],"apiVersions":["v1"],"operations":["CREATE","UPDATE"],"resources":[")" + resource + R"("]}]})";
  }
  // `rest` are further members of the spec.
  Answer policy(std::string name, std::string rest, std::string kind = "validating") {
    return call("POST", kGroupPath + kind + "admissionpolicies", R"({"metadata":{"name":")" + name + R"("},"spec":{)" + rest + "}}");
  }
  Answer bind(std::string policy, std::string rest = R"("validationActions":["Deny"])", std::string kind = "validating") {
    return call("POST", kGroupPath + kind + "admissionpolicybindings",
                R"({"metadata":{"name":"b"},"spec":{"policyName":")" + policy + R"(")" + (rest.empty() ? "" : "," + rest) + "}}");
  }
  Answer deployment(std::string name, int replicas) {
    return call("POST", kDeployments, R"({"metadata":{"name":")" + name + R"("},"spec":{"replicas":)" + std::to_string(replicas) + R"(,"selector":{"matchLabels":{"a":"b"}},"template":{"metadata":{"labels":{"a":"b"}},"spec":{"containers":[{"name":"c","image":"i"}]}}}})");
  }
};

TEST_F(PolicyTest, AValidationThatDoesNotHoldRefuses) {
  Answer made = policy("p", rules("apps", "deployments") + R"(,"variables":[{"name":"replicas","expression":"object.spec.replicas"},{"name":"odd","expression":"variables.replicas % 2 == 1"}],)"
                                                           R"x("validations":[{"expression":"variables.replicas > 1"},{"expression":"variables.odd","messageExpression":"'not odd: ' + string(variables.replicas)","reason":"Forbidden"}])x");
  ASSERT_EQ(made.code, 201) << made.message();
  EXPECT_EQ(made.at("spec.failurePolicy").as_string(), "Fail");
  EXPECT_EQ(deployment("unbound", 1).code, 201) << "no binding puts the policy to use";
  ASSERT_EQ(bind("p").code, 201);
  Answer a = deployment("d", 1);
  EXPECT_EQ(a.code, 422);
  EXPECT_EQ(a.at("reason").as_string(), "Invalid");
  EXPECT_EQ(a.message(), R"(deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: failed expression: variables.replicas > 1)");
  Answer even = deployment("d", 4);
  EXPECT_EQ(even.code, 403);
  EXPECT_EQ(even.message(), R"(deployments.apps "d" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: not odd: 4)");
  EXPECT_EQ(deployment("d", 3).code, 201);
}

TEST_F(PolicyTest, ErrorsOfEvaluationFollowTheFailurePolicy) {
  policy("p", rules("", "configmaps") + R"(,"validations":[{"expression":"object.data.absent == 'x'"}])");
  bind("p");
  EXPECT_EQ(make_map("m", R"(,"data":{"k":"v"})").message(),
            R"(configmaps "m" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied request: expression 'object.data.absent == 'x'' resulted in error: no such key: absent)");
  patch(std::string(kGroupPath) + "validatingadmissionpolicies/p", R"({"spec":{"failurePolicy":"Ignore"}})");
  EXPECT_EQ(make_map("m", R"(,"data":{"k":"v"})").code, 201);
}

TEST_F(PolicyTest, ParametersComeFromObjects) {
  call("POST", kMapsPath, R"({"metadata":{"name":"limits"},"data":{"max":"3"}})");
  policy("p", R"("paramKind":{"apiVersion":"v1","kind":"ConfigMap"},)" + rules("apps", "deployments") + R"x(,"validations":[{"expression":"object.spec.replicas <= int(params.data.max)"}])x");
  ASSERT_EQ(bind("p", R"("validationActions":["Deny"],"paramRef":{"name":"limits","namespace":"default","parameterNotFoundAction":"Deny"})").code, 201);
  EXPECT_EQ(deployment("d", 4).code, 422);
  EXPECT_EQ(deployment("d", 3).code, 201);
  call("DELETE", std::string(kMapsPath) + "/limits");
  EXPECT_NE(deployment("e", 1).message().find("failed to configure binding: no params found for policy binding with `Deny` parameterNotFoundAction"), std::string::npos);
}

TEST_F(PolicyTest, ABindingMayOnlyWarnAndNarrowThePolicy) {
  policy("p", rules("", "configmaps") + R"x(,"validations":[{"expression":"has(object.data)","message":"data is wanted"}])x");
  bind("p", R"("validationActions":["Warn"],"matchResources":{"objectSelector":{"matchLabels":{"watched":"yes"}}})");
  EXPECT_EQ(make_map("plain").warnings.size(), 0u);
  Answer a = call("POST", kMapsPath, R"({"metadata":{"name":"m","labels":{"watched":"yes"}}})");
  EXPECT_EQ(a.code, 201);
  EXPECT_EQ(a.warnings, std::vector<std::string>{"Validation failed for ValidatingAdmissionPolicy 'p' with binding 'b': data is wanted"});
}

TEST_F(PolicyTest, TheRequestTheNamespaceAndTheAuthorizerAreKnown) {
  policy("p", rules("", "configmaps") + R"x(,"validations":[{"expression":"request.operation == 'CREATE' && request.userInfo.username == 'admin' && namespaceObject.metadata.name == 'default' && oldObject == null"},
      {"expression":"authorizer.requestResource.check('update').allowed() && !authorizer.serviceAccount('a','b').requestResource.check('update').allowed()"}])x");
  bind("p");
  Answer a = make_map("m");
  EXPECT_EQ(a.code, 201) << a.message();
}

TEST_F(PolicyTest, TheStatusTellsWhatCannotFit) {
  policy("p", rules("apps", "deployments") + R"(,"validations":[{"expression":"object.spec.replicaz > 1"},{"expression":"object.spec.replicas > 1"}])");
  ex.run_for(std::chrono::seconds(1));
  Answer a = call("GET", std::string(kGroupPath) + "validatingadmissionpolicies/p/status");
  EXPECT_EQ(a.at("status.observedGeneration").as_int(), 1);
  ASSERT_EQ(a.at("status.typeChecking.expressionWarnings").size(), 1u) << json::dump(a.object["status"]);
  const Value& w = a.at("status.typeChecking.expressionWarnings").at(0);
  EXPECT_EQ(w["fieldRef"].as_string(), "spec.validations[0].expression");
  EXPECT_EQ(w["warning"].as_string().substr(0, 76), "apps/v1, Kind=Deployment: ERROR: <input>:1:12: undefined field 'replicaz'\n |");
}

TEST_F(PolicyTest, WarningsOfSeveralTypesAreInOrder) {
  policy("p", R"("matchConstraints":{"resourceRules":[{"apiGroups":["apps",""],"apiVersions":["v1"],"operations":["CREATE"],"resources":["deployments","pods","deployments"]},{"apiGroups":["*"],"apiVersions":["v1"],"operations":["CREATE"],"resources":["jobs"]}]},"validations":[)"
              R"({"expression":"true"},{"expression":"true"},{"expression":"object.x"},{"expression":"true"},{"expression":"true"},{"expression":"true"},{"expression":"true"},{"expression":"true"},{"expression":"true"},{"expression":"true"},{"expression":"object.x"}])");
  ex.run_for(std::chrono::seconds(1));
  Answer a = call("GET", std::string(kGroupPath) + "validatingadmissionpolicies/p/status");
  const Value& all = a.at("status.typeChecking.expressionWarnings");
  ASSERT_EQ(all.size(), 2u) << json::dump(a.object["status"]);
  EXPECT_EQ(all.at(0)["fieldRef"].as_string(), "spec.validations[2].expression");
  EXPECT_EQ(all.at(1)["fieldRef"].as_string(), "spec.validations[10].expression");
  EXPECT_EQ(all.at(0)["warning"].as_string(),
            "v1, Kind=Pod: ERROR: <input>:1:7: undefined field 'x'\n | object.x\n | ......^\n\napps/v1, Kind=Deployment: ERROR: <input>:1:7: undefined field 'x'\n | object.x\n | ......^\n");
}

TEST_F(PolicyTest, PoliciesAndBindingsAreChecked) {
  const std::string head = R"(ValidatingAdmissionPolicy.admissionregistration.k8s.io "p" is invalid: )";
  EXPECT_EQ(policy("p", rules("", "pods")).message(), head +
                                                          "[spec.validations: Required value: validations or auditAnnotations must contain at least one item, "
                                                          "spec.auditAnnotations: Required value: validations or auditAnnotations must contain at least one item]");
  EXPECT_EQ(policy("p", R"("validations":[{"expression":"true"}])").message(), head + "spec.matchConstraints: Required value");
  EXPECT_EQ(policy("p", rules("", "pods") + R"(,"validations":[{"expression":"1 + 1"}])").message(), head + R"(spec.validations[0].expression: Invalid value: "1 + 1": must evaluate to bool but got int)");
  EXPECT_NE(policy("p", rules("", "pods") + R"(,"validations":[{"expression":"params.x == 1"}])").message().find("compilation failed: ERROR: <input>:1:1: undeclared reference to 'params'"), std::string::npos);
  EXPECT_EQ(bind("p", R"("validationActions":["Deny","Warn"])").message(),
            R"x(ValidatingAdmissionPolicyBinding.admissionregistration.k8s.io "b" is invalid: spec.validationActions: Invalid value: ["Deny","Warn"]: )x"
            "must not contain both Deny and Warn (repeating the same validation failure information in the API response and headers serves no purpose)");
}

TEST_F(PolicyTest, MutationsMergeAndPatch) {
  Answer made = policy("m", rules("", "configmaps") + R"x(,"reinvocationPolicy":"Never","mutations":[
      {"patchType":"ApplyConfiguration","applyConfiguration":{"expression":"Object{metadata: Object.metadata{labels: Object.metadata.labels{added: 'yes'}}}"}},
      {"patchType":"JSONPatch","jsonPatch":{"expression":"[JSONPatch{op: 'add', path: '/metadata/annotations', value: {'seen': object.metadata.labels.added}}]"}}])x",
                       "mutating");
  ASSERT_EQ(made.code, 201) << made.message();
  ASSERT_EQ(bind("m", "", "mutating").code, 201);
  Answer a = call("POST", kMapsPath, R"({"metadata":{"name":"m","labels":{"own":"1"}},"data":{"k":"v"}})");
  ASSERT_EQ(a.code, 201) << a.message();
  EXPECT_EQ(json::dump(a.at("metadata.labels")), R"({"added":"yes","own":"1"})");
  EXPECT_EQ(a.at("metadata.annotations.seen").as_string(), "yes");
  EXPECT_EQ(a.at("data.k").as_string(), "v");
  EXPECT_EQ(policy("bad", rules("", "pods") + R"(,"reinvocationPolicy":"Never","mutations":[{"patchType":"JSONPatch","jsonPatch":{"expression":"Object{}"}}])", "mutating").code, 422);
}

}  // namespace
}  // namespace caravel::apiserver
