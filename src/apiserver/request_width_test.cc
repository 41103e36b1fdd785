// What a request costs, in seats.
#include "apiserver/request_width.h"

#include <gtest/gtest.h>

namespace caravel::apiserver {
namespace {

Request request(std::string method, std::string path, std::vector<std::pair<std::string, std::string>> query = {}) {
  Request r;
  r.method = std::move(method);
  r.path = std::move(path);
  r.query = std::move(query);
  parse_request_info(r);
  return r;
}
constexpr const char* kPods = "/api/v1/namespaces/a/pods";

WidthFacts facts(size_t objects, size_t watchers, int level = 245) { return {objects, watchers, level}; }

TEST(RequestWidth, AListTakesASeatForEachHundredObjectsUpToTen) {
  EXPECT_EQ(width_of(request("GET", kPods), facts(0, 0)).seats, 1);
  EXPECT_EQ(width_of(request("GET", kPods), facts(100, 0)).seats, 1);
  EXPECT_EQ(width_of(request("GET", kPods), facts(101, 0)).seats, 2);
  EXPECT_EQ(width_of(request("GET", kPods), facts(50'000, 0)).seats, 10);
  EXPECT_EQ(width_of(request("GET", kPods), facts(50'000, 0, 20)).seats, 3) << "15 % of its level";
}

TEST(RequestWidth, APartOfAListCostsTwiceItsLength) {
  EXPECT_EQ(width_of(request("GET", kPods, {{"limit", "150"}}), facts(50'000, 0)).seats, 3);
  EXPECT_EQ(width_of(request("GET", kPods, {{"limit", "150"}, {"resourceVersion", "0"}}), facts(50'000, 0)).seats, 10) << "which has no limit";
  EXPECT_EQ(width_of(request("GET", kPods, {{"limit", "150"}, {"labelSelector", "a=b"}}), facts(500, 0)).seats, 7);
}

TEST(RequestWidth, OneObjectIsOneSeat) {
  EXPECT_EQ(width_of(request("GET", "/api/v1/namespaces/a/pods/p"), facts(50'000, 900)).seats, 1);
  EXPECT_EQ(width_of(request("GET", kPods, {{"fieldSelector", "metadata.name=p"}}), facts(50'000, 0)).seats, 1);
  EXPECT_EQ(width_of(request("GET", "/version"), facts(0, 0)).seats, 1);
}

TEST(RequestWidth, AWatchThatBeginsWithAListCostsWhatTheListDoes) {
  EXPECT_EQ(width_of(request("GET", kPods, {{"watch", "1"}}), facts(50'000, 0)).seats, 1);
  EXPECT_EQ(width_of(request("GET", kPods, {{"watch", "1"}, {"sendInitialEvents", "true"}}), facts(450, 0)).seats, 5);
}

TEST(RequestWidth, AWriteHoldsSeatsForItsEvents) {
  RequestWidth none = width_of(request("POST", kPods), facts(0, 9));
  EXPECT_EQ(none.after, 0);
  RequestWidth some = width_of(request("PATCH", "/api/v1/namespaces/a/pods/p"), facts(0, 35));
  EXPECT_EQ(some.seats, 1);
  EXPECT_EQ(some.after, 4);
  EXPECT_EQ(some.held, Duration(std::chrono::milliseconds(5)));
  RequestWidth many = width_of(request("DELETE", "/api/v1/namespaces/a/pods/p"), facts(0, 1'000));
  EXPECT_EQ(many.after, 10) << "narrower,";
  EXPECT_EQ(many.held, Duration(std::chrono::milliseconds(50))) << "but longer";
  EXPECT_EQ(width_of(request("POST", "/api/v1/namespaces/a/serviceaccounts/s/token"), facts(0, 1'000)).after, 0);
}

}  // namespace
}  // namespace caravel::apiserver
