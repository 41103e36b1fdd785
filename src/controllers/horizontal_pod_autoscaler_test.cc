#include <gtest/gtest.h>

#include "controllers/horizontal_pod_autoscaler_logic.h"
#include "controllers/horizontal_pod_autoscaler_metrics.h"

namespace caravel::controllers {
namespace {

using kube::Quantity;
using kube::autoscaling::HorizontalPodAutoscaler;
using kube::autoscaling::MetricSpec;
using kube::core::Pod;

const Time kStart = *parse_rfc3339("2026-01-01T10:00:00Z");

// An autoscaler of a Deployment whose pods request 1 CPU each, 50 % of which is the target.
struct World {
  HorizontalPodAutoscaler hpa;
  HpaTarget target{"Deployment/team/web", 0, 0, "app=web"};
  std::vector<Pod> pods;
  std::vector<Result<Measured>> metrics;
  HpaMemory memory;
  Time now = kStart;
  std::vector<std::string> sharers;

  explicit World(int replicas = 0, int min = 1, int max = 10) {
    hpa.metadata.name = "web";
    hpa.metadata.namespace_ = "team";
    hpa.spec.min_replicas = min;
    hpa.spec.max_replicas = max;
    target.spec_replicas = target.status_replicas = replicas;
    for (int i = 0; i < replicas; ++i) pod("p" + std::to_string(i));
  }
  Pod& pod(const std::string& name, int64_t milli_cpu = 1000) {
    Pod p;
    p.metadata.name = name;
    p.metadata.namespace_ = "team";
    p.status.phase = "Running";
    p.status.start_time = kStart - std::chrono::hours(1);
    kube::core::PodCondition ready;
    ready.type = "Ready";
    ready.status = "True";
    ready.last_transition_time = kStart - std::chrono::hours(1);
    p.status.conditions.push_back(ready);
    p.spec.containers.resize(1);
    p.spec.containers[0].name = "main";
    p.spec.containers[0].resources.requests["cpu"] = Quantity::from_milli(milli_cpu);
    pods.push_back(p);
    return pods.back();
  }
  World& cpu(int percent, std::map<std::string, int64_t> used) {
    MetricSpec m;
    m.type = "Resource";
    m.resource.emplace();
    m.resource->name = "cpu";
    m.resource->target.type = "Utilization";
    m.resource->target.average_utilization = percent;
    hpa.spec.metrics.push_back(m);
    metrics.push_back(measured(used));
    return *this;
  }
  // The same use of CPU by each pod.
  World& cpu(int percent, int64_t used) {
    std::map<std::string, int64_t> all;
    for (auto& p : pods) all[p.metadata.name] = used;
    return cpu(percent, all);
  }
  World& external(const char* value, const char* average, int64_t milli) {
    MetricSpec m;
    m.type = "External";
    m.external.emplace();
    m.external->metric.name = "queue";
    if (value) m.external->target.value = Quantity::of(value);
    if (average) m.external->target.average_value = Quantity::of(average);
    hpa.spec.metrics.push_back(m);
    Measured x;
    x.milli = milli;
    metrics.push_back(x);
    return *this;
  }
  Measured measured(const std::map<std::string, int64_t>& used) {
    Measured m;
    for (auto& [name, milli] : used) m.pods[name] = {milli, now, 30s};
    return m;
  }
  World& broken(const char* why) {
    metrics.back() = invalid(why);
    return *this;
  }

