// What the garbage collector knows and decides, without a cluster.
#include "controllers/owner_graph.h"

#include <gtest/gtest.h>

#include <functional>

namespace caravel::controllers {
namespace {

using Uids = std::vector<std::string>;
using What = GarbageVerdict::What;

OwnerRef owner(const std::string& uid) {
  OwnerRef o;
  o.api_version = "apps/v1";
  o.kind = "ReplicaSet";
  o.name = o.uid = uid;
  return o;
}

GraphNode node(const std::string& uid, const std::vector<std::string>& owners = {}, bool deleting = false, const std::vector<std::string>& finalizers = {}) {
  GraphNode n;
  n.uid = n.name = uid;
  n.deleting = deleting;
  n.finalizers = finalizers;
  for (auto& o : owners) n.owners.push_back(owner(o));
  return n;
}

TEST(OwnerGraph, AnObjectIsLookedAtWhenItHasOwnersAndWhenItsOwnerGoes) {
  OwnerGraph g;
  EXPECT_EQ(g.put(node("set")), Uids());
  EXPECT_EQ(g.put(node("pod", {"set"})), Uids({"pod"}));
  EXPECT_EQ(g.erase("set"), Uids({"pod"}));
  EXPECT_EQ(g.erase("set"), Uids()) << "once";
}

TEST(OwnerGraph, DependentsAreKnownThoughTheirOwnerIsNot) {
  OwnerGraph g;
  g.put(node("pod", {"set"}));
  ASSERT_EQ(g.dependents_of("set").size(), 1u);
  EXPECT_EQ(g.find("set"), nullptr);
  // It lost its reference: nobody depends on the set any more.
  g.put(node("pod"));
  EXPECT_TRUE(g.dependents_of("set").empty());
  EXPECT_EQ(g.erase("set"), Uids());
}

GraphNode placed(GraphNode n, const std::string& ns) {
  n.ns = ns;
  return n;
}

// Upstream's event OwnerRefInvalidNamespace, whichever of the two is seen first.
TEST(OwnerGraph, ReferencesAcrossNamespacesAreToldOnce) {
  OwnerGraph g;
  std::vector<Misplaced> told;
  g.put(placed(node("set"), "a"), &told);
  g.put(placed(node("pod", {"set"}), "b"), &told);
  ASSERT_EQ(told.size(), 1u);
  EXPECT_EQ(misplaced_text(told[0]), "ownerRef [apps/v1/ReplicaSet, namespace: b, name: set, uid: set] does not exist in namespace \"b\"");
  g.put(placed(node("pod", {"set"}, true), "b"), &told);
  EXPECT_EQ(told.size(), 1u) << "the reference is no news any more";

  g.put(placed(node("early", {"late"}), "b"), &told);
  g.put(placed(node("neighbour", {"late"}), "a"), &told);
  GraphNode late = placed(node("late"), "a");
  late.resource.kind = "ReplicaSet";
  late.resource.group = "apps";
  EXPECT_EQ(g.put(late, &told), Uids({"early"})) << "who meant somebody else is looked at";
  ASSERT_EQ(told.size(), 2u);
  EXPECT_EQ(told[1].dependent.uid, "early");

  g.put(node("cluster-wide"), &told);
  g.put(placed(node("pod2", {"cluster-wide"}), "b"), &told);
  EXPECT_EQ(told.size(), 2u) << "an owner in no namespace may be meant from any";
}

TEST(OwnerGraph, AReferenceMeansItsOwnerByKindAndNameToo) {
  GraphNode set = node("set");
  set.resource.kind = "ReplicaSet";
  set.resource.group = "apps";
  EXPECT_TRUE(set.is_meant_by(owner("set")));
  OwnerRef other_version = owner("set"), other_name = owner("set"), other_kind = owner("set");
  other_version.api_version = "apps/v1beta1";
  other_name.name = "tes";
  other_kind.kind = "Deployment";
  EXPECT_TRUE(set.is_meant_by(other_version));
  EXPECT_FALSE(set.is_meant_by(other_name));
  EXPECT_FALSE(set.is_meant_by(other_kind));
}

// Nobody can say whether an owner in some namespace lives: the object stays, and is not asked about again.
TEST(Garbage, AnObjectInNoNamespaceWithAnOwnerInOneStays) {
  Owners owners;
  owners.gone.push_back(owner("a"));
  owners.impossible = true;
  EXPECT_EQ(judge(node("n", {"a", "b"}), owners, {}).what, What::kStay);
}

TEST(OwnerGraph, AnOwnerThatWaitsForItsDependentsHearsOfEachOfTheirChanges) {
  OwnerGraph g;
  g.put(node("set"));
  g.put(node("pod", {"set"}));
  EXPECT_EQ(g.put(node("set", {}, true, {kForegroundFinalizer})), Uids({"set", "pod"})) << "its deletion begins";
  EXPECT_EQ(g.put(node("set", {}, true, {kForegroundFinalizer})), Uids({"set"})) << "no second beginning";
  EXPECT_EQ(g.put(node("pod", {"set"}, true)), Uids({"set", "pod"}));
  EXPECT_EQ(g.erase("pod"), Uids({"set"}));
}

// Heartbeats and statuses are most of what is written: they decide nothing about anybody's fate.
TEST(OwnerGraph, AWriteThatChangesNeitherOwnersNorFinalizersNorDeletionIsNoNews) {
  OwnerGraph g;
  json::Value pod = *json::parse(R"({"metadata":{"name":"p","namespace":"n","uid":"u","resourceVersion":"1","finalizers":["f"],
    "ownerReferences":[{"apiVersion":"apps/v1","kind":"ReplicaSet","name":"set","uid":"set","blockOwnerDeletion":true}]}})");
  kube::Resource pods;
  EXPECT_FALSE(g.knows(pod));
  g.put(node_of(pods, pod));
  pod["metadata"]["resourceVersion"] = "2";
  pod["status"]["phase"] = "Running";
  EXPECT_TRUE(g.knows(pod));
  EXPECT_EQ(g.find("u")->version, "2");
  std::vector<std::function<void(json::Value&)>> news = {
      [](json::Value& m) { m["deletionTimestamp"] = "2026-01-01T00:00:00Z"; },
      [](json::Value& m) { m["finalizers"].push_back("g"); },
      [](json::Value& m) { m.erase("finalizers"); },
      [](json::Value& m) { m.erase("ownerReferences"); },
      [](json::Value& m) { m["ownerReferences"].arr()[0]["blockOwnerDeletion"] = false; },
      [](json::Value& m) { m["ownerReferences"].arr()[0]["uid"] = "other"; },
      [](json::Value& m) { m["uid"] = "other"; },
  };
  for (size_t i = 0; i < news.size(); ++i) {
    json::Value other = pod;
    news[i](other["metadata"]);
    EXPECT_FALSE(g.knows(other)) << i;
  }
}

