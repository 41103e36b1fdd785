#include "cloud/ipv4.h"

#include "base/strings.h"

namespace caravel::cloud {

std::optional<uint32_t> parse_ipv4(std::string_view text) {
  auto parts = split(text, '.');
  if (parts.size() != 4) return std::nullopt;
  uint32_t out = 0;
  for (auto& p : parts) {
    auto n = p.size() <= 3 ? parse_int(p) : std::nullopt;
    if (!n || *n < 0 || *n > 255) return std::nullopt;
    out = out << 8 | static_cast<uint32_t>(*n);
  }
  return out;
}

std::string ipv4_text(uint32_t ip) { return format("%u.%u.%u.%u", ip >> 24, ip >> 16 & 255, ip >> 8 & 255, ip & 255); }

std::optional<Cidr> parse_cidr(std::string_view text, bool mask) {
  size_t slash = text.find('/');
  if (slash == text.npos) return std::nullopt;
  auto ip = parse_ipv4(text.substr(0, slash));
  auto bits = parse_int(text.substr(slash + 1));
  if (!ip || !bits || *bits < 0 || *bits > 32) return std::nullopt;
  uint32_t m = *bits == 0 ? 0 : ~uint32_t{0} << (32 - *bits);
  if ((*ip & ~m) && !mask) return std::nullopt;
  return Cidr{*ip & m, static_cast<int>(*bits)};
}

}  // namespace caravel::cloud
