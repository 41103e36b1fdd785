#include "controllers/endpoint_hints.h"

#include <gtest/gtest.h>

namespace caravel::controllers {
namespace {

using kube::core::Service;
using kube::discovery::Endpoint;
using kube::discovery::EndpointSlice;

Endpoint endpoint(const std::string& zone, const std::string& node = "n", bool ready = true) {
  Endpoint e;
  e.conditions.ready = ready;
  if (!zone.empty()) e.zone = zone;
  e.node_name = node;
  return e;
}
EndpointSlice slice(const std::vector<std::string>& zones) {
  EndpointSlice s;
  for (auto& z : zones) s.endpoints.push_back(endpoint(z));
  return s;
}
std::string hint(const Endpoint& e) { return e.hints && e.hints->for_zones.size() == 1 ? e.hints->for_zones[0].name : ""; }
std::map<std::string, int> hinted(const EndpointSlice& s) {
  std::map<std::string, int> out;
  for (auto& e : s.endpoints) ++out[hint(e)];
  return out;
}
const std::map<std::string, double> kEven{{"a", 1.0 / 3}, {"b", 1.0 / 3}, {"c", 1.0 / 3}};

TEST(EndpointHints, TrafficDistributionHintsReadyEndpointsAtTheirOwnPlace) {
  Service svc;
  EndpointSlice s;
  s.endpoints = {endpoint("a", "n1"), endpoint("b", "n2", false), endpoint("", "n3")};
  for (const char* how : {"PreferClose", "PreferSameZone"}) {
    svc.spec.traffic_distribution = how;
    set_close_hints(svc, s);
    EXPECT_EQ(hint(s.endpoints[0]), "a");
    EXPECT_TRUE(s.endpoints[0].hints->for_nodes.empty());
    EXPECT_FALSE(s.endpoints[1].hints) << "not ready";
    EXPECT_FALSE(s.endpoints[2].hints) << "its zone is not known";
  }
  svc.spec.traffic_distribution = "PreferSameNode";
  set_close_hints(svc, s);
  EXPECT_EQ(hint(s.endpoints[0]), "a");
  EXPECT_EQ(s.endpoints[0].hints->for_nodes.at(0).name, "n1");
  EXPECT_EQ(s.endpoints[2].hints->for_nodes.at(0).name, "n3");
  svc.spec.traffic_distribution.reset();
  set_close_hints(svc, s);
  EXPECT_FALSE(s.endpoints[0].hints);
}

TEST(EndpointHints, ZonesCountByTheCpusOfTheirReadyNodes) {
  auto shares = zone_shares({{true, "a", 3000}, {true, "b", 1000}, {false, "", 0}});
  EXPECT_DOUBLE_EQ(shares.at("a"), 0.75);
  EXPECT_DOUBLE_EQ(shares.at("b"), 0.25);
  EXPECT_TRUE(zone_shares({{true, "a", 3000}, {true, "", 1000}}).empty()) << "a zone that is not known";
  EXPECT_TRUE(zone_shares({{true, "a", 3000}, {true, "a", 1000}}).empty()) << "one zone";
}

TEST(EndpointHints, EndpointsAreLentToZonesThatHaveTooFew) {
  EndpointSlice s = slice({"a", "a", "a", "a", "b", "c"});
  EXPECT_EQ(set_shared_hints({{&s, true}}, kEven), "");
  EXPECT_EQ(hinted(s), (std::map<std::string, int>{{"a", 2}, {"b", 2}, {"c", 2}}));
}

TEST(EndpointHints, HintsThatHoldAreLeftAlone) {
  EndpointSlice s = slice({"a", "a", "a", "a", "b", "c"}), more = slice({"a", "b", "c"});
  ASSERT_EQ(set_shared_hints({{&s, true}}, kEven), "");
  const EndpointSlice before = s;
  EXPECT_EQ(set_shared_hints({{&s, false}, {&more, true}}, kEven), "");
  EXPECT_EQ(s, before);
  EXPECT_EQ(hinted(more), (std::map<std::string, int>{{"a", 1}, {"b", 1}, {"c", 1}}));
  // A zone that is gone: its hints do not hold.
  EXPECT_EQ(set_shared_hints({{&s, false}}, {{"a", 0.5}, {"b", 0.5}}), "");
  EXPECT_EQ(hinted(s).count("c"), 1u) << "an endpoint in a zone without nodes serves that zone until it is moved";
}

TEST(EndpointHints, WithoutAFairShareThereAreNoHintsAndAReason) {
  EndpointSlice s = slice({"a", "b"});
  EXPECT_EQ(set_shared_hints({{&s, true}}, kEven), "Insufficient number of endpoints (2 endpoints, 3 zones)");
  EXPECT_FALSE(s.endpoints[0].hints);
  EXPECT_EQ(set_shared_hints({{&s, true}}, {}).rfind("Insufficient Node information", 0), 0u);
  EndpointSlice four = slice({"a", "b", "c", "a"});
  EXPECT_EQ(set_shared_hints({{&four, true}}, kEven), "Unable to allocate minimum required endpoints to each zone without exceeding overload threshold (4 endpoints, 3 zones)");
  EndpointSlice lost = slice({"a", "b", "c"});
  lost.endpoints[1].zone.reset();
  EXPECT_EQ(set_shared_hints({{&lost, true}}, kEven), "One or more endpoints do not have a zone specified");
  EXPECT_FALSE(lost.endpoints[0].hints);
}

}  // namespace
}  // namespace caravel::controllers
