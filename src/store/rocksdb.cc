// The embedded durable engine. Everything that is readable is in memory (Mvcc); RocksDB holds it for the
// next start. Layout: one row per version, key '\0' revision(8, big endian) -> kind(1) create(8) value;
// deletes are rows too until they are compacted. "\x01meta" rows hold revision marks.
//
// Group commit: while one batch is being synced on a worker thread, arriving transactions queue; then
// they are planned together, written with one synced write, made visible, and answered.
#include <rocksdb/cache.h>
#include <rocksdb/db.h>
#include <rocksdb/env.h>
#include <rocksdb/options.h>
#include <rocksdb/table.h>
#include <rocksdb/write_batch.h>

#include <algorithm>
#include <cstdarg>
#include <cstdio>

#include "base/log.h"
#include "base/scope.h"
#include "store/mvcc.h"

namespace caravel::store {

namespace {

const std::string kRevisionRow = std::string("\x01") + "revision";
const std::string kCompactedRow = std::string("\x01") + "compacted";
constexpr size_t kBatchMax = 4096;  // transactions synced together

void put_be64(std::string& out, int64_t v) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(static_cast<uint64_t>(v) >> shift));
}
int64_t get_be64(const char* p) {
  uint64_t v = 0;
  for (int i = 0; i < 8; ++i) v = v << 8 | static_cast<unsigned char>(p[i]);
  return static_cast<int64_t>(v);
}
std::string version_row(const std::string& key, int64_t revision) {
  std::string row = key;
  row.push_back('\0');
  put_be64(row, revision);
  return row;
}
std::string be64(int64_t v) {
  std::string s;
  put_be64(s, v);
  return s;
}

// RocksDB's own words go to our log. Its logger that writes a file beside the data fails an assertion when the disk is full.
class RocksDbLog final : public rocksdb::Logger {
 public:
  RocksDbLog() : Logger(rocksdb::WARN_LEVEL) {}
  using Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char line[1024];
    std::vsnprintf(line, sizeof line, format, arguments);
    log_.warn(line);
  }

 private:
  Log log_{"rocksdb"};
};

// The database, opened anew after a write that failed: RocksDB's own way back (Resume) keeps a log file that it then refuses to write
// to. Threading: one call at a time, on any thread.
class Database {
 public:
  explicit Database(std::string directory) : directory_(std::move(directory)) {}

  rocksdb::Status open() {
    rocksdb::Options o;
    o.create_if_missing = true;
    o.write_buffer_size = 16 << 20;
    o.max_write_buffer_number = 2;
    o.max_open_files = 256;
    o.max_background_jobs = 2;
    o.compression = rocksdb::kNoCompression;
    o.info_log = std::make_shared<RocksDbLog>();
    o.wal_recovery_mode = rocksdb::WALRecoveryMode::kPointInTimeRecovery;
    rocksdb::BlockBasedTableOptions table;
    table.block_cache = rocksdb::NewLRUCache(4 << 20);
    o.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
    rocksdb::DB* raw = nullptr;
    rocksdb::Status s = rocksdb::DB::Open(o, directory_, &raw);
    db_.reset(raw);
    return s;
  }
  rocksdb::Status write(rocksdb::WriteBatch& batch, bool sync) {
    if (!db_)
      if (rocksdb::Status s = open(); !s.ok()) return s;
    rocksdb::WriteOptions options;
    options.sync = sync;
    rocksdb::Status s = db_->Write(options, &batch);
    if (!s.ok()) db_.reset();
    return s;
  }
  rocksdb::DB* operator->() { return db_.get(); }  // after open()

 private:
  std::string directory_;
  std::unique_ptr<rocksdb::DB> db_;
};

class RocksDbStore final : public Store {
 public:
  RocksDbStore(Executor& ex, RocksDbOptions options, std::shared_ptr<Database> db)
      : ex_(&ex), options_(std::move(options)), db_(std::move(db)), mvcc_(ex, options_.history) {}
  ~RocksDbStore() override { *alive_ = false; }

  Status load();

