// libFuzzer: the HTTP/1.1 head parser and framing rules on anything.
#include "net/http_internal.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace caravel::net;
  std::string_view text(reinterpret_cast<const char*>(data), size);
  auto request = parse_http1_head(text, false);
  if (request.ok()) (void)request_framing(request->headers).ok();
  auto response = parse_http1_head(text, true);
  if (response.ok()) (void)response_framing("GET", *response).ok();
  return 0;
}
