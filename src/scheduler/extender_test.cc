#include "scheduler/extender.h"

#include <gtest/gtest.h>

namespace caravel::scheduler {
namespace {

json::Value parse(const std::string& text) { return json::parse(text).value(); }

TEST(Extender, IsAskedAboutNamesOrAboutNodes) {
  ExtenderConfig e;
  const json::Value pod = parse(R"({"kind":"Pod"})"), node = parse(R"({"metadata":{"name":"a"}})");
  EXPECT_EQ(json::dump(extender_args(e, pod, {"a"}, {node})),
            R"({"Pod":{"kind":"Pod"},"Nodes":{"metadata":{},"items":[{"metadata":{"name":"a"}}]},"NodeNames":null})");
  e.node_cache_capable = true;
  EXPECT_EQ(json::dump(extender_args(e, pod, {"a", "b"}, {})), R"({"Pod":{"kind":"Pod"},"Nodes":null,"NodeNames":["a","b"]})");
}

TEST(Extender, AnswersAreReadWithoutRegardToCase) {
  ExtenderConfig e;
  e.node_cache_capable = true;
  for (const char* text : {R"({"NodeNames":["a"],"FailedNodes":{"b":"no gpu"},"FailedAndUnresolvableNodes":{"c":"never"}})",
                           R"({"nodenames":["a"],"failedNodes":{"b":"no gpu"},"failedAndUnresolvableNodes":{"c":"never"}})"}) {
    auto v = read_filter_result(e, parse(text), {"a", "b", "c"});
    ASSERT_TRUE(v.ok());
    EXPECT_EQ(v->nodes, std::vector<std::string>{"a"});
    EXPECT_EQ(v->failed.at("b"), "no gpu");
    EXPECT_EQ(v->unresolvable.at("c"), "never");
  }
  EXPECT_EQ(read_priorities(parse(R"([{"Host":"a","Score":7},{"host":"b","score":2}])")), (std::map<std::string, int64_t>{{"a", 7}, {"b", 2}}));
}

TEST(Extender, NodesThatWereNotAskedAboutAndErrorsAreRefused) {
  ExtenderConfig e;
  e.url_prefix = "http://x";
  e.node_cache_capable = true;
  EXPECT_EQ(read_filter_result(e, parse(R"({"NodeNames":["z"]})"), {"a"}).error().message,
            "extender \"http://x\" claims a filtered node \"z\" which is not found in the input node list");
  EXPECT_EQ(read_filter_result(e, parse(R"({"Error":"out of order"})"), {"a"}).error().message, "out of order");
  EXPECT_FALSE(read_preemption_result(e, parse(R"({"NodeNameToMetaVictims":{"a":{"Pods":[]}}})")).ok());
}

TEST(Extender, IsInterestedInPodsWithItsResources) {
  ExtenderConfig e;
  const json::Value pod = parse(R"({"spec":{"containers":[{"resources":{"limits":{"example.com/foo":"1"}}}]}})");
  EXPECT_TRUE(extender_is_interested(e, json::Value::object()));
  e.managed_resources = {"example.com/foo"};
  EXPECT_TRUE(extender_is_interested(e, pod));
  EXPECT_FALSE(extender_is_interested(e, json::Value::object()));
}

TEST(Extender, VictimsAreToldAsPodsOrByUid) {
  ExtenderConfig e;
  const std::map<std::string, ExtenderVictims> victims{{"n", {{"u1"}, 1}}};
  const json::Value pods = parse(R"({"metadata":{"uid":"u1"}})");
  EXPECT_EQ(json::dump(extender_preemption_args(e, json::Value::object(), victims, {{"u1", pods}})),
            R"({"Pod":{},"NodeNameToVictims":{"n":{"Pods":[{"metadata":{"uid":"u1"}}],"NumPDBViolations":1}},"NodeNameToMetaVictims":null})");
  e.node_cache_capable = true;
  EXPECT_EQ(json::dump(extender_preemption_args(e, json::Value::object(), victims, {})),
            R"({"Pod":{},"NodeNameToVictims":null,"NodeNameToMetaVictims":{"n":{"Pods":[{"UID":"u1"}],"NumPDBViolations":1}}})");
}

TEST(Extender, ANodeWithoutVictimsIsAnErrorUnlessTheExtenderMayBeIgnored) {
  ExtenderConfig e;
  const json::Value answer = parse(R"({"NodeNameToMetaVictims":{"a":{"Pods":[]},"b":{"Pods":[{"UID":"u"}]}}})");
  EXPECT_EQ(read_preemption_result(e, answer).error().message, "expected at least one victim pod on node \"a\"");
  e.ignorable = true;
  auto kept = read_preemption_result(e, answer);
  ASSERT_TRUE(kept.ok());
  EXPECT_EQ(kept->size(), 1u);
  EXPECT_EQ(kept->count("b"), 1u);
}

}  // namespace
}  // namespace caravel::scheduler