  Task<Result<TxnResult>> txn(Txn txn) override {
    auto waiting = std::make_shared<Waiting>(*ex_);
    waiting->txn = std::move(txn);
    queue_.push_back(waiting);
    if (!syncing_) flush();
    co_await waiting->done.wait();
    if (!waiting->error.ok()) co_return std::move(waiting->error).error();
    co_return std::move(waiting->result);
  }
  Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision) override { co_return mvcc_.get(key, revision); }
  Task<Result<ListResult>> list(ListRequest request) override { co_return mvcc_.list(request); }
  std::unique_ptr<Subscription> watch(std::string prefix, int64_t from, WatchSink sink) override {
    return mvcc_.watch(std::move(prefix), from, std::move(sink));
  }
  Task<Status> compact(int64_t revision) override { co_return mvcc_.compact(revision); }
  Task<Result<int64_t>> revision() override { co_return mvcc_.revision(); }
  int64_t compacted_revision() const override { return mvcc_.compacted(); }

 private:
  struct Waiting {
    explicit Waiting(Executor& ex) : done(ex) {}
    Txn txn;
    TxnResult result;
    Status error;
    caravel::Event done;
  };
  struct Flight {
    std::vector<std::shared_ptr<Waiting>> waiting;
    std::vector<Event> events;
    rocksdb::WriteBatch batch;
    std::vector<std::string> refused;
    rocksdb::Status status;
  };

  void flush();
  void landed(const std::shared_ptr<Flight>& flight);

  Executor* ex_;
  RocksDbOptions options_;
  std::shared_ptr<Database> db_;
  Mvcc mvcc_;
  std::deque<std::shared_ptr<Waiting>> queue_;
  std::vector<std::string> refused_;  // rows of failed writes: they may be on the disk all the same and must go before their revisions come again
  bool syncing_ = false;
  Log log_{"store"};
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

void RocksDbStore::flush() {
  auto flight = std::make_shared<Flight>();
  auto planned = mvcc_.begin();
  for (auto& row : refused_) flight->batch.Delete(row);
  while (!queue_.empty() && flight->waiting.size() < kBatchMax) {
    auto w = std::move(queue_.front());
    queue_.pop_front();
    Mvcc::Plan p = mvcc_.plan(*planned, std::move(w->txn));
    w->result = std::move(p.result);
    for (auto& e : p.events) {
      // Row and value go into the batch from where they lie.
      std::string tail(1, '\0'), head(1, e.kind == Event::kPut ? 'P' : 'D');
      put_be64(tail, e.kv.mod_revision);
      put_be64(head, e.kv.create_revision);
      const rocksdb::Slice row[] = {e.kv.key, tail};
      const rocksdb::Slice value[] = {head, e.kv.value ? rocksdb::Slice(*e.kv.value) : rocksdb::Slice()};
      flight->batch.Put(rocksdb::SliceParts(row, 2), rocksdb::SliceParts(value, 2));
      flight->events.push_back(std::move(e));
    }
    flight->waiting.push_back(std::move(w));
  }
  if (flight->events.empty()) {  // only refusals: nothing to make durable
    for (auto& w : flight->waiting) w->done.set();
    if (!queue_.empty()) flush();
    return;
  }
  auto garbage = mvcc_.take_garbage();
  for (auto& [key, revision] : garbage) flight->batch.Delete(version_row(key, revision));
  flight->batch.Put(kRevisionRow, be64(planned->revision));
  flight->batch.Put(kCompactedRow, be64(mvcc_.compacted()));
  flight->refused = std::move(refused_);
  refused_.clear();
  syncing_ = true;
  ex_->offload(
      [db = db_, flight, sync = options_.sync] { flight->status = db->write(flight->batch, sync); },
      [this, alive = alive_, flight] {
        if (*alive) landed(flight);
      });
}

