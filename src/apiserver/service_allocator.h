// Cluster addresses and node ports of Services. The allocated sets are derived from the Services
// themselves (their cache), so nothing can leak; a reservation covers the time between choosing and storing.
#pragma once

#include <map>
#include <set>
#include <string>

#include "apiserver/watch_cache.h"
#include "base/executor.h"
#include "base/json.h"

namespace caravel::apiserver {

class ServiceAllocator {
 public:
  static constexpr int kNodePortFirst = 30000, kNodePortLast = 32767;
  static Result<std::unique_ptr<ServiceAllocator>> make(Executor& ex, std::string cidr);
  // The n-th address of the range (1: the kubernetes service, 10: cluster DNS).
  std::string address(uint32_t n) const;
  void follow(WatchCache* services);
  Status allocate(json::Value& service, const json::Value* old, bool dry_run);
  void release(const json::Value& service);
  void updated(const json::Value& service, const json::Value& old);

 private:
  ServiceAllocator(Executor& ex) : ex_(&ex) {}
  Status take_ip(json::Value& spec, const std::string& name, bool dry_run);
  Status take_port(json::Value& port, const std::string& name, size_t index, bool dry_run, const char* field);
  Executor* ex_;
  uint32_t base_ = 0, size_ = 0;
  std::string cidr_;
  std::set<std::string> ips_;
  std::map<int64_t, int> ports_;  // "port" + protocol are shared within one service: counted
  void note(const json::Value& service, bool in_use);
};

}  // namespace caravel::apiserver
