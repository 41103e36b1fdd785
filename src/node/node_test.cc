// The pure parts of the node agent: what to run, what to say about it, what a container sees.
#include <gtest/gtest.h>
#include <unistd.h>

#include <fstream>
#include <sstream>

#include "node/address_pool.h"
#include "node/authorization.h"
#include "node/container_config.h"
#include "node/host_ports.h"
#include "node/logs.h"
#include "node/network.h"
#include "node/pod_admission.h"
#include "node/pod_plan.h"
#include "node/pod_resize.h"
#include "node/pod_status.h"
#include "node/prober.h"

namespace caravel::node {
namespace {

const Time kNow = Time::from_seconds(1'800'000'000);

core::Container container(const std::string& name) {
  core::Container c;
  c.name = name;
  c.image = "caravel.local/busybox:latest";
  return c;
}

core::Pod pod(std::vector<std::string> names, std::vector<std::string> inits = {}) {
  core::Pod p;
  p.metadata.name = "p";
  p.metadata.namespace_ = "ns";
  p.metadata.uid = "u1";
  p.spec.restart_policy = "Always";
  for (auto& n : names) p.spec.containers.push_back(container(n));
  for (auto& n : inits) p.spec.init_containers.push_back(container(n));
  return p;
}

ContainerRecord record(const std::string& name, int state, int exit_code = 0, int attempt = 0) {
  ContainerRecord r;
  r.name = name;
  r.id = name + "-" + std::to_string(attempt);
  r.state = state;
  r.exit_code = exit_code;
  r.attempt = attempt;
  r.started_at = kNow - std::chrono::seconds(60);
  if (state == cri::kExited) r.finished_at = kNow - std::chrono::seconds(5);
  return r;
}

PodRuntime with_sandbox() {
  PodRuntime rt;
  SandboxRecord s;
  s.id = "box";
  s.ready = true;
  s.pod_ip = "10.0.11.7";
  rt.sandboxes.push_back(s);
  return rt;
}

core::PodStatus status_of(const core::Pod& p, const PodRuntime& rt, const core::PodStatus* previous = nullptr) {
  PodPlan plan = plan_pod(p, rt, kNow);
  StatusInput in;
  in.pod = &p;
  in.runtime = &rt;
  in.plan = &plan;
  in.previous = previous;
  in.node_ip = "10.0.11.4";
  in.now = kNow;
  return compute_status(in);
}

std::string condition(const core::PodStatus& s, const std::string& type) {
  for (auto& c : s.conditions)
    if (c.type == type) return c.status;
  return "";
}

TEST(Plan, ASandboxComesFirst) {
  PodPlan plan = plan_pod(pod({"a"}), PodRuntime(), kNow);
  EXPECT_TRUE(plan.create_sandbox);
  EXPECT_TRUE(plan.start.empty());
}

TEST(Plan, InitContainersRunOneAfterTheOtherBeforeTheOthers) {
  core::Pod p = pod({"a", "b"}, {"i1", "i2"});
  PodRuntime rt = with_sandbox();
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"i1"}));
  rt.containers["i1"] = {record("i1", cri::kRunning)};
  EXPECT_TRUE(plan_pod(p, rt, kNow).start.empty());
  rt.containers["i1"] = {record("i1", cri::kExited)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"i2"}));
  rt.containers["i2"] = {record("i2", cri::kExited)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"a", "b"}));
}

TEST(Plan, ASidecarStartsFirstStaysAndIsRestarted) {
  core::Pod p = pod({"a"}, {"side"});
  p.spec.init_containers[0].restart_policy = "Always";
  PodRuntime rt = with_sandbox();
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"side"}));
  rt.containers["side"] = {record("side", cri::kRunning)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"a"}));
  rt.containers["a"] = {record("a", cri::kRunning)};
  rt.containers["side"] = {record("side", cri::kExited)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"side"}));
}

