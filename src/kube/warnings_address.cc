// Addresses that are accepted as they always were but should be written otherwise.
#include <arpa/inet.h>

#include <cstring>
#include <optional>

#include "base/strings.h"
#include "kube/warnings.h"

namespace caravel::kube {

namespace {

struct Address {
  unsigned char bytes[16] = {};
  bool v4 = false;      // shown with dots: mapped ones too
  bool mapped = false;  // IPv4 in IPv6
  bool padded = false;  // octets with zeros in front
};

constexpr unsigned char kMappedPrefix[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};

// Takes octets like 010, which older parsers took for decimal and others for octal.
std::optional<Address> parse_loosely(std::string_view text) {
  Address out;
  const std::string whole(text);
  if (text.find(':') != text.npos) {
    if (inet_pton(AF_INET6, whole.c_str(), out.bytes) != 1) return std::nullopt;
    out.mapped = out.v4 = std::memcmp(out.bytes, kMappedPrefix, sizeof kMappedPrefix) == 0;
    return out;
  }
  std::memcpy(out.bytes, kMappedPrefix, sizeof kMappedPrefix);
  out.v4 = true;
  size_t at = 12;
  for (const std::string& octet : split(whole, '.')) {
    auto n = parse_int(octet);
    if (at == 16 || octet.empty() || octet.size() > 3 || !n || *n < 0 || *n > 255) return std::nullopt;
    out.padded = out.padded || (octet.size() > 1 && octet[0] == '0');
    out.bytes[at++] = static_cast<unsigned char>(*n);
  }
  if (at != 16) return std::nullopt;
  return out;
}

// RFC 5952: the first of the longest runs of zeros is left out; never dots inside IPv6.
std::string show(const Address& a) {
  std::string out;
  if (a.v4) {
    for (int i = 12; i < 16; ++i) out += (i > 12 ? "." : "") + std::to_string(a.bytes[i]);
    return out;
  }
  unsigned groups[8];
  for (int i = 0; i < 8; ++i) groups[i] = static_cast<unsigned>(a.bytes[2 * i]) << 8 | a.bytes[2 * i + 1];
  int from = -1, length = 1;
  for (int i = 0; i < 8; ++i) {
    int n = 0;
    while (i + n < 8 && groups[i + n] == 0) ++n;
    if (n > length) from = i, length = n;
  }
  for (int i = 0; i < 8; ++i) {
    if (i == from) {
      out += "::";
      i += length - 1;
      continue;
    }
    if (!out.empty() && out.back() != ':') out += ':';
    out += format("%x", groups[i]);
  }
  return out;
}

void clear_behind(Address& a, int bits) {
  for (int bit = (a.v4 ? 96 : 0) + bits; bit < 128; ++bit) a.bytes[bit / 8] &= static_cast<unsigned char>(~(0x80 >> bit % 8));
}

}  // namespace

void ip_warnings(const FieldPath& p, const std::string& text, Warnings& out) {
  const auto a = parse_loosely(text);
  if (!a) return;
  if (a->mapped || a->padded) out.push_back(p.text() + ": non-standard IP address " + json::quote(text) + " is invalid: use " + json::quote(show(*a)));
  else if (!a->v4 && show(*a) != text) out.push_back(p.text() + ": IPv6 address " + json::quote(text) + " should be in RFC 5952 canonical format (" + json::quote(show(*a)) + ")");
}

void cidr_warnings(const FieldPath& p, const std::string& text, Warnings& out) {
  const size_t slash = text.find('/');
  if (slash == text.npos) return;
  const auto a = parse_loosely(std::string_view(text).substr(0, slash));
  const std::string digits = text.substr(slash + 1);
  auto bits = parse_int(digits);
  if (!a || !bits || *bits < 0) return;
  // Of a mapped address the prefix counts all 128 bits.
  if (a->mapped && *bits < 96) return;
  const int64_t prefix = a->mapped ? *bits - 96 : *bits;
  const int most = a->v4 ? 32 : 128;
  if (prefix > most) return;
  Address net = *a;
  clear_behind(net, static_cast<int>(prefix));
  const std::string whole = show(net) + "/" + std::to_string(prefix);
  bool odd = false;
  if (std::memcmp(net.bytes, a->bytes, sizeof net.bytes) != 0) {
    odd = true;
    out.push_back(p.text() + ": CIDR value " + json::quote(text) + " is ambiguous in this context (should be " + json::quote(whole) + " or " + json::quote(show(*a) + "/" + std::to_string(most)) + "?)");
  }
  if (a->mapped || a->padded || (digits.size() > 1 && digits[0] == '0')) {
    odd = true;
    out.push_back(p.text() + ": non-standard CIDR value " + json::quote(text) + " is invalid: use " + json::quote(whole));
  }
  const std::string canonical = show(*a) + "/" + digits;
  if (!odd && !a->v4 && canonical != text) out.push_back(p.text() + ": IPv6 CIDR value " + json::quote(text) + " should be in RFC 5952 canonical format (" + json::quote(canonical) + ")");
}

}  // namespace caravel::kube