  HpaInput input() {
    HpaInput in;
    in.hpa = std::make_shared<const HorizontalPodAutoscaler>(hpa);
    in.target = target;
    for (auto& p : pods) in.pods.push_back(std::make_shared<const Pod>(p));
    in.metrics = metrics;
    in.sharers = sharers;
    return in;
  }
  // One look; the scale is set as decided.
  HpaDecision look() {
    HpaInput in = input();
    HpaDecision d = decide(in, memory, now);
    if (d.rescale) {
      note_rescaled(in, memory, d, now);
      target.spec_replicas = *d.rescale;
    }
    hpa.status = d.status;
    return d;
  }
};

std::string text(const HpaDecision& d, const char* type) {
  for (auto& c : d.status.conditions)
    if (c.type == type) return c.status + " " + c.reason + ": " + c.message;
  return "none";
}
std::string events(const HpaDecision& d) {
  std::string out;
  for (auto& e : d.events) out += (out.empty() ? "" : "\n") + e.reason + ": " + e.message;
  return out;
}

TEST(Hpa, ScalesByTheRatioOfUsageToTarget) {
  World w(3);
  w.cpu(50, 1000);
  HpaDecision d = w.look();
  EXPECT_EQ(d.rescale, 6);
  EXPECT_EQ(events(d), "SuccessfulRescale: New size: 6; reason: cpu resource utilization (percentage of request) above target");
  EXPECT_EQ(text(d, "AbleToScale"), "True SucceededRescale: the HPA controller was able to update the target scale to 6");
  EXPECT_EQ(text(d, "ScalingActive"), "True ValidMetricFound: the HPA was able to successfully calculate a replica count from cpu resource utilization (percentage of request)");
  EXPECT_EQ(text(d, "ScalingLimited"), "False DesiredWithinRange: the desired count is within the acceptable range");
  EXPECT_EQ(d.status.current_replicas, 3);
  EXPECT_EQ(d.status.desired_replicas, 6);
  EXPECT_EQ(d.status.last_scale_time, kStart);
  ASSERT_EQ(d.status.current_metrics.size(), 1u);
  EXPECT_EQ(d.status.current_metrics[0].resource->current.average_utilization, 100);
  EXPECT_EQ(d.status.current_metrics[0].resource->current.average_value->text(), "1");
}

TEST(Hpa, StaysWithinTheTolerance) {
  World w(3);
  w.cpu(50, 550);
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "AbleToScale"), "True ReadyForNewScale: recommended size matches current size");
  EXPECT_EQ(events(d), "");
}

TEST(Hpa, EachDirectionMayHaveItsTolerance) {
  World w(10, 1, 20);
  w.hpa.spec.behavior.emplace();
  w.hpa.spec.behavior->scale_up.emplace();
  w.hpa.spec.behavior->scale_up->tolerance = Quantity::of("0.5");
  w.hpa.spec.behavior->scale_down.emplace();
  w.hpa.spec.behavior->scale_down->tolerance = Quantity::of("0.01");
  w.hpa.spec.behavior->scale_down->stabilization_window_seconds = 0;
  w.cpu(50, 700);
  EXPECT_FALSE(w.look().rescale);
  for (auto& [name, m] : w.metrics[0]->pods) m.milli = 450;  // 10 % below
  w.now = w.now + 15s;
  EXPECT_EQ(w.look().rescale, 9);
}

TEST(Hpa, YoungPodsCountAsIdleOnTheWayUp) {
  World w(3);
  w.cpu(50, 1000);
  Pod& young = w.pods[2];
  young.status.start_time = kStart - 10s;
  young.status.conditions[0].status = "False";
  // Two pods at 200 % of the target and one at nothing: 4/3 of three pods.
  EXPECT_EQ(w.look().rescale, 4);
}

TEST(Hpa, UnreadyPodsDoNotLeadDown) {
  World w(2);
  w.cpu(50, {{"p0", 500}, {"p1", 0}});
  w.pods[1].status.phase = "Pending";
  EXPECT_FALSE(w.look().rescale);
}

TEST(Hpa, MissingPodsCountAsBusyOnTheWayDownAndIdleOnTheWayUp) {
  World down(4);
  down.hpa.spec.behavior.emplace();
  down.hpa.spec.behavior->scale_down.emplace();
  down.hpa.spec.behavior->scale_down->stabilization_window_seconds = 0;
  down.cpu(100, {{"p0", 100}, {"p1", 100}, {"p2", 100}});
  EXPECT_EQ(down.look().rescale, 2);  // 100+100+100+1000 of 4000
  World up(4);
  up.cpu(50, {{"p0", 1000}, {"p1", 1000}, {"p2", 1000}});
  EXPECT_EQ(up.look().rescale, 6);  // 75 %
  World turned(2);
  turned.cpu(50, {{"p0", 600}});  // with the other idle it would go down: nothing changes
  EXPECT_FALSE(turned.look().rescale);
}

TEST(Hpa, FailedAndDeletedPodsAreLeftOut) {
  World w(3);
  w.cpu(50, 500);
  w.pods[1].status.phase = "Failed";
  w.pods[2].metadata.deletion_timestamp = kStart;
  w.metrics[0]->pods["p1"].milli = w.metrics[0]->pods["p2"].milli = 9000;
  EXPECT_FALSE(w.look().rescale);
}

TEST(Hpa, APodWithoutRequestIsSaid) {
  World w(1);
  w.cpu(50, 500);
  w.pods[0].spec.containers[0].resources.requests.clear();
  HpaDecision d = w.look();
  EXPECT_EQ(text(d, "ScalingActive"),
            "False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: missing request for cpu in container main of Pod p0");
}

