// What counts against a ResourceQuota, and how a write is judged.
#include "kube/quota.h"

#include <gtest/gtest.h>

namespace caravel::kube::quota {
namespace {

using json::Value;

Value parse(std::string_view t) { return *json::parse(t); }
const Time kNow = Time::from_seconds(1'767'225'600);

Value quota(std::string hard, std::string used, std::string rest = "") {
  return parse(R"({"metadata":{"name":"q"},"spec":{"hard":)" + hard + rest + R"(},"status":{"hard":)" + hard + R"(,"used":)" + used + "}}");
}
std::string judged(const Value& q, const Value& object, Kind kind = {"", "pods"}) {
  Change c;
  c.kind = kind;
  c.object = &object;
  Verdict v = judge({&q}, c, kNow);
  if (!v.refusal.empty()) return v.refusal;
  return v.used.empty() ? "" : text(v.used[0].second);
}

TEST(Quota, APodCountsItsRequestsAndLimitsUnderAllTheirNames) {
  Value pod = parse(R"({"spec":{"initContainers":[{"name":"i","resources":{"requests":{"cpu":"2"}}}],
    "containers":[{"name":"a","resources":{"requests":{"cpu":"500m","memory":"1Gi","example.com/gpu":"2"},"limits":{"cpu":"1"}}},
                  {"name":"b","resources":{"requests":{"cpu":"500m"}}}]}})");
  EXPECT_EQ(text(usage({"", "pods"}, pod, kNow)),
            "count/pods=1,cpu=2,limits.cpu=1,memory=1Gi,pods=1,requests.cpu=2,requests.example.com/gpu=2,requests.memory=1Gi");
}

TEST(Quota, SidecarsAndOverheadAddUp) {
  Value pod = parse(R"({"spec":{"overhead":{"cpu":"10m"},"initContainers":[{"name":"s","restartPolicy":"Always","resources":{"requests":{"cpu":"100m"}}},
    {"name":"i","resources":{"requests":{"cpu":"300m"}}}],"containers":[{"name":"a","resources":{"requests":{"cpu":"200m"}}}]}})");
  EXPECT_EQ(usage({"", "pods"}, pod, kNow)["requests.cpu"].text(), "410m");
}

TEST(Quota, FinishedPodsCountOnlyAsObjects) {
  Value pod = parse(R"({"spec":{"containers":[{"name":"a","resources":{"requests":{"cpu":"1"}}}]},"status":{"phase":"Succeeded"}})");
  EXPECT_EQ(text(usage({"", "pods"}, pod, kNow)), "count/pods=1");
}

TEST(Quota, ServicesAndClaims) {
  Value lb = parse(R"({"spec":{"type":"LoadBalancer","ports":[{"port":80},{"port":443}]}})");
  EXPECT_EQ(text(usage({"", "services"}, lb, kNow)), "count/services=1,services=1,services.loadbalancers=1,services.nodeports=2");
  Value claim = parse(R"({"spec":{"storageClassName":"gold","resources":{"requests":{"storage":"2Gi"}}}})");
  EXPECT_EQ(text(usage({"", "persistentvolumeclaims"}, claim, kNow)),
            "count/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/persistentvolumeclaims=1,gold.storageclass.storage.k8s.io/requests.storage=2Gi,"
            "persistentvolumeclaims=1,requests.storage=2Gi");
}

TEST(Quota, DeviceClaimsCountTheMostDevicesThatTheyMayTakeOfAClass) {
  const Kind claims{"resource.k8s.io", "resourceclaims"};
  Value claim = parse(R"({"spec":{"devices":{"requests":[
    {"name":"a","exactly":{"deviceClassName":"gold","allocationMode":"ExactCount","count":2}},
    {"name":"b","exactly":{"deviceClassName":"all","allocationMode":"All"}},
    {"name":"c","firstAvailable":[{"deviceClassName":"gold","allocationMode":"ExactCount","count":3},{"deviceClassName":"gold","allocationMode":"ExactCount","count":1},
                                  {"deviceClassName":"tin","allocationMode":"ExactCount","count":4}]}]}}})");
  EXPECT_EQ(text(usage(claims, claim, kNow)),
            "all.deviceclass.resource.k8s.io/devices=32,count/resourceclaims.resource.k8s.io=1,gold.deviceclass.resource.k8s.io/devices=5,tin.deviceclass.resource.k8s.io/devices=4");
  EXPECT_EQ(kinds_for({"gold.deviceclass.resource.k8s.io/devices"}), std::set<Kind>{claims});
  // A quota of a namespace without claims says 0.
  EXPECT_EQ(text(total(quota(R"({"gold.deviceclass.resource.k8s.io/devices":"1"})", "{}"), {{claims, {}}}, kNow)), "gold.deviceclass.resource.k8s.io/devices=0");
}

