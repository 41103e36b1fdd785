#include "controllers/endpoint_mirror.h"

#include <gtest/gtest.h>

#include "controllers/endpoint_plan.h"

namespace caravel::controllers {
namespace {

using kube::core::Endpoints;
using kube::core::EndpointSubset;

EndpointSubset subset(std::vector<std::string> ready, std::vector<std::string> not_ready, std::vector<int> ports) {
  EndpointSubset s;
  for (auto& ip : ready) s.addresses.emplace_back().ip = ip;
  for (auto& ip : not_ready) s.not_ready_addresses.emplace_back().ip = ip;
  for (int p : ports) s.ports.emplace_back().port = p;
  return s;
}
std::string text(const std::vector<EndpointSubset>& subsets) {
  std::string out;
  for (auto& s : subsets) {
    for (auto& a : s.addresses) out += a.ip + " ";
    for (auto& a : s.not_ready_addresses) out += "!" + a.ip + " ";
    for (auto& p : s.ports) out += ":" + std::to_string(p.port);
    out += "\n";
  }
  return out;
}

TEST(Mirror, SubsetsThatOfferTheSameStandTogether) {
  EXPECT_EQ(text(repack({subset({"10.0.0.2"}, {}, {80}), subset({"10.0.0.1"}, {}, {80})})), "10.0.0.1 10.0.0.2 :80\n");
  EXPECT_EQ(text(repack({subset({"10.0.0.1"}, {}, {80}), subset({"10.0.0.1"}, {}, {443})})), "10.0.0.1 :80:443\n");
  EXPECT_EQ(text(repack({subset({"10.0.0.1"}, {}, {80}), subset({}, {"10.0.0.1"}, {80})})), "!10.0.0.1 :80\n") << "not ready once is not ready";
  EXPECT_EQ(text(repack({subset({"10.0.0.1"}, {}, {})})), "10.0.0.1 \n") << "a Service may have no ports";
}

TEST(Mirror, OneSliceForEachSubsetAndFamilyWithWhatTheEndpointsSay) {
  Endpoints e;
  e.metadata.name = "db";
  e.metadata.namespace_ = "shop";
  e.metadata.labels["team"] = "a";
  e.metadata.annotations["kubectl.kubernetes.io/last-applied-configuration"] = "{}";
  e.metadata.annotations["note"] = "n";
  e.subsets = {subset({"10.0.0.1", "fd00::1"}, {"10.0.0.2"}, {5432})};
  Mirror m = mirror_of(e);
  ASSERT_EQ(m.slices.size(), 2u);
  EXPECT_EQ(m.skipped, 0u);
  EXPECT_EQ(m.slices[0].address_type, "IPv4");
  ASSERT_EQ(m.slices[0].endpoints.size(), 2u);
  EXPECT_EQ(m.slices[0].endpoints[0].conditions.ready, true);
  EXPECT_EQ(m.slices[0].endpoints[1].conditions.ready, false);
  EXPECT_EQ(m.slices[1].address_type, "IPv6");
  EXPECT_EQ(m.slices[1].endpoints[0].addresses, std::vector<std::string>{"fd00::1"});
  EXPECT_EQ(m.slices[0].metadata.labels[kSliceService], "db");
  EXPECT_EQ(m.slices[0].metadata.labels[kSliceManagedBy], kMirrorManager);
  EXPECT_EQ(m.slices[0].metadata.labels["team"], "a");
  EXPECT_EQ(m.slices[0].metadata.annotations, (std::map<std::string, std::string>{{"note", "n"}}));
  EXPECT_EQ(m.slices[0].metadata.owner_references[0].kind, "Endpoints");
}

TEST(Mirror, AThousandAddressesOfASubsetAreMirrored) {
  Endpoints e;
  EndpointSubset s;
  for (int i = 0; i < 600; ++i) s.addresses.emplace_back().ip = "10.0." + std::to_string(i / 200) + "." + std::to_string(i % 200);
  for (int i = 0; i < 600; ++i) s.not_ready_addresses.emplace_back().ip = "fd00::" + std::to_string(i);
  e.subsets = {s};
  Mirror m = mirror_of(e);
  ASSERT_EQ(m.slices.size(), 2u);
  EXPECT_EQ(m.slices[0].endpoints.size() + m.slices[1].endpoints.size(), 1000u) << "of both families together";
  EXPECT_EQ(m.skipped, 200u);
  EXPECT_EQ(skipped_text(m.skipped), "A max of 1000 addresses can be mirrored to EndpointSlices per Endpoints subset. 200 addresses were skipped");
}

TEST(Mirror, LocksAndWhatIsMarkedAreLeftAlone) {
  Endpoints e;
  EXPECT_TRUE(is_mirrored(e));
  e.metadata.annotations["control-plane.alpha.kubernetes.io/leader"] = "{}";
  EXPECT_FALSE(is_mirrored(e));
  e.metadata.annotations.clear();
  e.metadata.labels["endpointslice.kubernetes.io/skip-mirror"] = "true";
  EXPECT_FALSE(is_mirrored(e));
}

}  // namespace
}  // namespace caravel::controllers
