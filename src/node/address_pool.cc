#include "node/address_pool.h"

#include <arpa/inet.h>

#include "base/strings.h"

namespace caravel::node {

void AddressPool::add(const std::string& ip, int device_index) {
  auto [it, fresh] = addresses_.try_emplace(ip);
  it->second.device_index = device_index;
}

std::optional<PodAddress> AddressPool::allocate(const std::string& owner, Time now) {
  if (auto it = owners_.find(owner); it != owners_.end()) return PodAddress{it->second, addresses_[it->second].device_index};
  // The one that has rested longest: never used ones (zero) first.
  std::map<std::string, Entry>::iterator best = addresses_.end();
  for (auto it = addresses_.begin(); it != addresses_.end(); ++it)
    if (it->second.owner.empty() && it->second.resting_until <= now && (best == addresses_.end() || it->second.resting_until < best->second.resting_until)) best = it;
  if (best == addresses_.end()) return std::nullopt;
  best->second.owner = owner;
  owners_[owner] = best->first;
  return PodAddress{best->first, best->second.device_index};
}

void AddressPool::adopt(const std::string& owner, const std::string& ip) {
  addresses_[ip].owner = owner;
  owners_[owner] = ip;
}

void AddressPool::release(const std::string& owner, Time now) {
  auto it = owners_.find(owner);
  if (it == owners_.end()) return;
  Entry& e = addresses_[it->second];
  e.owner.clear();
  e.resting_until = now + kCooldown;
  owners_.erase(it);
}

size_t AddressPool::available(Time now) const {
  size_t n = 0;
  for (auto& [ip, e] : addresses_) n += e.owner.empty() && e.resting_until <= now;
  return n;
}

Result<std::vector<std::string>> addresses_of(const std::string& cidr, bool whole_subnet, size_t limit) {
  size_t slash = cidr.find('/');
  auto bits = slash == cidr.npos ? std::optional<int64_t>(32) : parse_int(cidr.substr(slash + 1));
  in_addr base;
  if (!bits || *bits < 0 || *bits > 32 || inet_pton(AF_INET, cidr.substr(0, slash).c_str(), &base) != 1)
    return invalid("\"" + cidr + "\" is not an IPv4 range such as 10.0.11.128/28");
  const uint64_t count = uint64_t{1} << (32 - *bits);
  const uint32_t first = ntohl(base.s_addr) & static_cast<uint32_t>(~(count - 1));
  std::vector<std::string> out;
  for (uint64_t i = whole_subnet ? 2 : 0; i < (whole_subnet && count > 1 ? count - 1 : count) && out.size() < limit; ++i) {
    in_addr a{htonl(first + static_cast<uint32_t>(i))};
    char text[INET_ADDRSTRLEN];
    inet_ntop(AF_INET, &a, text, sizeof text);
    out.emplace_back(text);
  }
  return out;
}

}  // namespace caravel::node
