// Flow 3 in virtual time: pending pods, Karpenter, the embedded EC2, instances that join as hollow nodes,
// pods that run there, and the way back down. Every component is the product's; only the machines are
// simulated.
#include <gtest/gtest.h>

#include "base/strings.h"
#include "cloud/cloud.h"
#include "cloud/hollow_substrate.h"
#include "cloud/instance_types.h"
#include "cloud/journal.h"
#include "eks/instance.h"
#include "hollow/instances.h"
#include "karpenter/karpenter.h"
#include "kube/kinds.h"
#include "kube/types/apps.h"
#include "kube/types/core.h"
#include "sim/cluster.h"

namespace caravel::sim {
namespace {

using kube::core::Node;
using kube::core::Pod;

const char* kPlatform = R"(
apiVersion: karpenter.k8s.aws/v1
kind: EC2NodeClass
metadata: {name: default}
spec:
  amiSelectorTerms: [{alias: al2023@latest}]
  role: caravel-node
  subnetSelectorTerms: [{tags: {karpenter.sh/discovery: caravel}}]
  securityGroupSelectorTerms: [{tags: {karpenter.sh/discovery: caravel}}]
  userData: |
    apiVersion: node.eks.aws/v1alpha1
    kind: NodeConfig
    spec:
      kubelet:
        flags: ["--node-labels=from-user-data=yes"]
---
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: default}
spec:
  template:
    spec:
      nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: default}
      expireAfter: 720h
      requirements:
        - {key: kubernetes.io/arch, operator: In, values: [amd64]}
        - {key: karpenter.sh/capacity-type, operator: In, values: [on-demand]}
        - {key: karpenter.k8s.aws/instance-category, operator: In, values: [c, m, r, t]}
        - {key: karpenter.k8s.aws/instance-cpu, operator: Gt, values: ["1"]}
  disruption: {consolidationPolicy: WhenEmptyOrUnderutilized, consolidateAfter: 5s}
)";

std::string deployment(const std::string& name, int replicas, const std::string& cpu, const std::string& extra = "") {
  return "apiVersion: apps/v1\nkind: Deployment\nmetadata: {name: " + name + ", namespace: default}\nspec:\n  replicas: " + std::to_string(replicas) +
         "\n  selector: {matchLabels: {app: " + name + "}}\n  template:\n    metadata: {labels: {app: " + name + "}}\n    spec:\n" + extra +
         "      containers: [{name: main, image: \"nginx:1\", resources: {requests: {cpu: " + cpu + ", memory: 256Mi}}}]\n";
}

// A cluster with Karpenter and the embedded cloud.
class Scaling : public testing::Test {
 protected:
  explicit Scaling(uint64_t seed = 7) : cluster_(seed, options()) {}

  static ClusterOptions options() {
    ClusterOptions o;
    o.nodes = 0;
    return o;
  }

  void SetUp() override {
    ASSERT_TRUE(cluster_.start());
    cloud::HollowOptions h;
    h.on_running = [this](const machines::InstanceSpec& i) { boot(i); };
    h.on_stopped = [this](const std::string& id) {
      if (names_.count(id)) cluster_.nodes()->remove(names_[id]);
    };
    journal_ = cloud::make_memory_journal();
    substrate_ = cloud::make_hollow_substrate(cluster_.ex(), std::move(h));
    cloud_ = std::make_unique<cloud::Cloud>(cluster_.ex(), cloud::CloudOptions(), *journal_, *substrate_);
    ASSERT_TRUE(cloud_->start().ok());
    aws_ = cloud::make_in_process_client(*cloud_);
    kube::Client admin = cluster_.admin();
    for (const char* group : {"karpenter.sh", "karpenter.k8s.aws"})
      for (const auto* kind : kube::crd_kinds(group)) {
        static const kube::Resource kCrds{"apiextensions.k8s.io", "v1", "customresourcedefinitions", "CustomResourceDefinition", false};
        auto made = run_task(cluster_.ex(), admin.create(kCrds, "", kube::crd_manifest(*kind)));
        ASSERT_TRUE(made.ok()) << made.error().message;
      }
    cluster_.run_for(2s);
    Status applied = cluster_.apply(kPlatform);
    ASSERT_TRUE(applied.ok()) << applied.error().message;
    start_karpenter();
  }

  void TearDown() override { stop_karpenter(); }

