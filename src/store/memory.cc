#include "store/mvcc.h"

namespace caravel::store {

namespace {

class MemoryStore final : public Store {
 public:
  MemoryStore(Executor& ex, HistoryLimits limits) : mvcc_(ex, limits) {}

  Task<Result<TxnResult>> txn(Txn txn) override {
    auto batch = mvcc_.begin();
    Mvcc::Plan p = mvcc_.plan(*batch, std::move(txn));
    mvcc_.commit(p.events);
    mvcc_.take_garbage();
    co_return std::move(p.result);
  }
  Task<Result<std::optional<KeyValue>>> get(std::string key, int64_t revision) override { co_return mvcc_.get(key, revision); }
  Task<Result<ListResult>> list(ListRequest request) override { co_return mvcc_.list(request); }
  std::unique_ptr<Subscription> watch(std::string prefix, int64_t from, WatchSink sink) override {
    return mvcc_.watch(std::move(prefix), from, std::move(sink));
  }
  Task<Status> compact(int64_t revision) override {
    Status s = mvcc_.compact(revision);
    mvcc_.take_garbage();
    co_return s;
  }
  Task<Result<int64_t>> revision() override { co_return mvcc_.revision(); }
  int64_t compacted_revision() const override { return mvcc_.compacted(); }

 private:
  Mvcc mvcc_;
};

}  // namespace

std::unique_ptr<Store> make_memory_store(Executor& ex, HistoryLimits limits) { return std::make_unique<MemoryStore>(ex, limits); }

}  // namespace caravel::store
