// The audit log's file in a directory of its own.
#include "server/audit_file.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <sstream>

namespace caravel::server {
namespace {

namespace fs = std::filesystem;

class AuditFileTest : public testing::Test {
 protected:
  fs::path dir = fs::temp_directory_path() / ("caravel-audit-" + std::to_string(::getpid()));
  Time now = *parse_rfc3339("2026-01-02T03:04:05Z");
  void SetUp() override {
    fs::remove_all(dir);
    fs::create_directories(dir);
  }
  void TearDown() override { fs::remove_all(dir); }
  std::string path() const { return (dir / "audit.log").string(); }
  std::vector<std::string> files() const {
    std::vector<std::string> out;
    for (auto& e : fs::directory_iterator(dir)) out.push_back(e.path().filename().string());
    std::sort(out.begin(), out.end());
    return out;
  }
  static std::string read(const fs::path& p) {
    std::ifstream in(p);
    std::stringstream s;
    s << in.rdbuf();
    return s.str();
  }
};

TEST_F(AuditFileTest, LinesAreAppendedAcrossOpenings) {
  AuditFileLimits limits;
  (*AuditFile::open(path(), limits))->write("one", now);
  (*AuditFile::open(path(), limits))->write("two", now);
  EXPECT_EQ(read(path()), "one\ntwo\n");
  EXPECT_EQ(fs::status(path()).permissions() & fs::perms::all, fs::perms::owner_read | fs::perms::owner_write);
}

TEST_F(AuditFileTest, AFullFileIsRenamedWithItsTimeAndNoLineIsSplit) {
  AuditFileLimits limits;
  limits.max_bytes = 10;
  auto f = *AuditFile::open(path(), limits);
  f->write("12345678", now);
  f->write("abcdefgh", now + std::chrono::seconds(1));
  f->write("a line longer than the file may be", now + std::chrono::seconds(2));
  EXPECT_EQ(files(), (std::vector<std::string>{"audit-2026-01-02T03-04-06.000.log", "audit-2026-01-02T03-04-07.000.log", "audit.log"}));
  EXPECT_EQ(read(dir / "audit-2026-01-02T03-04-06.000.log"), "12345678\n");
  EXPECT_EQ(read(path()), "a line longer than the file may be\n");
}

TEST_F(AuditFileTest, OldFilesGoByNumberAndByAge) {
  AuditFileLimits limits;
  limits.max_bytes = 1;
  limits.max_backups = 2;
  {
    auto f = *AuditFile::open(path(), limits);
    for (int i = 0; i < 6; ++i) f->write("x", now + std::chrono::seconds(i));
  }
  EXPECT_EQ(files().size(), 3u);
  EXPECT_EQ(files()[0], "audit-2026-01-02T03-04-09.000.log");
  limits.max_backups = 0;
  limits.max_age = std::chrono::hours(24);
  auto f = *AuditFile::open(path(), limits);
  f->write("y", now + std::chrono::hours(48));
  EXPECT_EQ(files(), (std::vector<std::string>{"audit-2026-01-04T03-04-05.000.log", "audit.log"}));
}

TEST_F(AuditFileTest, ADirectoryThatIsNotThereIsNamed) {
  auto f = AuditFile::open((dir / "none" / "audit.log").string(), {});
  ASSERT_FALSE(f.ok());
  EXPECT_NE(f.error().message.find("none/audit.log cannot be opened"), std::string::npos);
}

}  // namespace
}  // namespace caravel::server
