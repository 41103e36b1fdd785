// The table of a world's processes, and the supervisor that keeps such a table running.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>

#include "world/processes.h"

namespace caravel::world {
namespace {

const ProcessSpec& find(const std::vector<ProcessSpec>& table, const std::string& name) {
  auto it = std::find_if(table.begin(), table.end(), [&](auto& p) { return p.name == name; });
  EXPECT_NE(it, table.end()) << name;
  return *it;
}

Layout layout() {
  Layout l;
  l.data = "/data";
  l.program = "/usr/bin/caravel";
  l.cgroup = "/caravel-1";
  return l;
}

TEST(ProcessTable, NamesAreUniqueAndWhatIsWaitedForIsThere) {
  for (auto& table : {process_table(layout()), hollow_process_table(layout())}) {
    std::set<std::string> names;
    for (auto& p : table) EXPECT_TRUE(names.insert(p.name).second) << p.name;
    for (auto& p : table)
      for (auto& other : p.after) EXPECT_TRUE(names.count(other) && other != p.name) << p.name << " waits for " << other;
  }
}

TEST(ProcessTable, MachinesComeAfterTheServerAndTheImagesOfThisProgram) {
  const auto table = process_table(layout());
  const auto& after = find(table, "cloud").after;
  EXPECT_EQ(std::count(after.begin(), after.end(), "server"), 1);
  EXPECT_EQ(std::count(after.begin(), after.end(), "images"), 1) << "a container that starts again would be the old program's";
  EXPECT_TRUE(find(table, "images").once);
}

TEST(ProcessTable, WithoutPebbleThereIsNone) {
  Layout l = layout();
  auto has_pebble = [&] {
    const auto table = process_table(l);
    return std::any_of(table.begin(), table.end(), [](auto& p) { return p.name == "pebble"; });
  };
  EXPECT_TRUE(has_pebble());
  l.pebble = false;
  EXPECT_FALSE(has_pebble());
}

class SupervisorTest : public ::testing::Test {
 protected:
  SupervisorTest() : directory_((std::filesystem::temp_directory_path() / ("caravel-world-" + std::to_string(getpid()))).string()) { std::filesystem::create_directories(directory_); }
  ~SupervisorTest() override { std::filesystem::remove_all(directory_); }
  ProcessSpec shell(const std::string& name, const std::string& script) {
    ProcessSpec p;
    p.name = name;
    p.argv = {"/bin/sh", "-c", script};
    return p;
  }
  template <class F>
  bool until(F what) {
    const Time deadline = loop_.now() + std::chrono::seconds(10);
    while (!what() && loop_.now() < deadline) EXPECT_TRUE(net::run_on(loop_, pause()).ok());
    return what();
  }
  Task<Status> pause() {
    co_await sleep(loop_, std::chrono::milliseconds(10));
    co_return ok();
  }
  Task<Status> end(Supervisor* s) {
    co_await s->stop(std::chrono::seconds(5));
    co_return ok();
  }
  std::string text(const std::string& file) {
    std::ifstream in(directory_ + "/" + file);
    return {std::istreambuf_iterator<char>(in), {}};
  }

  std::string directory_;
  net::EventLoop loop_;
};

TEST_F(SupervisorTest, AProcessStartsWhenThoseBeforeItAreReady) {
  Supervisor s(loop_, directory_);
  ProcessSpec first = shell("first", "echo first >> " + directory_ + "/order; sleep 0.2; echo made >> " + directory_ + "/order; touch " + directory_ + "/here; exec sleep 1000");
  first.ready_file = directory_ + "/here";
  ProcessSpec task = shell("task", "sleep 0.2; echo task >> " + directory_ + "/order");
  task.once = true;
  task.after = {"first"};
  ProcessSpec last = shell("last", "echo last >> " + directory_ + "/order; exec sleep 1000");
  last.after = {"first", "task"};
  s.add(last);
  s.add(task);
  s.add(first);
  EXPECT_TRUE(until([&] { return text("order").ends_with("last\n") && s.states()["last"].ready; })) << text("order");
  EXPECT_EQ(text("order"), "first\nmade\ntask\nlast\n");
  EXPECT_TRUE(s.states()["task"].ready);
  EXPECT_FALSE(s.states()["task"].running);
  EXPECT_TRUE(net::run_on(loop_, end(&s)).ok());
  EXPECT_FALSE(s.states()["first"].running);
  EXPECT_FALSE(s.states()["last"].running);
}

TEST_F(SupervisorTest, WhatEndsStartsAgainAndATaskThatFailsIsTriedAgain) {
  Supervisor s(loop_, directory_);
  s.add(shell("falls", "echo x >> " + directory_ + "/falls; [ $(wc -l < " + directory_ + "/falls) -ge 3 ] && exec sleep 1000; exit 7"));
  ProcessSpec task = shell("task", "echo x >> " + directory_ + "/task; [ $(wc -l < " + directory_ + "/task) -ge 2 ]");
  task.once = true;
  s.add(task);
  EXPECT_TRUE(until([&] { return s.states()["falls"].restarts == 2 && s.states()["falls"].running && s.states()["task"].ready; }));
  EXPECT_EQ(s.states()["falls"].last_code, 7);
  EXPECT_EQ(text("task"), "x\nx\n");
  EXPECT_TRUE(net::run_on(loop_, end(&s)).ok());
  EXPECT_EQ(s.states()["falls"].restarts, 2) << "what was stopped stays stopped";
}

}  // namespace
}  // namespace caravel::world
