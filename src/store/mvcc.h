// The versioned state that the embedded engines share: current values, a window of past events (from
// which older revisions are reconstructed), subscriptions. Pure memory; engines add durability.
#pragma once

#include <deque>
#include <list>
#include <map>

#include "store/store.h"

namespace caravel::store {

class Mvcc {
 public:
  Mvcc(Executor& ex, HistoryLimits limits);
  ~Mvcc();

  // --- writing: plan several transactions against the state, then commit them together ---
  struct Plan {
    TxnResult result;
    std::vector<Event> events;
  };
  class Batch;  // transactions planned but not yet visible
  std::unique_ptr<Batch> begin() const;
  Plan plan(Batch& batch, Txn txn) const;
  // Makes the events visible and tells the watchers.
  void commit(const std::vector<Event>& events);

  // --- reading ---
  Result<std::optional<KeyValue>> get(const std::string& key, int64_t revision) const;
  Result<ListResult> list(const ListRequest& request) const;
  std::unique_ptr<Subscription> watch(std::string prefix, int64_t from, WatchSink sink);
  int64_t revision() const { return revision_; }
  int64_t compacted() const { return compacted_; }

  // --- history ---
  Status compact(int64_t revision);
  // Versions (key, revision) that no readable revision shows any more, for the engine to delete.
  std::vector<std::pair<std::string, int64_t>> take_garbage() { return std::exchange(garbage_, {}); }

  // --- loading at start ---
  void load(int64_t revision, int64_t compacted, std::map<std::string, KeyValue, std::less<>> current, std::deque<Event> log);

 private:
  struct Sub;
  struct Handle;
  Status check_revision(int64_t revision) const;
  void drop_oldest();
  void trim();
  void deliver_backlog(const std::shared_ptr<Sub>& sub);

  Executor* ex_;
  HistoryLimits limits_;
  std::map<std::string, KeyValue, std::less<>> current_;
  std::deque<Event> log_;  // revisions > compacted_
  size_t log_bytes_ = 0;
  int64_t revision_ = 1;
  int64_t compacted_ = 0;
  std::list<std::shared_ptr<Sub>> subs_;
  std::vector<std::pair<std::string, int64_t>> garbage_;
  std::shared_ptr<bool> alive_ = std::make_shared<bool>(true);
};

class Mvcc::Batch {
 public:
  int64_t revision = 0;
  // What the batch changed so far; nullopt: deleted.
  std::map<std::string, std::optional<KeyValue>, std::less<>> changed;
};

}  // namespace caravel::store
