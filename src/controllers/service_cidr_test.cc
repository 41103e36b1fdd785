#include "controllers/service_cidr.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::networking::IPAddress;
using kube::networking::ServiceCIDR;

std::shared_ptr<const ServiceCIDR> cidr(const char* name, const char* range, bool terminating = false) {
  auto c = std::make_shared<ServiceCIDR>();
  c->metadata.name = name;
  c->spec.cidrs = {range};
  if (terminating) c->metadata.deletion_timestamp = *parse_rfc3339("2026-01-01T00:00:00Z");
  return c;
}
std::shared_ptr<const IPAddress> address(const char* ip, bool allocated = true) {
  auto a = std::make_shared<IPAddress>();
  a->metadata.name = ip;
  if (allocated) a->metadata.labels["ipaddress.kubernetes.io/managed-by"] = "ipallocator.k8s.io";
  return a;
}

TEST(ServiceCidrTest, ARangeGoesOnlyWhenItsAddressesAreHeldElsewhere) {
  auto small = cidr("small", "10.0.0.0/24", true), large = cidr("large", "10.0.0.0/16"), leaving = cidr("leaving", "10.0.0.0/16", true);
  EXPECT_TRUE(may_go(*small, {small}, {}));
  EXPECT_FALSE(may_go(*small, {small}, {address("10.0.0.9")}));
  EXPECT_TRUE(may_go(*small, {small}, {address("10.0.1.9")}));
  EXPECT_TRUE(may_go(*small, {small}, {address("10.0.0.9", false)}));
  EXPECT_TRUE(may_go(*small, {small, large}, {address("10.0.0.9")}));
  EXPECT_FALSE(may_go(*small, {small, leaving}, {address("10.0.0.9")}));
  // The broadcast address of the small range is an ordinary one of the large range only.
  EXPECT_TRUE(may_go(*small, {small}, {address("10.0.0.255")}));
}

}  // namespace
}  // namespace caravel::controllers
