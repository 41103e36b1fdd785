#include "karpenter/solver.h"

#include <gtest/gtest.h>

#include <limits>

namespace caravel::karpenter {
namespace {

using kube::scheduling::Effect;
using kube::scheduling::Op;
using kube::scheduling::PodTerm;
using kube::scheduling::Selector;
using kube::scheduling::SpreadConstraint;

constexpr int64_t kGi = int64_t{1} << 30;

std::shared_ptr<const InstanceType> type(const std::string& name, int64_t cpus, int64_t gib, double price, const std::string& arch = "amd64") {
  auto t = std::make_shared<InstanceType>();
  t->name = name;
  t->requirements.set(label::kInstanceType, Requirement::in({name}));
  t->requirements.set(label::kArch, Requirement::in({arch}));
  t->requirements.set(label::kOs, Requirement::in({"linux"}));
  t->requirements.set(label::kZone, Requirement::in({"a", "b", "c"}));
  t->requirements.set(label::kCapacityType, Requirement::in({"on-demand", "spot"}));
  for (const char* z : {"a", "b", "c"}) {
    t->offerings.push_back({z, "", "on-demand", price, true});
    t->offerings.push_back({z, "", "spot", price * 0.4, true});
  }
  t->capacity = {cpus * 1000, gib * kGi, 20 * kGi, 58, {}};
  t->overhead = {100, kGi / 2, kGi, 0, {}};
  t->allocatable = t->capacity;
  t->allocatable -= t->overhead;
  return t;
}

Pool pool(const std::string& name = "default") {
  Pool p;
  p.name = name;
  p.requirements.add(label::kCapacityType, Requirement::in({"on-demand"}));
  p.instance_types = {type("small", 2, 4, 0.05), type("medium", 4, 8, 0.10), type("large", 16, 64, 0.40), type("arm", 4, 8, 0.08, "arm64")};
  return p;
}

PodSpec pod_spec(int64_t cpu, int64_t memory_mi = 256) {
  PodSpec p;
  p.ns = "default";
  p.labels["app"] = "web";
  p.request.cpu = p.nonzero_cpu = cpu;
  p.request.memory = p.nonzero_memory = memory_mi << 20;
  return p;
}

void add(SolverInput& in, PodSpec spec, int count) {
  auto shared = std::make_shared<const PodSpec>(std::move(spec));
  for (int i = 0; i < count; ++i) {
    std::string key = "default/p" + std::to_string(in.pending.size());
    in.pending.push_back({key, key, shared, Time{static_cast<int64_t>(in.pending.size())}});
  }
}

TEST(Solver, PicksTheCheapestTypesThatFitAllPodsOfANode) {
  SolverInput in;
  in.pools = {pool()};
  add(in, pod_spec(500), 5);
  SolverResult r = solve(in);
  ASSERT_EQ(r.claims.size(), 1u);
  EXPECT_EQ(r.claims[0].pods.size(), 5u);
  EXPECT_EQ(r.claims[0].types, (std::vector<std::string>{"arm", "medium", "large"})) << "small has 1900m";
  EXPECT_TRUE(r.errors.empty());
}

TEST(Solver, UsesNodesThatExistBeforeMakingNewOnes) {
  SolverInput in;
  in.pools = {pool()};
  StateNode n;
  n.name = "node-1";
  n.labels = {{label::kHostname, "node-1"}, {label::kZone, "a"}};
  n.available = {1000, kGi, kGi, 10, {}};
  n.initialized = true;
  in.nodes = {n};
  add(in, pod_spec(400), 3);
  SolverResult r = solve(in);
  EXPECT_EQ(r.existing["node-1"].size(), 2u);
  ASSERT_EQ(r.claims.size(), 1u);
  EXPECT_EQ(r.claims[0].pods.size(), 1u);
}

TEST(Solver, SpreadsOverZones) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec p = pod_spec(200);
  SpreadConstraint c;
  c.topology_key = label::kZone;
  c.selector = Selector{false, {{"app", Op::kIn, {"web"}}}};
  p.hard_spread.push_back(c);
  add(in, p, 6);
  SolverResult r = solve(in);
  ASSERT_EQ(r.claims.size(), 3u);
  std::set<std::string> zones;
  for (auto& claim : r.claims) {
    EXPECT_EQ(claim.pods.size(), 2u);
    zones.insert(*claim.requirements.get(label::kZone).only());
  }
  EXPECT_EQ(zones.size(), 3u);
}

TEST(Solver, CountsRunningPodsWhenSpreading) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec p = pod_spec(200);
  SpreadConstraint c;
  c.topology_key = label::kZone;
  c.selector = Selector{false, {{"app", Op::kIn, {"web"}}}};
  p.hard_spread.push_back(c);
  in.node_labels["old"] = {{label::kZone, "a"}};
  in.running = {{std::make_shared<const PodSpec>(p), "old"}, {std::make_shared<const PodSpec>(p), "old"}};
  add(in, p, 2);
  SolverResult r = solve(in);
  std::set<std::string> zones;
  for (auto& claim : r.claims) zones.insert(claim.requirements.get(label::kZone).only().value_or("?"));
  EXPECT_EQ(zones, (std::set<std::string>{"b", "c"}));
}

