// Cluster addresses and node ports of Services.
//
// Addresses come from the ServiceCIDRs that are ready; each is an IPAddress object, written and removed in the
// Service's own transaction, so that none leaks and no two servers give the same one away. Node ports are derived
// from the Services. A reservation in memory covers the time between choosing and storing.
// Threading: the server's executor.
#pragma once

#include <map>
#include <set>
#include <string>
#include <vector>

#include "apiserver/resource_type.h"
#include "apiserver/watch_cache.h"
#include "base/executor.h"
#include "base/json.h"
#include "kube/ip_range.h"

namespace caravel::apiserver {

inline constexpr std::string_view kIpAllocator = "ipallocator.k8s.io";  // the managed-by label of its IPAddresses

class ServiceAllocator {
 public:
  static constexpr int kNodePortFirst = 30000, kNodePortLast = 32767;
  // `cidr` is the range of the default ServiceCIDR, used alone until there is one.
  static Result<std::unique_ptr<ServiceAllocator>> make(Executor& ex, std::string cidr);
  const std::string& cidr() const { return cidr_; }
  // The n-th address of the default range (1: the kubernetes service, 10: cluster DNS).
  std::string address(uint32_t n) const;
  void follow(WatchCache* services, WatchCache* ranges, ServedTypePtr addresses);
  Status allocate(json::Value& service, const json::Value* old, bool dry_run);
  void release(const json::Value& service);
  void updated(const json::Value& service, const json::Value& old);
  // The IPAddresses that come and go with a change of a Service (null: it is not there before or after).
  void companions(const json::Value* service, const json::Value* old, store::Txn& txn) const;
  // An IPAddress object for an address of a service.
  json::Value address_object(const std::string& ip, const json::Value& service) const;

 private:
  explicit ServiceAllocator(Executor& ex) : ex_(&ex) {}
  Status take_ip(json::Value& spec, const std::string& name, bool dry_run);
  std::string free_ip(const kube::IpRange& range) const;
  bool in_use(const std::string& ip) const;
  Status take_port(json::Value& port, const std::string& name, size_t index, bool dry_run, const char* field);
  std::vector<kube::IpRange> ranges() const;
  Executor* ex_;
  std::string cidr_;
  kube::IpRange default_;
  WatchCache* cidrs_ = nullptr;
  ServedTypePtr addresses_;
  std::set<std::string> ips_;
  std::map<int64_t, int> ports_;  // "port" + protocol are shared within one service: counted
  void note(const json::Value& service, bool in_use);
};

}  // namespace caravel::apiserver