TEST(Hpa, WithoutMetricsServerItSaysSo) {
  World w(2);
  w.cpu(50, 0).broken("unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)");
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "ScalingActive"),
            "False FailedGetResourceMetric: the HPA was unable to compute the replica count: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from "
            "resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)");
  EXPECT_EQ(events(d),
            "FailedGetResourceMetric: failed to get cpu utilization: unable to get metrics for resource cpu: unable to fetch metrics from resource metrics API: the server could not find the requested "
            "resource (get pods.metrics.k8s.io)\n"
            "FailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get cpu resource metric value: failed to get cpu utilization: unable to get metrics for resource "
            "cpu: unable to fetch metrics from resource metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)");
}

TEST(Hpa, TheLargestProposalCountsAndABrokenMetricOnlyForbidsToScaleDown) {
  World w(2);
  w.cpu(50, 600).external("10", nullptr, 30'000);
  EXPECT_EQ(w.look().rescale, 4);  // 6 by the queue; no faster than to 4
  World up(2);
  up.cpu(50, 1000).external("10", nullptr, 0).broken("x");
  EXPECT_EQ(up.look().rescale, 4);
  World down(4);
  down.cpu(50, 100).external("10", nullptr, 0).broken("x");
  HpaDecision d = down.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "ScalingActive"), "False FailedGetExternalMetric: the HPA was unable to compute the replica count: unable to get external metric team/queue/: x");
}

TEST(Hpa, AValueSharedByThePods) {
  World w(2);
  w.external(nullptr, "5", 18'000);
  HpaDecision d = w.look();
  EXPECT_EQ(d.rescale, 4);
  EXPECT_EQ(d.status.current_metrics[0].external->current.average_value->text(), "9");
  EXPECT_EQ(events(d), "SuccessfulRescale: New size: 4; reason: external metric queue(nil) above target");
  // The selector as Go prints it.
  World chosen(2);
  chosen.external(nullptr, "5", 18'000);
  auto& selector = chosen.hpa.spec.metrics[0].external->metric.selector.emplace();
  selector.match_labels = {{"app", "x"}, {"tier", "y"}};
  selector.match_expressions.emplace_back();
  selector.match_expressions[0].key = "k";
  selector.match_expressions[0].operator_ = "In";
  selector.match_expressions[0].values = {"a", "b"};
  EXPECT_EQ(events(chosen.look()),
            "SuccessfulRescale: New size: 4; reason: external metric queue(&LabelSelector{MatchLabels:map[string]string{app: x,tier: y,},MatchExpressions:"
            "[]LabelSelectorRequirement{LabelSelectorRequirement{Key:k,Operator:In,Values:[a b],},},}) above target");
  World broken(2);
  broken.external(nullptr, "5", 0).external("5", nullptr, 0);
  broken.metrics[0] = invalid("x");
  broken.metrics[1] = invalid("y");
  EXPECT_EQ(events(broken.look()),
            "FailedGetExternalMetric: unable to get external metric team/queue/: x\nFailedGetExternalMetric: unable to get external metric team/queue/: y\n"
            "FailedComputeMetricsReplicas: invalid metrics (2 invalid out of 2), first error is: failed to get queue external metric value: failed to get queue external metric: "
            "unable to get external metric team/queue/: x");
}

TEST(Hpa, MemoryIsToldInBinaryUnitsAndAContainerThatIsNotThereIsNamed) {
  World w(2);
  w.cpu(50, 100);
  MetricSpec& m = w.hpa.spec.metrics[0];
  m.resource->name = "memory";
  for (auto& p : w.pods) p.spec.containers[0].resources.requests["memory"] = Quantity::of("20Mi");
  for (auto& [name, sample] : w.metrics[0]->pods) sample.milli = int64_t{10} * 1024 * 1024 * 1000;
  HpaDecision d = w.look();
  EXPECT_EQ(d.status.current_metrics.at(0).resource->current.average_value->text(), "10Mi");
  EXPECT_EQ(d.status.current_metrics[0].resource->current.average_utilization, 50);
  m.type = "ContainerResource";
  m.container_resource.emplace();
  m.container_resource->name = "cpu";
  m.container_resource->container = "sidecar";
  m.container_resource->target = m.resource->target;
  m.resource.reset();
  d = w.look();
  EXPECT_EQ(events(d),
            "FailedGetContainerResourceMetric: failed to get cpu utilization: container sidecar not found in Pod " + w.pods[0].metadata.name +
                "\nFailedComputeMetricsReplicas: invalid metrics (1 invalid out of 1), first error is: failed to get sidecar container metric value: failed to get cpu utilization: container sidecar not "
                "found in Pod " +
                w.pods[0].metadata.name);
}

// What the metrics ask for is the reason, also where the highest recommendation of the last minutes decides.
TEST(Hpa, AScaleUpByTheWindowHasTheReasonOfTheMetrics) {
  World w(8);
  w.cpu(50, 500);
  EXPECT_FALSE(w.look().rescale);
  for (auto& [name, m] : w.metrics[0]->pods) m.milli = 100;
  w.now = w.now + 15s;
  w.target.spec_replicas = 6;  // somebody has scaled it down by hand
  HpaDecision d = w.look();
  EXPECT_EQ(d.rescale, 8);
  EXPECT_EQ(d.why, "All metrics below target");
}

TEST(Hpa, BoundsDecideWithoutMetrics) {
  World above(12), below(1, 3), off(0);
  HpaDecision d = above.look();
  EXPECT_EQ(d.rescale, 10);
  EXPECT_EQ(d.why, "Current number of replicas above Spec.MaxReplicas");
  d = below.look();
  EXPECT_EQ(d.rescale, 3);
  EXPECT_EQ(d.why, "Current number of replicas below Spec.MinReplicas");
  d = off.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "ScalingActive"), "False ScalingDisabled: scaling is disabled since the replica count of the target is zero");
}

