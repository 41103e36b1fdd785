// Where pod addresses come from: the node's ENIs (eni_addresses.h) or a fixed range.
#pragma once

#include <string>

#include "base/executor.h"
#include "node/address_pool.h"

namespace caravel::node {

class AddressSource {
 public:
  virtual ~AddressSource() = default;
  // An address for the owner; the same again while it holds one. kUnavailable when there is none now.
  virtual Task<Result<PodAddress>> acquire(std::string owner) = 0;
  virtual void adopt(const std::string& owner, const std::string& ip) = 0;
  virtual void release(const std::string& owner) = 0;
};

class RangeAddresses final : public AddressSource {
 public:
  RangeAddresses(Executor& ex, const std::vector<std::string>& addresses) : ex_(&ex) {
    for (auto& a : addresses) pool_.add(a, 0);
  }
  Task<Result<PodAddress>> acquire(std::string owner) override {
    auto a = pool_.allocate(owner, ex_->now());
    if (!a) co_return unavailable("all " + std::to_string(pool_.size()) + " pod addresses of this node are in use");
    co_return *a;
  }
  void adopt(const std::string& owner, const std::string& ip) override { pool_.adopt(owner, ip); }
  void release(const std::string& owner) override { pool_.release(owner, ex_->now()); }

 private:
  Executor* ex_;
  AddressPool pool_;
};

}  // namespace caravel::node