  void start_karpenter() {
    karpenter::Settings s;
    s.cloud.cluster_name = "caravel";
    karpenter_ = std::make_unique<karpenter::Karpenter>(cluster_.ex(), cluster_.admin(), *aws_, s);
    scope_ = std::make_unique<TaskScope>();
    scope_->spawn(karpenter_->run(StopToken()));
  }
  // Where it stands, as a crash would.
  void stop_karpenter() {
    scope_.reset();
    karpenter_.reset();
  }

  // What the node agent does with its user data.
  void boot(const machines::InstanceSpec& i) {
    if (!joins_) return;
    auto config = eks::parse_node_config(i.user_data);
    ASSERT_TRUE(config.ok()) << config.error().message;
    ASSERT_EQ(config->cluster_name, "caravel");
    eks::InstanceFacts facts;
    facts.id = i.id;
    facts.type = i.type;
    facts.zone = i.zone;
    facts.region = "us-east-1";
    facts.private_ip = i.private_ip;
    facts.private_dns_name = i.private_dns_name;
    facts.cpus = i.vcpus;
    facts.memory_mib = i.memory_mib;
    const cloud::InstanceType* type = cloud::find_instance_type(i.type);
    ASSERT_NE(type, nullptr) << i.type;
    facts.enis = type->enis;
    facts.addresses_per_eni = type->ipv4_per_eni;
    hollow::NodeSpec n = hollow::node_of(facts, *config);
    names_[i.id] = n.name;
    cluster_.nodes()->add(n);
  }

  size_t running(const std::string& app) {
    size_t n = 0;
    for (const auto& p : cluster_.list(Pod::resource(), "default"))
      if (p.path({"metadata", "labels", "app"}).as_string() == app && p.path({"status", "phase"}).as_string() == "Running") ++n;
    return n;
  }
  std::vector<json::Value> nodes() { return cluster_.list(Node::resource()); }
  std::vector<json::Value> claims() { return cluster_.list(karpenter::kNodeClaims); }
  size_t instances() {
    auto list = run_task(cluster_.ex(), karpenter_->context().cloud.list());
    size_t n = 0;
    for (const auto& i : *list) n += i.state != "shutting-down";
    return n;
  }
  // Virtual time until it holds.
  bool until(const std::function<bool()>& what, Duration limit) {
    Time end = cluster_.ex().now() + limit;
    while (cluster_.ex().now() < end) {
      if (what()) return true;
      cluster_.run_for(500ms);
    }
    return what();
  }
  void scale(const std::string& name, int replicas) {
    json::Value v;
    v["spec"]["replicas"] = replicas;
    ASSERT_TRUE(cluster_.patch(kube::apps::Deployment::resource(), "default", name, v).ok());
  }

  Cluster cluster_;
  std::unique_ptr<cloud::Journal> journal_;
  std::unique_ptr<machines::Substrate> substrate_;
  std::unique_ptr<cloud::Cloud> cloud_;
  std::unique_ptr<aws::Client> aws_;
  std::unique_ptr<karpenter::Karpenter> karpenter_;
  std::unique_ptr<TaskScope> scope_;
  std::map<std::string, std::string> names_;  // instance -> node
  bool joins_ = true;
};

TEST_F(Scaling, PendingPodsGetANodeAndItGoesWhenItIsEmpty) {
  ASSERT_TRUE(cluster_.apply(deployment("web", 3, "500m")).ok());
  ASSERT_TRUE(until([&] { return running("web") == 3; }, 2min)) << "pods run on a node that did not exist";
  ASSERT_EQ(nodes().size(), 1u);
  ASSERT_EQ(claims().size(), 1u);
  const json::Value node = nodes()[0], claim = claims()[0];
  EXPECT_EQ(node.path({"metadata", "labels", "karpenter.sh/nodepool"}).as_string(), "default");
  EXPECT_EQ(node.path({"metadata", "labels", "karpenter.sh/registered"}).as_string(), "true");
  EXPECT_EQ(node.path({"metadata", "labels", "from-user-data"}).as_string(), "yes");
  EXPECT_EQ(claim.path({"status", "providerID"}).as_string(), node.path({"spec", "providerID"}).as_string());
  EXPECT_TRUE(until([&] { return karpenter::condition_true(claims()[0], "Ready"); }, 30s));
  for (const auto& t : nodes()[0].path({"spec", "taints"}).as_array()) EXPECT_NE(t["key"].as_string(), karpenter::kUnregisteredTaint);

  scale("web", 0);
  ASSERT_TRUE(until([&] { return nodes().empty() && claims().empty() && instances() == 0; }, 3min)) << "the empty node is removed with its instance";
}

