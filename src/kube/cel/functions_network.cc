// Addresses and networks (ip, cidr).
#include <arpa/inet.h>

#include <cstring>

#include "base/strings.h"
#include "kube/cel/functions.h"

namespace caravel::kube::cel {

namespace {

using V = Value;
using R = Result<Value>;
using A = Arguments;

// No zones, no IPv4 in IPv6.
bool parse_ip(const std::string& text, Network& out) {
  out = Network();
  if (inet_pton(AF_INET, text.c_str(), out.bytes) == 1) return true;
  out.family = 6;
  out.prefix = 128;
  static constexpr unsigned char kMapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
  return inet_pton(AF_INET6, text.c_str(), out.bytes) == 1 && std::memcmp(out.bytes, kMapped, 12) != 0;
}
bool parse_cidr(const std::string& text, Network& out) {
  size_t slash = text.find('/');
  if (slash == text.npos || !parse_ip(text.substr(0, slash), out)) return false;
  std::string digits = text.substr(slash + 1);
  auto n = parse_int(digits);
  if (!n || *n < 0 || *n > out.prefix || std::to_string(*n) != digits) return false;
  out.prefix = static_cast<int>(*n);
  return true;
}
std::string ip_text(const Network& n) {
  char buffer[INET6_ADDRSTRLEN] = {};
  inet_ntop(n.family == 4 ? AF_INET : AF_INET6, n.bytes, buffer, sizeof buffer);
  return buffer;
}
Network masked(Network n) {
  for (int bit = n.prefix; bit < (n.family == 4 ? 32 : 128); ++bit) n.bytes[bit / 8] &= static_cast<unsigned char>(~(0x80 >> bit % 8));
  return n;
}
Network address(Network n) {
  n.prefix = n.family == 4 ? 32 : 128;
  return n;
}
bool holds(const Network& net, Network other) {
  if (net.family != other.family || other.prefix < net.prefix) return false;
  other.prefix = net.prefix;
  return std::memcmp(masked(net).bytes, masked(other).bytes, 16) == 0;
}

R is_ip(A a) {
  Network n;
  return V::boolean(parse_ip(a[0].s(), n));
}
R ip(A a) {
  Network n;
  if (!parse_ip(a[0].s(), n)) return invalid("IP Address " + json::quote(a[0].s()) + " parse error during conversion from string");
  return V::network(Kind::kIp, n);
}
R is_canonical(A a) {
  Network n;
  if (!parse_ip(a[0].s(), n)) return invalid("IP Address " + json::quote(a[0].s()) + " parse error during conversion from string");
  return V::boolean(ip_text(n) == a[0].s());
}
R family(A a) { return V::integer(a[0].as_network().family); }
bool in(const Network& n, const char* cidr) {
  Network net;
  return parse_cidr(cidr, net) && holds(net, n);
}
bool zero(const Network& n) { return in(n, "0.0.0.0/32") || in(n, "::/128"); }
bool loopback(const Network& n) { return in(n, "127.0.0.0/8") || in(n, "::1/128"); }
bool multicast(const Network& n) { return in(n, "224.0.0.0/4") || in(n, "ff00::/8"); }
bool link_unicast(const Network& n) { return in(n, "169.254.0.0/16") || in(n, "fe80::/10"); }
R is_unspecified(A a) { return V::boolean(zero(a[0].as_network())); }
R is_loopback(A a) { return V::boolean(loopback(a[0].as_network())); }
R is_link_multicast(A a) {
  const Network& n = a[0].as_network();
  return V::boolean(in(n, "224.0.0.0/24") || (n.family == 6 && n.bytes[0] == 0xff && (n.bytes[1] & 0x0f) == 2));
}
R is_link_unicast(A a) { return V::boolean(link_unicast(a[0].as_network())); }
R is_global_unicast(A a) {
  const Network& n = a[0].as_network();
  return V::boolean(!zero(n) && !loopback(n) && !multicast(n) && !link_unicast(n) && !in(n, "255.255.255.255/32"));
}
R ip_string(A a) { return V::string(ip_text(a[0].as_network())); }

R is_cidr(A a) {
  Network n;
  return V::boolean(parse_cidr(a[0].s(), n));
}
R cidr(A a) {
  Network n;
  if (!parse_cidr(a[0].s(), n)) return invalid("network address parse error during conversion from string: netip.ParsePrefix(" + json::quote(a[0].s()) + ")");
  return V::network(Kind::kCidr, n);
}
R contains_ip(A a) { return V::boolean(holds(a[0].as_network(), a[1].as_network())); }
R contains_text(A a) {
  TRY(Value other, ip(a.subspan(1)));
  return V::boolean(holds(a[0].as_network(), other.as_network()));
}
R contains_cidr_text(A a) {
  TRY(Value other, cidr(a.subspan(1)));
  return V::boolean(holds(a[0].as_network(), other.as_network()));
}
R prefix_length(A a) { return V::integer(a[0].as_network().prefix); }
R cidr_ip(A a) { return V::network(Kind::kIp, address(a[0].as_network())); }
R cidr_masked(A a) { return V::network(Kind::kCidr, masked(a[0].as_network())); }
R cidr_string(A a) { return V::string(ip_text(a[0].as_network()) + "/" + std::to_string(a[0].as_network().prefix)); }

constexpr Function kNetwork[] = {
    {"isIP", false, "bs", is_ip},
    {"ip", false, "Ps", ip},
    {"ip.isCanonical", false, "bs", is_canonical},
    {"family", true, "iP", family},
    {"isUnspecified", true, "bP", is_unspecified},
    {"isLoopback", true, "bP", is_loopback},
    {"isLinkLocalMulticast", true, "bP", is_link_multicast},
    {"isLinkLocalUnicast", true, "bP", is_link_unicast},
    {"isGlobalUnicast", true, "bP", is_global_unicast},
    {"string", false, "sP", ip_string},
    {"isCIDR", false, "bs", is_cidr},
    {"cidr", false, "Cs", cidr},
    {"containsIP", true, "bCP", contains_ip},
    {"containsIP", true, "bCs", contains_text},
    {"containsCIDR", true, "bCC", contains_ip},
    {"containsCIDR", true, "bCs", contains_cidr_text},
    {"prefixLength", true, "iC", prefix_length},
    {"ip", true, "PC", cidr_ip},
    {"masked", true, "CC", cidr_masked},
    {"string", false, "sC", cidr_string},
};

}  // namespace

std::span<const Function> network_functions() { return kNetwork; }

}  // namespace caravel::kube::cel
