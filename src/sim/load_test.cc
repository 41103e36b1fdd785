// Loads and the autoscalers that follow them.
#include "sim/load.h"

#include <gtest/gtest.h>

#include "base/log.h"
#include "kube/types/apps.h"
#include "sim/checks.h"
#include "sim/cluster.h"
#include "sim/rehearsal.h"

namespace caravel::sim {
namespace {

using kube::apps::Deployment;

struct Load : testing::Test {
  Load() { set_log_level(LogLevel::kError); }
};

std::string scaled(const std::string& metrics, int most = 10) {
  return R"(
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, namespace: default}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: main, image: "x:1", resources: {requests: {cpu: 200m}, limits: {cpu: 400m}}}]}
---
apiVersion: autoscaling/v2
kind: HorizontalPodAutoscaler
metadata: {name: web, namespace: default}
spec:
  scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
  minReplicas: 2
  maxReplicas: )" +
         std::to_string(most) + "\n  metrics: [" + metrics + "]\n";
}

int64_t replicas(Cluster& c) {
  auto d = c.get(Deployment::resource(), "default", "web");
  return d.ok() ? std::as_const(*d).path({"spec", "replicas"}).as_int() : -1;
}

TEST_F(Load, AnAutoscalerFollowsTheCpuThatTheWorkloadIsAskedFor) {
  Cluster c(1);
  ASSERT_TRUE(c.start());
  c.run_for(5s);
  Status s = c.apply(scaled("{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}"));
  ASSERT_TRUE(s.ok()) << s.error().message;
  c.loads().set("Deployment default/web", "cpu", 700);
  c.run_for(3min);
  EXPECT_EQ(replicas(c), 7) << "700m, of which each pod is to use half of its 200m";
  c.loads().set("Deployment default/web", "cpu", 5000);
  c.run_for(3min);
  EXPECT_EQ(replicas(c), 10) << "not beyond maxReplicas";
  // Less is asked for: the size stays for the five minutes of stabilisation, then falls.
  c.loads().set("Deployment default/web", "cpu", 300);
  c.run_for(4min);
  EXPECT_EQ(replicas(c), 10);
  c.run_for(3min);
  EXPECT_EQ(replicas(c), 3);
  // Nobody knows: it stays as it is.
  c.loads().set("Deployment default/web", "cpu", 5000);
  c.loads().down = true;
  c.run_for(3min);
  EXPECT_EQ(replicas(c), 3);
  c.loads().down = false;
  c.run_for(1min);
  EXPECT_GT(replicas(c), 3);
}

TEST_F(Load, CustomAndExternalMetricsAreServedToo) {
  struct Case {
    const char *metrics, *object, *metric;
    int64_t milli, want;
  };
  for (const Case& t : {Case{"{type: Pods, pods: {metric: {name: requests}, target: {type: AverageValue, averageValue: 100}}}", "Deployment default/web", "requests", 500'000, 5},
                        Case{"{type: Object, object: {metric: {name: hits}, describedObject: {apiVersion: v1, kind: Service, name: front}, target: {type: AverageValue, averageValue: 10}}}",
                             "Service default/front", "hits", 60'000, 6},
                        Case{"{type: External, external: {metric: {name: queue}, target: {type: AverageValue, averageValue: 3}}}", "Service default/queue", "queue", 24'000, 8}}) {
    Cluster c(1);
    ASSERT_TRUE(c.start());
    c.run_for(5s);
    Status s = c.apply(scaled(t.metrics));
    ASSERT_TRUE(s.ok()) << s.error().message;
    c.loads().set(t.object, t.metric, t.milli);
    c.run_for(3min);
    EXPECT_EQ(replicas(c), t.want) << t.metrics;
  }
}

TEST_F(Load, APodUsesNoMoreCpuThanItsLimit) {
  VirtualExecutor ex(1);
  Loads loads(ex);
  kube::core::Pod p;
  p.metadata.name = "web-1";
  p.metadata.namespace_ = "default";
  p.status.phase = "Running";
  kube::core::PodCondition ready;
  ready.type = "Ready";
  ready.status = "True";
  p.status.conditions.push_back(ready);
  kube::core::Container main;
  main.name = "main";
  main.resources.limits["cpu"] = kube::Quantity::of("400m");
  p.spec.containers.push_back(main);
  loads.set("Pod default/web-1", "cpu", 1000);
  kube::ApiRequest q;
  q.path = "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods";
  auto told = loads.answer(q, {p});
  ASSERT_TRUE(told.ok());
  EXPECT_EQ(std::as_const(*told)["items"].at(0)["containers"].at(0)["usage"]["cpu"].as_string(), "400m");
}

TEST_F(Load, ADemandOfAScenarioDrivesTheAutoscalerAndTheTimelineTells) {
  auto s = parse_scenario(R"(
duration: 12m
nodes: {count: 3}
apply:
  - apiVersion: apps/v1
    kind: Deployment
    metadata: {name: web, namespace: default}
    spec:
      replicas: 1
      selector: {matchLabels: {app: web}}
      template:
        metadata: {labels: {app: web}}
        spec: {containers: [{name: main, image: "x:1", resources: {requests: {cpu: 200m}}}]}
  - apiVersion: autoscaling/v2
    kind: HorizontalPodAutoscaler
    metadata: {name: web, namespace: default}
    spec:
      scaleTargetRef: {apiVersion: apps/v1, kind: Deployment, name: web}
      maxReplicas: 10
      metrics: [{type: Resource, resource: {name: cpu, target: {type: Utilization, averageUtilization: 50}}}]
timeline:
  - {at: 1m, demand: {kind: Deployment, name: web, from: 100m, to: 800m, over: 8m, every: 2m}}
)");
  ASSERT_TRUE(s.ok()) << s.error().message;
  ASSERT_EQ(s->steps.size(), 5u);
  EXPECT_EQ(s->steps[2].milli, 450);
  auto o = rehearse(*s);
  ASSERT_TRUE(o.ok()) << o.error().message;
  EXPECT_EQ(o->availability.at("Deployment default/web").wanted, 8);
  EXPECT_EQ(o->availability.at("Deployment default/web").serving, 8);
  std::string told = describe(*o);
  EXPECT_NE(told.find("demand Deployment default/web cpu 450m"), std::string::npos) << told;
  EXPECT_NE(told.find("HorizontalPodAutoscaler default/web scales Deployment web from 1 to "), std::string::npos) << told;
}

TEST_F(Load, AWrongDemandIsNamed) {
  auto error = [](const std::string& demand) {
    auto s = parse_scenario("timeline: [{at: 5s, demand: " + demand + "}]");
    return s.ok() ? "" : s.error().message;
  };
  EXPECT_EQ(error("{kind: Deployment, name: web, to: much}"), "timeline[0].demand.to: \"much\" is not a quantity; write 2500m, 4 or 8Gi");
  EXPECT_EQ(error("{kind: Deployment, name: web}"), "timeline[0].demand.to: is required; write 2500m, 4 or 8Gi");
  EXPECT_EQ(error("{kind: Deployment, name: web, to: 4, over: 5m}"), "timeline[0].demand.from: is required; write 2500m, 4 or 8Gi");
  EXPECT_EQ(error("{kind: Deployment, name: web, to: 4}"), "");
}

}  // namespace
}  // namespace caravel::sim