TEST(Quota, RefusalsNameWhatWasRequestedUsedAndLimited) {
  Value pod = parse(R"({"spec":{"containers":[{"name":"c"}]}})");
  EXPECT_EQ(judged(quota(R"({"pods":"2"})", R"({"pods":"1"})"), pod), "pods=2");
  EXPECT_EQ(judged(quota(R"({"pods":"2"})", R"({"pods":"2"})"), pod), "exceeded quota: q, requested: pods=1, used: pods=2, limited: pods=2");
  EXPECT_EQ(judged(quota(R"({"limits.cpu":"2","limits.memory":"1Gi"})", R"({"limits.cpu":"0","limits.memory":"0"})"), pod),
            "failed quota: q: must specify limits.cpu for: c; limits.memory for: c");
  EXPECT_EQ(judged(quota(R"({"pods":"2"})", "{}"), pod), "status unknown for quota: q, resources: pods");
}

TEST(Quota, ScopesChooseWhichPodsCount) {
  Value plain = parse(R"({"spec":{"containers":[{"name":"c"}]}})");
  Value sized = parse(R"({"spec":{"activeDeadlineSeconds":5,"priorityClassName":"high","containers":[{"name":"c","resources":{"limits":{"cpu":"1"}}}]}})");
  auto in = [&](std::string scope, const Value& pod) { return in_scope(parse(R"({"spec":{"scopes":[")" + scope + R"("]}})"), {"", "pods"}, pod); };
  EXPECT_TRUE(in("BestEffort", plain));
  EXPECT_FALSE(in("BestEffort", sized));
  EXPECT_TRUE(in("NotBestEffort", sized));
  EXPECT_TRUE(in("Terminating", sized));
  EXPECT_TRUE(in("NotTerminating", plain));
  Value high = parse(R"({"spec":{"scopeSelector":{"matchExpressions":[{"scopeName":"PriorityClass","operator":"In","values":["high"]}]}}})");
  EXPECT_TRUE(in_scope(high, {"", "pods"}, sized));
  EXPECT_FALSE(in_scope(high, {"", "pods"}, plain));
  EXPECT_FALSE(in_scope(high, {"", "services"}, plain)) << "a scoped quota counts only kinds that have scopes";
}

TEST(Quota, ACountOfAnyKind) {
  Value q = quota(R"({"count/widgets.example.com":"1"})", R"({"count/widgets.example.com":"1"})");
  EXPECT_EQ(judged(q, parse("{}"), {"example.com", "widgets"}),
            "exceeded quota: q, requested: count/widgets.example.com=1, used: count/widgets.example.com=1, limited: count/widgets.example.com=1");
  EXPECT_EQ(judged(q, parse("{}"), {"example.org", "widgets"}), "");
  EXPECT_EQ(kinds_for({"count/widgets.example.com", "requests.nvidia.com/gpu", "secrets", "requests.storage"}),
            (std::set<Kind>{{"", "persistentvolumeclaims"}, {"", "pods"}, {"", "secrets"}, {"example.com", "widgets"}}));
}

TEST(Quota, AnUpdatePaysOnlyTheDifference) {
  Value before = parse(R"({"spec":{"type":"ClusterIP","ports":[{"port":80}]}})"), after = parse(R"({"spec":{"type":"NodePort","ports":[{"port":80}]}})");
  Value q = quota(R"({"services":"1","services.nodeports":"0"})", R"({"services":"1","services.nodeports":"0"})");
  Change c;
  c.kind = {"", "services"};
  c.object = &after;
  c.old = &before;
  EXPECT_EQ(judge({&q}, c, kNow).refusal, "exceeded quota: q, requested: services.nodeports=1, used: services.nodeports=0, limited: services.nodeports=0");
}

}  // namespace
}  // namespace caravel::kube::quota
