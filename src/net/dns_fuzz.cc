// libFuzzer: decode() on anything; what it accepts and encode() can write must read back the same.
#include <cstdlib>

#include "net/dns.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caravel::net::dns;
  auto m = decode({reinterpret_cast<const char*>(data), size});
  if (!m.ok()) return 0;
  auto wire = encode(*m);
  if (!wire.ok()) return 0;
  auto back = decode(*wire);
  if (!back.ok()) std::abort();
  return 0;
}