TEST(Solver, AntiAffinityOnHostnamesGivesEachPodItsNode) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec p = pod_spec(100);
  p.anti_affinity.push_back(PodTerm{Selector{false, {{"app", Op::kIn, {"web"}}}}, {"default"}, std::nullopt, label::kHostname});
  add(in, p, 4);
  EXPECT_EQ(solve(in).claims.size(), 4u);
}

TEST(Solver, AffinityKeepsPodsInOneZone) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec p = pod_spec(3000);
  p.affinity.push_back(PodTerm{Selector{false, {{"app", Op::kIn, {"web"}}}}, {"default"}, std::nullopt, label::kZone});
  add(in, p, 8);
  SolverResult r = solve(in);
  EXPECT_TRUE(r.errors.empty());
  std::set<std::string> zones;
  for (auto& claim : r.claims) zones.insert(claim.requirements.get(label::kZone).only().value_or("open"));
  EXPECT_EQ(zones.size(), 1u);
  EXPECT_FALSE(zones.count("open"));
}

TEST(Solver, RespectsNodeSelectorsAndSaysWhyNothingFits) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec arm = pod_spec(100);
  arm.node_selector[label::kArch] = "arm64";
  add(in, arm, 1);
  PodSpec nowhere = pod_spec(100);
  nowhere.node_selector["team"] = "blue";
  add(in, nowhere, 1);
  PodSpec huge = pod_spec(64000);
  add(in, huge, 1);
  SolverResult r = solve(in);
  ASSERT_EQ(r.claims.size(), 1u);
  EXPECT_EQ(r.claims[0].types, (std::vector<std::string>{"arm"}));
  EXPECT_NE(r.errors["default/p1"].find("label \"team\" does not have known values"), std::string::npos) << r.errors["default/p1"];
  EXPECT_NE(r.errors["default/p2"].find("no instance type has enough resources"), std::string::npos) << r.errors["default/p2"];
}

TEST(Solver, HeavierPoolsFirstAndTaintsKeepPodsOut) {
  SolverInput in;
  Pool a = pool("a"), b = pool("b");
  b.weight = 10;
  b.taints = {{"dedicated", "batch", Effect::kNoSchedule}};
  in.pools = {a, b};
  add(in, pod_spec(100), 1);
  PodSpec batch = pod_spec(200);
  batch.tolerations.push_back({"dedicated", true, "", Effect::kAny});
  add(in, batch, 1);
  SolverResult r = solve(in);
  ASSERT_EQ(r.claims.size(), 2u);
  std::map<std::string, std::string> where;
  for (auto& c : r.claims)
    for (auto& p : c.pods) where[p] = c.pool;
  EXPECT_EQ(where["default/p0"], "a");
  EXPECT_EQ(where["default/p1"], "b");
}

