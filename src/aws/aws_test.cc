#include <gtest/gtest.h>

#include "aws/client.h"
#include "aws/codec.h"
#include "aws/model.h"
#include "aws/sigv4.h"
#include "aws/wire.h"
#include "base/hash.h"
#include "base/strings.h"

namespace caravel::aws {
namespace {

// AWS' published Signature Version 4 test suite (aws-sig-v4-test-suite).
struct Vector {
  const char *name, *path, *query, *signature;
  std::vector<std::pair<std::string, std::string>> headers;
  const char* method = "GET";
  const char* body = "";
};
const Credentials kSuiteKey{"AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "", {}};
const Time kSuiteTime = Time::from_seconds(1440938160);  // 2015-08-30T12:36:00Z

TEST(SigV4, MatchesThePublishedVectors) {
  const Vector vectors[] = {
      {"get-vanilla", "/", "", "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31", {}},
      {"get-vanilla-query-order-key-case", "/", "Param2=value2&Param1=value1", "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500", {}},
      {"post-vanilla", "/", "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b", {}, "POST"},
      {"post-x-www-form-urlencoded", "/", "", "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a", {{"Content-Type", "application/x-www-form-urlencoded"}}, "POST", "Param1=value1"},
  };
  for (const Vector& v : vectors) {
    SignableRequest r;
    r.method = v.method;
    r.path = v.path;
    r.query = v.query;
    r.headers = v.headers;
    r.headers.emplace_back("Host", "example.amazonaws.com");
    r.body = v.body;
    auto added = sign(r, kSuiteKey, {"us-east-1", "service", kSuiteTime});
    std::string authorization = added.back().second;
    EXPECT_NE(authorization.find(std::string("Signature=") + v.signature), std::string::npos) << v.name << ": " << authorization;

    for (auto& h : added) r.headers.push_back(h);
    auto scope = read_scope(r);
    ASSERT_TRUE(scope.ok() && *scope) << v.name;
    EXPECT_EQ((*scope)->access_key, "AKIDEXAMPLE");
    EXPECT_TRUE(verify(r, **scope, kSuiteKey.secret_key, kSuiteTime).ok()) << v.name;
    EXPECT_EQ(verify(r, **scope, "wrong", kSuiteTime).error().details, "SignatureDoesNotMatch");
    EXPECT_EQ(verify(r, **scope, kSuiteKey.secret_key, kSuiteTime + std::chrono::minutes(16)).error().details, "RequestExpired");
    r.body += "x";
    EXPECT_FALSE(verify(r, **scope, kSuiteKey.secret_key, kSuiteTime).ok()) << "a changed body";
  }
}

TEST(SigV4, PresignedRequestsVerify) {
  SignableRequest r;
  r.method = "GET";
  r.path = "/";
  r.query = "Action=GetCallerIdentity&Version=2011-06-15";
  r.headers = {{"host", "sts.us-east-1.amazonaws.com"}, {"x-k8s-aws-id", "caravel"}};
  r.query = presign(r, kSuiteKey, {"us-east-1", "sts", kSuiteTime}, std::chrono::seconds(60));
  auto scope = read_scope(r);
  ASSERT_TRUE(scope.ok() && *scope);
  EXPECT_TRUE(verify(r, **scope, kSuiteKey.secret_key, kSuiteTime + std::chrono::seconds(59)).ok());
  EXPECT_EQ(verify(r, **scope, kSuiteKey.secret_key, kSuiteTime + std::chrono::seconds(61)).error().details, "RequestExpired");
}

TEST(Model, EveryBuiltInServiceReads) {
  ASSERT_GE(service_names().size(), 9u);
  for (const std::string& name : service_names()) {
    const Service* s = find_service(name);
    ASSERT_NE(s, nullptr) << name;
    EXPECT_EQ(s->name, name);
    EXPECT_FALSE(s->actions.empty());
  }
}

json::Value parse(const char* text) { return *json::parse(text); }

// A request goes through the client's encoder and the server's decoder unchanged.
void round_trip(const char* service_name, const char* action_name, const json::Value& input) {
  const Service* s = find_service(service_name);
  const Action* a = s->action(action_name);
  ASSERT_NE(a, nullptr);
  auto request = encode_request(*s, *a, input);
  ASSERT_TRUE(request.ok()) << request.error().message;
  const Service* known = nullptr;
  auto routed = route(*request, "", &known);
  ASSERT_TRUE(routed.ok()) << routed.error().message;
  EXPECT_EQ(routed->action, a);
  auto back = decode_request(*s, *a, *request);
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(*back, input) << json::dump(*back);
}

TEST(Wire, RequestsOfEachProtocolRoundTrip) {
  round_trip("ec2", "RunInstances", parse(R"({"ImageId":"ami-1","MinCount":1,"MaxCount":2,"InstanceType":"t3.medium","SecurityGroupIds":["sg-1","sg-2"],
    "UserData":"YWJj","EbsOptimized":true,"TagSpecifications":[{"ResourceType":"instance","Tags":[{"Key":"a b","Value":"c&d=é"}]}],
    "NetworkInterfaces":[{"DeviceIndex":0,"SubnetId":"subnet-1","Groups":["sg-1"]}]})"));
  round_trip("elasticloadbalancing", "CreateTargetGroup", parse(R"({"Name":"tg","Protocol":"HTTP","Port":80,"TargetType":"ip","Matcher":{"HttpCode":"200-399"},"Tags":[{"Key":"k","Value":"v"}]})"));
  round_trip("sqs", "ReceiveMessage", parse(R"({"QueueUrl":"http://q","MaxNumberOfMessages":10,"WaitTimeSeconds":20})"));
  round_trip("eks", "DescribeCluster", parse(R"({"name":"caravel"})"));
  round_trip("acm", "ImportCertificate", parse(R"({"Certificate":"PEM","PrivateKey":"KEY"})"));
}

TEST(Wire, ResponsesOfEachProtocolRoundTrip) {
  struct Case {
    const char *service, *action, *text;
  };
  for (const Case& c : {
           Case{"ec2", "DescribeVpcs", R"({"Vpcs":[{"VpcId":"vpc-1","IsDefault":false,"CidrBlock":"10.0.0.0/16","Tags":[{"Key":"Name","Value":"<&>"}]}]})"},
           Case{"ec2", "DescribeVpcs", R"({"Vpcs":[]})"},
           Case{"elasticloadbalancing", "DescribeTargetHealth", R"({"TargetHealthDescriptions":[{"Target":{"Id":"10.0.11.3","Port":80},"TargetHealth":{"State":"healthy"}}]})"},
           Case{"sts", "GetCallerIdentity", R"({"UserId":"u","Account":"000000000000","Arn":"arn:aws:iam::000000000000:root"})"},
           Case{"ssm", "GetParameter", R"({"Parameter":{"Name":"/a","Value":"ami-1","LastModifiedDate":"2026-01-01T00:00:00.000Z"}})"},
           Case{"eks", "DescribeCluster", R"({"cluster":{"name":"caravel","createdAt":"2026-01-01T00:00:00.000Z"}})"},
       }) {
    const Service* s = find_service(c.service);
    const Action* a = s->action(c.action);
    json::Value v = parse(c.text);
    auto back = decode_response(*s, *a, encode_response(*s, *a, v, "r-1"));
    ASSERT_TRUE(back.ok()) << back.error().message;
    EXPECT_EQ(*back, v) << json::dump(*back);
  }
}

TEST(Wire, ErrorsKeepTheirCodeOnEachProtocol) {
  for (const char* name : {"ec2", "elasticloadbalancing", "sqs", "eks", "ssm"}) {
    const Service* s = find_service(name);
    HttpResponse r = encode_error(s, service_error("DryRunOperation", "Request would have succeeded, but DryRun flag is set."), "r-1");
    EXPECT_EQ(r.status, 412);
    auto back = decode_response(*s, s->actions.begin()->second, r);
    ASSERT_FALSE(back.ok());
    EXPECT_EQ(error_code(back.error()), "DryRunOperation") << name;
  }
}

TEST(Wire, MissingAndMalformedParametersAreNamed) {
  const Service* ec2 = find_service("ec2");
  HttpRequest r;
  r.headers = {{"content-type", "application/x-www-form-urlencoded"}};
  r.body = "Action=RunInstances&Version=2016-11-15&MinCount=one";
  EXPECT_EQ(decode_request(*ec2, *ec2->action("RunInstances"), r).error().details, "InvalidParameterValue");
  r.body = "Action=RunInstances&Version=2016-11-15&MinCount=1";
  auto e = decode_request(*ec2, *ec2->action("RunInstances"), r);
  EXPECT_EQ(e.error().details, "MissingParameter");
  EXPECT_NE(e.error().message.find("MaxCount"), std::string::npos);
  r.body = "Action=NoSuchThing&Version=2016-11-15";
  EXPECT_EQ(route(r, "ec2", nullptr).error().details, "InvalidAction");
}

TEST(Xml, RefusesWhatIsMalformed) {
  for (const char* text : {"", "<a>", "<a></b>", "<a>&nope;</a>", "<!DOCTYPE a><a/>", "<a/><b/>", "<a b=1/>"}) EXPECT_FALSE(parse_xml(text).ok()) << text;
  auto x = parse_xml("<?xml version='1.0'?><ns:a k='v&lt;'><b>x&#233;<![CDATA[<y>]]></b><b/></ns:a>");
  ASSERT_TRUE(x.ok()) << x.error().message;
  EXPECT_EQ(x->name, "a");
  EXPECT_EQ(x->attributes[0].second, "v<");
  EXPECT_EQ(x->child("b")->text, "xé<y>");
}

}  // namespace
}  // namespace caravel::aws
