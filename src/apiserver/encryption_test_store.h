// For tests of encryption at rest: the same data behind another configuration, as of a server that was started again.
#pragma once

#include <memory>
#include <string>
#include <utility>

#include "store/store.h"

namespace caravel::apiserver {

struct Borrowed final : store::Store {
  explicit Borrowed(store::Store& s) : s_(&s) {}
  Task<Result<store::TxnResult>> txn(store::Txn t) override { return s_->txn(std::move(t)); }
  Task<Result<std::optional<store::KeyValue>>> get(std::string k, int64_t r) override { return s_->get(std::move(k), r); }
  Task<Result<store::ListResult>> list(store::ListRequest r) override { return s_->list(std::move(r)); }
  std::unique_ptr<store::Subscription> watch(std::string p, int64_t f, store::WatchSink k) override { return s_->watch(std::move(p), f, std::move(k)); }
  Task<Status> compact(int64_t r) override { return s_->compact(r); }
  Task<Result<int64_t>> revision() override { return s_->revision(); }
  int64_t compacted_revision() const override { return s_->compacted_revision(); }
  store::Store* s_;
};

}  // namespace caravel::apiserver
