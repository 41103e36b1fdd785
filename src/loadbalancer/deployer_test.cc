// What the deployer creates, changes and removes, seen by an ELBv2 that is a few maps.
#include "loadbalancer/deployer.h"

#include <gtest/gtest.h>

#include "base/scope.h"

namespace caravel::loadbalancer {
namespace {

// Keeps what is created, answers with it, writes down every action that changes something.
class FakeElb final : public aws::Client {
 public:
  const std::string& region() const override { return region_; }

  Task<Result<json::Value>> call(std::string, std::string action, json::Value input) override {
    const json::Value& in = input;
    if (!action.starts_with("Describe")) changes.push_back(action);
    inputs[action] = input;
    if (action == fail_action) co_return aws::service_error("Throttling", "slow down", 400);
    if (action == "DescribeVpcs") co_return *json::parse(R"({"Vpcs": [{"VpcId": "vpc-1"}]})");
    if (action == "DescribeSecurityGroups") co_return *json::parse(R"({"SecurityGroups": [{"GroupId": "sg-1"}]})");
    if (action == "DescribeSubnets") co_return *json::parse(subnets);
    if (action == "DescribeLoadBalancers") co_return find("LoadBalancer", "LoadBalancers", in, "LoadBalancerName");
    if (action == "DescribeTargetGroups") co_return find("TargetGroup", "TargetGroups", in, "TargetGroupName");
    if (action == "DescribeListeners") co_return children("Listener", "Listeners", "LoadBalancerArn", in);
    if (action == "DescribeRules") co_return children("Rule", "Rules", "ListenerArn", in);
    if (action == "DescribeTargetHealth") co_return health(in["TargetGroupArn"].as_string());
    if (action == "DescribeTags") {
      json::Value d = json::Value::object(), out = json::Value::object();
      d["Tags"] = std::as_const(things)[in["ResourceArns"].at(0).as_string()]["Tags"];
      out["TagDescriptions"].push_back(std::move(d));
      co_return out;
    }
    if (action == "RegisterTargets" || action == "DeregisterTargets") {
      for (auto& t : in["Targets"].as_array()) {
        TargetAddress a{t["Id"].as_string(), static_cast<int>(t["Port"].as_int())};
        if (action == "RegisterTargets") targets[in["TargetGroupArn"].as_string()].insert(a);
        else targets[in["TargetGroupArn"].as_string()].erase(a);
      }
      co_return json::Value::object();
    }
    std::string verb = action.starts_with("Create") ? "Create" : action.substr(0, 6), kind = action.substr(6), member = kind + "Arn";
    if (verb == "Create") {
      json::Value made = input;
      std::string arn = kind + "/" + std::to_string(++last_id);
      made[member] = arn;
      made[kind + "Name"] = in["Name"];
      made["DNSName"] = "lb.example.com";
      if (kind == "Rule") made["Priority"] = std::to_string(in["Priority"].as_int());
      things[arn] = made;
      json::Value out = json::Value::object();
      out[kind + "s"].push_back(std::move(made));
      co_return out;
    }
    std::string arn = in[member].as_string();
    if (verb == "Delete") things.erase(arn);
    else
      for (auto& m : in.as_object()) things[arn][m.key] = m.value;
    co_return json::Value::object();
  }

  std::vector<std::string> take_changes() { return std::exchange(changes, {}); }
  size_t count(const std::string& kind) const {
    size_t n = 0;
    for (auto& m : std::as_const(things).as_object()) n += std::string(m.key.str()).starts_with(kind + "/");
    return n;
  }

  json::Value things = json::Value::object();  // by ARN
  std::map<std::string, std::set<TargetAddress>> targets;
  std::vector<std::string> changes;
  std::map<std::string, json::Value> inputs;  // the last of each action
  std::string fail_action;
  const char* subnets = R"({"Subnets": [{"SubnetId": "a1", "AvailabilityZone": "a"}, {"SubnetId": "b1", "AvailabilityZone": "b"}, {"SubnetId": "a2", "AvailabilityZone": "a"}]})";

 private:
  Result<json::Value> find(const std::string& kind, const char* list, const json::Value& in, const char* name) {
    json::Value out = json::Value::object();
    out[list] = json::Value::array();
    for (auto& m : std::as_const(things).as_object())
      if (std::string(m.key.str()).starts_with(kind + "/") && (!in["Names"].size() || m.value[name] == in["Names"].at(0))) out[list].push_back(m.value);
    if (in["Names"].size() && !std::as_const(out)[list].size()) return aws::service_error(kind + "NotFound", "none");
    return out;
  }
  json::Value children(const std::string& kind, const char* list, const char* parent, const json::Value& in) {
    json::Value out = json::Value::object();
    out[list] = json::Value::array();
    for (auto& m : std::as_const(things).as_object())
      if (std::string(m.key.str()).starts_with(kind + "/") && m.value[parent] == in[parent]) out[list].push_back(m.value);
    return out;
  }
  json::Value health(const std::string& arn) {
    json::Value out = json::Value::object();
    for (auto& t : targets[arn]) {
      json::Value d = json::Value::object();
      d["Target"]["Id"] = t.ip;
      d["Target"]["Port"] = t.port;
      d["TargetHealth"]["State"] = "healthy";
      out["TargetHealthDescriptions"].push_back(std::move(d));
    }
    return out;
  }

