#include "store/backup.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "base/scope.h"
#include "net/process.h"
#include "store/store.h"

namespace caravel::store {
namespace {

struct BackupTest : testing::Test {
  std::string dir;
  VirtualExecutor ex{1};
  std::unique_ptr<Store> store;
  void SetUp() override {
    char name[] = "/tmp/caravel-backup-XXXXXX";
    dir = mkdtemp(name);
    ASSERT_TRUE(net::make_directories(dir + "/a/pki").ok());
    ASSERT_TRUE(net::write_file_atomic(dir + "/a/pki/ca.key", "secret", 0600).ok());
    store = open("a");
  }
  void TearDown() override {
    store.reset();
    std::filesystem::remove_all(dir);
  }
  std::unique_ptr<Store> open(const std::string& name) {
    RocksDbOptions o;
    o.directory = dir + "/" + name + "/store";
    o.sync = false;
    auto r = open_rocksdb_store(ex, o);
    EXPECT_TRUE(r.ok()) << r.error().message;
    return r.ok() ? std::move(*r) : nullptr;
  }
  int64_t put(const std::string& key, const std::string& value) {
    Txn t;
    Op op;
    op.key = key;
    op.value = value;
    t.ops.push_back(op);
    auto r = run_task(ex, store->txn(t));
    EXPECT_TRUE(r.ok());
    return r.ok() ? r->revision : 0;
  }
  std::string in(const std::string& name) { return dir + "/" + name; }
};

TEST_F(BackupTest, IsTakenWhileTheStoreIsInUseAndRestoresExactlyThatState) {
  int64_t last = 0;
  for (int i = 0; i < 300; ++i) last = put("/k" + std::to_string(i % 100), std::string(5000, static_cast<char>('a' + i % 26)));
  auto made = write_backup(in("a"), in("file"));
  ASSERT_TRUE(made.ok()) << made.error().message;
  EXPECT_EQ(made->revision, last);
  EXPECT_EQ(made->files, 1u);
  put("/later", "not in the backup");
  auto back = restore_backup(in("file"), in("b"));
  ASSERT_TRUE(back.ok()) << back.error().message;
  EXPECT_EQ(back->rows, made->rows);
  EXPECT_EQ(*net::read_file(in("b/pki/ca.key")), "secret");
  auto copy = open("b");
  ASSERT_TRUE(copy);
  EXPECT_EQ(*run_task(ex, copy->revision()), last);
  auto was = run_task(ex, store->list({.prefix = "/", .revision = last})), is = run_task(ex, copy->list({.prefix = "/"}));
  ASSERT_EQ(is->items.size(), was->items.size());
  for (size_t i = 0; i < is->items.size(); ++i) {
    EXPECT_EQ(is->items[i].key, was->items[i].key);
    EXPECT_EQ(*is->items[i].value, *was->items[i].value);
    EXPECT_EQ(is->items[i].mod_revision, was->items[i].mod_revision);
  }
}

TEST_F(BackupTest, OverwritesNothing) {
  put("/a", "1");
  ASSERT_TRUE(write_backup(in("a"), in("file")).ok());
  EXPECT_EQ(write_backup(in("a"), in("file")).error().code, Code::kAlreadyExists);
  auto r = restore_backup(in("file"), in("a"));
  ASSERT_FALSE(r.ok());
  EXPECT_EQ(r.error().code, Code::kAlreadyExists);
  EXPECT_EQ(write_backup(in("nowhere"), in("other")).error().code, Code::kNotFound);
  EXPECT_FALSE(net::path_exists(in("other")));
}

TEST_F(BackupTest, EveryFlippedByteAndEveryCutIsNoticedAndLeavesNothing) {
  put("/a", "hello");
  ASSERT_TRUE(write_backup(in("a"), in("file")).ok());
  std::string good = *net::read_file(in("file"));
  ASSERT_LT(good.size(), 4096u);
  for (size_t at = 0; at < good.size(); at += 7) {
    SCOPED_TRACE(at);
    std::string bad = good;
    bad[at] = static_cast<char>(bad[at] ^ 0x10);
    std::ofstream(in("bad"), std::ios::trunc) << bad;
    EXPECT_FALSE(verify_backup(in("bad")).ok());
    std::ofstream(in("bad"), std::ios::trunc) << good.substr(0, at);
    EXPECT_FALSE(verify_backup(in("bad")).ok());
  }
  EXPECT_FALSE(restore_backup(in("bad"), in("c")).ok());
  EXPECT_FALSE(net::path_exists(in("c/store")));
  EXPECT_TRUE(verify_backup(in("file")).ok());
}

}  // namespace
}  // namespace caravel::store