void RocksDbStore::landed(const std::shared_ptr<Flight>& flight) {
  syncing_ = false;
  if (flight->status.ok()) {
    mvcc_.commit(flight->events);
  } else {
    log_.error("a write could not be made durable", {{"directory", options_.directory}, {"error", flight->status.ToString()}});
    refused_ = std::move(flight->refused);
    for (auto& e : flight->events) refused_.push_back(version_row(e.kv.key, e.kv.mod_revision));
  }
  for (auto& w : flight->waiting) {
    if (!flight->status.ok())
      w->error = internal("storing in " + options_.directory + " failed: " + flight->status.ToString() + "; is the disk full?");
    w->done.set();
  }
  if (!queue_.empty() && !syncing_) flush();
}

Status RocksDbStore::load() {
  std::string text;
  int64_t revision = 1, compacted = 0;
  if ((*db_)->Get({}, kRevisionRow, &text).ok() && text.size() == 8) revision = get_be64(text.data());
  if ((*db_)->Get({}, kCompactedRow, &text).ok() && text.size() == 8) compacted = get_be64(text.data());
  std::map<std::string, KeyValue, std::less<>> current;
  std::vector<Event> events;
  rocksdb::WriteBatch stale;
  rocksdb::ReadOptions read;
  read.fill_cache = false;
  std::unique_ptr<rocksdb::Iterator> it((*db_)->NewIterator(read));
  std::optional<KeyValue> before;  // the version of the same key just seen
  std::string last_key;
  std::string last_row;
  bool last_deleted = false;
  for (it->Seek("/"); it->Valid(); it->Next()) {
    rocksdb::Slice row = it->key(), val = it->value();
    if (row.size() < 9 || val.size() < 9) return internal("the store in " + options_.directory + " holds a row that cannot be read; restore a backup");
    std::string key(row.data(), row.size() - 9);
    if (key != last_key) before.reset(), last_key = key, last_row.clear(), last_deleted = false;
    Event e;
    e.kind = val[0] == 'P' ? Event::kPut : Event::kDelete;
    e.kv.key = key;
    e.kv.mod_revision = get_be64(row.data() + row.size() - 8);
    e.kv.create_revision = get_be64(val.data() + 1);
    if (e.kind == Event::kPut) e.kv.value = std::make_shared<const std::string>(val.data() + 9, val.size() - 9);
    e.previous = before;
    revision = std::max(revision, e.kv.mod_revision);
    if (e.kv.mod_revision <= compacted) {
      if (!last_row.empty()) stale.Delete(last_row);  // superseded before the horizon
      if (e.kind == Event::kDelete) stale.Delete(row);
    }
    last_row.assign(row.data(), row.size());
    last_deleted = e.kind == Event::kDelete;
    if (last_deleted) {
      before.reset();
      current.erase(key);
    } else {
      before = e.kv;
      current.insert_or_assign(key, e.kv);
    }
    if (e.kv.mod_revision > compacted) events.push_back(std::move(e));
  }
  if (!it->status().ok()) return internal("reading the store in " + options_.directory + ": " + it->status().ToString());
  std::stable_sort(events.begin(), events.end(), [](const Event& a, const Event& b) { return a.kv.mod_revision < b.kv.mod_revision; });
  mvcc_.load(revision, compacted, std::move(current), std::deque<Event>(std::make_move_iterator(events.begin()), std::make_move_iterator(events.end())));
  if (stale.Count()) (*db_)->Write({}, &stale);
  return ok();
}

}  // namespace

Result<std::unique_ptr<Store>> open_rocksdb_store(Executor& ex, RocksDbOptions options) {
  auto db = std::make_shared<Database>(options.directory);
  rocksdb::Status s = db->open();
  if (!s.ok()) {
    std::string text = s.ToString();
    if (text.find("lock") != text.npos || text.find("Resource temporarily unavailable") != text.npos)
      return make_error(Code::kConflict, "the data directory " + options.directory + " is in use by another process; stop that one or choose another with --data-dir");
    return internal("opening the store in " + options.directory + ": " + text);
  }
  auto store = std::make_unique<RocksDbStore>(ex, std::move(options), std::move(db));
  TRY_VOID(store->load());
  return std::unique_ptr<Store>(std::move(store));
}

}  // namespace caravel::store
