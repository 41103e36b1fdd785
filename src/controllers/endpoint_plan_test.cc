#include "controllers/endpoint_plan.h"

#include <gtest/gtest.h>

#include "base/strings.h"

namespace caravel::controllers {
namespace {

using kube::core::Pod;
using kube::core::Service;
using kube::discovery::EndpointSlice;

struct EndpointPlan : testing::Test {
  Service svc;
  std::vector<PodPtr> pods;
  std::vector<SlicePtr> have;
  int named = 0;

  EndpointPlan() {
    svc.metadata.name = "web";
    svc.metadata.namespace_ = "shop";
    svc.metadata.uid = "service-1";
    svc.metadata.labels = {{"team", "a"}};
    svc.spec.cluster_ip = "10.0.0.1";
    svc.spec.ip_families = {"IPv4"};
    svc.spec.ports.emplace_back();
    svc.spec.ports[0].name = "http";
    svc.spec.ports[0].protocol = "TCP";
    svc.spec.ports[0].port = 80;
    svc.spec.ports[0].target_port.int_value = 8080;
  }
  static Pod pod(int n, bool ready = true) {
    Pod p;
    p.metadata.name = "p" + std::to_string(n);
    p.metadata.namespace_ = "shop";
    p.metadata.uid = format("uid-%05d", n);
    p.spec.node_name = "n1";
    p.status.phase = "Running";
    p.status.pod_ip = format("10.1.%d.%d", n / 250, n % 250 + 1);
    p.status.pod_ips.emplace_back();
    p.status.pod_ips[0].ip = p.status.pod_ip;
    p.status.conditions.emplace_back();
    p.status.conditions[0].type = "Ready";
    p.status.conditions[0].status = ready ? "True" : "False";
    p.status.conditions[0].last_transition_time = Time::from_seconds(1000 + n);
    return p;
  }
  void add(int first, int last, bool ready = true) {
    for (int n = first; n <= last; ++n) pods.push_back(std::make_shared<const Pod>(pod(n, ready)));
  }
  void drop(int first, int last) {
    std::erase_if(pods, [&](auto& p) {
      int n = std::atoi(p->metadata.name.c_str() + 1);
      return n >= first && n <= last;
    });
  }
  SlicePlan plan() {
    return plan_slices(svc, pods, have, "IPv4", [](const std::string& node) { return node == "n1" ? std::optional<std::string>("z1") : std::nullopt; });
  }
  // Does what the plan says; how many slices were made, changed, removed.
  std::string apply() {
    SlicePlan p = plan();
    std::vector<SlicePtr> next;
    int changed = 0;
    for (auto& [old, now] : p.stay) {
      changed += !(now == *old);
      next.push_back(std::make_shared<const EndpointSlice>(std::move(now)));
    }
    for (auto& s : p.create) {
      s.metadata.name = "web-" + std::to_string(++named);
      next.push_back(std::make_shared<const EndpointSlice>(std::move(s)));
    }
    have = std::move(next);
    return format("+%d ~%d -%d", static_cast<int>(p.create.size()), changed, static_cast<int>(p.remove.size()));
  }
  std::vector<size_t> sizes() const {
    std::vector<size_t> out;
    for (auto& s : have) out.push_back(s->endpoints.size());
    std::sort(out.begin(), out.end());
    return out;
  }
};
using Sizes = std::vector<size_t>;

TEST_F(EndpointPlan, ASliceHasAtMostAHundredEndpoints) {
  add(1, 250);
  EXPECT_EQ(apply(), "+3 ~0 -0");
  EXPECT_EQ(sizes(), (Sizes{50, 100, 100}));
  EXPECT_EQ(apply(), "+0 ~0 -0") << "at rest";
  const EndpointSlice& s = *have[0];
  EXPECT_EQ(s.metadata.labels, (std::map<std::string, std::string>{{"team", "a"}, {"kubernetes.io/service-name", "web"}, {"endpointslice.kubernetes.io/managed-by", "endpointslice-controller.k8s.io"}}));
  EXPECT_EQ(s.metadata.owner_references.at(0).uid, "service-1");
  EXPECT_EQ(s.endpoints[0].zone, "z1");
  EXPECT_EQ(s.endpoints[0].target_ref->kind, "Pod");
}

// What is added goes into the slices that change anyhow; into one other if it fits there; else into new ones.
TEST_F(EndpointPlan, AsFewSlicesChangeAsPossible) {
  add(1, 250);
  apply();
  drop(1, 10);  // all of the first slice
  add(301, 305);
  EXPECT_EQ(apply(), "+0 ~1 -0") << "the slice that loses ten takes the five";
  EXPECT_EQ(sizes(), (Sizes{50, 95, 100}));
  add(306, 310);
  EXPECT_EQ(apply(), "+0 ~1 -0");
  EXPECT_EQ(sizes(), (Sizes{50, 100, 100})) << "the fullest one that has room for all";
  add(311, 370);
  EXPECT_EQ(apply(), "+1 ~0 -0") << "sixty do not fit into the one with fifty: it is left alone";
  EXPECT_EQ(sizes(), (Sizes{50, 60, 100, 100}));
}

TEST_F(EndpointPlan, ASliceThatIsToGoIsWrittenOverWhenOneIsToBeMade) {
  add(1, 3);
  apply();
  svc.spec.ports[0].target_port.int_value = 9090;
  EXPECT_EQ(apply(), "+0 ~1 -0");
  EXPECT_EQ(have[0]->ports[0].port, 9090);
  EXPECT_EQ(have[0]->metadata.name, "web-1");
}

// The last endpoint's going leaves a slice without ports, as upstream's placeholder.
TEST_F(EndpointPlan, AServiceWithoutPodsHasAnEmptySlice) {
  EXPECT_EQ(apply(), "+1 ~0 -0");
  EXPECT_EQ(apply(), "+0 ~0 -0");
  EXPECT_TRUE(have[0]->ports.empty());
  add(1, 2);
  EXPECT_EQ(apply(), "+0 ~1 -0");
  EXPECT_EQ(have[0]->ports.size(), 1u);
  drop(1, 2);
  EXPECT_EQ(apply(), "+0 ~1 -0");
  EXPECT_EQ(have[0]->metadata.name, "web-1");
  EXPECT_TRUE(have[0]->endpoints.empty());
  EXPECT_TRUE(have[0]->ports.empty());
  svc.metadata.labels["team"] = "b";
  EXPECT_EQ(apply(), "+0 ~1 -0");
  EXPECT_EQ(have[0]->metadata.labels.at("team"), "b");
}

TEST_F(EndpointPlan, TheOrderOfAServicesPortsDoesNotMatter) {
  svc.spec.ports.push_back(svc.spec.ports[0]);
  svc.spec.ports[1].name = "admin";
  svc.spec.ports[1].port = 81;
  add(1, 3);
  apply();
  std::swap(svc.spec.ports[0], svc.spec.ports[1]);
  EXPECT_EQ(apply(), "+0 ~0 -0");
}

TEST_F(EndpointPlan, SlicesOfAnEarlierServiceOfTheNameAreNotTakenOver) {
  add(1, 3);
  apply();
  svc.metadata.uid = "service-2";
  SlicePlan p = plan();
  ASSERT_EQ(p.create.size(), 1u);
  EXPECT_EQ(p.create[0].endpoints.size(), 3u);
  EXPECT_EQ(p.create[0].metadata.owner_references.at(0).uid, "service-2");
  EXPECT_TRUE(p.stay.empty());
  EXPECT_EQ(p.remove.size(), 1u);
}

TEST_F(EndpointPlan, APodOnANodeThatIsNotKnownIsLeftOutUnlessUnreadyOnesAreWanted) {
  Pod lost = pod(2);
  lost.spec.node_name = "n2";
  add(1, 1);
  pods.push_back(std::make_shared<const Pod>(lost));
  SlicePlan p = plan();
  ASSERT_EQ(p.left_out.size(), 1u);
  EXPECT_EQ(p.left_out[0], "skipping Pod p2 for Service shop/web: Node n2 Not Found");
  EXPECT_EQ(p.create.at(0).endpoints.size(), 1u);
  svc.spec.publish_not_ready_addresses = true;
  p = plan();
  EXPECT_TRUE(p.left_out.empty());
  EXPECT_EQ(p.create.at(0).endpoints.size(), 2u);
}

TEST_F(EndpointPlan, PodsThatEndAreShownAsTerminatingAndHeadlessServicesSaySo) {
  Pod p = pod(1);
  p.metadata.deletion_timestamp = Time::from_seconds(5);
  pods.push_back(std::make_shared<const Pod>(p));
  svc.spec.cluster_ip = "None";
  svc.metadata.labels["service.kubernetes.io/headless"] = "said by a user";
  apply();
  auto& e = have.at(0)->endpoints.at(0);
  EXPECT_EQ(e.conditions.ready, false);
  EXPECT_EQ(e.conditions.serving, true);
  EXPECT_EQ(e.conditions.terminating, true);
  EXPECT_EQ(have[0]->metadata.labels.at("service.kubernetes.io/headless"), "");
}

TEST_F(EndpointPlan, EndpointsAreCutOffAtAThousandThoseThatAreNotReadyFirst) {
  add(1, 600, true);
  add(601, 1100, false);
  bool truncated = false;
  auto subsets = plan_subsets(svc, pods, &truncated);
  EXPECT_TRUE(truncated);
  ASSERT_EQ(subsets.size(), 1u);
  EXPECT_EQ(subsets[0].addresses.size(), 600u);
  EXPECT_EQ(subsets[0].not_ready_addresses.size(), 400u);
  add(1101, 1600, true);
  subsets = plan_subsets(svc, pods, &truncated);
  EXPECT_EQ(subsets.at(0).addresses.size(), 1000u);
  EXPECT_TRUE(subsets[0].not_ready_addresses.empty());
  drop(1000, 1600);
  subsets = plan_subsets(svc, pods, &truncated);
  EXPECT_FALSE(truncated);
  EXPECT_EQ(subsets.at(0).addresses.size() + subsets[0].not_ready_addresses.size(), 999u);
}

TEST_F(EndpointPlan, EndpointsHoldThePodsAddressOfTheServicesFirstFamilyAndOnlyPodsWithThePort) {
  Pod p = pod(1);
  p.status.pod_ips.emplace_back();
  p.status.pod_ips[1].ip = "fd00::1";
  pods.push_back(std::make_shared<const Pod>(p));
  svc.spec.ip_families = {"IPv6", "IPv4"};
  bool truncated = false;
  EXPECT_EQ(plan_subsets(svc, pods, &truncated).at(0).addresses.at(0).ip, "fd00::1");
  svc.spec.ports[0].target_port.is_string = true;
  svc.spec.ports[0].target_port.string_value = "nobody";
  EXPECT_TRUE(plan_subsets(svc, pods, &truncated).empty());
  svc.metadata.labels = {{"team", "b"}, {"service.kubernetes.io/headless", ""}};
  EXPECT_EQ(endpoints_labels(svc), (std::map<std::string, std::string>{{"team", "b"}, {"endpoints.kubernetes.io/managed-by", "endpoint-controller"}}));
}

TEST_F(EndpointPlan, TheTriggerTimeIsThatOfTheFirstChangeSinceTheLastLook) {
  svc.metadata.creation_timestamp = Time::from_seconds(500);
  add(1, 2);
  TriggerTimes times;
  EXPECT_EQ(times.observe("k", svc, pods), Time::from_seconds(500)) << "a new Service: its creation";
  EXPECT_TRUE(times.observe("k", svc, pods).is_zero()) << "nothing has changed";
  add(3, 5);
  EXPECT_EQ(times.observe("k", svc, pods), Time::from_seconds(1003)) << "the first of three pods";
  Pod p = pod(1, false);
  p.status.conditions[0].last_transition_time = Time::from_seconds(2000);
  pods[0] = std::make_shared<const Pod>(p);
  EXPECT_EQ(times.observe("k", svc, pods), Time::from_seconds(2000));
  drop(1, 5);
  EXPECT_TRUE(times.observe("k", svc, pods).is_zero()) << "a pod's going has no time";
  kube::meta::ObjectMeta m;
  set_trigger_time(m, Time::from_seconds(0x6a000000));
  EXPECT_EQ(m.annotations.at("endpoints.kubernetes.io/last-change-trigger-time"), "2026-05-10T03:48:16Z");
  set_trigger_time(m, Time());
  EXPECT_TRUE(m.annotations.empty());
}

}  // namespace
}  // namespace caravel::controllers
