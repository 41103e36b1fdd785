// The pod addresses that a node holds and which of them are in use. Pure bookkeeping; ipam.h fills it.
#pragma once

#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "base/clock.h"
#include "base/result.h"

namespace caravel::node {

struct PodAddress {
  std::string ip;
  int device_index = 0;  // of the ENI it belongs to
};

class AddressPool {
 public:
  // A released address rests before it is given out again, so that late packets and stale endpoints of
  // the old pod do not reach the new one (upstream: 30 s).
  static constexpr Duration kCooldown = std::chrono::seconds(30);

  void add(const std::string& ip, int device_index);
  // The owner's address if it has one already. Prefers addresses that have rested; takes a resting one
  // only when `now` has passed its cooldown.
  std::optional<PodAddress> allocate(const std::string& owner, Time now);
  // Takes note of an address that a running pod has (after a restart of the agent).
  void adopt(const std::string& owner, const std::string& ip);
  void release(const std::string& owner, Time now);
  size_t size() const { return addresses_.size(); }
  size_t used() const { return owners_.size(); }
  // Addresses that can be given out now.
  size_t available(Time now) const;
  bool contains(const std::string& ip) const { return addresses_.count(ip) > 0; }

 private:
  struct Entry {
    int device_index = 0;
    std::string owner;
    Time resting_until;
  };
  std::map<std::string, Entry> addresses_;
  std::map<std::string, std::string> owners_;  // owner -> ip
};

// All host addresses of an IPv4 range, without the network, router (first) and broadcast addresses if
// `whole_subnet`; at most `limit`.
Result<std::vector<std::string>> addresses_of(const std::string& cidr, bool whole_subnet, size_t limit);

}  // namespace caravel::node
