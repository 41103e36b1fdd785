#include "controllers/namespace_conditions.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

const Time kNow = Time::from_seconds(1'700'000'000);

TEST(NamespaceConditions, SayWhatIsLeftAsUpstreamDoes) {
  kube::core::NamespaceStatus s;
  Left left;
  left.objects = 3;
  left.by_resource = {{"pods.", 1}, {"deployments.apps", 2}};
  left.by_finalizer = {{"example.com/hold", 2}};
  left.errors = {"b", "a"};
  set_namespace_conditions(s, {"x/v1", "y/v1"}, left, kNow);
  ASSERT_EQ(s.conditions.size(), 5u);
  EXPECT_EQ(s.conditions[0].type, "NamespaceDeletionDiscoveryFailure");
  EXPECT_EQ(s.conditions[0].message, "Discovery failed for some groups, 2 failing: unable to retrieve the complete list of server APIs: x/v1, y/v1");
  EXPECT_EQ(s.conditions[2].reason, "ContentDeletionFailed");
  EXPECT_EQ(s.conditions[2].message, "Failed to delete all resource types, 2 remaining: a, b");
  EXPECT_EQ(s.conditions[3].message, "Some resources are remaining: deployments.apps has 2 resource instances, pods. has 1 resource instances");
  EXPECT_EQ(s.conditions[4].message, "Some content in the namespace has finalizers remaining: example.com/hold in 2 resource instances");
  left.by_resource.erase("pods.");
  set_namespace_conditions(s, {}, left, kNow + 5s);
  EXPECT_EQ(s.conditions[0].reason, "ResourcesDiscovered");
  EXPECT_EQ(s.conditions[0].last_transition_time, kNow + 5s);
  EXPECT_EQ(s.conditions[3].last_transition_time, kNow);
}

}  // namespace
}  // namespace caravel::controllers
