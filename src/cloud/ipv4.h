// IPv4 addresses and blocks as numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <set>
#include <string>
#include <string_view>

namespace caravel::cloud {

std::optional<uint32_t> parse_ipv4(std::string_view text);
std::string ipv4_text(uint32_t ip);

struct Cidr {
  uint32_t base = 0;
  int bits = 0;
  uint64_t size() const { return uint64_t{1} << (32 - bits); }
  bool contains(uint32_t ip) const { return bits == 0 || (ip >> (32 - bits)) == (base >> (32 - bits)); }
  bool contains(const Cidr& o) const { return o.bits >= bits && contains(o.base); }
  bool overlaps(const Cidr& o) const { return contains(o.base) || o.contains(base); }
  std::string text() const { return ipv4_text(base) + "/" + std::to_string(bits); }
};
// The host bits must be zero unless `mask`, which clears them.
std::optional<Cidr> parse_cidr(std::string_view text, bool mask = false);

}  // namespace caravel::cloud