TEST(Hpa, ScalesFromAndToZeroWhereThatIsAllowed) {
  World w(0, 0);
  w.hpa.spec.behavior.emplace();
  w.hpa.spec.behavior->scale_down.emplace();
  w.hpa.spec.behavior->scale_down->stabilization_window_seconds = 0;
  w.external("10", nullptr, 25'000);
  EXPECT_EQ(w.look().rescale, 3);
  w.metrics[0]->milli = 0;
  for (auto name : {"p0", "p1", "p2"}) w.pod(name);
  w.now = w.now + 60s;
  EXPECT_EQ(w.look().rescale, 0);
}

TEST(Hpa, MoreThanTheMaximumIsLimited) {
  World w(3, 1, 5);
  w.cpu(50, 2000);
  HpaDecision d = w.look();
  EXPECT_EQ(d.rescale, 5);
  EXPECT_EQ(text(d, "ScalingLimited"), "True TooManyReplicas: the desired replica count is more than the maximum replica count");
}

TEST(Hpa, LessThanTheMinimumIsLimited) {
  World w(3, 3);
  w.cpu(50, 10);
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  w.now = w.now + 301s;
  d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "ScalingLimited"), "True TooFewReplicas: the desired replica count is less than the minimum replica count");
}

TEST(Hpa, WithoutBehaviorItDoublesAtMostButMayAlwaysHaveFour) {
  World w(1, 1, 100);
  w.cpu(10, 1000);
  EXPECT_EQ(w.look().rescale, 4);
  World big(10, 1, 100);
  big.cpu(10, 1000);
  HpaDecision d = big.look();
  EXPECT_EQ(d.rescale, 20);
  EXPECT_EQ(text(d, "ScalingLimited"), "True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate");
}

TEST(Hpa, TheHighestRecommendationOfFiveMinutesHolds) {
  World w(8);
  w.cpu(50, 500);
  EXPECT_FALSE(w.look().rescale);
  for (auto& [name, m] : w.metrics[0]->pods) m.milli = 100;
  w.now = w.now + 15s;
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "AbleToScale"), "True ScaleDownStabilized: recent recommendations were higher than current one, applying the highest recent recommendation");
  w.now = w.now + 300s;
  d = w.look();
  EXPECT_EQ(d.rescale, 2);
  EXPECT_EQ(d.why, "All metrics below target");
}

kube::autoscaling::HPAScalingRules rules(int window, std::vector<kube::autoscaling::HPAScalingPolicy> policies, const char* select = nullptr) {
  kube::autoscaling::HPAScalingRules r;
  r.stabilization_window_seconds = window;
  r.policies = std::move(policies);
  if (select) r.select_policy = select;
  return r;
}

TEST(HpaBehavior, PoliciesLimitWhatChangesWithinTheirPeriod) {
  World w(2, 1, 50);
  w.hpa.spec.behavior.emplace();
  w.hpa.spec.behavior->scale_up = rules(0, {{"Pods", 3, 60}, {"Percent", 50, 60}});
  w.cpu(10, 1000);
  EXPECT_EQ(w.look().rescale, 5);  // by 3 pods, since 50 % is but one
  w.now = w.now + 15s;
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "ScalingLimited"), "True ScaleUpLimit: the desired replica count is increasing faster than the maximum scale rate");
  w.now = w.now + 46s;
  EXPECT_EQ(w.look().rescale, 8);
}