TEST(Plan, AnEphemeralContainerIsStartedOnceWhateverTheOthersDo) {
  core::Pod p = pod({"a"}, {"i"});
  core::EphemeralContainer debug;
  debug.name = "debug";
  debug.image = "busybox";
  p.spec.ephemeral_containers.push_back(debug);
  PodRuntime rt = with_sandbox();
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"debug", "i"}));
  rt.containers["debug"] = {record("debug", cri::kRunning)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"i"}));
  core::PodStatus s = status_of(p, rt);
  ASSERT_EQ(s.ephemeral_container_statuses.size(), 1u);
  EXPECT_TRUE(s.ephemeral_container_statuses[0].state.running);
  EXPECT_FALSE(s.ephemeral_container_statuses[0].ready);
  rt.containers["debug"] = {record("debug", cri::kExited, 1)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start, (std::vector<std::string>{"i"})) << "it is not restarted";
  EXPECT_EQ(find_container(p, "debug")->image, "busybox");
}

TEST(Plan, APodPastItsDeadlineFailsWithAllItsContainers) {
  core::Pod p = pod({"a"});
  p.spec.active_deadline_seconds = 60;
  p.status.start_time = kNow - std::chrono::seconds(50);
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kRunning)};
  PodPlan plan = plan_pod(p, rt, kNow);
  EXPECT_FALSE(plan.stop_all);
  EXPECT_EQ(*plan.look_again, kNow + std::chrono::seconds(10));
  p.spec.active_deadline_seconds = 50;
  plan = plan_pod(p, rt, kNow);
  EXPECT_TRUE(plan.stop_all && plan.finished);
  EXPECT_EQ(plan.failed->reason, "DeadlineExceeded");
  rt.failed = plan.failed;
  core::PodStatus s = status_of(p, rt);
  EXPECT_EQ(s.phase + " " + s.reason, "Failed DeadlineExceeded");
}

TEST(Plan, RestartPolicyDecidesWhatComesAfterAnExit) {
  core::Pod p = pod({"a"});
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 1)};
  EXPECT_EQ(plan_pod(p, rt, kNow).start.size(), 1u);
  p.spec.restart_policy = "OnFailure";
  EXPECT_EQ(plan_pod(p, rt, kNow).start.size(), 1u);
  rt.containers["a"] = {record("a", cri::kExited, 0)};
  EXPECT_TRUE(plan_pod(p, rt, kNow).finished);
  p.spec.restart_policy = "Never";
  rt.containers["a"] = {record("a", cri::kExited, 1)};
  EXPECT_TRUE(plan_pod(p, rt, kNow).stop_all);
}

TEST(Plan, AContainersRestartRulesGoBeforeItsPolicyAndThePods) {
  core::Pod p = pod({"a"});
  p.spec.restart_policy = "Never";
  core::Container& c = p.spec.containers[0];
  auto restarts = [&](int32_t exit_code) { return should_restart(p, c, false, record("a", cri::kExited, exit_code)); };
  core::ContainerRestartRule rule;
  rule.action = "Restart";
  rule.exit_codes.emplace();
  rule.exit_codes->operator_ = "In";
  rule.exit_codes->values = {42, 43};
  c.restart_policy_rules = {rule};
  EXPECT_FALSE(restarts(42)) << "rules need a policy of the container";
  c.restart_policy = "Never";
  EXPECT_TRUE(restarts(42));
  EXPECT_FALSE(restarts(1));
  c.restart_policy_rules[0].exit_codes->operator_ = "NotIn";
  EXPECT_FALSE(restarts(42));
  EXPECT_TRUE(restarts(1));
  EXPECT_TRUE(restarts(0)) << "NotIn means success as well";
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 1)};
  rt.waiting["a"] = WaitReason{"CrashLoopBackOff", ""};
  EXPECT_EQ(status_of(p, rt).phase, "Running") << "it will start again, though the pod's policy is Never";
}

TEST(Status, WhatEndedIsStillToldWhenTheRuntimeHasForgottenIt) {
  core::Pod p = pod({"a"});
  p.spec.restart_policy = "Never";
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 3)};
  p.status = status_of(p, rt);
  ASSERT_TRUE(p.status.container_statuses[0].state.terminated);
  // A finalizer keeps the object after its containers have gone.
  p.metadata.deletion_timestamp = kNow;
  core::PodStatus later = status_of(p, PodRuntime());
  ASSERT_TRUE(later.container_statuses[0].state.terminated);
  EXPECT_EQ(later.container_statuses[0].state.terminated->exit_code, 3);
  EXPECT_EQ(later.phase, "Failed");
}

