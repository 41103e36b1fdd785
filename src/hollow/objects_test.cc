// What hollow nodes write of themselves and of their pods.
#include "hollow/objects.h"

#include <gtest/gtest.h>

namespace caravel::hollow {
namespace {

const Time kNow = *parse_rfc3339("2026-11-28T10:00:00Z");

json::Value parse(const std::string& text) {
  auto v = json::parse(text);
  EXPECT_TRUE(v.ok()) << text;
  return std::move(*v);
}

json::Value pod(const std::string& annotations = "{}") {
  return parse(R"({"metadata":{"name":"p","uid":"u-1","generation":2,"annotations":)" + annotations + R"(},"spec":{"containers":[{"name":"a","image":"i"},{"name":"b","image":"j"}]},
    "status":{"phase":"Pending","conditions":[{"type":"PodScheduled","status":"True","lastTransitionTime":"2026-11-28T09:00:00Z"}]}})");
}

json::Value condition_of(const json::Value& object, const std::string& type) {
  for (auto& c : object["status"]["conditions"].as_array())
    if (c["type"].as_string() == type) return c;
  return {};
}

TEST(HollowNode, SaysWhatItHasAndWhatItLeavesToPods) {
  NodeSpec s;
  s.name = "n-1";
  s.zone = "us-east-1a";
  s.instance_type = "m5.large";
  s.cpu = "2";
  s.memory = "8Gi";
  s.reserved_cpu = "70m";
  s.reserved_memory = "574Mi";
  s.pods = 29;
  s.labels = {{"pool", "spot"}, {"kubernetes.io/arch", "arm64"}};
  s.taints = {{"dedicated", "", "NoSchedule"}};
  json::Value n = node_object(s, "v1.36.2", kNow);
  EXPECT_TRUE(is_ready_node(n));
  const json::Value& labels = std::as_const(n)["metadata"]["labels"];
  EXPECT_EQ(labels["topology.kubernetes.io/zone"].as_string(), "us-east-1a");
  EXPECT_EQ(labels["node.kubernetes.io/instance-type"].as_string(), "m5.large");
  EXPECT_EQ(labels["pool"].as_string(), "spot");
  EXPECT_EQ(labels["kubernetes.io/arch"].as_string(), "arm64") << "a label that is asked for goes before a standard one";
  EXPECT_EQ(json::dump(std::as_const(n)["spec"]["taints"]), R"([{"key":"dedicated","effect":"NoSchedule"}])");
  EXPECT_EQ(n.path({"status", "capacity", "cpu"}).as_string(), "2");
  EXPECT_EQ(n.path({"status", "allocatable", "cpu"}).as_string(), "1930m");
  EXPECT_EQ(n.path({"status", "allocatable", "memory"}).as_string(), "7618Mi");
  EXPECT_EQ(n.path({"status", "allocatable", "pods"}).as_string(), "29");
}

TEST(HollowNode, ALeaseBelongsToItsNodeOnceThatIsKnown) {
  EXPECT_TRUE(lease_object("n-1", "", std::chrono::seconds(40), kNow).metadata.owner_references.empty());
  auto lease = lease_object("n-1", "u", std::chrono::seconds(40), kNow);
  ASSERT_EQ(lease.metadata.owner_references.size(), 1u);
  EXPECT_EQ(lease.metadata.owner_references[0].uid, "u");
  EXPECT_EQ(lease.spec.lease_duration_seconds, 40);
}

TEST(HollowPod, RunsWithAllItsContainersAndSaysOfWhichGenerationThatIs) {
  json::Value p = pod();
  run_pod(p, "10.0.0.7", "10.0.0.1", kNow);
  EXPECT_TRUE(is_ready_pod(p));
  EXPECT_EQ(p.path({"status", "phase"}).as_string(), "Running");
  EXPECT_EQ(p.path({"status", "podIP"}).as_string(), "10.0.0.7");
  EXPECT_EQ(p.path({"status", "observedGeneration"}).as_int(), 2);
  EXPECT_EQ(std::as_const(p)["status"]["containerStatuses"].size(), 2u);
  for (const char* type : {"PodScheduled", "PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady"}) EXPECT_EQ(condition_of(p, type)["observedGeneration"].as_int(), 2) << type;
  EXPECT_EQ(condition_of(p, "PodScheduled")["lastTransitionTime"].as_string(), "2026-11-28T09:00:00Z") << "it was scheduled before";
  // Told again (after a restart of the process): what runs has not started again.
  run_pod(p, "10.0.0.7", "10.0.0.1", kNow + std::chrono::minutes(5));
  EXPECT_EQ(start_time(p, Time{}), kNow);
}

TEST(HollowPod, OnTheHostsNetworkHasTheHostsAddress) {
  json::Value p = pod();
  p["spec"]["hostNetwork"] = true;
  run_pod(p, "10.0.0.7", "10.0.0.1", kNow);
  EXPECT_EQ(p.path({"status", "podIP"}).as_string(), "10.0.0.1");
}

TEST(HollowPod, AnnotationsKeepItUnreadyOrEndItAfterATime) {
  json::Value unready = pod(R"({"hollow.caravel.dev/never-ready":"true"})");
  run_pod(unready, "10.0.0.7", "10.0.0.1", kNow);
  EXPECT_FALSE(is_ready_pod(unready));
  EXPECT_EQ(condition_of(unready, "Ready")["reason"].as_string(), "ContainersNotReady");

  json::Value job = pod(R"({"hollow.caravel.dev/run-for":"30s","hollow.caravel.dev/exit-code":"3"})");
  run_pod(job, "10.0.0.7", "10.0.0.1", kNow);
  EXPECT_FALSE(is_due(job, kNow + std::chrono::seconds(29)));
  EXPECT_TRUE(is_due(job, kNow + std::chrono::seconds(30)));
  finish_pod(job, kNow + std::chrono::seconds(30));
  EXPECT_EQ(job.path({"status", "phase"}).as_string(), "Failed");
  const json::Value& ended = std::as_const(job)["status"]["containerStatuses"].at(0)["state"]["terminated"];
  EXPECT_EQ(ended["exitCode"].as_int(), 3);
  EXPECT_EQ(ended["reason"].as_string(), "Error");
  EXPECT_EQ(ended["startedAt"].as_string(), "2026-11-28T10:00:00Z");
  EXPECT_FALSE(is_ready_pod(job));
}

}  // namespace
}  // namespace caravel::hollow
