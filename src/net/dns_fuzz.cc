// DNS: decode() on anything; what it accepts and encode() can write must read back.
#include "base/fuzz.h"
#include "net/dns.h"

using namespace caravel::net::dns;

FUZZ(Dns, std::string("\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x03www\x07"
                      "example\x03"
                      "com\x00\x00\x01\x00\x01",
                      33),
     std::string("\x12\x34\x81\x80\x00\x01\x00\x01\x00\x00\x00\x00\x01"
                 "a\x02io\x00\x00\x01\x00\x01\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x3c\x00\x04\x01\x02\x03\x04",
                 38)) {
  auto m = decode(input);
  if (!m.ok()) return;
  auto wire = encode(*m);
  if (!wire.ok()) return;
  auto back = decode(*wire);
  EXPECT_TRUE(back.ok());
}