TEST(Solver, LimitsStopAPool) {
  SolverInput in;
  Pool p = pool();
  p.limits["cpu"] = 20'000;
  in.pools = {p};
  PodSpec spec = pod_spec(12'000);
  add(in, spec, 3);
  SolverResult r = solve(in);
  EXPECT_EQ(r.claims.size(), 1u);
  EXPECT_EQ(r.errors.size(), 2u);
  for (auto& [key, why] : r.errors) EXPECT_NE(why.find("no instance type has enough resources"), std::string::npos) << why << ": small ones are within the limit";
}

TEST(Solver, PreferencesAreKeptWherePossibleAndDroppedWhereNot) {
  SolverInput in;
  in.pools = {pool()};
  PodSpec p = pod_spec(100);
  p.preferred_nodes.push_back({1, {{{label::kZone, Op::kIn, {"b"}}}, {}}});
  add(in, p, 1);
  PodSpec impossible = pod_spec(200);
  impossible.preferred_nodes.push_back({1, {{{label::kZone, Op::kIn, {"mars"}}}, {}}});
  add(in, impossible, 1);
  SolverResult r = solve(in);
  EXPECT_TRUE(r.errors.empty());
  ASSERT_EQ(r.claims.size(), 1u) << "the second pod fits on the first node once its wish is dropped";
  EXPECT_EQ(r.claims[0].requirements.get(label::kZone).only(), "b");
}

TEST(Solver, DaemonsTakeTheirPartOfEveryNewNode) {
  SolverInput in;
  in.pools = {pool()};
  in.daemons.push_back(std::make_shared<const PodSpec>(pod_spec(500)));
  add(in, pod_spec(1500), 1);
  SolverResult r = solve(in);
  ASSERT_EQ(r.claims.size(), 1u);
  EXPECT_EQ(r.claims[0].types.front(), "arm") << "1500m + 500m do not fit into small's 1900m";
  EXPECT_EQ(r.claims[0].requests.cpu, 2000);
}

TEST(Solver, MinValuesKeepsTheChoiceWide) {
  SolverInput in;
  Pool p = pool();
  Requirement types = Requirement::exists();
  types.min_values = 3;
  p.requirements.add(label::kInstanceType, types);
  in.pools = {p};
  add(in, pod_spec(3000), 2);
  SolverResult r = solve(in);
  // Two such pods fit together only on "large": one type is too few, so each gets a node with three.
  EXPECT_EQ(r.claims.size(), 2u);
  for (auto& c : r.claims) EXPECT_EQ(c.types.size(), 3u);
}

TEST(Requirements, Algebra) {
  Requirement in = Requirement::in({"a", "b", "c"}), not_in = Requirement::not_in({"a"}), gt = Requirement::of("Gt", {"4"}), lt = Requirement::of("Lt", {"8"});
  EXPECT_EQ(in.intersect(not_in).values(), (std::set<std::string>{"b", "c"}));
  EXPECT_TRUE(gt.intersect(lt).has("5"));
  EXPECT_FALSE(gt.intersect(lt).has("8"));
  EXPECT_FALSE(gt.has("x"));
  EXPECT_TRUE(gt.intersect(Requirement::of("Lt", {"5"})).empty()) << "no integer lies between";
  EXPECT_TRUE(Requirement().compatible(Requirement::not_in({"x"})));
  EXPECT_FALSE(Requirement().compatible(Requirement::in({"x"})));
  Requirements pool;
  pool.add("team", Requirement::in({"red"}));
  Requirements pod;
  pod.add("team", Requirement::in({"blue"}));
  EXPECT_TRUE(pool.conflict(pod));
  Requirements zone;
  zone.add(label::kZone, Requirement::in({"a"}));
  EXPECT_FALSE(pool.conflict(zone)) << "a well-known key that the pool leaves open";
  EXPECT_EQ(pool.labels(), (Labels{{"team", "red"}}));
}

}  // namespace
}  // namespace caravel::karpenter