TEST(Garbage, AnyLivingOwnerKeepsTheObjectAndTheReferencesToOthersGo) {
  Owners o;
  o.solid = {owner("a")};
  EXPECT_EQ(judge(node("x", {"a"}), o, {}).what, What::kStay);
  o.gone = {owner("b")};
  o.waiting = {owner("c")};
  GarbageVerdict v = judge(node("x", {"a", "b", "c"}), o, {});
  EXPECT_EQ(v.what, What::kDropReferences);
  EXPECT_EQ(v.drop, Uids({"b", "c"}));
}

TEST(Garbage, NothingIsDecidedWhileTheServerCannotBeAsked) {
  Owners o;
  o.gone = {owner("a")};
  o.unknown = true;
  EXPECT_EQ(judge(node("x", {"a", "b"}), o, {}).what, What::kAskAgain);
}

TEST(Garbage, AnObjectWhoseOwnersAreGoneGoesAsItsFinalizersSay) {
  Owners o;
  o.gone = {owner("a")};
  GarbageVerdict v = judge(node("x", {"a"}), o, {});
  EXPECT_EQ(v.what, What::kDelete);
  EXPECT_EQ(v.propagation, "Background");
  EXPECT_TRUE(v.by_version) << "somebody may adopt it in this moment";
  EXPECT_EQ(judge(node("x", {"a"}, false, {kOrphanFinalizer}), o, {}).propagation, "Orphan");
  EXPECT_EQ(judge(node("x", {"a"}, false, {kForegroundFinalizer}), o, {}).propagation, "Foreground");
  // An adopter came between two looks: the live object decides, and it has no owner that is gone.
  EXPECT_EQ(judge(node("x"), o, {}).what, What::kStay);
}

TEST(Garbage, BelowAnOwnerThatWaitsEverythingGoesInTheForegroundAndACircleDoesNotWaitForItself) {
  Owners o;
  o.waiting = {owner("a")};
  GarbageVerdict v = judge(node("x", {"a"}), o, {node("y", {"x"})});
  EXPECT_EQ(v.propagation, "Foreground");
  EXPECT_FALSE(v.unblock);
  EXPECT_TRUE(v.by_version);
  v = judge(node("x", {"a"}), o, {node("a", {"x"}, true, {kForegroundFinalizer})});
  EXPECT_EQ(v.propagation, "Foreground");
  EXPECT_TRUE(v.unblock);
  EXPECT_FALSE(v.by_version) << "unblocking makes another version";
  EXPECT_EQ(judge(node("x", {"a"}), o, {}).propagation, "Background") << "nothing depends on it";
}

}  // namespace
}  // namespace caravel::controllers