  std::string region_ = "eu-central-1";
  int last_id = 0;
};

constexpr char kStackTag[] = "ingress.k8s.aws/stack";
using Changes = std::vector<std::string>;

struct DeployerTest : testing::Test {
  DeployerTest() {
    wanted.name = "front";
    wanted.type = "application";
    wanted.stack = "shop/web";
    add_group("tg-a");
    WantedListener l;
    l.port = 80;
    l.protocol = "HTTP";
    l.rules = {{1, "shop.example.com", {"/a", "/a/*"}, 0}};
    wanted.listeners = {l};
  }
  void add_group(const char* name) {
    WantedTargetGroup g;
    g.name = name;
    g.protocol = "HTTP";
    g.port = 8080;
    g.health.protocol = "HTTP";
    g.health.path = "/up";
    g.targets = {{"10.0.0.1", 8080}, {"10.0.0.2", 8080}};
    wanted.target_groups.push_back(std::move(g));
  }
  // What changed; the deployment must succeed.
  Changes deploy() {
    Deployer d(elb, "prod");
    auto r = run_task(ex, d.deploy(wanted, kStackTag));
    EXPECT_TRUE(r.ok()) << r.error().message;
    return elb.take_changes();
  }
  const json::Value& asked(const char* action) { return elb.inputs[action]; }