TEST(Plan, ABackOffHoldsARestartBackAndSaysUntilWhen) {
  core::Pod p = pod({"a"});
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 1)};
  rt.not_before["a"] = kNow + std::chrono::seconds(7);
  PodPlan plan = plan_pod(p, rt, kNow);
  EXPECT_TRUE(plan.start.empty());
  EXPECT_EQ(plan.backing_off, (std::vector<std::string>{"a"}));
  EXPECT_EQ(plan.look_again, kNow + std::chrono::seconds(7));
}

TEST(Plan, AFailedProbeKillsOnlyTheContainerItIsAbout) {
  core::Pod p = pod({"a", "b"});
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kRunning)};
  rt.containers["b"] = {record("b", cri::kRunning)};
  rt.probes["a"].container_id = "a-0";
  rt.probes["a"].failed = true;
  rt.probes["a"].grace = 5;
  rt.probes["b"].container_id = "b-old";  // of an earlier container
  rt.probes["b"].failed = true;
  PodPlan plan = plan_pod(p, rt, kNow);
  ASSERT_EQ(plan.kill.size(), 1u);
  EXPECT_EQ(plan.kill[0].container_id, "a-0");
  EXPECT_EQ(plan.kill[0].grace, 5) << "the failed probe's own grace period";
}

TEST(Plan, ALostSandboxIsMadeAgainOnlyForWhatStillHasToRun) {
  core::Pod p = pod({"a"});
  p.spec.restart_policy = "Never";
  PodRuntime rt;
  rt.containers["a"] = {record("a", cri::kExited)};
  EXPECT_TRUE(plan_pod(p, rt, kNow).finished);
  p.spec.restart_policy = "Always";
  EXPECT_TRUE(plan_pod(p, rt, kNow).create_sandbox);
}

TEST(Backoff, DoublesFromTenSecondsToFiveMinutesAndForgets) {
  Backoff b;
  Time t = kNow;
  EXPECT_EQ(b.not_before("a", t, t), Time{});
  b.next("a", t);
  EXPECT_EQ(b.current("a"), std::chrono::seconds(10));
  for (int i = 0; i < 10; ++i) b.next("a", t = t + std::chrono::seconds(60));
  EXPECT_EQ(b.current("a"), std::chrono::seconds(300));
  EXPECT_EQ(b.not_before("a", t, t), t + std::chrono::seconds(300));
  EXPECT_EQ(b.not_before("a", t, t + std::chrono::minutes(11)), Time{});
}

TEST(PodStatus, RunningAndReady) {
  core::Pod p = pod({"a"});
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kRunning)};
  core::PodStatus s = status_of(p, rt);
  EXPECT_EQ(s.phase, "Running");
  EXPECT_EQ(s.pod_ip, "10.0.11.7");
  EXPECT_EQ(s.host_ip, "10.0.11.4");
  EXPECT_EQ(condition(s, "Ready"), "True");
  EXPECT_EQ(condition(s, "PodReadyToStartContainers"), "True");
  EXPECT_EQ(s.qos_class, "BestEffort");
}

TEST(PodStatus, AReadinessProbeAndAGateHoldReadinessBack) {
  core::Pod p = pod({"a"});
  p.spec.containers[0].readiness_probe.emplace();
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kRunning)};
  EXPECT_EQ(condition(status_of(p, rt), "ContainersReady"), "False");
  rt.probes["a"].container_id = "a-0";
  rt.probes["a"].ready = true;
  p.spec.readiness_gates.emplace_back().condition_type = "target-health.elbv2.k8s.aws/x";
  core::PodStatus s = status_of(p, rt);
  EXPECT_EQ(condition(s, "ContainersReady"), "True");
  EXPECT_EQ(condition(s, "Ready"), "False");
  core::PodCondition gate;
  gate.type = "target-health.elbv2.k8s.aws/x";
  gate.status = "True";
  p.status.conditions.push_back(gate);
  core::PodStatus next = status_of(p, rt, &s);
  EXPECT_EQ(condition(next, "Ready"), "True");
  EXPECT_EQ(condition(next, "target-health.elbv2.k8s.aws/x"), "True");
}

