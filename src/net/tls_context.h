// The OpenSSL side of tls.h, shared by tls.cc and tls_stream.cc. Private.
#pragma once

#include <openssl/ssl.h>

#include <memory>
#include <string>

#include "net/tls.h"

namespace caravel::net {

struct SslCtxDeleter {
  void operator()(SSL_CTX* p) const { SSL_CTX_free(p); }
};
using SslCtx = std::unique_ptr<SSL_CTX, SslCtxDeleter>;

class TlsServerContext {
 public:
  SslCtx ctx;
  std::string alpn_wire;  // length-prefixed names, in order of preference
};

class TlsClientContext {
 public:
  SslCtx ctx;
  bool insecure = false;
};

// "h2,http/1.1" -> "\2h2\10http/1.1"
std::string alpn_wire_format(std::string_view names);
// The last OpenSSL errors as text; clears the queue.
std::string openssl_errors();
std::string certificate_pem(X509* certificate);

}  // namespace caravel::net