TEST_F(Scaling, TheCheapestTypeThatFitsIsChosen) {
  ASSERT_TRUE(cluster_.apply(deployment("big", 1, "3")).ok());
  ASSERT_TRUE(until([&] { return running("big") == 1; }, 2min));
  std::string type = nodes()[0].path({"metadata", "labels", "node.kubernetes.io/instance-type"}).as_string();
  const auto& prices = karpenter_->context().cloud.catalog().on_demand;
  double cheapest = 1e9;
  auto nc = karpenter_->context().node_classes.get("", "default");
  for (const auto& t : karpenter_->context().cloud.instance_types(*nc)) {
    std::string category = t->requirements.get("karpenter.k8s.aws/instance-category").only().value_or("");
    bool amd = t->requirements.get("kubernetes.io/arch").has("amd64");
    if (amd && (category == "c" || category == "m" || category == "r" || category == "t") && t->allocatable.cpu >= 3000 && prices.count(t->name))
      cheapest = std::min(cheapest, prices.at(t->name));
  }
  EXPECT_DOUBLE_EQ(prices.at(type), cheapest) << type;
}

TEST_F(Scaling, PodsAreSpreadOverZonesByNewNodes) {
  std::string spread =
      "      topologySpreadConstraints: [{maxSkew: 1, topologyKey: topology.kubernetes.io/zone, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: web}}}]\n";
  ASSERT_TRUE(cluster_.apply(deployment("web", 3, "500m", spread)).ok());
  ASSERT_TRUE(until([&] { return running("web") == 3; }, 2min));
  std::set<std::string> zones;
  for (const auto& n : nodes()) zones.insert(n.path({"metadata", "labels", "topology.kubernetes.io/zone"}).as_string());
  EXPECT_EQ(zones.size(), 3u);
}

TEST_F(Scaling, CapacityThatIsNotThereIsWorkedAround) {
  cloud_->set_capacity_fault("*", "us-east-1a", "*", "InsufficientInstanceCapacity");
  ASSERT_TRUE(cluster_.apply(deployment("web", 2, "500m")).ok());
  ASSERT_TRUE(until([&] { return running("web") == 2; }, 3min));
  for (const auto& n : nodes()) EXPECT_NE(n.path({"metadata", "labels", "topology.kubernetes.io/zone"}).as_string(), "us-east-1a");
}

TEST_F(Scaling, ACrashAnywhereLeavesNoInstanceBehind) {
  ASSERT_TRUE(cluster_.apply(deployment("web", 4, "700m")).ok());
  // Killed and started again every second or two while it works.
  for (int i = 0; i < 4; ++i) {
    cluster_.run_for(std::chrono::milliseconds(300 + cluster_.ex().random_below(2000)));
    stop_karpenter();
    start_karpenter();
  }
  ASSERT_TRUE(until([&] { return running("web") == 4; }, 3min));
  ASSERT_TRUE(until([&] { return instances() == claims().size() && nodes().size() == claims().size(); }, 5min)) << instances() << " instances, " << claims().size() << " claims";
  scale("web", 0);
  ASSERT_TRUE(until([&] { return nodes().empty() && claims().empty() && instances() == 0; }, 5min));
}

TEST_F(Scaling, AnInstanceThatNeverJoinsIsGivenUpAfterFifteenMinutes) {
  joins_ = false;
  ASSERT_TRUE(cluster_.apply(deployment("web", 1, "500m")).ok());
  ASSERT_TRUE(until([&] { return !claims().empty() && karpenter::condition_true(claims()[0], "Launched"); }, 1min));
  std::string first = kube::name_of(claims()[0]);
  cluster_.run_for(14min);
  EXPECT_EQ(kube::name_of(claims()[0]), first);
  joins_ = true;
  ASSERT_TRUE(until([&] { return running("web") == 1; }, 5min));
  EXPECT_NE(kube::name_of(claims()[0]), first);
  EXPECT_TRUE(until([&] { return instances() == 1; }, 1min));
}

}  // namespace
}  // namespace caravel::sim
