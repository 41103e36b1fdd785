#include "apiserver/watch_cache.h"

#include <gtest/gtest.h>

#include "base/executor.h"

namespace caravel::apiserver {
namespace {

using namespace std::chrono_literals;

struct WatchCacheTest : testing::Test {
  VirtualExecutor ex{1};
  int64_t revision = 1;
  WatchCache cache{ex, true, nullptr, &revision};

  void put(const std::string& name) {
    store::Event e;
    e.kv.key = "default/" + name;
    e.kv.mod_revision = ++revision;
    e.kv.value = std::make_shared<const std::string>(R"({"metadata":{"name":")" + name + R"(","resourceVersion":")" + std::to_string(revision) + R"("}})");
    cache.apply(e, e.kv.key);
  }
  std::unique_ptr<CacheWatch> watch() { return std::move(*cache.watch(Filter(), 0)); }
};

Task<void> read(CacheWatch* w, std::string* out) {
  while (!w->ended()) {
    auto items = co_await w->next(1h);
    for (auto& i : items) *out += i.object->name;
  }
}

// Order is kept whatever is taken directly and whatever gathers.
TEST_F(WatchCacheTest, AWaitingWatchIsOfferedEventsAtOnceAndGathersWhatIsRefused) {
  std::string direct, gathered;
  bool takes = true;
  auto w = watch();
  w->direct = [&](const CacheWatch::Item& i) {
    if (takes) direct += i.object->name;
    return takes;
  };
  put("a");  // nobody waits yet
  EXPECT_EQ(direct, "");
  TaskScope scope;
  scope.spawn(read(w.get(), &gathered));
  ex.run_ready();
  EXPECT_EQ(gathered, "a");
  put("b");
  EXPECT_EQ(direct, "b") << "before anything else runs";
  takes = false;
  put("c");
  takes = true;
  put("d");  // c waits, so d does too
  ex.run_ready();
  EXPECT_EQ(gathered, "acd");
  put("e");
  EXPECT_EQ(direct, "be");
  EXPECT_EQ(gathered, "acd");
  w->end();
  ex.run_ready();
}

TEST_F(WatchCacheTest, AnEndedWatchTakesNothing) {
  std::string direct;
  auto w = watch();
  w->direct = [&](const CacheWatch::Item& i) {
    direct += i.object->name;
    return true;
  };
  std::string gathered;
  TaskScope scope;
  scope.spawn(read(w.get(), &gathered));
  ex.run_ready();
  w->end();
  put("a");
  ex.run_ready();
  EXPECT_EQ(direct + gathered, "");
}

// A document that left the list of recent ones is not read from its text again while somebody has it.
TEST_F(WatchCacheTest, ADocumentIsReadAgainOnlyWhenNobodyHasIt) {
  auto put_decoded = [&](const std::string& name) {
    store::Event e;
    e.kv.key = "default/" + name;
    e.kv.mod_revision = ++revision;
    e.kv.value = std::make_shared<const std::string>(R"({"metadata":{"name":")" + name + R"("}})");
    e.attachment = std::make_shared<json::Value>(*json::parse(*e.kv.value));
    cache.apply(e, e.kv.key);
  };
  put_decoded("a");
  ValuePtr kept = cache.get("default", "a")->value();
  for (size_t i = 0; i < kDecodedKept; ++i) put_decoded("b" + std::to_string(i));
  EXPECT_EQ(cache.get("default", "a")->decoded, nullptr);
  EXPECT_EQ(cache.get("default", "a")->value(), kept);
  kept = nullptr;
  EXPECT_EQ(cache.get("default", "a")->value()->path({"metadata", "name"}).as_string(), "a");
}

}  // namespace
}  // namespace caravel::apiserver