TEST(PodStatus, CrashLoopKeepsTheLastExitInSight) {
  core::Pod p = pod({"a"});
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 3, 2)};
  rt.not_before["a"] = kNow + std::chrono::seconds(10);
  rt.waiting["a"] = {"CrashLoopBackOff", "back-off 10s"};
  core::PodStatus s = status_of(p, rt);
  ASSERT_EQ(s.container_statuses.size(), 1u);
  ASSERT_TRUE(s.container_statuses[0].state.waiting);
  EXPECT_EQ(s.container_statuses[0].state.waiting->reason, "CrashLoopBackOff");
  EXPECT_EQ(s.container_statuses[0].last_state.terminated->exit_code, 3);
  EXPECT_EQ(s.container_statuses[0].restart_count, 2);
  EXPECT_EQ(s.phase, "Running");
}

TEST(PodStatus, FinalPhasesByExitCodes) {
  core::Pod p = pod({"a", "b"});
  p.spec.restart_policy = "Never";
  PodRuntime rt = with_sandbox();
  rt.containers["a"] = {record("a", cri::kExited, 0)};
  rt.containers["b"] = {record("b", cri::kExited, 0)};
  EXPECT_EQ(status_of(p, rt).phase, "Succeeded");
  rt.containers["b"] = {record("b", cri::kExited, 2)};
  EXPECT_EQ(status_of(p, rt).phase, "Failed");
  core::Pod i = pod({"a"}, {"init"});
  i.spec.restart_policy = "Never";
  PodRuntime failed = with_sandbox();
  failed.containers["init"] = {record("init", cri::kExited, 1)};
  EXPECT_EQ(status_of(i, failed).phase, "Failed");
}

TEST(PodStatus, QosClasses) {
  core::Pod p = pod({"a"});
  p.spec.containers[0].resources.requests["cpu"] = kube::Quantity::of("100m");
  EXPECT_EQ(qos_class(p), "Burstable");
  for (auto* m : {&p.spec.containers[0].resources.requests, &p.spec.containers[0].resources.limits}) {
    (*m)["cpu"] = kube::Quantity::of("100m");
    (*m)["memory"] = kube::Quantity::of("64Mi");
  }
  EXPECT_EQ(qos_class(p), "Guaranteed");
}

TEST(Environment, ExpandsWhatIsThereAndLeavesTheRest) {
  const std::map<std::string, std::string> v = {{"A", "1"}, {"B", ""}};
  EXPECT_EQ(expand("$(A)-$(B)-$(C)-$$(A)-$A-$(", v), "1--$(C)-$(A)-$A-$(");
}

TEST(Environment, FieldsResourcesMapsAndServices) {
  core::Pod p = pod({"a"});
  p.metadata.labels["app"] = "web";
  auto& c = p.spec.containers[0];
  c.resources.limits["cpu"] = kube::Quantity::of("1500m");
  auto add = [&c](const std::string& name) -> core::EnvVarSource& {
    core::EnvVar e;
    e.name = name;
    e.value_from.emplace();
    c.env.push_back(e);
    return *c.env.back().value_from;
  };
  add("IP").field_ref.emplace().field_path = "status.podIP";
  add("APP").field_ref.emplace().field_path = "metadata.labels['app']";
  add("CPU").resource_field_ref.emplace().resource = "limits.cpu";
  auto& key = add("KEY").config_map_key_ref.emplace();
  key.name = "m";
  key.key = "k";
  PodSources sources;
  PodFacts facts;
  facts.pod_ip = "10.0.11.7";
  auto missing = container_environment(p, c, sources, {}, facts);
  ASSERT_FALSE(missing.ok());
  EXPECT_EQ(missing.error().message, "configmap \"m\" not found");
  auto map = std::make_shared<core::ConfigMap>();
  map->data["k"] = "v";
  sources.config_maps["m"] = map;
  auto service = std::make_shared<core::Service>();
  service->metadata.namespace_ = "ns";
  service->metadata.name = "my-db";
  service->spec.cluster_ip = "172.20.3.4";
  service->spec.ports.emplace_back().port = 5432;
  auto env = container_environment(p, c, sources, {service}, facts);
  ASSERT_TRUE(env.ok());
  std::map<std::string, std::string> m(env->begin(), env->end());
  EXPECT_EQ(m["IP"], "10.0.11.7");
  EXPECT_EQ(m["APP"], "web");
  EXPECT_EQ(m["CPU"], "2");
  EXPECT_EQ(m["KEY"], "v");
  EXPECT_EQ(m["MY_DB_SERVICE_HOST"], "172.20.3.4");
  EXPECT_EQ(m["MY_DB_PORT_5432_TCP"], "tcp://172.20.3.4:5432");
}