  FakeElb elb;
  WantedBalancer wanted;
  VirtualExecutor ex{1};
};

TEST_F(DeployerTest, MakesEverythingOnceAndThenNothing) {
  EXPECT_EQ(deploy(), (Changes{"CreateTargetGroup", "RegisterTargets", "CreateLoadBalancer", "CreateListener", "CreateRule"}));
  EXPECT_EQ(deploy(), Changes());
}

TEST_F(DeployerTest, AsksForASubnetOfEachZoneTheSecurityGroupAndTheTagsThatFindItAgain) {
  deploy();
  const json::Value& lb = asked("CreateLoadBalancer");
  EXPECT_EQ(lb["Scheme"].as_string(), "internal");
  EXPECT_EQ(lb["Subnets"], json::Value::array({"a1", "b1"}));
  EXPECT_EQ(lb["SecurityGroups"], json::Value::array({"sg-1"}));
  EXPECT_EQ(lb["Tags"], *json::parse(R"([{"Key": "elbv2.k8s.aws/cluster", "Value": "prod"}, {"Key": "ingress.k8s.aws/stack", "Value": "shop/web"}])"));
  EXPECT_EQ(asked("DescribeSubnets")["Filters"].at(0)["Name"].as_string(), "tag:kubernetes.io/role/internal-elb");
  const json::Value& group = asked("CreateTargetGroup");
  EXPECT_EQ(group["TargetType"].as_string(), "ip");
  EXPECT_EQ(group["HealthCheckPath"].as_string(), "/up");
  EXPECT_EQ(group["Tags"], lb["Tags"]);
  const json::Value& rule = asked("CreateRule");
  EXPECT_EQ(rule["Priority"].as_int(), 1);
  EXPECT_EQ(rule["Conditions"], *json::parse(R"([{"Field": "host-header", "Values": ["shop.example.com"]}, {"Field": "path-pattern", "Values": ["/a", "/a/*"]}])"));
}

TEST_F(DeployerTest, WithoutSubnetsItSaysWhichTagIsMissing) {
  elb.subnets = "{}";
  wanted.internet_facing = true;
  Deployer d(elb, "prod");
  EXPECT_EQ(run_task(ex, d.deploy(wanted, kStackTag)).error().message, "unable to resolve at least one subnet (0 match VPC and tags: [kubernetes.io/role/elb])");
  wanted.internet_facing = false;
  EXPECT_EQ(run_task(ex, d.deploy(wanted, kStackTag)).error().message,
            "unable to resolve at least one subnet (0 match VPC and tags: [kubernetes.io/role/internal-elb])");
}

TEST_F(DeployerTest, TargetsFollowThePods) {
  deploy();
  wanted.target_groups[0].targets = {{"10.0.0.2", 8080}, {"10.0.0.3", 8080}};
  EXPECT_EQ(deploy(), (Changes{"RegisterTargets", "DeregisterTargets"}));
  EXPECT_EQ(elb.targets.begin()->second, (std::set<TargetAddress>{{"10.0.0.2", 8080}, {"10.0.0.3", 8080}}));
}

TEST_F(DeployerTest, AHealthCheckIsChangedInPlace) {
  deploy();
  wanted.target_groups[0].health.path = "/healthz";
  EXPECT_EQ(deploy(), (Changes{"ModifyTargetGroup"}));
  EXPECT_EQ(asked("ModifyTargetGroup")["HealthCheckPath"].as_string(), "/healthz");
  EXPECT_EQ(deploy(), Changes());
}

TEST_F(DeployerTest, RulesAreAddedChangedAndRemovedByTheirPriority) {
  deploy();
  auto& rules = wanted.listeners[0].rules;
  rules.push_back({2, "", {}, kMissingBackendAnswer});
  EXPECT_EQ(deploy(), (Changes{"CreateRule"}));
  EXPECT_EQ(asked("CreateRule")["Conditions"], *json::parse(R"([{"Field": "path-pattern", "Values": ["/*"]}])"));
  EXPECT_EQ(asked("CreateRule")["Actions"].at(0)["FixedResponseConfig"]["StatusCode"].as_string(), "503");
  rules[0].paths = {"/b"};
  rules[1].target_group = 0;
  EXPECT_EQ(deploy(), (Changes{"ModifyRule", "ModifyRule"}));
  EXPECT_EQ(deploy(), Changes());
  rules.pop_back();
  EXPECT_EQ(deploy(), (Changes{"DeleteRule"}));
  EXPECT_EQ(elb.count("Rule"), 1u);
}

TEST_F(DeployerTest, AListenerTakesTheNewCertificateAndTheNewRedirect) {
  wanted.listeners[0].protocol = "HTTPS";
  wanted.listeners[0].port = 443;
  wanted.listeners[0].certificate_arn = "arn:1";
  deploy();
  EXPECT_EQ(deploy(), Changes());
  wanted.listeners[0].certificate_arn = "arn:2";
  EXPECT_EQ(deploy(), (Changes{"ModifyListener"}));
  EXPECT_EQ(asked("ModifyListener")["Certificates"], *json::parse(R"([{"CertificateArn": "arn:2"}])"));

  WantedListener redirect;
  redirect.port = 80;
  redirect.protocol = "HTTP";
  redirect.redirect_to_https = 443;
  wanted.listeners.push_back(redirect);
  EXPECT_EQ(deploy(), (Changes{"CreateListener"}));
  wanted.listeners[1].redirect_to_https = 8443;
  EXPECT_EQ(deploy(), (Changes{"ModifyListener"}));
  EXPECT_EQ(asked("ModifyListener")["DefaultActions"].at(0)["RedirectConfig"]["Port"].as_string(), "8443");
}

TEST_F(DeployerTest, AListenerThatIsNotWantedGoesAndItsTargetGroupAfterIt) {
  add_group("tg-b");
  WantedListener second = wanted.listeners[0];
  second.port = 81;
  second.rules.clear();
  second.default_target_group = 1;
  wanted.listeners.push_back(second);
  deploy();
  wanted.listeners.pop_back();
  wanted.target_groups.pop_back();
  EXPECT_EQ(deploy(), (Changes{"DeleteListener", "DeleteTargetGroup"})) << "in this order: a group in use cannot be removed";
  EXPECT_EQ(elb.count("TargetGroup"), 1u);
}

TEST_F(DeployerTest, AnotherSchemeReplacesTheLoadBalancer) {
  deploy();
  wanted.internet_facing = true;
  Changes changes = deploy();
  ASSERT_GE(changes.size(), 2u);
  EXPECT_EQ(changes[0], "DeleteLoadBalancer");
  EXPECT_EQ(changes[1], "CreateLoadBalancer");
  EXPECT_EQ(asked("CreateLoadBalancer")["Scheme"].as_string(), "internet-facing");
  EXPECT_EQ(elb.count("LoadBalancer"), 1u);
}

TEST_F(DeployerTest, RemovesWhatCarriesTheStacksTagsAndNothingElse) {
  deploy();
  WantedBalancer first = wanted;
  wanted.name = "other";
  wanted.stack = "shop/other";
  wanted.target_groups[0].name = "tg-other";
  deploy();
  Deployer another_cluster(elb, "staging");
  ASSERT_TRUE(run_task(ex, another_cluster.remove(kStackTag, first.stack)).ok());
  EXPECT_EQ(elb.take_changes(), Changes());
  Deployer d(elb, "prod");
  ASSERT_TRUE(run_task(ex, d.remove(kStackTag, first.stack)).ok());
  EXPECT_EQ(elb.take_changes(), (Changes{"DeleteLoadBalancer", "DeleteTargetGroup"}));
  EXPECT_EQ(elb.count("LoadBalancer"), 1u);
  ASSERT_TRUE(run_task(ex, d.remove(kStackTag, first.stack)).ok()) << "nothing there is no error";
}

TEST_F(DeployerTest, ARefusalEndsTheDeploymentAndTheNextOneGoesOn) {
  elb.fail_action = "CreateListener";
  Deployer d(elb, "prod");
  auto r = run_task(ex, d.deploy(wanted, kStackTag));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().message, "slow down");
  elb.fail_action.clear();
  elb.take_changes();
  EXPECT_EQ(deploy(), (Changes{"CreateListener", "CreateRule"}));
}

}  // namespace
}  // namespace caravel::loadbalancer
