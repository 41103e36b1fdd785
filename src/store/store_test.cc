// One suite for every engine.
#include "store/store.h"

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <filesystem>

#include "base/scope.h"
#include "store/etcd.h"
#include "store/etcd_test_server.h"

namespace caravel::store {
namespace {

struct TempDir {
  std::string path;
  TempDir() {
    char name[] = "/tmp/caravel-store-XXXXXX";
    path = mkdtemp(name);
  }
  ~TempDir() { std::filesystem::remove_all(path); }
};

class StoreTest : public testing::TestWithParam<std::string> {
 protected:
  VirtualExecutor ex{1};
  net::EventLoop loop;  // etcd's
  TempDir dir;
  std::unique_ptr<Store> store;
  bool on_etcd() const { return GetParam() == "etcd"; }
  void SetUp() override {
    if (on_etcd() && !EtcdServer::available()) GTEST_SKIP() << "install etcd-server";
    open();
    if (on_etcd()) clear();
  }
  // Runs whatever is ready, or until something holds.
  void settle(std::function<bool()> until = nullptr) {
    if (on_etcd()) return drive(
        loop, until ? until : [n = 20]() mutable { return n-- == 0; });
    if (until) ex.run_until_true(until, 1h);
    else ex.run_ready();
  }
  template <class T>
  T run(Task<T> task) {
    if (!on_etcd()) return run_task(ex, std::move(task));
    return net::run_on(loop, std::move(task));
  }
  // The etcd process is shared by the tests; its keys are not.
  void clear() {
    auto all = run(store->list({}));
    ASSERT_TRUE(all.ok()) << all.error().message;
    for (auto& kv : all->items) del(kv.key);
  }
  void open(HistoryLimits limits = {}) {
    store.reset();
    if (GetParam() == "memory") {
      store = make_memory_store(ex, limits);
    } else if (GetParam() == "etcd") {
      static EtcdServer server;
      EtcdOptions o;
      o.endpoints = {server.url()};
      o.history = limits;
      auto r = run(open_etcd_store(&loop, o));
      ASSERT_TRUE(r.ok()) << r.error().message;
      store = std::move(*r);
    } else {
      RocksDbOptions o;
      o.directory = dir.path;
      o.history = limits;
      o.sync = false;
      auto r = open_rocksdb_store(ex, o);
      ASSERT_TRUE(r.ok()) << r.error().message;
      store = std::move(*r);
    }
  }
  TxnResult txn(Txn t) {
    auto r = run(store->txn(std::move(t)));
    EXPECT_TRUE(r.ok());
    return *r;
  }
  TxnResult put(std::string key, std::string value, std::optional<int64_t> expect = std::nullopt, size_t stamp = kNoStamp) {
    Txn t;
    if (expect) t.compares.push_back({key, *expect});
    Op op;
    op.key = key;
    op.value = value;
    op.stamp_at = stamp;
    t.ops.push_back(op);
    return txn(t);
  }
  TxnResult del(std::string key, std::optional<int64_t> expect = std::nullopt) {
    Txn t;
    if (expect) t.compares.push_back({key, *expect});
    Op op;
    op.kind = Op::kDelete;
    op.key = key;
    t.ops.push_back(op);
    return txn(t);
  }
  std::string get(std::string key, int64_t rev = 0) {
    auto r = run(store->get(key, rev));
    if (!r.ok()) return "error " + std::string(code_name(r.error().code));
    return *r ? *(*r)->value : "absent";
  }
  std::string list(ListRequest q) {
    auto r = run(store->list(q));
    if (!r.ok()) return "error " + std::string(code_name(r.error().code));
    std::string out;
    for (auto& kv : r->items) out += kv.key + "=" + *kv.value + " ";
    if (r->more) out += "...";
    return out;
  }
};

TEST_P(StoreTest, CreateOnlyIfAbsentThenCompareAndSwap) {
  TxnResult a = put("/a", "1", 0);
  EXPECT_TRUE(a.succeeded);
  TxnResult again = put("/a", "2", 0);
  EXPECT_FALSE(again.succeeded);
  ASSERT_TRUE(again.values[0]);
  EXPECT_EQ(*again.values[0]->value, "1");
  EXPECT_EQ(again.values[0]->mod_revision, a.revision);
  TxnResult b = put("/a", "2", a.revision);
  EXPECT_TRUE(b.succeeded);
  EXPECT_EQ(b.revision, a.revision + 1);
  EXPECT_EQ(b.values[0]->create_revision, a.revision);
  EXPECT_FALSE(del("/a", a.revision).succeeded);
  TxnResult d = del("/a", b.revision);
  EXPECT_TRUE(d.succeeded);
  EXPECT_EQ(*d.values[0]->value, "2");
  EXPECT_EQ(get("/a"), "absent");
}

TEST_P(StoreTest, ATransactionIsAllOrNothingAndHasOneRevision) {
  put("/a", "1");
  Txn t;
  t.compares = {{"/a", 0}};
  for (const char* k : {"/b", "/c"}) {
    Op op;
    op.key = k;
    op.value = "x";
    t.ops.push_back(op);
  }
  EXPECT_FALSE(txn(t).succeeded);
  EXPECT_EQ(get("/b"), "absent");
  t.compares.clear();
  TxnResult r = txn(t);
  EXPECT_EQ(r.values[0]->mod_revision, r.revision);
  EXPECT_EQ(r.values[1]->mod_revision, r.revision);
}

TEST_P(StoreTest, DeletingWhatIsNotThereChangesNothing) {
  int64_t before = put("/a", "1").revision;
  TxnResult r = del("/zzz");
  EXPECT_TRUE(r.succeeded);
  EXPECT_FALSE(r.values[0]);
  EXPECT_EQ(r.revision, before);
}

TEST_P(StoreTest, StampsTheRevisionIntoTheValue) {
  TxnResult r = put("/a", R"({"resourceVersion":""})", 0, 20);
  EXPECT_EQ(get("/a"), R"({"resourceVersion":")" + std::to_string(r.revision) + "\"}");
}

TEST_P(StoreTest, ListsByPrefixAtARevisionInPages) {
  put("/p/a", "1");
  put("/p/b", "1");
  int64_t then = put("/p/d", "1").revision;
  put("/pp", "other");
  put("/p/b", "2");
  del("/p/a");
  put("/p/c", "1");
  EXPECT_EQ(list({.prefix = "/p/"}), "/p/b=2 /p/c=1 /p/d=1 ");
  EXPECT_EQ(list({.prefix = "/p/", .revision = then}), "/p/a=1 /p/b=1 /p/d=1 ");
  EXPECT_EQ(list({.prefix = "/p/", .limit = 2, .revision = then}), "/p/a=1 /p/b=1 ...");
  EXPECT_EQ(list({.prefix = "/p/", .start = "/p/b0", .limit = 2, .revision = then}), "/p/d=1 ");
  EXPECT_EQ(get("/p/a", then), "1");
  EXPECT_EQ(get("/p/c", then), "absent");
}

TEST_P(StoreTest, CompactionForgetsOldRevisionsButNotCurrentValues) {
  int64_t r1 = put("/a", "1").revision;
  int64_t r2 = put("/a", "2").revision;
  int64_t r3 = put("/a", "3").revision;
  ASSERT_TRUE(run(store->compact(r2)).ok());
  EXPECT_EQ(get("/a", r1), "error gone");
  EXPECT_EQ(get("/a", r2), "2");
  EXPECT_EQ(get("/a", r3), "3");
  EXPECT_EQ(get("/a", r3 + 5), "error timeout");
  EXPECT_FALSE(run(store->compact(r1)).ok());
}

struct Seen {
  std::string text;
  std::optional<Error> ended;
  WatchSink sink() {
    WatchSink s;
    s.events = [this](std::span<const Event> events) {
      for (auto& e : events) {
        text += e.kind == Event::kPut ? "+" : "-";
        text += e.kv.key + "@" + std::to_string(e.kv.mod_revision);
        if (e.previous) text += "(was " + *e.previous->value + ")";
        text += " ";
      }
    };
    s.ended = [this](Error e) { ended = e; };
    return s;
  }
};

TEST_P(StoreTest, WatchesFromTheNextChangeOrFromTheBacklog) {
  int64_t r = put("/w/a", "1").revision;
  Seen live, back;
  auto s1 = store->watch("/w/", 0, live.sink());
  put("/w/a", "2");
  put("/other", "1");
  auto s2 = store->watch("/w/", r, back.sink());
  EXPECT_EQ(back.text, "");
  del("/w/a");
  settle();
  auto at = [&](int n) { return std::to_string(r + n); };
  EXPECT_EQ(live.text, "+/w/a@" + at(1) + "(was 1) -/w/a@" + at(3) + "(was 2) ");
  EXPECT_EQ(back.text, "+/w/a@" + at(0) + " " + live.text);
  s1.reset();
  put("/w/b", "1");
  EXPECT_EQ(live.text.find("/w/b"), std::string::npos);
}

TEST_P(StoreTest, AWatchFromACompactedRevisionIsGone) {
  int64_t r = put("/a", "1").revision;
  put("/a", "2");
  ASSERT_TRUE(run(store->compact(r)).ok());
  Seen seen;
  auto s = store->watch("/", r, seen.sink());
  settle();
  ASSERT_TRUE(seen.ended);
  EXPECT_EQ(seen.ended->code, Code::kGone);
}

TEST_P(StoreTest, HistoryIsBounded) {
  open({.events_max = 10, .bytes_max = 1 << 20});
  int64_t first = put("/a", "0").revision;
  for (int i = 0; i < 50; ++i) put("/a", std::to_string(i));
  EXPECT_EQ(get("/a", first), "error gone");
  EXPECT_EQ(get("/a"), "49");
  EXPECT_GT(store->compacted_revision(), first);
}

Task<void> bump(Store* store, int times, int* conflicts) {
  for (int done = 0; done < times;) {
    auto now = co_await store->get("/n");
    Txn t;
    int64_t n = *now ? std::stoll(*(*now)->value) : 0;
    t.compares.push_back({"/n", *now ? (*now)->mod_revision : 0});
    Op op;
    op.key = "/n";
    op.value = std::to_string(n + 1);
    t.ops.push_back(op);
    auto r = co_await store->txn(std::move(t));
    if (r->succeeded) ++done;
    else ++*conflicts;
  }
}

TEST_P(StoreTest, ConcurrentWritersLoseNothing) {
  TaskScope scope;
  int conflicts = 0;
  int each = on_etcd() ? 3 : 25;  // every one is synced to a disk there
  for (int i = 0; i < 20; ++i) scope.spawn(bump(store.get(), each, &conflicts));
  settle([&] { return scope.running() == 0; });
  EXPECT_EQ(get("/n"), std::to_string(20 * each));
}

INSTANTIATE_TEST_SUITE_P(Engines, StoreTest, testing::Values("memory", "rocksdb", "etcd"), [](auto& i) { return i.param; });

// --- what only the durable engine promises ---

std::unique_ptr<Store> must_open(Executor& ex, const std::string& dir, HistoryLimits limits = {}) {
  RocksDbOptions o;
  o.directory = dir;
  o.history = limits;
  auto r = open_rocksdb_store(ex, o);
  EXPECT_TRUE(r.ok()) << r.error().message;
  return r.ok() ? std::move(*r) : nullptr;
}
Txn put_txn(std::string key, std::string value) {
  Txn t;
  Op op;
  op.key = std::move(key);
  op.value = std::move(value);
  t.ops.push_back(std::move(op));
  return t;
}

TEST(RocksDbStore, AKilledProcessLosesNothingAcknowledgedAndWatchersResume) {
  TempDir dir;
  int pipe_fd[2];
  ASSERT_EQ(pipe(pipe_fd), 0);
  pid_t child = fork();
  if (child == 0) {
    VirtualExecutor ex{1};
    auto store = must_open(ex, dir.path);
    for (int i = 0; i < 200; ++i) {
      auto r = run_task(ex, store->txn(put_txn("/k" + std::to_string(i % 50), std::to_string(i))));
      int64_t rev = r.ok() ? r->revision : -1;
      if (write(pipe_fd[1], &rev, sizeof rev) < 0) _exit(1);
    }
    kill(getpid(), SIGKILL);
  }
  close(pipe_fd[1]);
  int64_t rev = 0, last = 0, first = 0;
  int n = 0;
  while (read(pipe_fd[0], &rev, sizeof rev) == sizeof rev) {
    if (!first) first = rev;
    last = rev, ++n;
  }
  waitpid(child, nullptr, 0);
  close(pipe_fd[0]);
  ASSERT_EQ(n, 200);
  VirtualExecutor ex{1};
  auto store = must_open(ex, dir.path);
  EXPECT_EQ(*run_task(ex, store->revision()), last);
  auto all = run_task(ex, store->list({.prefix = "/k"}));
  EXPECT_EQ(all->items.size(), 50u);
  for (auto& kv : all->items) EXPECT_EQ(std::stoi(*kv.value) - 150, std::stoi(kv.key.substr(2)));
  Seen seen;
  auto sub = store->watch("/k", last - 1, seen.sink());
  ex.run_ready();
  EXPECT_EQ(seen.text, "+/k48@" + std::to_string(last - 1) + "(was 148) +/k49@" + std::to_string(last) + "(was 149) ");
  EXPECT_EQ(*(*run_task(ex, store->get("/k0", first)))->value, "0");
}

TEST(RocksDbStore, ASecondOpenerIsToldPlainly) {
  TempDir dir;
  VirtualExecutor ex{1};
  auto store = must_open(ex, dir.path);
  RocksDbOptions o;
  o.directory = dir.path;
  auto second = open_rocksdb_store(ex, o);
  ASSERT_FALSE(second.ok());
  EXPECT_EQ(second.error().code, Code::kConflict);
  EXPECT_NE(second.error().message.find("in use by another process"), std::string::npos);
}

TEST(RocksDbStore, CompactedVersionsLeaveTheDiskAndDeletedKeysStayDeleted) {
  TempDir dir;
  VirtualExecutor ex{1};
  auto store = must_open(ex, dir.path, {.events_max = 4, .bytes_max = 1 << 20});
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(run_task(ex, store->txn(put_txn("/a", std::to_string(i)))).ok());
  Txn t;
  Op op;
  op.kind = Op::kDelete;
  op.key = "/a";
  t.ops.push_back(op);
  ASSERT_TRUE(run_task(ex, store->txn(t)).ok());
  for (int i = 0; i < 30; ++i) ASSERT_TRUE(run_task(ex, store->txn(put_txn("/b", std::to_string(i)))).ok());
  store.reset();
  store = must_open(ex, dir.path, {.events_max = 4, .bytes_max = 1 << 20});
  auto all = run_task(ex, store->list({.prefix = "/"}));
  ASSERT_EQ(all->items.size(), 1u);
  EXPECT_EQ(*all->items[0].value, "29");
}

}  // namespace
}  // namespace caravel::store
