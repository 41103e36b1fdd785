// The HTTP/1.1 head parser and framing rules on anything.
#include "base/fuzz.h"
#include "net/http_internal.h"

using namespace caravel::net;

FUZZ(Http1, "GET /a?b=c HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\n", "POST / HTTP/1.1\r\nhost: x\r\ntransfer-encoding: gzip, chunked\r\nconnection: close, x\r\n\r\n", "HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
     "HTTP/1.0 304\r\n\r\n", "GET http://h:1/ HTTP/1.1\r\nhost: h\r\nhost: i\r\n folded\r\n\r\n") {
  auto request = parse_http1_head(input, false);
  if (request.ok()) (void)request_framing(request->headers).ok();
  auto response = parse_http1_head(input, true);
  if (response.ok()) (void)response_framing("GET", *response).ok();
}