TEST(Config, SharesQuotaAndOomScoreFromResources) {
  core::Pod p = pod({"a"});
  auto& c = p.spec.containers[0];
  c.resources.requests["cpu"] = kube::Quantity::of("250m");
  c.resources.limits["cpu"] = kube::Quantity::of("500m");
  c.resources.limits["memory"] = kube::Quantity::of("128Mi");
  c.resources.requests["memory"] = kube::Quantity::of("1Gi");
  auto r = container_resources(p, c, 4ll << 30);
  EXPECT_EQ(r.cpu_shares, 256);
  EXPECT_EQ(r.cpu_quota, 50'000);
  EXPECT_EQ(r.memory_limit_in_bytes, 128 << 20);
  EXPECT_EQ(r.oom_score_adj, 750);
}

TEST(Config, AnImageThatRunsAsRootIsRefusedWhereThePodForbidsIt) {
  core::Pod p = pod({"a"});
  p.spec.security_context.emplace().run_as_non_root = true;
  NodeSettings node;
  ContainerInput in;
  in.pod = &p;
  in.container = &p.spec.containers[0];
  in.node = &node;
  EXPECT_FALSE(container_config(in).ok());
  in.image_user = 65532;
  auto ok = container_config(in);
  ASSERT_TRUE(ok.ok()) << ok.error().message;
  EXPECT_EQ(ok->linux_.security_context.run_as_user->value, 65532);
}

TEST(Config, DnsPolicies) {
  core::Pod p = pod({"a"});
  NodeSettings node;
  node.node_dns = {"10.0.0.2"};
  EXPECT_EQ(dns_config(p, node).servers, (std::vector<std::string>{"172.20.0.10"}));
  EXPECT_EQ(dns_config(p, node).searches[0], "ns.svc.cluster.local");
  p.spec.host_network = true;
  EXPECT_EQ(dns_config(p, node).servers, (std::vector<std::string>{"10.0.0.2"}));
  p.spec.dns_policy = "ClusterFirstWithHostNet";
  EXPECT_EQ(dns_config(p, node).servers, (std::vector<std::string>{"172.20.0.10"}));
}

TEST(Config, UsersCannotChooseTheSandboxesNetwork) {
  core::Pod p = pod({"a"});
  p.metadata.annotations["caravel.dev/netns"] = "/proc/1/ns/net";
  NodeSettings node;
  EXPECT_EQ(sandbox_config(p, node, 0, "10.0.11.7").annotations["caravel.dev/netns"], "new");
}

TEST(Addresses, AReleasedAddressRestsBeforeItIsUsedAgain) {
  AddressPool pool;
  pool.add("10.0.11.20", 0);
  auto a = pool.allocate("p1", kNow);
  ASSERT_TRUE(a);
  EXPECT_EQ(pool.allocate("p1", kNow)->ip, a->ip);
  EXPECT_FALSE(pool.allocate("p2", kNow));
  pool.release("p1", kNow);
  EXPECT_FALSE(pool.allocate("p2", kNow + std::chrono::seconds(29)));
  EXPECT_EQ(pool.allocate("p2", kNow + std::chrono::seconds(30))->ip, "10.0.11.20");
}

TEST(Addresses, Ranges) {
  EXPECT_EQ(addresses_of("10.0.0.16/28", false, 100)->size(), 16u);
  EXPECT_EQ(addresses_of("10.0.0.0/24", true, 1000)->front(), "10.0.0.2");
  EXPECT_FALSE(addresses_of("10.0.0/24", false, 1).ok());
}

core::Container sized(const char* name, const char* cpu, const char* memory) {
  core::Container c;
  c.name = name;
  for (auto* m : {&c.resources.requests, &c.resources.limits}) {
    (*m)["cpu"] = kube::Quantity::of(cpu);
    (*m)["memory"] = kube::Quantity::of(memory);
  }
  return c;
}

TEST(Resize, IsJudgedByWhatTheNodeHasAndWhatOthersWereGranted) {
  core::Pod pod;
  pod.spec.containers = {sized("a", "500m", "100Mi"), sized("b", "500m", "100Mi")};
  Granted granted = granted_before(pod);
  EXPECT_FALSE(asks_for_resize(pod, granted));
  pod.spec.containers[0] = sized("a", "1500m", "50Mi");
  EXPECT_TRUE(asks_for_resize(pod, granted));
  Amounts node = {{"cpu", kube::Quantity::of("4")}, {"memory", kube::Quantity::of("1Gi")}};
  auto judge = [&](const char* others_cpu, const char* others_memory) {
    return judge_resize(running_requests(pod), running_requests(pod, &granted), {{"cpu", kube::Quantity::of(others_cpu)}, {"memory", kube::Quantity::of(others_memory)}}, node);
  };
  EXPECT_FALSE(judge("2", "0"));
  EXPECT_FALSE(judge("2", "1Gi")) << "less memory than now fits whatever others have";
  EXPECT_EQ(judge("2001m", "0")->reason, "Deferred");
  EXPECT_EQ(judge("2001m", "0")->message, "Node didn't have enough resource: cpu, requested: 2000, used: 2001, capacity: 4000");
  pod.spec.containers[1] = sized("b", "3", "100Mi");
  EXPECT_EQ(judge("0", "0")->reason, "Infeasible");
  EXPECT_EQ(judge("0", "0")->message, "Node didn't have enough capacity: cpu, requested: 4500, capacity: 4000");
}

TEST(Admission, APodMustFitBesideTheOthersAndFindItsPortsFree) {
  core::Pod first, second;
  first.spec.containers = {sized("a", "3", "100Mi")};
  second.spec.containers = {sized("b", "1", "100Mi")};
  Amounts node = {{"cpu", kube::Quantity::of("4")}, {"memory", kube::Quantity::of("1Gi")}, {"pods", kube::Quantity::of("2")}};
  const Granted none;
  std::vector<AdmittedPod> others = {{&first, &none}};
  EXPECT_FALSE(judge_pod(second, others, node));
  second.spec.containers = {sized("b", "1500m", "100Mi")};
  EXPECT_EQ(judge_pod(second, others, node)->reason, "OutOfcpu");
  EXPECT_EQ(judge_pod(second, others, node)->message, "Pod was rejected: Node didn't have enough resource: cpu, requested: 1500, used: 3000, capacity: 4000");
  second.spec.containers = {sized("b", "1", "100Mi")};
  core::ContainerPort port;
  port.host_port = 80;
  first.spec.containers[0].ports = second.spec.containers[0].ports = {port};
  EXPECT_EQ(judge_pod(second, others, node)->reason, "NodePorts");
  second.spec.containers[0].ports[0].host_ip = "10.0.0.1";
  EXPECT_EQ(judge_pod(second, others, node)->reason, "NodePorts") << "the other has every address";
  second.spec.containers[0].ports[0].protocol = "UDP";
  EXPECT_FALSE(judge_pod(second, others, node));
  others.push_back({&second, &none});
  EXPECT_EQ(judge_pod(core::Pod(), others, node)->reason, "OutOfpods");
}

TEST(Admission, OnlySafeKernelSettingsOfThePodsOwnNamespacesAreTaken) {
  auto judge = [](const std::string& name, bool host_network = false, bool host_ipc = false) {
    core::Pod pod;
    pod.spec.host_network = host_network;
    pod.spec.host_ipc = host_ipc;
    core::Sysctl s;
    s.name = name;
    s.value = "1";
    pod.spec.security_context.emplace();
    pod.spec.security_context->sysctls = {s};
    return judge_pod(pod, {}, {});
  };
  EXPECT_FALSE(judge("kernel.shm_rmid_forced"));
  EXPECT_FALSE(judge("net/ipv4/tcp_syncookies")) << "slashes are as good as dots";
  EXPECT_EQ(judge("kernel.msgmax")->reason, "SysctlForbidden");
  EXPECT_EQ(judge("kernel.msgmax")->message, "Pod was rejected: forbidden sysctl: \"kernel.msgmax\" not allowlisted");
  EXPECT_EQ(judge("net.ipv4.tcp_syncookies", true)->message, "Pod was rejected: forbidden sysctl: \"net.ipv4.tcp_syncookies\" not allowed with host Net enabled");
  EXPECT_EQ(judge("kernel.shm_rmid_forced", false, true)->message, "Pod was rejected: forbidden sysctl: \"kernel.shm_rmid_forced\" not allowed with host IPC enabled");
  EXPECT_FALSE(judge("kernel.shm_rmid_forced", true, false));
}

TEST(NodeApi, APathIsASubresourceOfTheNode) {
  auto asks = [](const std::string& method, std::vector<std::string> path) {
    NodeApiAccess a = access_of(method, path);
    std::string out = a.verb;
    for (auto& s : a.subresources) out += " " + s;
    return out;
  };
  EXPECT_EQ(asks("GET", {"metrics", "cadvisor"}), "get metrics");
  EXPECT_EQ(asks("GET", {"stats", "summary"}), "get stats");
  EXPECT_EQ(asks("GET", {"logs"}), "get log");
  EXPECT_EQ(asks("GET", {"pods"}), "get pods proxy") << "the narrow right or the wide one";
  EXPECT_EQ(asks("GET", {"healthz"}), "get healthz proxy");
  EXPECT_EQ(asks("GET", {"containerLogs", "ns", "pod", "c"}), "get proxy");
  EXPECT_EQ(asks("POST", {"exec", "ns", "pod", "c"}), "create proxy");
  EXPECT_EQ(asks("GET", {}), "get proxy");
}

TEST(Probe, ARedirectIsFollowedOnTheHostThatWasAsked) {
  auto to = [](const std::string& location) { return redirect_of("http://10.0.1.5:8080/redirect/now?loc=x", location).url; };
  EXPECT_EQ(to("/healthz?a=b"), "http://10.0.1.5:8080/healthz?a=b");
  EXPECT_EQ(to("later"), "http://10.0.1.5:8080/redirect/later");
  EXPECT_EQ(to("https://example.com/a"), "https://example.com/a");
  EXPECT_EQ(to("//example.com:1/a"), "http://example.com:1/a");
  EXPECT_EQ(redirect_of("http://10.0.1.5:8080", "x").url, "http://10.0.1.5:8080/x");
  auto same = [](const std::string& location) { return redirect_of("http://Probe.example:8080/", location).same_host; };
  EXPECT_TRUE(same("/healthz"));
  EXPECT_TRUE(same("https://probe.example:9090/x")) << "another port of the host";
  EXPECT_FALSE(same("http://0.0.0.0/"));
  EXPECT_FALSE(same("//other.example/"));
  EXPECT_TRUE(same("/go?to=http://other.example/")) << "an address in the query names no host";
}

TEST(Resize, WhatWasGrantedIsInTheStatus) {
  core::Pod pod;
  pod.spec.containers = {sized("a", "1", "100Mi")};
  core::ContainerStatus s;
  s.name = "a";
  s.allocated_resources = sized("a", "500m", "100Mi").resources.requests;
  s.resources = sized("a", "500m", "100Mi").resources;
  pod.status.container_statuses = {s};
  Granted granted = granted_before(pod);
  EXPECT_EQ(granted["a"].requests["cpu"].text(), "500m");
  EXPECT_TRUE(asks_for_resize(pod, granted));
}

TEST(Resize, AContainerIsRestartedForTheResourcesThatItNames) {
  core::Container c = sized("a", "1", "100Mi");
  c.resize_policy.push_back({"memory", "RestartContainer"});
  c.resize_policy.push_back({"cpu", "NotRequired"});
  EXPECT_FALSE(restarts_for(c, c.resources, sized("a", "2", "100Mi").resources));
  EXPECT_TRUE(restarts_for(c, c.resources, sized("a", "1", "200Mi").resources));
}

TEST(HostPorts, LeadToThePodThoseOfOneAddressFirst) {
  core::Pod pod;
  pod.spec.containers.emplace_back();
  for (auto [ip, protocol, port] : {std::tuple("", "TCP", 80), {"127.0.0.1", "TCP", 80}, {"0.0.0.0", "UDP", 53}, {"", "TCP", 0}}) {
    core::ContainerPort p;
    p.host_ip = ip;
    p.protocol = protocol;
    p.host_port = port;
    p.container_port = 8080;
    pod.spec.containers[0].ports.push_back(p);
  }
  std::string rules = host_port_rules(host_ports(pod, "10.0.0.9"));
  EXPECT_NE(rules.find("    ip daddr 127.0.0.1 tcp dport 80 dnat to 10.0.0.9:8080\n    tcp dport 80 dnat to 10.0.0.9:8080\n    udp dport 53 dnat to 10.0.0.9:8080\n"), std::string::npos) << rules;
  EXPECT_EQ(rules.find("dport 0"), std::string::npos);
  EXPECT_TRUE(host_ports(pod, "").empty());
  pod.spec.host_network = true;
  EXPECT_TRUE(host_ports(pod, "10.0.0.9").empty());
}

TEST(Network, NamesFitTheKernelsLimit) {
  EXPECT_EQ(veth_name("uid").size(), 14u);
}

// An address goes from pod to pod: what was made for one, other than what dies with its link, would be in the next one's way.
TEST(Network, NothingOfAPodOutlivesItsLink) {
  std::string commands = node_side_commands("eni1", {"10.0.11.7", 1}, 42, 9001);
  EXPECT_EQ(commands.find("rule"), std::string::npos);
  EXPECT_NE(commands.find("route replace 10.0.11.7/32 dev eni1"), std::string::npos);
}

TEST(Logs, TheEndOfALogStandsForATerminationMessage) {
  EXPECT_EQ(log_tail("2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout P DONE\n", 80, 2048), "one\nDONE");
  EXPECT_EQ(log_tail("2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout F two\n", 1, 2048), "two\n");
  EXPECT_EQ(log_tail("2026-01-01T00:00:00Z stdout F one\n", 80, 2), "e\n");
  EXPECT_EQ(log_tail("", 80, 2048), "");
}

TEST(Logs, TailCountsWholeLinesAndJoinsPartialOnes) {
  const std::string text = "2026-01-01T00:00:00Z stdout F one\n2026-01-01T00:00:01Z stdout P tw\n2026-01-01T00:00:01Z stdout F o\n2026-01-01T00:00:02Z stderr F three\n";
  EXPECT_EQ(text.substr(tail_offset(text, 2)).rfind("2026-01-01T00:00:01Z stdout P", 0), 0u);
  EXPECT_EQ(tail_offset(text, 99), 0u);
  EXPECT_EQ(tail_offset(text, 0), text.size());
  LogOptions o;
  EXPECT_EQ(render_log_line("2026-01-01T00:00:01Z stdout P tw", o), "tw");
  o.timestamps = true;
  EXPECT_EQ(render_log_line("2026-01-01T00:00:02Z stderr F three", o), "2026-01-01T00:00:02Z three\n");
  o.since = Time::from_seconds(1'900'000'000);
  EXPECT_EQ(render_log_line("2026-01-01T00:00:02Z stderr F three", o), "");
}

}  // namespace
}  // namespace caravel::node
