// Store: the API server's storage, in etcd's model. One logical clock, the revision, counts transactions
// that changed something; every key knows the revision that created and last changed it.
//
//   Txn t; t.compares.push_back({key, 0}); t.puts...     // "only if the key is absent"
//   auto r = co_await store.txn(std::move(t));           // answered after it is durable
//
// Values are shared and immutable. A value may ask to be stamped: the engine writes the transaction's
// revision, in decimal, at `stamp_at` (that is how an object's bytes carry their resourceVersion and are
// still encoded once). Reads and watches give the stamped bytes.
//
// Visibility: reads and watches show durable transactions only. A watch's events come in revision order
// and before the transaction's own caller is resumed.
// Threading: one executor. The executor outlives the store, the store its subscriptions' use.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/executor.h"
#include "base/result.h"
#include "base/task.h"

namespace caravel::store {

using Bytes = std::shared_ptr<const std::string>;

struct KeyValue {
  std::string key;
  Bytes value;
  int64_t create_revision = 0;
  int64_t mod_revision = 0;
};

// The key's mod_revision must be this; 0: the key must be absent.
struct Compare {
  std::string key;
  int64_t mod_revision = 0;
};

constexpr size_t kNoStamp = static_cast<size_t>(-1);

struct Op {
  enum Kind { kPut,
              kDelete } kind = kPut;
  std::string key;
  std::string value;           // put
  size_t stamp_at = kNoStamp;  // put: where the revision is inserted into the value
  // A decoded form of the value that the writer has at hand; passed to watchers in this process, never stored.
  std::shared_ptr<void> attachment;
};

struct Txn {
  std::vector<Compare> compares;
  std::vector<Op> ops;  // applied when all compares hold; one per key
};

struct TxnResult {
  bool succeeded = false;
  int64_t revision = 0;  // of this transaction, or the present one if nothing changed
  // Succeeded: what each op left behind (for a delete: what it removed; nullopt if nothing was there).
  // Failed: what each compare's key holds now (nullopt: absent).
  std::vector<std::optional<KeyValue>> values;
};

struct Event {
  enum Kind { kPut,
              kDelete } kind = kPut;
  KeyValue kv;  // after the change; for a delete key and mod_revision only
  std::optional<KeyValue> previous;
  std::shared_ptr<void> attachment;
};

struct ListRequest {
  std::string prefix;
  std::string start;     // first key to consider, "" = the prefix itself
  size_t limit = 0;      // 0: all
  int64_t revision = 0;  // 0: the present one; compacted ones are kGone
};
struct ListResult {
  std::vector<KeyValue> items;  // by key
  int64_t revision = 0;         // that the list shows
  bool more = false;
};

struct WatchSink {
  // One or more whole transactions' events (only the keys with the prefix), in order.
  std::function<void(std::span<const Event>)> events;
  // The watch is over: kGone (the revision was compacted), kUnavailable (the engine lost its connection).
  std::function<void(Error)> ended;
};
// Ends the watch when destroyed.
class Subscription {
 public:
  virtual ~Subscription() = default;
};

class Store {
 public:
  virtual ~Store() = default;
  virtual Task<Result<TxnResult>> txn(Txn txn) = 0;
  // nullopt: absent at that revision.
  virtual Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision = 0) = 0;
  virtual Task<Result<ListResult>> list(ListRequest request) = 0;
  // Events with revision >= from (from 0: from now on). Never calls the sink before it returns.
  virtual std::unique_ptr<Subscription> watch(std::string prefix, int64_t from, WatchSink sink) = 0;
  // Forgets what was superseded at or before `revision`.
  virtual Task<Status> compact(int64_t revision) = 0;
  virtual Task<Result<int64_t>> revision() = 0;
  virtual int64_t compacted_revision() const = 0;
  // Whether the value of the key, written again as it is, would be kept in another form (encrypted with another key).
  virtual Task<Result<bool>> outdated(std::string) { co_return false; }
};

// How much history an engine keeps on its own, for watches that resume and lists that page.
struct HistoryLimits {
  size_t events_max = 50'000;
  size_t bytes_max = 48u << 20;
};

std::unique_ptr<Store> make_memory_store(Executor& ex, HistoryLimits limits = {});

struct RocksDbOptions {
  std::string directory;
  HistoryLimits history;
  bool sync = true;  // false: survives a crash of the process, not of the machine
};
// Opens or creates. A directory that another process holds is kConflict with a sentence that says so.
Result<std::unique_ptr<Store>> open_rocksdb_store(Executor& ex, RocksDbOptions options);

}  // namespace caravel::store