TEST(HpaBehavior, TheSmallestPolicyOrNone) {
  World w(10, 1, 50);
  w.hpa.spec.behavior.emplace();
  w.hpa.spec.behavior->scale_down = rules(0, {{"Pods", 4, 60}, {"Percent", 10, 60}}, "Min");
  w.cpu(50, 50);
  HpaDecision d = w.look();
  EXPECT_EQ(d.rescale, 9);
  EXPECT_EQ(text(d, "ScalingLimited"), "True ScaleDownLimit: the desired replica count is decreasing faster than the maximum scale rate");
  World off(10, 1, 50);
  off.hpa.spec.behavior.emplace();
  off.hpa.spec.behavior->scale_down = rules(0, {{"Percent", 100, 15}}, "Disabled");
  off.cpu(50, 50);
  EXPECT_FALSE(off.look().rescale);
}

TEST(HpaBehavior, AWindowUpTakesTheLowestRecommendation) {
  World w(2, 1, 50);
  w.hpa.spec.behavior.emplace();
  w.hpa.spec.behavior->scale_up = rules(60, {});
  w.cpu(50, 500);
  EXPECT_FALSE(w.look().rescale);
  for (auto& [name, m] : w.metrics[0]->pods) m.milli = 1000;
  w.now = w.now + 30s;
  HpaDecision d = w.look();
  EXPECT_FALSE(d.rescale);
  EXPECT_EQ(text(d, "AbleToScale"), "True ScaleUpStabilized: recent recommendations were lower than current one, applying the lowest recent recommendation");
  w.now = w.now + 31s;
  EXPECT_EQ(w.look().rescale, 4);
}

TEST(Hpa, PodsMustBeTold) {
  World w(2);
  w.cpu(50, 500);
  w.target.selector = "";
  HpaDecision d = w.look();
  EXPECT_EQ(text(d, "ScalingActive"), "False InvalidSelector: the HPA target's scale is missing a selector");
  World two(2);
  two.cpu(50, 500);
  two.sharers = {"team/other", "team/web"};
  d = two.look();
  EXPECT_EQ(text(d, "ScalingActive"), "False AmbiguousSelector: pods by selector app=web are controlled by multiple HPAs: [team/other team/web]");
  EXPECT_FALSE(d.rescale);
}

TEST(Hpa, AScaleThatCannotBeHadIsSaid) {
  World w(2);
  HpaDecision d = without_scale(w.hpa, "deployments.apps \"web\" not found", w.now);
  EXPECT_EQ(text(d, "AbleToScale"), "False FailedGetScale: the HPA controller was unable to get the target's current scale: deployments.apps \"web\" not found");
  EXPECT_EQ(events(d), "FailedGetScale: deployments.apps \"web\" not found");
}

TEST(Hpa, TheTimeOfAConditionIsThatOfItsStatus) {
  World w(3);
  w.cpu(50, 500);
  w.look();
  w.now = w.now + 15s;
  HpaDecision d = w.look();
  for (auto& c : d.status.conditions) EXPECT_EQ(c.last_transition_time, kStart) << c.type;
}

TEST(HpaMetrics, ContainersOfAPodAreAddedUnlessOneIsWithoutSample) {
  auto list = json::parse(R"({"items":[
    {"metadata":{"name":"a"},"timestamp":"2026-01-01T10:00:00Z","window":"30s","containers":[{"name":"x","usage":{"cpu":"100m","memory":"1Mi"}},{"name":"y","usage":{"cpu":"250000000n","memory":"1Mi"}}]},
    {"metadata":{"name":"b"},"timestamp":"2026-01-01T10:00:00Z","window":"30s","containers":[{"name":"x","usage":{"memory":"1Mi"}},{"name":"y","usage":{"cpu":"1"}}]}]})");
  Measured all = resource_usage(*list, "cpu", "");
  ASSERT_EQ(all.pods.size(), 1u);
  EXPECT_EQ(all.pods["a"].milli, 350);
  EXPECT_EQ(all.pods["a"].window, Duration(30s));
  EXPECT_EQ(resource_usage(*list, "cpu", "y").pods.size(), 2u);
  EXPECT_EQ(resource_usage(*list, "memory", "x").pods["a"].milli, 1024 * 1024 * 1000);
}

TEST(HpaMetrics, ExternalValuesAreAdded) {
  auto list = json::parse(R"({"items":[{"value":"1500m"},{"value":"2"}]})");
  EXPECT_EQ(sum_of_values(*list).milli, 3500);
}

}  // namespace
}  // namespace caravel::controllers
