// A StatefulSet that is scaled down takes its pods one by one, and stops at one that is not well.
#include "controllers/statefulset_logic.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using Ordinals = std::vector<int>;

StatefulPod wanted(int n, bool available = true) { return {n, false, false, available}; }
StatefulPod surplus(int n, bool available = true) { return {n, true, false, available}; }
StatefulPod leaving(int n) { return {n, true, true, false}; }

TEST(StatefulSetLogic, TheHighestOrdinalGoesFirstAndAloneInOrder) {
  EXPECT_EQ(condemned_to_delete({wanted(0), surplus(1), surplus(2)}, true), Ordinals{2});
  EXPECT_EQ(condemned_to_delete({wanted(0), surplus(1), surplus(2)}, false), (Ordinals{2, 1}));
  EXPECT_EQ(condemned_to_delete({wanted(0), wanted(1)}, true), Ordinals{});
}

TEST(StatefulSetLogic, OneThatIsOnItsWayIsWaitedForInOrder) {
  EXPECT_EQ(condemned_to_delete({wanted(0), surplus(1), leaving(2)}, true), Ordinals{});
  EXPECT_EQ(condemned_to_delete({wanted(0), surplus(1), leaving(2)}, false), Ordinals{1});
}

TEST(StatefulSetLogic, AnUnhealthyPodHaltsTheScaleDownUnlessItIsTheFirst) {
  EXPECT_EQ(condemned_to_delete({surplus(0, false), surplus(1, false), surplus(2, false)}, true), Ordinals{}) << "scaled to 0 while none is ready";
  EXPECT_EQ(condemned_to_delete({surplus(0), surplus(1), surplus(2, false)}, true), Ordinals{2}) << "the first unhealthy one may go";
  EXPECT_EQ(condemned_to_delete({wanted(0, false), surplus(1, false)}, true), Ordinals{}) << "a wanted pod is the first";
  EXPECT_EQ(condemned_to_delete({surplus(0, false), surplus(1), surplus(2)}, true), Ordinals{2}) << "the healthy one goes";
  EXPECT_EQ(condemned_to_delete({surplus(0, false), surplus(1, false)}, false), (Ordinals{1, 0})) << "in parallel health is no matter";
}

// With a start ordinal, pods below it are surplus too; wanted ones are looked at before them.
TEST(StatefulSetLogic, WantedPodsCountBeforeSurplusOnesOfLowerOrdinals) {
  EXPECT_EQ(condemned_to_delete({surplus(0, false), wanted(3, false)}, true), Ordinals{});
  EXPECT_EQ(condemned_to_delete({surplus(0, false), wanted(3)}, true), Ordinals{0});
}

TEST(StatefulSet, APodBearsItsNameAsALabel) {
  kube::core::Pod p;
  p.metadata.name = "db-0";
  EXPECT_FALSE(has_identity(p));
  p.metadata.labels[kStatefulPodName] = "db-1";
  EXPECT_FALSE(has_identity(p));
  p.metadata.labels[kStatefulPodName] = "db-0";
  EXPECT_TRUE(has_identity(p));
}

}  // namespace
}  // namespace caravel::controllers
