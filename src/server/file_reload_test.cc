// A configuration that changes while the server runs.
#include "server/file_reload.h"

#include <gtest/gtest.h>

#include "base/scope.h"

namespace caravel::server {
namespace {

struct FileReloadTest : testing::Test {
  VirtualExecutor ex{1};
  MetricRegistry metrics;
  Result<std::string> file = std::string("one");
  std::vector<std::string> applied;
  int tried = 0;
  FileReload reload{ex, metrics, "authentication", "server", "one", [this] { return file; }, [this](std::string text) { return apply(std::move(text)); }};
  TaskScope scope;

  Task<Status> apply(std::string text) {
    ++tried;
    if (text == "bad") co_return invalid("jwt: no good");
    applied.push_back(std::move(text));
    co_return ok();
  }
  double count(const char* status) {
    std::string all = metrics.expose(), line = std::string("apiserver_authentication_config_controller_automatic_reloads_total{status=\"") + status + "\"";
    size_t at = all.find(line);
    return at == all.npos ? 0 : std::stod(all.substr(all.find("} ", at) + 2));
  }
  void SetUp() override { scope.spawn(reload.keep()); }
};

TEST_F(FileReloadTest, AnUnchangedFileIsLeftAlone) {
  ex.run_for(1h);
  EXPECT_EQ(tried, 0);
  EXPECT_EQ(count("success"), 0);
}

TEST_F(FileReloadTest, AChangedFileHoldsSoonAndIsCounted) {
  file = std::string("two");
  ex.run_for(2s);
  EXPECT_EQ(applied, (std::vector<std::string>{"two"}));
  EXPECT_EQ(count("success"), 1);
  ex.run_for(1h);
  EXPECT_EQ(tried, 1);
}

TEST_F(FileReloadTest, ABadFileKeepsTheOldOneAndIsTriedAgainOnceAMinute) {
  file = std::string("bad");
  ex.run_for(30s);
  EXPECT_EQ(tried, 1);
  EXPECT_EQ(count("failure"), 1);
  ex.run_for(1min);
  EXPECT_EQ(tried, 2);
  EXPECT_TRUE(applied.empty());
  file = std::string("two");
  ex.run_for(2s);
  EXPECT_EQ(applied, (std::vector<std::string>{"two"}));
}

TEST_F(FileReloadTest, AFileThatIsGoneIsAFailureAndItsReturnIsNothingNew) {
  file = not_found("no such file");
  ex.run_for(5s);
  EXPECT_EQ(count("failure"), 1);
  file = std::string("one");
  ex.run_for(5s);
  EXPECT_EQ(tried, 0);
}

}  // namespace
}  // namespace caravel::server
