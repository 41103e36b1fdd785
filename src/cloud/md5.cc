#include "cloud/md5.h"

#include <array>
#include <cmath>
#include <cstdint>

#include "base/strings.h"

namespace caravel::cloud {

std::string md5_hex(std::string_view s) {
  static const std::array<uint32_t, 64> k = [] {
    std::array<uint32_t, 64> out{};
    for (int i = 0; i < 64; ++i) out[static_cast<size_t>(i)] = static_cast<uint32_t>(std::floor(std::fabs(std::sin(i + 1)) * 4294967296.0));
    return out;
  }();
  static const int shifts[4][4] = {{7, 12, 17, 22}, {5, 9, 14, 20}, {4, 11, 16, 23}, {6, 10, 15, 21}};
  std::string m(s);
  m += static_cast<char>(0x80);
  while (m.size() % 64 != 56) m += '\0';
  uint64_t bits = s.size() * 8;
  for (int i = 0; i < 8; ++i) m += static_cast<char>(bits >> (8 * i) & 255);
  uint32_t h[4] = {0x67452301, 0xefcdab89, 0x98badcfe, 0x10325476};
  for (size_t block = 0; block < m.size(); block += 64) {
    uint32_t w[16];
    for (size_t i = 0; i < 16; ++i) {
      w[i] = 0;
      for (size_t j = 0; j < 4; ++j) w[i] |= static_cast<uint32_t>(static_cast<unsigned char>(m[block + i * 4 + j])) << (8 * j);
    }
    uint32_t a = h[0], b = h[1], c = h[2], d = h[3];
    for (uint32_t i = 0; i < 64; ++i) {
      uint32_t f, g;
      if (i < 16) {
        f = (b & c) | (~b & d);
        g = i;
      } else if (i < 32) {
        f = (d & b) | (~d & c);
        g = (5 * i + 1) % 16;
      } else if (i < 48) {
        f = b ^ c ^ d;
        g = (3 * i + 5) % 16;
      } else {
        f = c ^ (b | ~d);
        g = 7 * i % 16;
      }
      uint32_t x = a + f + k[i] + w[g];
      int r = shifts[i / 16][i % 4];
      a = d;
      d = c;
      c = b;
      b += x << r | x >> (32 - r);
    }
    h[0] += a;
    h[1] += b;
    h[2] += c;
    h[3] += d;
  }
  std::string raw;
  for (uint32_t v : h)
    for (int i = 0; i < 4; ++i) raw += static_cast<char>(v >> (8 * i) & 255);
  return hex_encode(raw);
}

}  // namespace caravel::cloud
