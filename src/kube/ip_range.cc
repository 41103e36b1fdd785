#include "kube/ip_range.h"

#include "base/strings.h"

namespace caravel::kube {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t ip = 0;
  for (auto& p : parts) {
    auto n = parse_int(p);
    if (!n || *n < 0 || *n > 255 || p.size() > 3 || (p.size() > 1 && p[0] == '0')) return std::nullopt;
    ip = ip << 8 | static_cast<uint32_t>(*n);
  }
  return ip;
}

std::string show_ipv4(uint32_t ip) { return format("%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255); }

std::optional<IpRange> IpRange::parse(std::string_view cidr) {
  size_t slash = cidr.find('/');
  if (slash == cidr.npos) return std::nullopt;
  auto ip = parse_ipv4(cidr.substr(0, slash));
  auto bits = parse_int(cidr.substr(slash + 1));
  if (!ip || !bits || *bits < 1 || *bits > 32) return std::nullopt;
  IpRange r;
  r.bits = static_cast<int>(*bits);
  r.size = 1u << (32 - r.bits);
  r.base = *ip & ~(r.size - 1);
  return r;
}

}  // namespace caravel::kube
