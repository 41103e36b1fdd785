#include "controllers/common.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

const Time kNow = Time::from_seconds(1'700'000'000);

kube::core::Pod running(const std::string& uid, Duration age) {
  kube::core::Pod p;
  p.metadata.uid = uid;
  p.metadata.creation_timestamp = kNow - age;
  p.spec.node_name = "n";
  p.status.phase = "Running";
  return p;
}

TEST(DeleteBefore, AgesAreClassesOfTheLogarithmOfNanoseconds) {
  // 2^33 ns are 8.59 s: 8 s and 9 s differ, though both have four bits as seconds; 9 s and 17 s are one class.
  EXPECT_TRUE(delete_before(running("z", 8s), running("a", 9s), {}, kNow));
  EXPECT_FALSE(delete_before(running("a", 9s), running("z", 8s), {}, kNow));
  EXPECT_TRUE(delete_before(running("a", 17s), running("z", 9s), {}, kNow));  // by uid
}

TEST(DeleteBefore, RestartsOfSidecarsDecideAfterThoseOfContainers) {
  kube::core::Pod a = running("z", 60s), b = running("a", 60s);
  a.spec.init_containers.emplace_back();
  a.spec.init_containers[0].name = "proxy";
  a.status.init_container_statuses.emplace_back();
  a.status.init_container_statuses[0].name = "proxy";
  a.status.init_container_statuses[0].restart_count = 3;
  EXPECT_FALSE(delete_before(a, b, {}, kNow));  // an init container that ends is not counted
  a.spec.init_containers[0].restart_policy = "Always";
  EXPECT_TRUE(delete_before(a, b, {}, kNow));
  b.status.container_statuses.emplace_back();
  b.status.container_statuses[0].restart_count = 1;
  EXPECT_TRUE(delete_before(b, a, {}, kNow));
}

}  // namespace
}  // namespace caravel::controllers
