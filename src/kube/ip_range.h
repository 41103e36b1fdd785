// IPv4 ranges of Services ("172.20.0.0/16"): which addresses they give.
// An address of a range is none of its network and broadcast addresses. Pure.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace caravel::kube {

std::optional<uint32_t> parse_ipv4(std::string_view text);
std::string show_ipv4(uint32_t ip);

struct IpRange {
  uint32_t base = 0;
  uint32_t size = 0;  // addresses, network and broadcast included; 0 stands for all of IPv4
  int bits = 0;
  // Nothing for what is not IPv4. Bits behind the prefix are cleared.
  static std::optional<IpRange> parse(std::string_view cidr);
  std::string text() const { return show_ipv4(base) + "/" + std::to_string(bits); }
  bool holds(uint32_t ip) const { return ip > base && ip - base < size - 1; }
  bool holds(const IpRange& o) const { return o.base >= base && uint64_t{o.base} + o.size <= uint64_t{base} + size; }
  bool operator==(const IpRange&) const = default;
};

}  // namespace caravel::kube
